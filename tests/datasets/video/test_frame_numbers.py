"""Barcodes: every frame carries its own number, and every reader must give the frames asked for."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aa_datasets.errors import VideoError
from aa_datasets.video.canonical import encode_canonical, read_canonical
from aa_datasets.video.foreign import iter_foreign_frames, probe_video

COUNT, FPS = 70, 25  # nearly six canonical GOPs
BITS = 8
X264 = {"x264-params": "keyint=25:scenecut=0:bframes=3:b-pyramid=normal"}
OPEN_GOP = {"x264-params": "keyint=20:scenecut=0:bframes=3:open-gop=1"}
ONE_GOP = {"x264-params": "keyint=infinite:scenecut=0:bframes=3"}
INTRA = {"x264-params": "keyint=1"}
VP9 = {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "10"}
CASES = (
    ("libx264", "mp4", X264), ("libx264", "mov", X264), ("libx264", "mkv", X264),
    ("libx264", "avi", X264), ("libx264", "ts", X264), ("libx264", "flv", X264),
    ("libx264", "mp4", OPEN_GOP), ("libx264", "mkv", ONE_GOP), ("libx264", "mov", INTRA),
    ("mpeg4", "mp4", {"bf": "2"}), ("mpeg4", "avi", {"bf": "2"}), ("mpeg4", "mkv", {}),
    ("libvpx-vp9", "webm", VP9), ("libvpx-vp9", "mkv", VP9), ("mjpeg", "avi", {}),
)  # fmt: skip


def barcode(number: int) -> np.ndarray:
    """The number's bits as eight blocks of 16 x 16, under a gradient that moves."""
    frame = np.zeros((32, 128, 3), np.uint8)
    for bit in range(BITS):
        frame[:16, 16 * bit : 16 * bit + 16] = 255 * (number >> bit & 1)
    frame[16:] = ((np.arange(128) * 2 + 5 * number) % 256)[None, :, None]
    return frame


def number_of(frame: np.ndarray) -> int:
    blocks = frame[:16].mean(-1).reshape(16, BITS, 16).mean((0, 2))
    assert (np.abs(blocks - 127.5) > 90).all(), f"no barcode: {blocks}"
    return int((1 << np.arange(BITS))[blocks > 127.5].sum())


def numbers_of(frames: Iterable[np.ndarray]) -> list[int]:
    return [number_of(frame) for frame in frames]


def write(path: Path, codec: str, options: dict[str, str]) -> Path:
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=dict(options))
        stream.width, stream.height = 128, 32
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 4_000_000
        for number in range(COUNT):
            picture = av.VideoFrame.from_ndarray(barcode(number), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def canonical() -> bytes:
    return encode_canonical((barcode(number) for number in range(COUNT)), FPS)


@pytest.mark.parametrize(("codec", "container", "options"), CASES)
def test_foreign_files_give_every_frame_once_and_in_order(
    tmp_path: Path, codec: str, container: str, options: dict[str, str]
) -> None:
    path = write(tmp_path / f"video.{container}", codec, options)
    frames = list(iter_foreign_frames(path))
    assert numbers_of(frame.pixels for frame in frames) == list(range(COUNT))
    assert probe_video(path).fps == pytest.approx(FPS, rel=0.01)
    # And what curation makes of them is exact for random access, whatever it came from.
    mp4 = encode_canonical((frame.pixels for frame in frames), FPS)
    wanted = np.array([69, 0, 13, 12, 11, 47, 48, 13])
    assert numbers_of(read_canonical(mp4, wanted, num_frames=COUNT)) == wanted.tolist()


@settings(max_examples=30)
@given(start=st.integers(0, COUNT - 1), length=st.integers(1, 24), stride=st.integers(1, 4))
def test_both_decoders_of_canonical_video_give_the_window_asked_for(
    canonical: bytes, start: int, length: int, stride: int
) -> None:
    window = np.arange(start, min(start + length * stride, COUNT), stride)
    for decoder in ("pyav", "decord"):
        found = read_canonical(canonical, window, num_frames=COUNT, decoder=decoder)
        assert numbers_of(found) == window.tolist()


def test_the_readers_agree_to_the_last_bit(canonical: bytes, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(canonical)
    every = _from_the_start(canonical)
    window = np.array([69, 3, *range(20, 44)])
    for mp4 in (canonical, path):
        for decoder in ("pyav", "decord"):
            np.testing.assert_array_equal(read_canonical(mp4, decoder=decoder), every)
            found = read_canonical(mp4, window, decoder=decoder)
            np.testing.assert_array_equal(found, every[window])


def _from_the_start(mp4: bytes) -> np.ndarray:
    """The plainest way: no jump, PyAV's own conversion."""
    with av.open(io.BytesIO(mp4)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize("width", [16, 24, 48, 72])
def test_widths_that_decord_cannot_read_are_read_by_pyav(width: int) -> None:
    frames = np.zeros((3, 32, width, 3), np.uint8)
    frames[1:, :, : width // 2] = [[[[255]]], [[[100]]]]
    mp4 = encode_canonical(frames, FPS)
    with pytest.warns(RuntimeWarning, match="decord cannot read .* read by PyAV"):
        found = read_canonical(mp4, np.array([2, 0]), num_frames=3, decoder="decord")
    np.testing.assert_array_equal(found, _from_the_start(mp4)[[2, 0]])
    assert np.abs(found.astype(int) - frames[[2, 0]]).mean() < 12


@pytest.mark.parametrize("damage", ["cut", "zeroed", "noise"])
def test_neither_decoder_hides_damage(canonical: bytes, damage: str) -> None:
    middle, tail = len(canonical) // 2, len(canonical) - len(canonical) // 2
    broken = (
        canonical[:middle]
        + {
            "cut": b"",
            "zeroed": bytes(tail),
            "noise": np.random.default_rng(0).bytes(tail),
        }[damage]
    )
    for decoder in ("pyav", "decord"):
        with pytest.raises(VideoError, match="video of"):
            read_canonical(broken, num_frames=COUNT, decoder=decoder)
