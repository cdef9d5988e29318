"""fit_picture: pictures of any mode mean the same in memory as in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aa_model.errors import ModelError
from aa_model.inference.image_input import fit_picture
from aa_model.inference.inputs import read_picture

GREY = np.add.outer(np.arange(0, 120, 10), np.arange(0, 128, 8)).astype(np.uint8)  # 12 x 16


@pytest.mark.parametrize("white", [1, 200, 255, 256, 65535])
def test_16_bits_are_divided_by_257_however_dark(white: int, tmp_path: Path) -> None:
    values = np.rint(GREY / GREY.max() * white).astype(np.uint16)
    picture = Image.fromarray(values)
    assert picture.mode == "I;16"
    found = fit_picture(picture, values.shape)
    assert np.array_equal(found, np.rint(values / 257)[..., None].repeat(3, axis=2))
    picture.save(tmp_path / "dark.png")
    assert np.array_equal(read_picture(tmp_path / "dark.png", lambda note: None), found)


@pytest.mark.parametrize(
    "values",
    [GREY.astype(np.int32), GREY.astype(np.int32) * 257, (GREY / 255).astype(np.float32)],
    ids=["8 bits in 32", "16 bits in 32", "floats up to 1"],
)
def test_32_bits_are_taken_by_their_largest_value(values: np.ndarray) -> None:
    found = fit_picture(Image.fromarray(values), GREY.shape)
    assert np.array_equal(found, GREY[..., None].repeat(3, axis=2))


def test_values_that_are_no_brightness_are_refused_in_memory_too() -> None:
    depth = np.full((4, 4), -3.0, np.float32)
    with pytest.raises(ModelError, match="the picture holds values from -3 to -3"):
        fit_picture(Image.fromarray(depth), (4, 4))
