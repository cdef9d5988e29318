"""Frames come as a player shows them: files as phones, cameras and DVDs write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorTrc
from numpy.typing import NDArray

from aa_datasets.errors import VideoError
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.canonical import encode_canonical, read_canonical
from aa_datasets.video.foreign import iter_foreign_frames, open_foreign, probe_video
from aa_datasets.video.tone_map import bt709_of

THEORA = Path(__file__).parents[2] / "files" / "theora.ogv"
PQ, HLG = ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67


def _pixels(path: Path) -> NDArray[np.uint8]:
    return np.stack([frame.pixels for frame in iter_foreign_frames(path)])


def _encode(
    path: Path,
    frames: Sequence[NDArray[np.uint8]] | Sequence[av.VideoFrame],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    configure: Callable[[av.VideoStream], None] = lambda stream: None,
) -> Path:
    with av.open(str(path), "w") as container:
        # Without B-frames: of so few frames x265 now and then gives two packets one decoding time.
        stream = container.add_stream(codec, rate=25, options={"crf": "4", "bf": "0"})
        made = [
            f if isinstance(f, av.VideoFrame) else av.VideoFrame.from_ndarray(f, format="rgb24")
            for f in frames
        ]
        stream.width, stream.height, stream.pix_fmt = made[0].width, made[0].height, pix_fmt
        configure(stream)
        for number, frame in enumerate(made):
            frame.pts = number  # a frame that comes twice would keep its first time
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


# Display matrices (a, b, c, d) with a reflection: where the stored pixel (x, y) is shown, up to
# a shift, is (a x + c y, b x + d y).
@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((-1, 0, 0, 1), lambda p: p[:, ::-1]),  # as selfie apps write it
        ((1, 0, 0, -1), lambda p: p[::-1]),
        ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda p: p[::-1, ::-1].swapaxes(0, 1)),
    ],
)
def test_a_mirrored_display_matrix_is_applied(
    tmp_path: Path, matrix: tuple[int, int, int, int], shown: Callable[..., NDArray[np.uint8]]
) -> None:
    mp4 = encode_canonical(render_puppet(1, 2, num_frames=3, size_hw=(64, 96)).frames, 25)
    a, b, c, d = matrix
    rows = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    at = mp4.index(b"tkhd") + 44
    packed = b"".join(value.to_bytes(4, "big", signed=True) for value in rows)
    path = tmp_path / "mirrored.mp4"
    path.write_bytes(mp4[:at] + packed + mp4[at + 36 :])
    for found, stored in zip(_pixels(path), read_canonical(mp4), strict=True):
        np.testing.assert_array_equal(found, shown(stored))
    plain = tmp_path / "plain.mp4"
    plain.write_bytes(mp4)
    found, stored = (next(open_foreign(p).frames).planes for p in (path, plain))
    np.testing.assert_array_equal(found.luma, shown(stored.luma))


@pytest.mark.parametrize(
    ("stored_hw", "ratio", "shown_hw"),
    [
        ((64, 64), Fraction(9, 16), (64, 36)),
        ((72, 90), Fraction(64, 45), (72, 128)),  # a DVD's 16:9
        ((48, 64), Fraction(1, 1), (48, 64)),
    ],
)
def test_pixels_are_made_square(
    tmp_path: Path, stored_hw: tuple[int, int], ratio: Fraction, shown_hw: tuple[int, int]
) -> None:
    """A circle as displayed is a circle in the frames, and half of it when they are scaled."""
    shown = np.full((*shown_hw, 3), 40, np.uint8)
    centre = (shown_hw[1] / 2 - 0.5, shown_hw[0] / 2 - 0.5)
    cv2.circle(shown, tuple(round(c) for c in centre), 14, (220, 200, 30), -1, cv2.LINE_AA)
    stored = cv2.resize(shown, stored_hw[::-1], interpolation=cv2.INTER_AREA)

    def configure(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = ratio

    path = _encode(tmp_path / "anamorphic.mkv", [stored] * 3, configure=configure)
    info = probe_video(path)
    assert info.size_hw == shown_hw
    assert info.sample_aspect_ratio == pytest.approx(float(ratio))
    found = _pixels(path)
    assert found.shape == (3, *shown_hw, 3)
    assert np.abs(found[0].astype(int) - shown).mean() < 6
    assert next(open_foreign(path).frames).planes.luma.shape == shown_hw
    half = max(shown_hw) // 2
    small = next(open_foreign(path, max_side_px=half).frames).planes.luma
    assert small.shape == tuple(round(side * half / max(shown_hw)) for side in shown_hw)
    ys, xs = np.nonzero(small > 110)
    assert np.ptp(ys) == pytest.approx(np.ptp(xs), abs=1)


def _moving_bar(position_px: float) -> NDArray[np.uint8]:
    frame = np.full((64, 96, 3), 30, np.uint8)
    frame[8:56, round(position_px) : round(position_px) + 10] = 220
    return frame


def _woven() -> list[NDArray[np.uint8]]:
    """Fields 1/50 s apart, the bottom one first: a bar that moves by 4 pixels a field."""
    frames = []
    for number in range(8):
        top, bottom = (_moving_bar(8 + 4 * (2 * number + field)) for field in (1, 0))
        frame = top.copy()
        frame[1::2] = bottom[1::2]
        frames.append(frame)
    return frames


def _comb(frames: NDArray[np.uint8]) -> float:
    """How much more neighbouring rows differ than rows of one field, in the bar's columns."""
    rows = frames[:, 8:56].astype(float)
    across_fields = np.abs(rows[:, 1:-1] - rows[:, :-2]).mean()
    return float(across_fields - np.abs(rows[:, 2:] - rows[:, :-2]).mean())


