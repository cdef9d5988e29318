"""Sums over 8-bit pixels in float32, exact: every partial sum is a whole number below 2^24."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 256  # 256 * 255^2 < 2^24: any order of additions gives the same whole number


def absolute_difference(
    prediction: NDArray[np.generic], reference: NDArray[np.generic]
) -> NDArray[np.uint8]:
    """|prediction - reference| of uint8 frames, which does not wrap."""
    ours, theirs = np.asarray(prediction, dtype=np.uint8), np.asarray(reference, dtype=np.uint8)
    larger, smaller = np.maximum(ours, theirs), np.minimum(ours, theirs)
    return np.subtract(larger, smaller, out=larger)


def sums(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The sum of each frame of uint8 [T, ...]: float64 [T] of whole numbers."""
    blocks, rest = _blocks(frames)
    return np.asarray(blocks.sum(axis=2).sum(axis=1, dtype=np.float64) + rest.sum(axis=1))


def sums_of_squares(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The sum of the squares of each frame of uint8 [T, ...]: float64 [T] of whole numbers."""
    blocks, rest = _blocks(frames)
    squares = np.einsum("tbp,tbp->tb", blocks, blocks)
    return np.asarray(squares.sum(axis=1, dtype=np.float64) + np.square(rest).sum(axis=1))


def _blocks(frames: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    flat = frames.reshape(len(frames), -1)
    whole = flat.shape[1] // _BLOCK * _BLOCK
    blocks = flat[:, :whole].astype(np.float32).reshape(len(flat), -1, _BLOCK)
    return blocks, flat[:, whole:].astype(np.float64)
