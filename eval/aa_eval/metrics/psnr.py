"""Peak signal-to-noise ratio, as it should be and as the tables' columns have it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aa_eval.metrics.exact_sums import absolute_difference, sums, sums_of_squares
from aa_eval.metrics.masks import Mask, frame_masks, mean_inside, values_inside, zero_outside


def psnr(
    prediction: NDArray[np.generic], reference: NDArray[np.generic], mask: Mask | None = None
) -> NDArray[np.float64]:
    """20 log10(255 / sqrt(MSE)) per frame, in dB; infinite for identical frames.

    Args:
        prediction, reference: [T, H, W, 3] in [0, 255], uint8 or float.
        mask: [T, H, W], the pixels to look at; NaN for a frame without any.
    """
    if prediction.dtype == np.uint8 and reference.dtype == np.uint8:
        difference = absolute_difference(prediction, reference)
        squares = sums_of_squares(zero_outside(difference, mask))
    else:
        error = prediction.astype(np.float64) - reference.astype(np.float64)
        squares = zero_outside(np.square(error), mask).reshape(len(error), -1).sum(axis=1)
    return _decibels(squares / values_inside(prediction, mask))


def psnr_float32(
    prediction: NDArray[np.generic], reference: NDArray[np.generic], mask: Mask | None = None
) -> NDArray[np.float64]:
    """`psnr` with the error squared and averaged in float32: BDMM's script, to its last digit.

    evaluation/getMetrics_animation.py at 96181b0. It is within 1e-5 dB of `psnr`.
    """
    frames = zip(
        prediction.astype(np.float32), reference.astype(np.float32),
        frame_masks(mask, prediction), strict=True,
    )  # fmt: skip
    mse = [mean_inside((theirs - ours) ** 2, inside) for ours, theirs, inside in frames]
    return _decibels(np.asarray(mse, dtype=np.float64))


def psnr_uint8_overflow(
    prediction: NDArray[np.uint8], reference: NDArray[np.uint8], mask: Mask | None = None
) -> NDArray[np.float64]:
    """PSNR whose difference and square wrap at 256, in dB; infinite where all squares wrap to 0.

    The arithmetic of DisCo's first release (tool/metrics/ssim_l1_lpips_psnr.py, commit 4772790):
    the PSNR column of the seed paper's Tables 1-3. Never below 24.169 dB, and not monotone in the
    error: report it together with `psnr` or not at all.
    """
    difference = prediction - reference  # uint8: wraps
    squares = difference * difference  # uint8: wraps again
    totals = sums(zero_outside(squares, mask))
    return _decibels(totals / values_inside(prediction, mask))


def _decibels(mse: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return 20 * np.log10(255.0 / np.sqrt(mse))
