"""Sizes and rates of canonical clips: scaled down, never up; frames dropped, never blended."""

from __future__ import annotations

import math
from typing import TypeAlias

# Long side at most, (height, width) as displayed, or as it is.
ScaleTo: TypeAlias = int | tuple[int, int] | None


def every_nth(fps: float, max_fps: float) -> int:
    """Return the smallest n for which every n-th frame gives at most `max_fps` (within 1 %)."""
    return max(1, math.ceil(fps / max_fps - 0.01))


def canonical_size(size_hw: tuple[int, int], short_side_px: int) -> tuple[int, int]:
    """Scale down to this short side, never up; round to even sides."""
    scale = min(1.0, short_side_px / min(size_hw))
    height, width = (max(2, 2 * round(side * scale / 2)) for side in size_hw)
    return height, width


def scaled_size(size_hw: tuple[int, int], scale_to: ScaleTo) -> tuple[int, int]:
    """Return the size that frames of `size_hw`, (height, width) as displayed, are scaled to."""
    if isinstance(scale_to, tuple):
        return scale_to
    if scale_to is None or scale_to >= max(size_hw):
        return size_hw
    height, width = (max(2, round(side * scale_to / max(size_hw))) for side in size_hw)
    return height, width
