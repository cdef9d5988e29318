"""Masks: which pixels of a frame an image metric looks at.

A metric within a region is the metric's own map, averaged over the region's pixels: under a mask of
the whole picture it is the metric itself, to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def zero_outside(values: NDArray[Any], mask: Mask | None) -> NDArray[Any]:
    """`values` [T, H, W, C] with 0 outside of `mask` [T, H, W]; None is the whole picture."""
    return values if mask is None else values * mask[..., None]


def values_inside(frames: NDArray[Any], mask: Mask | None) -> NDArray[np.float64]:
    """How many values of each frame of [T, H, W, C] lie inside: float64 [T], NaN where none do."""
    if mask is None:
        return np.full(len(frames), float(frames[0].size))
    counts = frames.shape[-1] * mask.sum(axis=(1, 2), dtype=np.float64)
    counts[counts == 0] = np.nan
    return np.asarray(counts)


def mean_inside(values: NDArray[Any], mask: Mask | None) -> float:
    """The mean of one frame's `values` [H, W, ...] inside of `mask` [H, W]; NaN of an empty one."""
    if mask is None:
        return float(values.mean())
    return float(values[mask].mean()) if mask.any() else float("nan")


def frame_masks(mask: Mask | None, frames: NDArray[Any]) -> list[Mask | None]:
    """The mask of each frame."""
    return [None] * len(frames) if mask is None else list(mask)