def test_interlaced_frames_come_without_combs_one_for_one(tmp_path: Path) -> None:
    def configure(stream: av.VideoStream) -> None:
        flags = av.codec.context.Flags
        stream.codec_context.flags |= flags.interlaced_dct.value | flags.interlaced_me.value
        stream.options = {"crf": "4", "x264-params": "bff=1"}

    path = _encode(tmp_path / "camera.mkv", _woven(), configure=configure)
    progressive = _encode(tmp_path / "combed.mkv", _woven())
    assert probe_video(path).is_interlaced
    assert not probe_video(progressive).is_interlaced
    # A copy that does not say so is told by its pixels, and what comes deinterlaced is none.
    assert all(frame.is_combed for frame in open_foreign(progressive).frames)
    assert not any(frame.is_combed for frame in open_foreign(path).frames)
    plain = _encode(tmp_path / "plain.mkv", [_moving_bar(8 + 4 * n) for n in range(8)])
    assert not any(frame.is_combed for frame in open_foreign(plain).frames)
    found, stored = list(iter_foreign_frames(path)), list(iter_foreign_frames(progressive))
    assert [f.time_s for f in found] == [f.time_s for f in stored]
    assert _comb(np.stack([f.pixels for f in stored])) > 10
    assert _comb(np.stack([f.pixels for f in found])) < 1
    for number, frame in enumerate(found):  # the bar of its own first field
        bar = np.flatnonzero(frame.pixels[32, :, 0] > 125)
        assert abs(bar[0] - (8 + 8 * number)) <= 1
    later = list(iter_foreign_frames(path, start_s=0.1))
    assert len(later) == 5
    np.testing.assert_array_equal(later[-1].pixels, found[-1].pixels)
    luma = np.stack([f.planes.luma[..., None] for f in open_foreign(path).frames])
    assert _comb(luma) < 1


