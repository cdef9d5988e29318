"""Colours: whether two pictures have the same ones, wherever they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aa_eval.metrics.masks import Mask, frame_masks


def colour_distribution(
    prediction: NDArray[np.uint8], reference: NDArray[np.uint8], mask: Mask | None = None
) -> NDArray[np.float64]:
    """Wasserstein distance of the two sides' levels, mean over R, G and B: [T], 0 to 255.

    How far levels have to move, on the average, to become the other picture's, wherever they lie:
    a person who moves keeps her colours.

    Args:
        prediction, reference: uint8 [T, H, W, 3].
        mask: [T, H, W], the pixels to look at; NaN where there are none.
    """
    values = []
    for *sides, inside in zip(prediction, reference, frame_masks(mask, prediction), strict=True):
        ours, theirs = (side.reshape(-1, 3) if inside is None else side[inside] for side in sides)
        if not len(ours):
            values.append(np.nan)
            continue
        # of as many values each it is the mean difference of the sorted ones
        moved = np.sort(ours, axis=0).astype(np.float64) - np.sort(theirs, axis=0)
        values.append(float(np.abs(moved).mean()))
    return np.asarray(values, dtype=np.float64)
