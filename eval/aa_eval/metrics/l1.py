"""Mean absolute error, in the three units that the field prints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aa_eval.metrics.exact_sums import absolute_difference, sums
from aa_eval.metrics.masks import Mask, frame_masks, mean_inside, values_inside, zero_outside


def l1(
    prediction: NDArray[np.generic], reference: NDArray[np.generic], mask: Mask | None = None
) -> NDArray[np.float64]:
    """Mean absolute difference per frame, in [0, 255].

    Args:
        prediction, reference: [T, H, W, 3] in [0, 255], uint8 or float.
        mask: [T, H, W], the pixels to look at; NaN for a frame without any.
    """
    count = values_inside(prediction, mask)
    if prediction.dtype == np.uint8 and reference.dtype == np.uint8:
        difference = zero_outside(absolute_difference(prediction, reference), mask)
        return np.asarray(sums(difference) / count)
    error64 = np.abs(prediction.astype(np.float64) - reference.astype(np.float64))
    return np.asarray(zero_outside(error64, mask).reshape(len(error64), -1).sum(axis=1) / count)


def l1_per_pixel_count(
    prediction: NDArray[np.generic], reference: NDArray[np.generic], mask: Mask | None = None
) -> NDArray[np.float64]:
    """`l1` divided by H * W: the 3.78E-04 unit of the TikTok tables.

    DisCo, tool/metrics/ssim_l1_lpips_psnr.py. The same error prints 9x smaller at 576x1024 than
    at 256x256: compare at one size only. Under a mask, H * W is still the whole picture's: the
    unit stays.
    """
    height, width = prediction.shape[1:3]
    return np.asarray(l1(prediction, reference, mask) / (height * width))


def l1_unit_range_float32(
    prediction: NDArray[np.generic], reference: NDArray[np.generic], mask: Mask | None = None
) -> NDArray[np.float64]:
    """Mean absolute difference per frame on the scale of [-1, 1], in float32: in [0, 2].

    BDMM, evaluation/getMetrics_animation.py at 96181b0: `l1` / 127.5 but for float32's rounding.
    """
    frames = zip(
        prediction.astype(np.float32), reference.astype(np.float32),
        frame_masks(mask, prediction), strict=True,
    )  # fmt: skip
    return np.asarray(
        [
            mean_inside(np.abs(_unit_range(theirs) - _unit_range(ours)), inside)
            for ours, theirs, inside in frames
        ],
        dtype=np.float64,
    )


def _unit_range(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    half, two, levels = np.float32(0.5), np.float32(2), np.float32(255)
    return np.asarray(two * (frame / levels - half), dtype=np.float32)