def _pq_code(nits: float) -> float:
    power = (nits / 10000) ** 0.1593017578125
    return float(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def _hlg_code(nits: float) -> float:
    """Of a grey, on a display of 1000 cd/m2 (its gamma is 1.2)."""
    scene = (nits / 1000) ** (1 / 1.2)
    if scene <= 1 / 12:
        return float(np.sqrt(3 * scene))
    return float(0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073)


def _write_hdr(
    path: Path, codes: Sequence[float], trc: ColorTrc, codec: str = "libx264", *, tag: bool = True
) -> Path:
    """Greys of these codes, side by side, as 10 bits of luma in limited range."""
    frame = av.VideoFrame(32 * len(codes), 32, "yuv420p10le")
    luma = np.repeat([round(64 + 876 * code) for code in codes], 32).astype("<u2")
    for plane, row in zip(frame.planes, (luma, None, None), strict=True):
        samples = np.full((plane.height, plane.line_size // 2), 512, "<u2")
        if row is not None:
            samples[:, : len(row)] = row
        plane.update(samples.tobytes())

    def configure(stream: av.VideoStream) -> None:
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = int(trc), 9, 9
        context.color_range = 1

    if tag:
        frame.color_trc, frame.color_primaries, frame.colorspace = int(trc), 9, 9
        frame.color_range = 1
    return _encode(
        path,
        [frame] * 2,
        codec=codec,
        pix_fmt="yuv420p10le",
        configure=configure if tag else lambda stream: None,
    )


@pytest.mark.parametrize(("trc", "code_of"), [(PQ, _pq_code), (HLG, _hlg_code)])
def test_hdr_greys_come_out_at_their_brightness(
    tmp_path: Path, trc: ColorTrc, code_of: Callable[[float], float]
) -> None:
    """Closed form: up to half of SDR's white light is kept (BT.1886), then it is rolled off."""
    nits = [0.5, 3, 10, 25, 48, 100, 203, 500, 1000]
    path = _write_hdr(tmp_path / "hdr.mkv", [code_of(n) for n in nits], trc)
    assert probe_video(path).is_hdr
    pixels = _pixels(path)[0]
    found = pixels[16, 16::32].astype(float)
    assert np.ptp(found, axis=1).max() <= 2, "greys stay grey"
    dark = [n for n in nits if n < 50]
    wanted = [255 * (n / 100) ** (1 / 2.4) for n in dark]
    np.testing.assert_allclose(found[: len(dark), 1], wanted, atol=3)
    assert list(found[:, 1]) == sorted(found[:, 1])
    assert 215 < found[nits.index(100), 1] < 240
    assert 235 < found[nits.index(203), 1] < 250
    assert found[-1, 1] >= 253
    luma = next(open_foreign(path).frames).planes.luma
    assert abs(float(luma[16, 16 + 32 * nits.index(25)]) - 255 * 0.25 ** (1 / 2.4)) < 4


def test_colours_that_the_container_alone_names_count(tmp_path: Path) -> None:
    """As where HEVC comes without the tags of its own: its decoder would drop the container's."""
    codes = [_pq_code(n) for n in (3, 25, 48)]
    bare = _write_hdr(tmp_path / "bare.mkv", codes, PQ, "libx265", tag=False)
    path = tmp_path / "tagged.mov"
    with av.open(str(bare)) as stored, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(stored.streams.video[0])
        told = stream.codec_context
        told.color_trc, told.color_primaries, told.colorspace, told.color_range = int(PQ), 9, 9, 1
        for packet in stored.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    assert probe_video(path).is_hdr
    assert not probe_video(bare).is_hdr
    found = _pixels(path)[0][16, 16::32, 1].astype(float)
    np.testing.assert_allclose(found, [255 * (n / 100) ** (1 / 2.4) for n in (3, 25, 48)], atol=3)


@pytest.mark.parametrize("primaries", [ColorPrimaries.BT2020, ColorPrimaries.SMPTE432])
def test_colours_of_wide_gamuts_are_kept(primaries: ColorPrimaries) -> None:
    """The primaries of BT.709, given in the wider gamut, come back; what is outside is clipped."""
    xy = {  # chromaticities of red, green, blue, and of D65
        ColorPrimaries.BT709: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
        ColorPrimaries.BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
        ColorPrimaries.SMPTE432: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    }

    def to_xyz(which: ColorPrimaries) -> NDArray[np.float64]:
        columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in xy[which]]).T
        white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
        return columns * np.linalg.solve(columns, white)

    wide = np.linalg.solve(to_xyz(primaries), to_xyz(ColorPrimaries.BT709)) @ (0.3 * np.eye(3))
    found = bt709_of(np.clip(wide.T, 0, 1) ** (1 / 2.4), ColorTrc.BT709, primaries)
    np.testing.assert_allclose(found, 0.3 ** (1 / 2.4) * np.eye(3), atol=0.03)
    pure = bt709_of(np.eye(3), ColorTrc.BT709, primaries)
    assert ((pure >= 0) & (pure <= 1)).all()
    coded = _pq_code(30)
    grey = bt709_of(np.full(3, coded), PQ, primaries)
    np.testing.assert_allclose(grey, 0.3 ** (1 / 2.4), atol=0.003)


def _two_tracks(path: Path, first: str, *, is_default: bool) -> Path:
    """A small dark track or a cover picture first, then the video."""
    with av.open(str(path), "w") as container:
        other = container.add_stream(first, rate=25)
        other.width, other.height = (128, 128) if first == "mjpeg" else (32, 24)
        other.pix_fmt = "yuvj420p" if first == "mjpeg" else "yuv420p"
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        if is_default:
            other.disposition = av.stream.Disposition(0)
            video.disposition = av.stream.Disposition.default
        for number in range(5):
            if first != "mjpeg" or number == 0:
                small = np.full((other.height, other.width, 3), 10, np.uint8)
                container.mux(other.encode(av.VideoFrame.from_ndarray(small, format="rgb24")))
            large = np.full((48, 64, 3), 200, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(large, format="rgb24")))
        for stream in (other, video):
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("first", "is_default"), [("libx264", True), ("libx264", False), ("mjpeg", True)]
)
def test_the_default_largest_moving_stream_is_read(
    tmp_path: Path, first: str, is_default: bool
) -> None:
    path = _two_tracks(tmp_path / "tracks.mkv", first, is_default=is_default)
    assert probe_video(path).size_hw == (48, 64)
    found = _pixels(path)
    assert found.shape == (5, 48, 64, 3)
    assert found.mean() > 150
    assert len(list(open_foreign(path).frames)) == 5


