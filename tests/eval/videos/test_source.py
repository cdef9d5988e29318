"""Video files as phones and editors leave them: one verdict in `check` and in scoring."""

from __future__ import annotations

import os
import unicodedata
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorTrc
from PIL import Image

from aa_eval.errors import VideoError
from aa_eval.videos.layout import find_videos
from aa_eval.videos.pairing import make_pairs
from aa_eval.videos.source import VideoSource, iter_frames, probe

THEORA = Path(__file__).parents[2] / "files" / "theora.ogv"


def write(
    path: Path,
    *,
    first: int = 0,
    streams: int = 1,
    rotate: int = 0,
    pixel_aspect: Fraction = Fraction(1),
    transfer: ColorTrc = ColorTrc.BT709,
    primaries: ColorPrimaries = ColorPrimaries.BT709,
) -> VideoSource:
    """Ten frames, the n-th of level 20 n; `first` frames lie before the edit list's start."""
    path.parent.mkdir(parents=True, exist_ok=True)
    keep = {"avoid_negative_ts": "disabled"}
    with av.open(str(path), "w", options=keep if first else {}) as container:
        tracks = [container.add_stream("mpeg4", rate=25) for _ in range(streams)]
        for track in tracks:
            track.width = track.height = 64
            track.pix_fmt = "yuv420p"
            track.gop_size = 1
            track.codec_context.sample_aspect_ratio = pixel_aspect
            track.codec_context.color_trc = transfer
            track.codec_context.color_primaries = primaries
            if rotate:
                track.set_display_rotation(rotate)
        for number in range(10):
            picture = np.full((64, 64, 3), 20 * number, np.uint8)
            for track in tracks:
                for packet in track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                    shift = round(first / 25 / packet.time_base)
                    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                    container.mux(packet)
    return VideoSource(path.stem, (path,))


def test_frames_before_an_edit_list_are_neither_shown_nor_missed(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mp4", first=3)
    assert probe(source).num_frames == 7
    levels = [frame.mean() for frame in iter_frames(source)]
    assert levels == pytest.approx([60, 80, 100, 120, 140, 160, 180], abs=2)


def refusal(source: VideoSource) -> str:
    """The same sentence from `probe`, which `check` rests on, and from reading the frames."""
    messages = []
    for read in (probe, lambda s: list(iter_frames(s))):
        with pytest.raises(VideoError) as error:
            read(source)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    return messages[0]


def test_what_players_turn_is_refused_by_check_and_by_scoring_alike(tmp_path: Path) -> None:
    assert "rotate or mirror it (90 degrees)" in refusal(write(tmp_path / "a.mp4", rotate=90))


def test_pixels_that_are_not_square_are_refused_and_rounding_is_not(tmp_path: Path) -> None:
    wide = refusal(write(tmp_path / "a.mp4", pixel_aspect=Fraction(64, 45)))
    assert "its pixels are 1.422 times as wide as high" in wide
    assert "setsar=1" in wide
    rounded = write(tmp_path / "b.mp4", pixel_aspect=Fraction(1280, 1277))
    assert len(list(iter_frames(rounded))) == 10


@pytest.mark.parametrize(
    ("transfer", "name"), [(ColorTrc.SMPTE2084, "PQ"), (ColorTrc.ARIB_STD_B67, "HLG")]
)
def test_hdr_is_refused_and_not_scored_as_grey(
    tmp_path: Path, transfer: ColorTrc, name: str
) -> None:
    assert f"is HDR ({name})" in refusal(write(tmp_path / "a.mkv", transfer=transfer))


@pytest.mark.parametrize(
    ("primaries", "name"),
    [(ColorPrimaries.BT2020, "BT.2020"), (ColorPrimaries.SMPTE432, "Display P3")],
)
def test_wide_gamuts_are_refused_and_not_scored_as_pale(
    tmp_path: Path, primaries: ColorPrimaries, name: str
) -> None:
    source = write(tmp_path / "a.mkv", primaries=primaries)
    assert f"its colours are {name}, expected BT.709" in refusal(source)


def test_two_video_streams_are_refused(tmp_path: Path) -> None:
    assert "holds 2 video streams, expected 1" in refusal(write(tmp_path / "a.mp4", streams=2))


def test_alpha_of_webm_is_refused_as_that_of_png(tmp_path: Path) -> None:
    path = tmp_path / "v" / "a.webm"
    path.parent.mkdir()
    with av.open(str(path), "w") as container:
        track = container.add_stream("libvpx-vp9", rate=25)
        track.width = track.height = 64
        track.pix_fmt = "yuva420p"
        track.metadata["alpha_mode"] = "1"
        for _ in range(2):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 4), np.uint8), format="rgba")
            container.mux(track.encode(picture.reformat(format="yuva420p")))
        container.mux(track.encode())
    assert probe(VideoSource("a", (path,))).kind == "8-bit colour with alpha"


