"""Any picture as the network takes it: upright 8-bit RGB, cropped and resized as in training."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from aa_datasets.loader.crop_resize import resize_frames
from aa_model.errors import ModelError

Picture = Image.Image | NDArray[np.uint8]


def fit_picture(picture: Picture, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Any picture as uint8 RGB [H, W, 3]: turned as EXIF says, alpha on white, cropped, resized.

    Cropped at the centre and resized as training frames are (Sec. 4.1), and the driving pose too.

    Raises:
        ModelError: an array that is not a picture, or an image of values that cannot be brightness.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or not (
            picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] in (3, 4))
        ):
            raise ModelError(
                f"the reference is {picture.dtype} {picture.shape}: expected uint8 [H, W], "
                "[H, W, 3] or [H, W, 4]"
            )
        picture = Image.fromarray(picture)
    image = ImageOps.exif_transpose(picture)
    if has_wide_grey(image):
        image = to_8_bit(image, "the picture")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    pixels: NDArray[np.uint8] = np.asarray(image.convert("RGB"))
    fitted: NDArray[np.uint8] = resize_frames(pixels[None], size_hw)[0]
    return fitted


def has_wide_grey(image: Image.Image) -> bool:
    """Whether its grey values are 16 bits, 32 bits or floats: what `to_8_bit` is for."""
    return image.mode == "F" or image.mode.startswith("I")


def to_8_bit(image: Image.Image, name: str) -> Image.Image:
    """16 bits are taken by their mode, 32 bits and floats by the largest value that they hold.

    Args:
        image: as `has_wide_grey` says.
        name: for the error.

    Raises:
        ModelError: a value is below 0, above white, or not finite.
    """
    numbers = np.asarray(image, dtype=np.float64)
    least, most = float(numbers.min()), float(numbers.max())
    if image.mode.startswith("I;16"):
        white = 65535.0
    elif image.mode == "I":  # 32 bits that hold what was 8 or 16
        white = 65535.0 if most > 255 else 255.0
    else:
        white = 255.0 if most > 1 else 1.0
    if not (np.isfinite(numbers).all() and least >= 0 and most <= white):
        raise ModelError(
            f"{name} holds values from {least:g} to {most:g}: expected brightness from 0 to "
            f"{white:g}; save it as an 8-bit or 16-bit picture"
        )
    return Image.fromarray(np.rint(numbers * (255 / white)).astype(np.uint8))


def to_pixels(frames: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 [T, H, W, 3] to float32 [T, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
