"""Mean absolute error, on the scale of 0 to 255 or in the unit of the TikTok tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def l1(prediction: NDArray[np.generic], reference: NDArray[np.generic]) -> NDArray[np.float64]:
    """Mean absolute difference per frame, in [0, 255].

    Args:
        prediction, reference: [T, H, W, 3] in [0, 255], uint8 or float.
    """
    if prediction.dtype == np.uint8 and reference.dtype == np.uint8:
        larger, smaller = np.maximum(prediction, reference), np.minimum(prediction, reference)
        error = (larger - smaller).reshape(len(larger), -1)
        return np.asarray(error.sum(axis=1, dtype=np.int64) / error.shape[1])
    error64 = np.abs(prediction.astype(np.float64) - reference.astype(np.float64))
    return np.asarray(error64.reshape(len(error64), -1).mean(axis=1))


def l1_per_pixel_count(
    prediction: NDArray[np.generic], reference: NDArray[np.generic]
) -> NDArray[np.float64]:
    """`l1` divided by H * W: the 3.78E-04 unit of the TikTok tables.

    DisCo, tool/metrics/ssim_l1_lpips_psnr.py. The same error prints 9x smaller at 576x1024 than
    at 256x256: compare at one size only.
    """
    height, width = prediction.shape[1:3]
    return np.asarray(l1(prediction, reference) / (height * width))