def test_a_file_with_cover_pictures_only_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(cover.encode(picture))
        container.mux(cover.encode(None))
    with pytest.raises(VideoError, match=r"song\.mp4: holds only cover pictures"):
        probe_video(path)


def _with_times(path: Path, ticks: Sequence[int], codec: str = "libx264") -> Path:
    """Frames at these times, in 1/30 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 30)
        for tick in ticks:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), tick, np.uint8), format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


# Matroska, TS and FLV give the rate of the frames that are there; AVI counts those that are not.
@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.ts", "libx264"), ("a.flv", "libx264"),
     ("a.webm", "libvpx"), ("a.avi", "mpeg4")],
)  # fmt: skip
def test_a_gap_in_time_is_told_and_does_not_lower_the_rate(
    tmp_path: Path, name: str, codec: str
) -> None:
    path = _with_times(tmp_path / name, [*range(30), *range(90, 120)], codec)
    info = probe_video(path)
    assert info.fps == pytest.approx(30)
    assert info.longest_gap_s == pytest.approx(61 / 30, abs=0.01)
    times_s = [frame.time_s for frame in iter_foreign_frames(path)]
    assert len(times_s) == 60
    assert max(np.diff(times_s)) == pytest.approx(61 / 30, abs=0.01)
    steady = probe_video(_with_times(tmp_path / f"steady{name}", range(30), codec))
    assert steady.fps == pytest.approx(30)
    assert steady.longest_gap_s == pytest.approx(1 / 30, abs=0.002)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_varying_rate_is_the_mean_whatever_the_header_says(tmp_path: Path, name: str) -> None:
    path = _with_times(tmp_path / name, np.cumsum([1, 1, 2] * 20).tolist())
    assert probe_video(path).fps == pytest.approx(30 / (4 / 3), rel=0.02)


# How far the shown frames may be from those of base.mp4, in levels, on average.
AS_BASE = {
    "mirror.mp4": 2, "sar.mkv": 3, "hlg_rot.mov": 9, "pq.mp4": 9, "interlaced.mp4": 3,
    "cover_first.mkv": 1, "twotracks.mp4": 3, "gap2s.mp4": 2,
}  # fmt: skip


@pytest.mark.parametrize("name", AS_BASE)
def test_troublesome_files_are_shown_as_the_clip_that_they_were_made_of(
    media: Path, name: str
) -> None:
    base = _pixels(media / "base.mp4")
    info, found = probe_video(media / name), _pixels(media / name)
    assert info.size_hw == base.shape[1:3] == found.shape[1:3]
    assert info.fps == pytest.approx(30)
    assert len(found) == len(base)
    assert np.abs(found.astype(float) - base).mean() < AS_BASE[name]
    assert info.is_hdr == (name in {"hlg_rot.mov", "pq.mp4"})
    assert info.is_interlaced == (name == "interlaced.mp4")
    assert info.longest_gap_s == pytest.approx(2.03 if name == "gap2s.mp4" else 1 / 30, abs=0.01)


def test_a_rate_that_no_header_averages_is_read() -> None:
    """Ogg's: FFmpeg's average of this puppet of 12 frames at 30/s is 0/0."""
    with av.open(str(THEORA)) as container:
        assert container.streams.video[0].average_rate is None
    info, found = probe_video(THEORA), _pixels(THEORA)
    assert (info.fps, info.size_hw) == (30, (96, 64))
    truth = render_puppet(1, 2, num_frames=12, size_hw=(96, 64)).frames
    assert np.abs(found.astype(float) - truth).mean() < 6


def test_a_dvd_is_shown_at_16_to_9(media: Path) -> None:
    info = probe_video(media / "sar_dvd.mpg")
    assert (info.size_hw, info.fps) == ((576, 1024), 25)
    assert next(iter_foreign_frames(media / "sar_dvd.mpg")).pixels.shape == (576, 1024, 3)
