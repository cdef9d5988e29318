"""Structural similarity (Wang et al. 2004), in the forms that the field prints."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from aa_eval.errors import MetricUnavailable
from aa_eval.metrics.masks import Mask, frame_masks, mean_inside

# Of one strip of rows: its arrays stay in the cache, and below the size from which the allocator
# asks the system for fresh pages each time, which costs more than the arithmetic.
_STRIP_VALUES = 16_000


def ssim_grey_uniform7(
    prediction: NDArray[np.uint8], reference: NDArray[np.uint8], mask: Mask | None = None
) -> NDArray[np.float64]:
    """SSIM of grey frames under a uniform 7x7 window, per frame, in [-1, 1].

    What DisCo computes: OpenCV's 8-bit grey, then scikit-image's defaults (sample covariance,
    mean over the interior). It cannot see colour. All sums are exact whole numbers; only the last
    fraction is rounded.

    Args:
        prediction, reference: uint8 [T, H, W, 3] RGB.
        mask: [T, H, W]; the mean is over the windows whose centre lies inside, and NaN for a frame
            without any. Windows see what lies around their centre, in the region or not.

    Raises:
        MetricUnavailable: a frame is smaller than the window.
    """
    _require_window(prediction.shape, 7)
    frames = zip(prediction, reference, frame_masks(mask, prediction), strict=True)
    return np.asarray([_grey_uniform7(a, b, inside) for a, b, inside in frames], dtype=np.float64)


def _grey_uniform7(
    prediction: NDArray[np.uint8], reference: NDArray[np.uint8], mask: Mask | None
) -> float:
    centres = None if mask is None else mask[3:-3, 3:-3]
    if centres is not None and not centres.any():
        return float("nan")
    height, width = prediction.shape[0] - 6, prediction.shape[1] - 6
    rows = max(_STRIP_VALUES // width, 1)
    total = 0.0
    for top in range(0, height, rows):
        strip = slice(top, min(top + rows, height) + 6)
        inside = None if centres is None else centres[top : top + rows]
        total += _sum_grey_uniform7(prediction[strip], reference[strip], inside)
    return float(total / (height * width if centres is None else centres.sum()))


def _sum_grey_uniform7(
    prediction: NDArray[np.uint8], reference: NDArray[np.uint8], inside: Mask | None
) -> float:
    """The sum of a strip's SSIM map. Rows are laid end to end: NumPy is faster in one dimension."""
    height, width = prediction.shape[:2]
    grey = np.stack([_opencv_grey(prediction), _opencv_grey(reference)])  # uint16 [2, H W]
    squares = grey * grey
    products = np.empty(grey.shape, dtype=np.int32)
    np.multiply(grey[0], grey[1], out=products[0])
    np.add(squares[0], squares[1], out=products[1], dtype=np.int32)
    sum_x, sum_y = _box7(grey, width).astype(np.int32)
    cov, variances = _box7(products, width)  # first the sums of x y and of x^2 + y^2
    product = sum_x * sum_y
    both = sum_x * sum_x + sum_y * sum_y
    # both fractions of the index times n^2, below 2^31 up to here
    n = 49
    for sums, of_means in ((cov, product), (variances, both)):
        sums *= n
        sums -= of_means
    c1, c2 = ((k * 255 * n) ** 2 for k in (0.01, 0.03))
    sample = n / (n - 1)  # sample covariance is over n - 1
    quarters = np.empty((height - 6) * width)  # of the index: 4 is a power of 2, and comes last
    maps = np.add(product, c1 / 2, out=quarters[:-6])
    maps *= cov + c2 / (2 * sample)
    below = both + c1
    below *= variances + c2 / sample
    maps /= below
    # a window that begins in a row's last 6 columns would continue in the next row
    whole = quarters.reshape(height - 6, width)[:, :-6]
    return 4 * float(whole.sum() if inside is None else whole[inside].sum())


