"""Kernel video distance: squared maximum mean discrepancy (Binkowski et al. 2018) of features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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


def _kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


def _mean_off_diagonal(x: NDArray[np.float64]) -> float:
    kernel = _kernel(x, x)
    n = len(x)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))
