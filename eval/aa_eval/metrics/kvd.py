"""Kernel video distance: squared maximum mean discrepancy (Binkowski et al. 2018) of features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import MetricUnavailable
from aa_eval.metrics.frechet import checked_features


def kernel_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Unbiased estimate of MMD^2 under the kernel (x . y / d + 1)^3; may be below 0.

    Unlike the Fréchet distance its expectation does not depend on the number of samples.

    Args:
        a, b: [n1, d] and [n2, d].

    Raises:
        MetricUnavailable: fewer than 2 rows, different d, or a value that is not finite.
    """
    x, y = checked_features(a, b)
    return _mean_off_diagonal(x) + _mean_off_diagonal(y) - 2 * float(_kernel(x, y).mean())


def kernel_distance_of_videos(
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    video_of_a: NDArray[np.integer],
    video_of_b: NDArray[np.integer],
) -> float:
    """`kernel_distance` over pairs of windows of different videos, in all three of its terms.

    Predictions and references are of the same videos, and windows of one video are alike: a pair
    of them in the cross term, but not in the other two, makes `kernel_distance` biased, so that a
    degraded prediction may score better than the truth. Here a copy of the truth gives exactly 0,
    and the expectation over independent videos is MMD^2, which is nowhere below 0.

    Args:
        a, b: [n1, d] and [n2, d].
        video_of_a, video_of_b: [n1] and [n2], the number of the video that each row is of.

    Raises:
        MetricUnavailable: fewer than 2 videos on a side, different d, or a value that is not
            finite.
    """
    x, y = checked_features(a, b)
    for side in (video_of_a, video_of_b):
        if len(np.unique(side)) < 2:
            raise MetricUnavailable("windows of 1 video: pairs of different videos need 2")
    within = _mean_across(x, x, video_of_a, video_of_a) + _mean_across(y, y, video_of_b, video_of_b)
    return within - 2 * _mean_across(x, y, video_of_a, video_of_b)


def jedi_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """100 times the biased estimate of MMD^2 under the kernel (x . y / d)^2 (Luo et al. 2024).

    As the package videojedi 1.1.0 computes JEDi: pairs of a vector with itself count, so that the
    value is at least 0, and depends on the number of samples. Arguments and errors as of
    `kernel_distance`.
    """
    x, y = checked_features(a, b)
    within, across = (_square_kernel(x, x) + _square_kernel(y, y), _square_kernel(x, y))
    return 100 * max(within - 2 * across, 0.0)


def _square_kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return float(np.square(x @ y.T / x.shape[1]).mean())


def _mean_across(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    video_of_x: NDArray[np.integer],
    video_of_y: NDArray[np.integer],
) -> float:
    # a copy, or BLAS would take another routine where y is x itself, with other rounding
    kernel = _kernel(x, y.copy())
    return float(kernel[video_of_x[:, None] != video_of_y].mean())


def _kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


def _mean_off_diagonal(x: NDArray[np.float64]) -> float:
    kernel = _kernel(x, x)
    n = len(x)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))
