"""Where the loss counts: everywhere but on text that was laid over the video."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from aa_datasets.loader.frames import crop_box


def mask_text(
    boxes_px: Iterable[tuple[int, int, int, int]],
    size_hw: tuple[int, int],
    to_hw: tuple[int, int],
) -> NDArray[np.bool_]:
    """True where the loss counts, in a picture that `resize_frames` made.

    Args:
        boxes_px: (x0, y0, x1, y1) of text, in pixels of the clip; x1 and y1 are outside.
        size_hw: of the clip.
        to_hw: of the picture.

    Returns:
        bool [*to_hw]; a pixel that text touches in part is False.
    """
    top, left, height, width = crop_box(size_hw, to_hw)
    scale_y, scale_x = to_hw[0] / height, to_hw[1] / width
    mask = np.ones(to_hw, bool)
    for x0, y0, x1, y1 in boxes_px:
        rows = slice(
            max(math.floor((y0 - top) * scale_y), 0), max(math.ceil((y1 - top) * scale_y), 0)
        )
        columns = slice(
            max(math.floor((x0 - left) * scale_x), 0), max(math.ceil((x1 - left) * scale_x), 0)
        )
        mask[rows, columns] = False
    return mask
