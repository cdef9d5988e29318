from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aa_datasets.errors import VideoError
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.canonical import GOP_FRAMES, encode_canonical, read_canonical
from aa_datasets.video.foreign import iter_foreign_frames


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return render_puppet(3, 4, num_frames=31, size_hw=(96, 128)).frames


@pytest.fixture(scope="module")
def mp4(frames: np.ndarray) -> bytes:
    return encode_canonical(frames, 24)


@pytest.mark.parametrize("fps", [24, 30000 / 1001, 12.5])
def test_decord_and_pyav_give_equal_pixels(frames: np.ndarray, tmp_path: Path, fps: float) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(encode_canonical(frames, fps))
    foreign = list(iter_foreign_frames(path))
    np.testing.assert_array_equal(read_canonical(path), np.stack([f.pixels for f in foreign]))
    np.testing.assert_allclose([f.time_s for f in foreign], np.arange(31) / fps, atol=1e-3)


def test_same_frames_give_the_same_bytes(frames: np.ndarray, mp4: bytes) -> None:
    assert encode_canonical(iter(frames), 24) == mp4


_ENCODE = """
import hashlib, sys
from aa_datasets.video import canonical as canonical_video
from aa_datasets.puppets.render import render_puppet

configure = canonical_video._configure
def without(stream, size_hw, crf):
    configure(stream, size_hw, crf)
    options = dict(stream.options)
    options["x264-params"] += sys.argv[1]
    stream.options = options

canonical_video._configure = without
for height, width in ((272, 480), (240, 424)):
    frames = render_puppet(3, 4, num_frames=30, size_hw=(height, width)).frames
    print(hashlib.sha256(canonical_video.encode_canonical(frames, 25)).hexdigest())
"""


def test_bytes_depend_on_neither_the_memory_nor_the_processor() -> None:
    # What malloc gives is filled with another byte each; x264 is told to do without AVX.
    ways = (("1", ""), ("2", ""), ("254", ":asm=SSE2"), ("200", ":asm=AVX2"))
    made = {
        subprocess.run(
            [sys.executable, "-c", _ENCODE, instructions],
            env={**os.environ, "MALLOC_PERTURB_": fill},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for fill, instructions in ways
    }
    assert len(made) == 1, made


def test_index_stands_in_front(mp4: bytes) -> None:
    assert mp4.index(b"moov") < mp4.index(b"mdat")


def test_every_12th_frame_starts_a_closed_gop(mp4: bytes) -> None:
    with av.open(io.BytesIO(mp4)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    assert [i for i, p in enumerate(packets) if p.is_keyframe] == [0, 12, 24]
    assert GOP_FRAMES == 12
    assert all(p.pts == p.dts for p in packets)  # no B-frames
    for packet in packets:
        assert _has_idr(bytes(packet)) == packet.is_keyframe  # IDR: nothing refers across it


def _has_idr(packet: bytes) -> bool:
    place, kinds = 0, set()
    while place < len(packet):
        length = int.from_bytes(packet[place : place + 4], "big")
        kinds.add(packet[place + 4] & 31)
        place += 4 + length
    return 5 in kinds


@settings(max_examples=40)
@given(indices=st.lists(st.integers(0, 30), min_size=1, max_size=12))
def test_any_frames_in_any_order_equal_those_of_the_whole(mp4: bytes, indices: list[int]) -> None:
    wanted = np.array(indices)
    np.testing.assert_array_equal(read_canonical(mp4, wanted), read_canonical(mp4)[wanted])


@settings(max_examples=40)
@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_plain_colours_come_back_within_3(colour: tuple[int, int, int]) -> None:
    frames = np.zeros((2, 32, 64, 3), np.uint8) + np.array(colour, np.uint8)
    nearly_lossless = read_canonical(encode_canonical(frames, 24, crf=1)).astype(int)
    stored = read_canonical(encode_canonical(frames, 24)).astype(int)
    assert np.abs(nearly_lossless - frames).max() <= 3  # 8-bit YUV of limited range, there and back
    assert np.abs(stored - frames).max() <= 6  # and the quantiser of the stored quality


def test_puppets_survive_compression(frames: np.ndarray, mp4: bytes) -> None:
    error = read_canonical(mp4).astype(float) - frames
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 30  # PSNR; chroma is stored at half size


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ([], "no frames"),
        ([np.zeros((15, 16, 3), np.uint8)], "even width and height"),
        ([np.zeros((16, 16, 3), np.uint8), np.zeros((16, 18, 3), np.uint8)], r"\(16, 18, 3\)"),
    ],
)
def test_frames_that_cannot_be_encoded(pictures: list[np.ndarray], message: str) -> None:
    with pytest.raises(VideoError, match=message):
        encode_canonical(pictures, 24)


def test_indices_and_length_are_checked(mp4: bytes) -> None:
    for indices in ([31], [-1], []):
        with pytest.raises(VideoError, match="frames 0 to 30"):
            read_canonical(mp4, np.array(indices, int))
    with pytest.raises(VideoError, match=r"31 frames.* says 30"):
        read_canonical(mp4, num_frames=30)
    assert len(read_canonical(mp4, num_frames=31)) == 31


@pytest.mark.parametrize("kind", ["empty", "html", "noise", "cut_half", "cut_header", "zeroed"])
def test_files_that_are_no_canonical_video_are_refused(
    mp4: bytes, tmp_path: Path, kind: str
) -> None:
    middle = len(mp4) // 2
    content = {
        "empty": b"",
        "html": b"<!doctype html><html><body>404 Not Found</body></html>",
        "noise": np.random.default_rng(0).bytes(5000),
        "cut_half": mp4[:middle],
        "cut_header": mp4[:200],
        "zeroed": mp4[:middle] + bytes(len(mp4) - middle),
    }[kind]
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        read_canonical(path)
    with pytest.raises(VideoError, match=f"video of {len(content)} bytes"):
        read_canonical(content)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"gone\.mp4"):
        read_canonical(tmp_path / "gone.mp4")