def ssim_colour_gaussian(
    prediction: NDArray[np.generic], reference: NDArray[np.generic], mask: Mask | None = None
) -> NDArray[np.float64]:
    """SSIM per colour channel under Wang's Gaussian window, mean over channels, in [-1, 1].

    Sigma 1.5, radius 5 (11x11), population covariance, mean over the interior: scikit-image with
    gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=-1.

    Args:
        prediction, reference: [T, H, W, 3] RGB in [0, 255], uint8 or float.
        mask: as of `ssim_grey_uniform7`.

    Raises:
        MetricUnavailable: a frame is smaller than the window.
    """
    return ssim_of_range(prediction, reference, np.full(len(prediction), 255.0), mask)


def ssim_colour_gaussian_frame_range(
    prediction: NDArray[np.generic], reference: NDArray[np.generic], mask: Mask | None = None
) -> NDArray[np.float64]:
    """`ssim_colour_gaussian` with the range of each predicted frame as its data range.

    BDMM's script (evaluation/getMetrics_animation.py at 96181b0), in float32 as there: a prediction
    of low contrast gets smaller constants, and a constant one no value at all. Under a mask the
    range is still the whole frame's.

    Raises:
        MetricUnavailable: a frame is smaller than the window, or a predicted frame is constant.
    """
    flat = prediction.reshape(len(prediction), -1)
    data_range = flat.max(axis=1).astype(np.float64) - flat.min(axis=1)
    if not data_range.all():
        raise MetricUnavailable(
            "a predicted frame is constant: the script divides by its range, which is 0"
        )
    _require_window(prediction.shape, 11)
    frames = zip(prediction, reference, data_range, strict=True)
    maps = np.stack([_ssim_map_float32(x, y, span) for x, y, span in frames])
    return _means_inside(maps, mask)


def ssim_colour_gaussian_padded_float32(
    prediction: NDArray[np.generic], reference: NDArray[np.generic], mask: Mask | None = None
) -> NDArray[np.float64]:
    """SSIM per colour channel under an 11x11 Gaussian, borders padded with zeros, in float32.

    HumanVid's script (metrics/utils/loss_utils.py at 28ff734), on levels / 255: the mean is over
    the whole map, also where the window sees beyond the picture. Arguments as of
    `ssim_grey_uniform7`; frames may be smaller than the window.
    """
    import torch  # takes seconds to import: only where this form is asked for
    import torch.nn.functional as F

    steps = torch.tensor([math.exp(-((x - 5) ** 2) / (2 * 1.5**2)) for x in range(11)])
    column = (steps / steps.sum()).unsqueeze(1)
    window = column.mm(column.t()).expand(3, 1, 11, 11).contiguous()

    def means(frame: torch.Tensor) -> torch.Tensor:
        return F.conv2d(frame, window, padding=5, groups=3)

    maps = []
    for ours, theirs in zip(prediction, reference, strict=True):
        x, y = (
            torch.from_numpy(np.asarray(side, dtype=np.float32)).movedim(-1, 0)[None] / 255
            for side in (ours, theirs)
        )
        mean_x, mean_y = means(x), means(y)
        var_x, var_y = means(x * x) - mean_x.pow(2), means(y * y) - mean_y.pow(2)
        cov = means(x * y) - mean_x * mean_y
        above = (2 * mean_x * mean_y + 0.01**2) * (2 * cov + 0.03**2)
        below = (mean_x.pow(2) + mean_y.pow(2) + 0.01**2) * (var_x + var_y + 0.03**2)
        maps.append((above / below)[0].movedim(0, -1).double().contiguous().numpy())
    frames = zip(maps, frame_masks(mask, prediction), strict=True)
    return np.asarray([mean_inside(of_frame, inside) for of_frame, inside in frames])


