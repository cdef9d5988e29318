"""Sources, layouts, pairing: what is found in a folder, and every reason to refuse it by name."""

from __future__ import annotations

import os
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from aa_eval.errors import PairingError, VideoError
from aa_eval.videos.layout import find_videos
from aa_eval.videos.pairing import PROBLEMS, make_pairs
from aa_eval.videos.source import VideoSource, iter_frames, probe


def frames(count: int = 4, size_hw: tuple[int, int] = (16, 20), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *size_hw, 3), dtype=np.uint8)


def write_tree(folder: Path, videos: dict[str, np.ndarray], first: int = 0) -> Path:
    for name, video in videos.items():
        (folder / name).mkdir(parents=True)
        for number, frame in enumerate(video, start=first):
            Image.fromarray(frame).save(folder / name / f"{number:04}.png")
    return folder


def write_video(path: Path, video: np.ndarray, codec: str, fps: int = 25) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = video.shape[1:3]
        stream.pix_fmt = {"ffv1": "bgr0", "gif": "rgb8"}.get(codec, "yuv420p")
        for frame in video:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "ffv1"), ("a.mp4", "mpeg4"), ("a.gif", "gif"), ("a.webm", "libvpx-vp9")],
)
def test_video_files_are_read_frame_by_frame(tmp_path: Path, name: str, codec: str) -> None:
    video = np.repeat(np.arange(0, 240, 40, dtype=np.uint8), 16 * 32 * 3).reshape(6, 16, 32, 3)
    folder = find_videos(write_video(tmp_path / "v" / name, video, codec).parent)
    assert (folder.layout, list(folder.videos)) == ("video-files", ["a"])
    info = probe(folder.videos["a"])
    assert (info.size_hw, info.num_frames) == ((16, 32), 6)
    assert info.fps == pytest.approx(25)
    read = np.stack(list(iter_frames(folder.videos["a"])))
    if codec == "ffv1":
        np.testing.assert_array_equal(read, video)
    # GIFs here are dithered to 256 fixed colours: the levels are right on average
    levels = [frames.mean(axis=(1, 2, 3)) for frames in (read, video)]
    np.testing.assert_allclose(*levels, atol=12)
    assert len(list(iter_frames(folder.videos["a"].first(2)))) == 2


def test_png_frames_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    video = frames(12)
    (tmp_path / "v" / "a").mkdir(parents=True)
    for number, frame in enumerate(video):  # 2 sorts behind 10 as text
        Image.fromarray(frame).save(tmp_path / "v" / "a" / f"frame{number}.png")
    (tmp_path / "v" / "a" / ".hidden.png").write_bytes(b"")
    (tmp_path / "v" / "notes.txt").write_text("not a frame")
    source = find_videos(tmp_path / "v").videos["a"]
    assert source.numbers == tuple(range(12))
    np.testing.assert_array_equal(np.stack(list(iter_frames(source))), video)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z0-9]{1,6}(_[a-z0-9]{1,4})?", fullmatch=True),
        st.sets(st.integers(0, 999), min_size=1, max_size=4), min_size=1, max_size=3,
    ),
    st.sampled_from(["{}_{:04}.png", "TiktokDance_{}_{:04}.png", "TiktokDance_{}_{:04}png.png"]),
)  # fmt: skip
@settings(max_examples=25)
def test_flat_folders_come_apart_again(
    tmp_path_factory: pytest.TempPathFactory, videos: dict[str, set[int]], pattern: str
) -> None:
    folder = tmp_path_factory.mktemp("flat")
    for name, numbers in videos.items():
        for number in numbers:
            Image.new("RGB", (4, 4)).save(folder / pattern.format(name, number))
    found = find_videos(folder)
    assert found.layout == "flat-frames"
    assert {n: set(s.numbers or ()) for n, s in found.videos.items()} == videos


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no video in it: expected"),
        (["a.mp4", "b_1.png"], r"more than one layout \(1 as video-files, 1 as flat-frames\)"),
        (["a.mp4", "a.gif"], r"two videos are called 'a' \(a.gif and a.mp4\)"),
        (["v/1.png", "v/x1.png"], "named differently from"),
        (["v/1.png", "v/01.png"], r"frame 1 is there twice \(also 01.png\)"),
        (["v/1.png", "v/one.png"], "holds no frame number"),
        (["frame.png"], "names them <video>_<number>.png"),
        (["v/1.png", "w/x/1.png"], r"w/x/1\.png: too deep"),
        (["v/1.png", "v/x/1.mp4"], r"v/x/1\.mp4: too deep"),
        (["w/x/1.png"], "too deep.* name the folder that holds the videos"),
        (["a.mp4", "b.AVI"], r"b\.AVI: \.AVI is not read: convert it to mp4"),
        (["v/1.png", "w/1.webp"], r"1\.webp: \.webp is not read: convert it to png"),
        (["v/1.png", "w/"], "w: empty, between folders of frames"),
        (["a.mp4", "b.mp4 -> nothing.mp4"], r"b\.mp4: a link to nothing"),
        (["v/1.png", "v/2.png -> 3.png"], r"2\.png: a link to nothing"),
        (["v\n/1.png"], r"v\\n': a name with bytes that are not text"),
        ([os.fsdecode(b"\xff.mp4")], r"\\udcff.mp4': a name with bytes that are not text"),
    ],
)
def test_what_cannot_be_understood_is_refused(
    tmp_path: Path, names: list[str], message: str
) -> None:
    for name in names:
        name, _, target = name.partition(" -> ")
        (tmp_path / "f" / name).parent.mkdir(parents=True, exist_ok=True)
        if target:
            (tmp_path / "f" / name).symlink_to(target)
        elif name.endswith("/"):
            (tmp_path / "f" / name).mkdir()
        else:
            (tmp_path / "f" / name).write_bytes(b"x")
    (tmp_path / "f").mkdir(exist_ok=True)
    with pytest.raises(VideoError, match=message):
        find_videos(tmp_path / "f")


