from __future__ import annotations

import multiprocessing
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from aa_datasets.errors import KilledDecodeError, VideoError
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.canonical import encode_canonical, read_canonical
from aa_datasets.video.foreign import (
    DecodeLimits,
    iter_foreign_frames,
    open_foreign,
    probe_video,
)


@pytest.fixture(scope="module")
def mp4() -> bytes:
    return encode_canonical(render_puppet(1, 2, num_frames=26, size_hw=(64, 96)).frames, 25)


def _write(folder: Path, content: bytes) -> Path:
    path = folder / "some.mp4"
    path.write_bytes(content)
    return path


def _pixels(path: Path) -> np.ndarray:
    return np.stack([frame.pixels for frame in iter_foreign_frames(path)])


def _packets(path: Path) -> str:
    video = open_foreign(path)
    video.frames.close()
    return video.packets_sha256


def test_probe_says_what_was_encoded(mp4: bytes, tmp_path: Path) -> None:
    info = probe_video(_write(tmp_path, mp4))
    assert (info.codec, info.size_hw, info.fps) == ("h264", (64, 96), 25.0)
    assert (info.num_frames_claimed, info.sample_aspect_ratio) == (26, 1.0)
    assert not info.is_hdr
    assert not info.is_interlaced
    assert info.duration_s == pytest.approx(26 / 25, abs=0.01)