def _ssim_map_float32(
    prediction: NDArray[np.generic], reference: NDArray[np.generic], data_range: float
) -> NDArray[np.float64]:
    """scikit-image's SSIM map of one frame in float32: its order of operations, to the last bit."""
    x, y = reference.astype(np.float32)[None], prediction.astype(np.float32)[None]
    ux, uy = _gaussian11(x), _gaussian11(y)
    vx, vy = _gaussian11(x * x) - ux * ux, _gaussian11(y * y) - uy * uy
    vxy = _gaussian11(x * y) - ux * uy
    c1, c2 = ((k * data_range) ** 2 for k in (0.01, 0.03))
    above = (2 * ux * uy + c1) * (2 * vxy + c2)
    below = (ux**2 + uy**2 + c1) * (vx + vy + c2)
    return np.asarray((above / below)[0], dtype=np.float64)


def ssim_of_range(
    prediction: NDArray[np.generic],
    reference: NDArray[np.generic],
    data_range: NDArray[np.float64],
    mask: Mask | None = None,
) -> NDArray[np.float64]:
    """`ssim_colour_gaussian` of signals [T, H, W, C] of any scale, whose range is `data_range` [T].

    Raises:
        MetricUnavailable: a frame is smaller than the window.
    """
    return _means_inside(_ssim_maps(prediction, reference, data_range), mask)


def _means_inside(maps: NDArray[np.float64], mask: Mask | None) -> NDArray[np.float64]:
    """The mean of each frame's map over the windows whose centre lies inside."""
    centres = None if mask is None else mask[:, 5:-5, 5:-5]
    frames = zip(maps, frame_masks(centres, maps), strict=True)
    return np.asarray([mean_inside(of_frame, inside) for of_frame, inside in frames])


def _ssim_maps(
    prediction: NDArray[np.generic],
    reference: NDArray[np.generic],
    data_range: NDArray[np.float64],
) -> NDArray[np.float64]:
    _require_window(prediction.shape, 11)
    x, y = prediction.astype(np.float64), reference.astype(np.float64)
    c1, c2 = ((k * data_range[:, None, None, None]) ** 2 for k in (0.01, 0.03))
    mean_x, mean_y = _gaussian11(x), _gaussian11(y)
    products, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    variances = _gaussian11(x * x + y * y) - squares
    cov = _gaussian11(x * y) - products
    # Eq. 13 of Wang et al. 2004 with K1 = 0.01, K2 = 0.03 and L = data_range
    maps = (2 * products + c1) * (2 * cov + c2) / ((squares + c1) * (variances + c2))
    return np.asarray(maps)


def _opencv_grey(frame: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """0.299 R + 0.587 G + 0.114 B in OpenCV's 15-bit fixed point: [H W] in [0, 255].

    All numbers on the way are whole multiples of 2^-15 below 2^9: float32 holds them exactly.
    """
    weights = np.array([9798, 19235, 3735], dtype=np.float32) / np.float32(1 << 15)
    grey = frame.reshape(-1, 3).astype(np.float32) @ weights
    grey += np.float32(0.5)
    return grey.astype(np.uint16)


def _box7(planes: NDArray[Any], width: int) -> NDArray[Any]:
    """Sums over 7x7 windows of planes [..., H W], at the place of the window's first pixel."""
    return _sums_of_7(_sums_of_7(planes, width), 1)


def _sums_of_7(values: NDArray[Any], step: int) -> NDArray[Any]:
    """Sums of 7 values that stand `step` apart: [..., N] -> [..., N - 6 step]."""
    pairs = values[..., :-step] + values[..., step:]
    sums: NDArray[Any] = pairs[..., : -5 * step] + pairs[..., 2 * step : -3 * step]
    sums += pairs[..., 4 * step : -step]
    sums += values[..., 6 * step :]
    return sums


def _gaussian11(maps: NDArray[np.floating]) -> NDArray[np.floating]:
    """Gaussian means over every 11x11 window that lies inside, [T, H, W, C], in their own type."""
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
