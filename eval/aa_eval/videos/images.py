"""Images: what kind of pixel a file has, and its pixels.

Pillow tells what an image is, and reads most kinds. Plain 8-bit RGB in PNG, which nearly all
frames are, is read by FFmpeg: the same pixels in half the time, and damage is found that Pillow
passes over.
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from aa_eval.errors import VideoError

EIGHT_BIT_RGB = "8-bit colour"
# Pillow's modes; LA and PA are grey or palette with alpha.
_PILLOW_KINDS = {
    "RGB": EIGHT_BIT_RGB,
    "L": "8-bit grey",
    "1": "1-bit grey",
    "P": "8-bit palette",
    "RGBA": "8-bit colour with alpha",
    "LA": "8-bit grey with alpha",
    "PA": "8-bit palette with alpha",
    "I;16": "16-bit grey",
    "I;16B": "16-bit grey",
    "I": "32-bit grey",
    "F": "float grey",
    "CMYK": "8-bit CMYK",
}
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
_PLAIN_RGB = b"\x08\x02\0\0\0"  # bytes 24 to 28, in the IHDR chunk: 8 bits, RGB, not interlaced


def image_size_and_kind(path: Path) -> tuple[tuple[int, int], str]:
    """Height and width in pixels, and the kind of pixel ("8-bit colour", ...), from the header.

    Raises:
        VideoError: the file is empty, no image, cut off, an animation, or to be turned by its
            viewer.
    """
    with _open(path) as image:
        kind = _PILLOW_KINDS.get(image.mode, image.mode)
        if image.format == "PNG" and _png_bits(path) == 16:
            kind = kind.replace("8-bit", "16-bit")  # Pillow drops the low byte without a word
        if "transparency" in image.info and image.mode != "P":
            kind += " with alpha"  # of one colour
        _require_end(path, image.format)
        count = getattr(image, "n_frames", 1)
        if count > 1:
            raise VideoError(f"{path}: an animation of {count} pictures: expected one per frame")
        if "exif" in image.info and image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            raise VideoError(
                f"{path}: its Exif header asks viewers to turn it, which OpenCV does and Pillow "
                "does not: save it upright"
            )
        return (image.height, image.width), kind


def read_image(path: Path) -> NDArray[np.uint8]:
    """The pixels, uint8 [H, W, 3] RGB; alpha is dropped, 16 bits lose their low byte.

    Raises:
        VideoError: the file is empty, no image, truncated or corrupt.
    """
    try:
        frame = _plain_png(path)
        if frame is not None:
            return frame
        with _open(path) as image:
            if image.mode.startswith("I;16"):
                grey = (np.asarray(image) >> 8).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=-1)
            return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise VideoError(f"{path}: truncated or corrupt ({error}): write it again") from error


def _plain_png(path: Path) -> NDArray[np.uint8] | None:
    """The pixels of an 8-bit RGB PNG; None of any other file, and of one that is cut off."""
    content = path.read_bytes()
    plain = content.startswith(_PNG_START) and content[24:29] == _PLAIN_RGB
    if not plain or not content.endswith(_PNG_END):
        return None
    decoder = av.CodecContext.create("png", "r")  # one serves one image
    decoder.thread_count = 1
    decoder.options = {"err_detect": "crccheck"}
    try:
        # without the end chunk FFmpeg refuses pixels that run out early; Pillow makes them black
        frames = decoder.decode(av.Packet(content[: -len(_PNG_END)]))
    except av.error.FFmpegError as error:
        raise VideoError(
            f"{path}: truncated or corrupt (a checksum does not hold, or pixels are missing): "
            "write it again"
        ) from error
    if len(frames) != 1 or frames[0].format.name != "rgb24":
        return None  # rgba where one colour is transparent
    return np.asarray(frames[0].to_ndarray(), dtype=np.uint8)


def _open(path: Path) -> Image.Image:
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: empty file (0 bytes): write it again")
    try:
        return Image.open(path)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise VideoError(f"{path}: not an image that can be read: write it again") from error


def _require_end(path: Path, kind: str | None) -> None:
    """Refuse a PNG or JPEG that was cut off, without decoding it."""
    end = {"PNG": _PNG_END, "JPEG": _JPEG_END}.get(kind or "")
    if end is None:
        return
    with path.open("rb") as file:
        file.seek(-min(len(end), path.stat().st_size), 2)
        if file.read() == end:
            return
        file.seek(0)
        content = file.read()  # something may stand behind the end
    start = -1 if kind == "PNG" else content.rfind(_JPEG_SCAN)  # a preview has an end of its own
    if content.rfind(end) <= start:
        raise VideoError(f"{path}: truncated (its end is missing): write it again")


def _png_bits(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(25)[24]  # the IHDR chunk's bit depth
