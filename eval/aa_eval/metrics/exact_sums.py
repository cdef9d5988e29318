"""Sums over 8-bit pixels, exact: in whole numbers, row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def absolute_difference(
    prediction: NDArray[np.generic], reference: NDArray[np.generic]
) -> NDArray[np.uint8]:
    """|prediction - reference| of uint8 frames, which does not wrap."""
    ours, theirs = np.asarray(prediction, dtype=np.uint8), np.asarray(reference, dtype=np.uint8)
    larger, smaller = np.maximum(ours, theirs), np.minimum(ours, theirs)
    return np.subtract(larger, smaller, out=larger)


def sums(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The sum of each frame of uint8 [T, H, ...]: float64 [T] of whole numbers."""
    rows = frames.reshape(*frames.shape[:2], -1).sum(axis=2, dtype=np.uint32)
    return np.asarray(rows.sum(axis=1, dtype=np.float64))


def sums_of_squares(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The sum of the squares of each frame of uint8 [T, H, ...]: float64 [T] of whole numbers."""
    squares = np.multiply(frames, frames, dtype=np.uint16).reshape(*frames.shape[:2], -1)
    # 66,051 squares of 255 are more than 32 bits hold: a row of 22,018 pixels
    wide = squares.shape[2] * 255**2 >= 2**32
    rows = squares.sum(axis=2, dtype=np.uint64 if wide else np.uint32)
    return np.asarray(rows.sum(axis=1, dtype=np.float64))
