"""Structural similarity (Wang et al. 2004), in the three forms that the field prints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from aa_eval.errors import MetricUnavailable


def ssim_grey_uniform7(
    prediction: NDArray[np.uint8], reference: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """SSIM of grey frames under a uniform 7x7 window, per frame, in [-1, 1].

    What DisCo computes: OpenCV's 8-bit grey, then scikit-image's defaults (sample covariance,
    mean over the interior). It cannot see colour. All window sums are exact whole numbers.

    Args:
        prediction, reference: uint8 [T, H, W, 3] RGB.

    Raises:
        MetricUnavailable: a frame is smaller than the window.
    """
    _require_window(prediction.shape, 7)
    pairs = zip(prediction, reference, strict=True)  # one frame at a time stays in the cache
    return np.concatenate([_grey_uniform7(a[None], b[None]) for a, b in pairs])


def _grey_uniform7(
    prediction: NDArray[np.uint8], reference: NDArray[np.uint8]
) -> NDArray[np.float64]:
    x, y = _opencv_grey(prediction), _opencv_grey(reference)
    sum_x, sum_y = _box7(x), _box7(y)
    sum_xx, sum_yy, sum_xy = _box7(x * x), _box7(y * y), _box7(x * y)
    n = 49.0
    sample = n / (n - 1)
    mean_x, mean_y = sum_x / n, sum_y / n
    var_x = sample * (sum_xx / n - mean_x * mean_x)
    var_y = sample * (sum_yy / n - mean_y * mean_y)
    cov = sample * (sum_xy / n - mean_x * mean_y)
    return np.asarray(_ssim(mean_x, mean_y, var_x, var_y, cov).mean(axis=(1, 2)))


def ssim_colour_gaussian(
    prediction: NDArray[np.generic], reference: NDArray[np.generic]
) -> NDArray[np.float64]:
    """SSIM per colour channel under Wang's Gaussian window, mean over channels, in [-1, 1].

    Sigma 1.5, radius 5 (11x11), population covariance, mean over the interior: scikit-image with
    gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=-1.

    Args:
        prediction, reference: [T, H, W, 3] RGB in [0, 255], uint8 or float.

    Raises:
        MetricUnavailable: a frame is smaller than the window.
    """
    return _colour_gaussian(prediction, reference, np.full(len(prediction), 255.0))


def ssim_colour_gaussian_frame_range(
    prediction: NDArray[np.generic], reference: NDArray[np.generic]
) -> NDArray[np.float64]:
    """`ssim_colour_gaussian` with the range of each predicted frame as its data range.

    BDMM's script (evaluation/getMetrics_animation.py at 96181b0): a prediction of low contrast gets
    smaller constants, and a constant one no value at all.

    Raises:
        MetricUnavailable: a frame is smaller than the window, or a predicted frame is constant.
    """
    flat = prediction.reshape(len(prediction), -1)
    data_range = flat.max(axis=1).astype(np.float64) - flat.min(axis=1)
    if not data_range.all():
        raise MetricUnavailable(
            "a predicted frame is constant: the script divides by its range, which is 0"
        )
    return _colour_gaussian(prediction, reference, data_range)


def _colour_gaussian(
    prediction: NDArray[np.generic],
    reference: NDArray[np.generic],
    data_range: NDArray[np.float64],
) -> NDArray[np.float64]:
    _require_window(prediction.shape, 11)
    x, y = prediction.astype(np.float64), reference.astype(np.float64)
    mean_x, mean_y = _gaussian11(x), _gaussian11(y)
    var_x = _gaussian11(x * x) - mean_x * mean_x
    var_y = _gaussian11(y * y) - mean_y * mean_y
    cov = _gaussian11(x * y) - mean_x * mean_y
    maps = _ssim(mean_x, mean_y, var_x, var_y, cov, data_range[:, None, None, None])
    return np.asarray(maps.mean(axis=(1, 2, 3)))


def _ssim(
    mean_x: NDArray[np.float64],
    mean_y: NDArray[np.float64],
    var_x: NDArray[np.float64],
    var_y: NDArray[np.float64],
    cov: NDArray[np.float64],
    data_range: NDArray[np.float64] | float = 255.0,
) -> NDArray[np.float64]:
    """Eq. 13 of Wang et al. 2004 with K1 = 0.01, K2 = 0.03 and L = data_range."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    numerator = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
    denominator = (mean_x * mean_x + mean_y * mean_y + c1) * (var_x + var_y + c2)
    return np.asarray(numerator / denominator)


def _opencv_grey(frames: NDArray[np.uint8]) -> NDArray[np.int32]:
    """0.299 R + 0.587 G + 0.114 B in OpenCV's 15-bit fixed point, as whole numbers in [0, 255]."""
    r, g, b = (frames[..., c].astype(np.int32) for c in range(3))
    return (r * 9798 + g * 19235 + b * 3735 + (1 << 14)) >> 15


def _box7(maps: NDArray[np.int32]) -> NDArray[np.int32]:
    """Sums over every 7x7 window that lies inside: [T, H, W] -> [T, H - 6, W - 6]."""
    for axis in (1, 2):
        m = np.moveaxis(maps, axis, 0)
        two = m[:-1] + m[1:]
        four = two[:-2] + two[2:]
        maps = np.moveaxis(four[:-3] + two[4:-1] + m[6:], 0, axis)
    return maps


def _gaussian11(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian means over every 11x11 window that lies inside, [T, H, W, C]."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-0.5 * (offsets / 1.5) ** 2)
    weights /= weights.sum()
    rows = correlate1d(maps, weights, axis=1)[:, 5:-5]
    return np.asarray(correlate1d(rows, weights, axis=2)[:, :, 5:-5])


def _require_window(shape: tuple[int, ...], window: int) -> None:
    height, width = shape[1:3]
    if min(height, width) < window:
        raise MetricUnavailable(
            f"frames of {width}x{height} are smaller than its {window}x{window} window"
        )
