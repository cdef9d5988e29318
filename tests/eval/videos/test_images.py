"""Images: FFmpeg's PNG frames are Pillow's to the bit, and what is damaged is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from aa_eval.errors import VideoError
from aa_eval.videos.images import image_size_and_kind, read_image

RGB = 2
SETTINGS = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, lines: bytes, extra: bytes = b"", pieces: int = 1) -> bytes:
    """An 8-bit RGB PNG of filtered lines, each a filter's number and 3 `width` bytes."""
    packed = zlib.compress(lines)
    length = -(-len(packed) // pieces)
    data = [chunk(b"IDAT", packed[i : i + length]) for i in range(0, len(packed), length)]
    header = struct.pack(">IIBBBBB", width, height, 8, RGB, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), extra, *data, chunk(b"IEND", b"")]
    )


def random_lines(seed: int, width: int, height: int) -> bytes:
    """Each line under one of the five filters; any bytes are an image."""
    lines = np.random.default_rng(seed).integers(0, 256, (height, 1 + 3 * width), dtype=np.uint8)
    lines[:, 0] %= 5
    return lines.tobytes()


@SETTINGS
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 999), st.integers(1, 3))
def test_any_filters_and_chunks_give_pillows_pixels(
    tmp_path: Path, width: int, height: int, seed: int, pieces: int
) -> None:
    file = tmp_path / "frame.png"
    file.write_bytes(png(width, height, random_lines(seed, width, height), pieces=pieces))
    np.testing.assert_array_equal(read_image(file), np.asarray(Image.open(file)))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (b"gAMA", struct.pack(">I", 45455)),
        (b"cICP", bytes([9, 16, 0, 1])),
        (b"tRNS", struct.pack(">3H", 1, 2, 3)),
        (b"PLTE", bytes(range(30))),
        (b"bKGD", struct.pack(">3H", 1, 2, 3)),
        (b"iCCP", b"no profile"),
    ],
)
def test_what_stands_beside_the_pixels_does_not_change_them(
    tmp_path: Path, kind: bytes, data: bytes
) -> None:
    lines = random_lines(0, 20, 16)
    plain, file = tmp_path / "plain.png", tmp_path / "frame.png"
    plain.write_bytes(png(20, 16, lines))
    file.write_bytes(png(20, 16, lines, chunk(kind, data)))
    np.testing.assert_array_equal(read_image(file), read_image(plain))


@pytest.mark.parametrize("level", [0, 1, 9])
def test_pillows_own_files_come_back(tmp_path: Path, level: int) -> None:
    ramp = np.add.outer(np.arange(90), np.arange(160))[..., None] + np.array([0, 40, 90])
    frame = (ramp + np.random.default_rng(0).integers(0, 3, ramp.shape)).astype(np.uint8)
    Image.fromarray(frame).save(tmp_path / "frame.png", compress_level=level)
    np.testing.assert_array_equal(read_image(tmp_path / "frame.png"), frame)


@SETTINGS
@given(st.data())
def test_damage_is_refused_or_does_not_touch_the_pixels(
    tmp_path: Path, data: st.DataObject
) -> None:
    lines = random_lines(1, 30, 20)
    whole = png(30, 20, lines, chunk(b"tEXt", b"key\0" + bytes(range(1, 60))), pieces=2)
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        content = bytearray(whole)
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        content = bytearray(whole[:place])
    (tmp_path / "whole.png").write_bytes(whole)
    (tmp_path / "damaged.png").write_bytes(content)
    try:
        frame = read_image(tmp_path / "damaged.png")
    except VideoError:
        return
    np.testing.assert_array_equal(frame, read_image(tmp_path / "whole.png"))


@pytest.mark.parametrize("missing", [1, 40, 61 * 3])
def test_pixels_that_run_out_under_a_valid_end_are_refused(tmp_path: Path, missing: int) -> None:
    file = tmp_path / "frame.png"
    file.write_bytes(png(20, 16, random_lines(2, 20, 16)[:-missing]))
    with pytest.raises(VideoError, match="truncated or corrupt"):
        read_image(file)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_that_was_cut_off_is_refused_by_its_header_alone(
    tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "frame.png"
    frame = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(frame).save(file, kind)
    whole = file.read_bytes()
    for behind in (b"", b"what some program left behind"):
        file.write_bytes(whole + behind)
        assert image_size_and_kind(file) == ((40, 30), "8-bit colour")
    for lost in (1, 2, 13, len(whole) // 2):
        file.write_bytes(whole[:-lost])
        with pytest.raises(VideoError, match="truncated"):
            image_size_and_kind(file)


def test_one_transparent_colour_is_alpha(tmp_path: Path) -> None:
    file = tmp_path / "frame.png"
    Image.new("RGB", (20, 10)).save(file, transparency=(0, 0, 0))
    assert image_size_and_kind(file)[1] == "8-bit colour with alpha"