# Display matrices [a b; c d] as phones write them, and the clockwise quarter turns they ask for.
@pytest.mark.parametrize(
    ("matrix", "turns"), [((0, 1, -1, 0), 1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 3)]
)
def test_display_rotation_is_applied(
    mp4: bytes, tmp_path: Path, matrix: tuple[int, int, int, int], turns: int
) -> None:
    a, b, c, d = matrix
    rows = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    at = mp4.index(b"tkhd") + 44  # the matrix's place in a version 0 box (ISO/IEC 14496-12)
    assert mp4[mp4.index(b"tkhd") + 4] == 0
    packed = b"".join(value.to_bytes(4, "big", signed=True) for value in rows)
    path = _write(tmp_path, mp4[:at] + packed + mp4[at + 36 :])
    upright = read_canonical(mp4)
    turned = _pixels(path)
    np.testing.assert_array_equal(turned, np.rot90(upright, -turns, axes=(1, 2)))
    assert probe_video(path).size_hw == turned.shape[1:3]
    height, width = turned.shape[1:3]
    found = next(open_foreign(path).frames).planes
    path.write_bytes(mp4)
    upright_planes = next(open_foreign(path).frames).planes
    for plane in ("luma", "blue", "red"):
        wanted = np.rot90(getattr(upright_planes, plane), -turns)
        np.testing.assert_array_equal(getattr(found, plane), wanted)
    path.write_bytes(mp4[:at] + packed + mp4[at + 36 :])
    small = next(iter_foreign_frames(path, size_hw=(height // 2, width // 2))).pixels
    assert small.shape == (height // 2, width // 2, 3)
    by_opencv = cv2.resize(turned[0], small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(float) - by_opencv).mean() < 2


def test_frames_are_scaled_down_and_never_up(mp4: bytes, tmp_path: Path) -> None:
    path = _write(tmp_path, mp4)
    small = next(iter(iter_foreign_frames(path, max_side_px=48)))
    same = next(iter(iter_foreign_frames(path, max_side_px=500)))
    assert small.pixels.shape == (32, 48, 3)
    assert same.pixels.shape == (64, 96, 3)
    halves = same.pixels.reshape(32, 2, 48, 2, 3).mean((1, 3))
    assert np.abs(small.pixels - halves).mean() < 3


@pytest.mark.parametrize("kind", ["empty", "html", "noise", "cut_half", "cut_header", "zeroed"])
def test_broken_files_are_refused_by_name(mp4: bytes, tmp_path: Path, kind: str) -> None:
    middle = len(mp4) // 2
    content = {
        "empty": b"",
        "html": b"<!doctype html><html><body>404 Not Found</body></html>",
        "noise": np.random.default_rng(0).bytes(5000),
        "cut_half": mp4[:middle],
        "cut_header": mp4[:200],
        "zeroed": mp4[:middle] + bytes(len(mp4) - middle),
    }[kind]
    path = _write(tmp_path, content)
    with pytest.raises(VideoError, match=r"some\.mp4"):
        list(iter_foreign_frames(path))
    if kind not in ("cut_half", "zeroed"):  # their headers are whole
        with pytest.raises(VideoError, match=r"some\.mp4"):
            probe_video(path)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.mp4", tmp_path):
        with pytest.raises(VideoError, match=path.name):
            next(iter(iter_foreign_frames(path)))


def test_a_decoder_that_gives_nothing_in_time_is_killed(mp4: bytes, tmp_path: Path) -> None:
    path = _write(tmp_path, mp4)
    with pytest.raises(KilledDecodeError, match=r"some\.mp4: no frame in 0\.0001 s, killed"):
        probe_video(path, DecodeLimits(stall_s=1e-4))  # no process starts in so little time
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("name", ["list.ffconcat", "list.mp4"])
@pytest.mark.parametrize(
    "playlist",
    [
        "ffconcat version 1.0\nfile {target}\n",
        "\n#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
    ],
)
def test_a_playlist_cannot_make_the_decoder_open_other_files(
    mp4: bytes, tmp_path: Path, name: str, playlist: str
) -> None:
    target = tmp_path / "private.mp4"
    target.write_bytes(mp4)
    path = tmp_path / name
    path.write_text(playlist.format(target=target.name))
    if playlist.startswith("ffconcat"):  # what is refused here is what FFmpeg itself would do
        with av.open(str(path), format="concat") as container:
            assert container.streams.video[0].frames == 26 or next(container.decode(video=0))
    for read in (probe_video, open_foreign, lambda p: list(iter_foreign_frames(p))):
        with pytest.raises(VideoError, match="is a playlist, which may name other files"):
            read(path)


def test_a_format_that_is_not_whitelisted_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.mp4"
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(VideoError, match="in no container that is read"):
        probe_video(path)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "fragmented.mp4"])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_a_span_holds_the_frames_of_a_whole_decode(tmp_path: Path, name: str, codec: str) -> None:
    """With a jump where the container has an index, and open GOPs with B-frames to jump into."""
    path = tmp_path / name
    options = {"movflags": "frag_keyframe+empty_moov"} if name == "fragmented.mp4" else {}
    noise = np.random.default_rng(0).integers(0, 255, (250, 3), np.uint8)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.max_b_frames = 2
        stream.gop_size = 40
        if codec == "libx264":
            stream.options = {"x264-params": "open-gop=1:scenecut=0:bframes=2"}
        for number in range(250):
            picture = np.full((48, 64, 3), noise[number], np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    whole = list(iter_foreign_frames(path))
    assert len(whole) == 250
    for start_s, end_s in ((0.0, 0.5), (1.0, 2.0), (5.01, 6.0), (8.0, np.inf), (20.0, 30.0)):
        wanted = [frame for frame in whole if start_s <= frame.time_s < end_s]
        found = list(iter_foreign_frames(path, start_s=start_s, end_s=end_s))
        assert [f.time_s for f in found] == [f.time_s for f in wanted]
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(a.pixels, b.pixels)


def test_packets_survive_another_container_and_no_other_video_has_them(
    mp4: bytes, tmp_path: Path
) -> None:
    path, remuxed = _write(tmp_path, mp4), tmp_path / "other.mkv"
    with av.open(str(path)) as source, av.open(str(remuxed), "w") as sink:
        stream = sink.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                sink.mux(packet)
    assert remuxed.read_bytes() != mp4
    assert _packets(remuxed) == _packets(path)
    frames = render_puppet(1, 2, num_frames=26, size_hw=(64, 96)).frames
    other = tmp_path / "third.mp4"
    other.write_bytes(encode_canonical([*frames[:-1], 255 - frames[-1]], 25))  # its end differs
    assert _packets(other) != _packets(path)


def test_one_child_tells_everything(mp4: bytes, tmp_path: Path) -> None:
    path = _write(tmp_path, mp4)
    video = open_foreign(path, max_side_px=48, start_s=0.2, end_s=0.6)
    assert video.info == probe_video(path)
    found = list(video.frames)
    assert multiprocessing.active_children() == []
    wanted = list(iter_foreign_frames(path, max_side_px=48, start_s=0.2, end_s=0.6))
    assert [f.time_s for f in found] == [f.time_s for f in wanted]
    video = open_foreign(path)
    # Its 479 kB of frames are more than the pipe holds: the child waits, the only one.
    assert len(multiprocessing.active_children()) == 1
    next(video.frames)
    video.frames.close()
    assert multiprocessing.active_children() == []
    path.write_bytes(mp4[: len(mp4) // 2])
    with pytest.raises(VideoError, match=r"some\.mp4"):
        list(open_foreign(path).frames)


@pytest.mark.parametrize("max_side_px", [None, 95, 40])
@pytest.mark.parametrize(
    ("pixel_format", "codec", "full_range"),
    [
        ("yuv420p", "libx264", False),
        ("yuvj420p", "libx264", True),
        ("yuv422p10le", "libx264", False),
        ("rgb24", "libx264rgb", True),
        ("gray", "libx264", False),
    ],
)
def test_planes_are_the_rgb_frames_in_full_range(
    pixel_format: str, codec: str, full_range: bool, max_side_px: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "some.mkv"
    # Smooth, so that where a plane's samples lie makes no difference, with black and white in it.
    across, down = np.meshgrid(np.linspace(0, 1, 96), np.linspace(0, 1, 64))
    colours = np.stack([across, across * down, 0.5 * (across + down)], -1)
    rgb = (255 * colours).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, pixel_format
        if full_range and codec == "libx264":
            stream.codec_context.color_range = 2
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    found = list(open_foreign(path, max_side_px=max_side_px).frames)
    wanted = list(iter_foreign_frames(path, max_side_px=max_side_px))
    assert len(found) == len(wanted) == 3
    for ours, frame in zip(found, wanted, strict=True):
        planes, pixels = ours.planes, frame.pixels
        height, width = pixels.shape[:2]
        assert planes.luma.shape == (height, width)
        assert planes.blue.shape == planes.red.shape == ((height + 1) // 2, (width + 1) // 2)
        luma, red, blue = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb))
        for plane, expected in ((planes.luma, luma), (planes.blue, blue), (planes.red, red)):
            large = cv2.resize(plane, (width, height)).astype(int)
            assert np.abs(large - expected)[4:-4, 4:-4].max() <= 6
        assert planes.luma.min() <= 2
        assert planes.luma.max() >= (250 if max_side_px is None else 240)


def test_waiting_is_bounded_and_the_consumers_own_time_is_not_counted(
    mp4: bytes, tmp_path: Path
) -> None:
    path = _write(tmp_path, mp4)
    with pytest.raises(KilledDecodeError, match=r"took over 0\.001 s, killed"):
        list(iter_foreign_frames(path, DecodeLimits(total_s=1e-3)))
    assert multiprocessing.active_children() == []
    frames = iter_foreign_frames(path, DecodeLimits(total_s=20))
    found = [next(frames)]
    with pytest.MonkeyPatch.context() as patch:  # the consumer thinks for an hour
        began_s, later_s = time.monotonic(), time.monotonic() + 3600
        patch.setattr(time, "monotonic", lambda: later_s + time.perf_counter() - began_s)
        found += frames
    assert len(found) == len(list(iter_foreign_frames(path)))


@pytest.mark.slow
def test_a_decoder_that_works_on_what_is_not_wanted_is_not_killed(tmp_path: Path) -> None:
    """No jump where the first frame is the only key frame: what lies before the span is decoded,
    without a frame."""
    path, stall_s = tmp_path / "some.ts", 1.0
    noise = np.random.default_rng(0).integers(0, 256, (8, 512, 512, 3), np.uint8)
    with av.open(str(path), "w") as container:
        options = {"crf": "1", "preset": "ultrafast", "tune": "fastdecode", "g": "1000"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 512, 512, "yuv420p"
        for number in range(500):
            picture = av.VideoFrame.from_ndarray(noise[number % 8], format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    begun_s = time.monotonic()
    frames = list(iter_foreign_frames(path, DecodeLimits(stall_s=stall_s), start_s=19.8))
    assert time.monotonic() - begun_s > 1.5 * stall_s, "the video is too easy for this test"
    assert len(frames) == 5
    # What is slower than the bound, but not for its length, is not killed either.
    slow = open_foreign(path, DecodeLimits(total_s=1.0, s_per_video_s=10))
    assert sum(1 for _ in slow.frames) == 500
    with pytest.raises(KilledDecodeError, match=r"s_per_video_s=0\)"):
        list(open_foreign(path, DecodeLimits(total_s=1.0, s_per_video_s=0)).frames)


def test_size_is_bounded(mp4: bytes, tmp_path: Path) -> None:
    path, limits = _write(tmp_path, mp4), DecodeLimits(max_pixels=64 * 96 - 1)
    with pytest.raises(VideoError, match="96x64 is over the limit"):
        probe_video(path, limits)
    with pytest.raises(VideoError, match="96x64 is over the limit"):
        list(iter_foreign_frames(path, limits))


def test_memory_is_bounded(tmp_path: Path) -> None:
    large = encode_canonical(np.zeros((1, 2160, 3840, 3), np.uint8), 25)
    path = _write(tmp_path, large)
    with pytest.raises(VideoError, match=r"some\.mp4"):
        list(iter_foreign_frames(path, DecodeLimits(memory_bytes=150 << 20)))


def test_child_ends_when_the_reader_stops_early(mp4: bytes, tmp_path: Path) -> None:
    frames = iter_foreign_frames(_write(tmp_path, mp4))
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


def test_frames_come_in_the_size_that_is_asked_for_as_displayed(mp4: bytes, tmp_path: Path) -> None:
    path = _write(tmp_path, mp4)
    (full, *_), (small, *_) = (
        list(iter_foreign_frames(path, size_hw=size_hw)) for size_hw in (None, (20, 44))
    )
    assert small.pixels.shape == (20, 44, 3)
    by_opencv = cv2.resize(full.pixels, (44, 20), interpolation=cv2.INTER_AREA)
    assert np.abs(small.pixels.astype(float) - by_opencv).mean() < 2


def test_threads_that_read_videos_leave_the_main_module_in_place(
    mp4: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, main = _write(tmp_path, mp4), sys.modules["__main__"]
    monkeypatch.setitem(sys.modules, "__main__", main)  # back in its place if this fails
    with ThreadPoolExecutor(4) as pool:
        rates = {info.fps for info in pool.map(probe_video, [path] * 12)}
    assert rates == {25.0}
    assert sys.modules["__main__"] is main