def write_animation(file: Path) -> None:
    pictures = [Image.fromarray(frame) for frame in frames(2)]
    pictures[0].save(file, save_all=True, append_images=pictures[1:])


def write_turned(file: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (20, 16)).save(file, exif=exif)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.write_bytes(b""), r"2\.png: empty file"),
        (lambda f: f.write_bytes(b"GIF89 no"), r"2\.png: not an image"),
        (lambda f: Image.new("RGB", (9, 9)).save(f), r"2\.png: 9x9 8-bit colour, but the frames"),
        (lambda f: Image.new("RGBA", (20, 16)).save(f), "8-bit colour with alpha, but"),
        (write_animation, r"2\.png: an animation of 2 pictures: expected one per frame"),
        (write_turned, r"2\.png: its Exif header asks viewers to turn it"),
    ],
)
def test_a_frame_unlike_the_others_is_refused(tmp_path: Path, change: object, message: str) -> None:
    write_tree(tmp_path / "v", {"a": frames()})
    change(tmp_path / "v" / "a" / "0002.png")  # type: ignore[operator]
    with pytest.raises(VideoError, match=message):
        probe(find_videos(tmp_path / "v").videos["a"])


def test_a_frame_cut_off_in_its_pixels_is_refused_by_check_and_when_read(tmp_path: Path) -> None:
    file = write_tree(tmp_path / "v", {"a": frames()}) / "a" / "0002.png"
    file.write_bytes(file.read_bytes()[:-200])
    source = find_videos(tmp_path / "v").videos["a"]
    for read in (probe, lambda of: list(iter_frames(of))):
        with pytest.raises(VideoError, match=r"0002\.png: truncated"):
            read(source)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_rgba16(file: Path) -> None:
    """8x8, which Pillow can read but not write."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 6, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(8 * bytes(1 + 8 * 8)))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + png_chunk(b"IEND", b""))


def test_kinds_of_pixels_are_told_apart(tmp_path: Path) -> None:
    grey16 = np.full((8, 8), 257 * 200, dtype=np.uint16)
    images = {
        "1-bit grey": Image.new("1", (8, 8)),
        "8-bit grey": Image.new("L", (8, 8), 200),
        "8-bit palette": Image.new("RGB", (8, 8)).quantize(4),
        "8-bit colour with alpha": Image.new("RGBA", (8, 8)),
        "16-bit grey": Image.fromarray(grey16),
    }
    for kind, image in images.items():
        file = tmp_path / f"{kind}.png"
        image.save(file)
        source = VideoSource("a", (file,), (0,))
        assert probe(source).kind == kind
        assert next(iter_frames(source)).shape == (8, 8, 3)
    write_rgba16(tmp_path / "16.png")
    assert probe(VideoSource("a", (tmp_path / "16.png",), (0,))).kind == "16-bit colour with alpha"
    sixteen = next(iter_frames(VideoSource("a", (tmp_path / "16-bit grey.png",), (0,))))
    assert (sixteen == 200).all()


def damaged(tmp_path: Path, problem: str) -> None:
    """Two videos of 4 frames, the prediction with one problem."""
    gen = write_tree(tmp_path / "gen", {"a": frames(), "b": frames()})
    write_tree(tmp_path / "gt", {"a": frames(), "b": frames()})

    def rewrite(convert: str) -> None:
        for file in (gen / "b").iterdir():
            Image.open(file).convert(convert).save(file)

    match problem:
        case "missing-videos":
            (gen / "b").rename(tmp_path / "away")
        case "extra-videos":
            write_tree(gen, {"c": frames()})
        case "frame-count":
            (gen / "b" / "0003.png").unlink()
        case "frame-numbers":
            for number in (3, 2, 1, 0):
                (gen / "b" / f"{number:04}.png").rename(gen / "b" / f"{number + 1:04}.png")
        case "numbering-gap":
            for tree in ("gen", "gt"):
                (tmp_path / tree / "b" / "0002.png").unlink()
        case "size":
            for file in (gen / "b").iterdir():
                Image.open(file).resize((10, 8)).save(file)
        case "channels":
            rewrite("RGBA")
        case "bit-depth":
            rewrite("I;16")


@pytest.mark.parametrize(
    "problem", sorted(PROBLEMS.keys() - {"fps", "same-files", "test-split", "test-frames"})
)
def test_each_problem_is_refused_by_name_and_overridden_by_its_flag(
    tmp_path: Path, problem: str
) -> None:
    damaged(tmp_path, problem)
    folders = find_videos(tmp_path / "gen"), find_videos(tmp_path / "gt")
    with pytest.raises(PairingError, match=rf"'[bc]'.*--allow {problem} \(it will be written"):
        make_pairs(*folders)
    others = frozenset(PROBLEMS) - {problem}
    with pytest.raises(PairingError, match=f"--allow {problem}"):
        make_pairs(*folders, others)
    pairs, overrides = make_pairs(*folders, frozenset({problem}))
    assert len(overrides) == (2 if problem == "numbering-gap" else 1)  # a gap on either side
    assert all(text.startswith(f"allow {problem}: ") for text in overrides)
    for pair in pairs:
        assert pair.prediction is not None
        ours, theirs = (list(iter_frames(side)) for side in (pair.prediction, pair.reference))
        assert len(ours) == len(theirs) == pair.num_frames


def test_frame_rates_are_compared(tmp_path: Path) -> None:
    for side, fps in (("gen", 25), ("gt", 30), ("same", 30)):
        write_video(tmp_path / side / "a.mp4", frames(6, (16, 32)), "mpeg4", fps)
    folders = [find_videos(tmp_path / side) for side in ("gen", "gt", "same")]
    with pytest.raises(PairingError, match=r"'a' has 25 fps, its reference 30.*allow fps"):
        make_pairs(folders[0], folders[1])
    _, overrides = make_pairs(folders[0], folders[1], frozenset({"fps"}))
    assert overrides == ("allow fps: prediction 'a' has 25 fps, its reference 30",)
    assert make_pairs(folders[2], folders[1])[1] == ()


def write_timed(path: Path, times_ms: list[int]) -> None:
    """A video whose frames begin at these times."""
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.time_base = 16, 32, Fraction(1, 1000)
        stream.codec_context.time_base = Fraction(1, 1000)
        for time_ms, pixels in zip(times_ms, frames(len(times_ms), (16, 32)), strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_variable_frame_rate_is_refused(tmp_path: Path, suffix: str) -> None:
    write_timed(tmp_path / "even" / f"a.{suffix}", [0, 33, 67, 100, 133, 167])
    write_timed(tmp_path / "uneven" / f"a.{suffix}", [0, 33, 67, 133, 150, 167])
    even, uneven = (find_videos(tmp_path / name) for name in ("even", "uneven"))
    assert make_pairs(None, even)[1] == ()
    with pytest.raises(PairingError, match=r"prediction 'a' has a variable frame rate.*allow fps"):
        make_pairs(uneven, even)
    assert make_pairs(uneven, even, frozenset({"fps"}))[1][0].startswith("allow fps: ")


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mkv", "mpeg4"), ("a.webm", "libvpx-vp9"), ("a.gif", "gif")]
)
def test_formats_without_a_frame_count_are_refused_when_cut_off(
    tmp_path: Path, name: str, codec: str
) -> None:
    file = write_video(tmp_path / name, frames(30, (32, 32)), codec)
    source = VideoSource("a", (file,))
    assert probe(source).num_frames == 30
    for share in (0.9, 0.5):
        file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
        with pytest.raises(VideoError, match="truncated"):
            probe(source)


def test_an_image_in_the_clothes_of_a_video_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (32, 16)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.mp4")
    with pytest.raises(VideoError, match="expected mp4, gif, webm or mkv"):
        probe(VideoSource("a", (tmp_path / "a.mp4",)))


def test_nothing_in_common_and_unknown_flags_are_refused(tmp_path: Path) -> None:
    write_tree(tmp_path / "gen", {"x": frames()})
    write_tree(tmp_path / "gt", {"a": frames()})
    folders = find_videos(tmp_path / "gen"), find_videos(tmp_path / "gt")
    with pytest.raises(PairingError, match=r"has 'x', .* has 'a': no video id in common"):
        make_pairs(*folders, frozenset(PROBLEMS))
    with pytest.raises(PairingError, match="--allow typo: unknown: choose from missing-videos"):
        make_pairs(*folders, frozenset({"typo"}))
