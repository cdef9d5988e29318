"""Side by side: reference, pose, generated and true frames in one picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GAP_PX = 4
_MIN_SIDE_PX = 128  # smaller pictures are enlarged by a whole factor


def pick_moments(num_frames: int, rows: int = 5) -> NDArray[np.int64]:
    """Indices of at most `rows` evenly spaced frames, the first and the last among them."""
    return np.unique(np.linspace(0, num_frames - 1, min(rows, num_frames)).round().astype(np.int64))


def draw_strip(
    reference: NDArray[np.uint8], columns: list[NDArray[np.uint8]], rows: int = 5
) -> NDArray[np.uint8]:
    """A white sheet with some evenly spaced moments, one a row: the reference, then the columns.

    Args:
        reference: uint8 [H, W, 3].
        columns: videos uint8 [T, H, W, 3] of one length, e.g. pose, generated, truth.
        rows: at most this many moments, the first and the last among them.
    """
    T = min(len(column) for column in columns)
    moments = pick_moments(T, rows)
    factor = -(-_MIN_SIDE_PX // min(reference.shape[:2]))
    H, W = (factor * side for side in reference.shape[:2])
    height = len(moments) * (H + _GAP_PX) - _GAP_PX
    width = (1 + len(columns)) * (W + _GAP_PX) - _GAP_PX
    sheet = np.full((height, width, 3), 255, np.uint8)
    for row, moment in enumerate(moments):
        for column, picture in enumerate([reference, *(c[moment] for c in columns)]):
            top, left = row * (H + _GAP_PX), column * (W + _GAP_PX)
            sheet[top : top + H, left : left + W] = picture.repeat(factor, 0).repeat(factor, 1)
    return sheet