def test_holes_of_a_gif_are_refused_as_alpha_of_png(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for name, opaque in (("whole", True), ("holes", False)):
        frames = draw.integers(0, 256, (3, 20, 20, 4), dtype=np.uint8)
        frames[..., 3] = 255
        frames[1:, :5, :5, 3] = 255 if opaque else 0
        first, *others = map(Image.fromarray, frames)
        path = tmp_path / f"{name}.gif"
        first.save(path, save_all=True, append_images=others, duration=100, disposal=2)
        source = VideoSource(name, (path,))
        if opaque:
            assert len(list(iter_frames(source))) == 3
        else:
            with pytest.raises(VideoError, match="transparent pixels"):
                list(iter_frames(source))


def test_a_video_whose_size_changes_midway_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        track = container.add_stream("mjpeg", rate=10)
        track.width = track.height = 48
        track.pix_fmt = "yuvj420p"
        for time, side in enumerate((48, 48, 64)):
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.width = encoder.height = side
            encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1, 10)
            picture = np.zeros((side, side, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            for packet in (*encoder.encode(frame), *encoder.encode()):
                packet.stream = track
                packet.pts = packet.dts = time
                container.mux(packet)
    with pytest.raises(VideoError, match="frame 2 is 64x64, but the header says 48x48"):
        list(iter_frames(VideoSource("a", (path,))))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mirror.mp4", "rotate or mirror"),
        ("interlaced.mp4", "is interlaced"),
        ("hlg_rot.mov", "rotate or mirror"),
        ("pq.mp4", "is HDR (PQ)"),
        ("sar.mkv", "0.5625 times as wide"),
        ("sar_dvd.mpg", "MPEG-PS"),
        ("twotracks.mp4", "2 video streams"),
        ("cover_first.mkv", "2 video streams"),
    ],
)
def test_troublesome_media(media: Path, name: str, reason: str) -> None:
    assert reason in refusal(VideoSource("a", (media / name,)))


def test_ogg_is_refused_by_name() -> None:
    assert "is Ogg" in refusal(VideoSource("a", (THEORA,)))


def test_a_hole_in_time_is_an_unsteady_rate(media: Path) -> None:
    """`make_pairs` refuses it next to the clip that it was made of, by that name."""
    base, gap = (probe(VideoSource("a", (media / f"{n}.mp4",))) for n in ("base", "gap2s"))
    assert (base.num_frames, base.steady, gap.steady) == (gap.num_frames, True, False)


def png(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)


def test_what_systems_leave_in_folders_is_passed_over(tmp_path: Path) -> None:
    png(tmp_path / "a" / "0.png")
    png(tmp_path / "__MACOSX" / "a" / "0.png")
    (tmp_path / "a" / "._0.png").write_bytes(b"resource fork")
    assert list(find_videos(tmp_path).videos) == ["a"]


def test_a_pipe_is_named_as_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(VideoError, match=r"a\.mp4: a pipe, socket or device, expected a file"):
        find_videos(tmp_path)
    with pytest.raises(VideoError, match="neither a folder nor a file"):
        find_videos(tmp_path / "a.mp4")


def test_the_same_name_in_two_unicode_forms_is_one_video(tmp_path: Path) -> None:
    for side, form in (("gt", "NFC"), ("gen", "NFD")):
        png(tmp_path / side / unicodedata.normalize(form, "caf\u00e9") / "0.png")
    pairs, overrides = make_pairs(find_videos(tmp_path / "gen"), find_videos(tmp_path / "gt"))
    assert [(p.video_id, overrides) for p in pairs] == [("caf\u00e9", ())]
    png(tmp_path / "gt" / unicodedata.normalize("NFD", "caf\u00e9") / "0.png")
    with pytest.raises(VideoError, match="two videos are called"):
        find_videos(tmp_path / "gt")
