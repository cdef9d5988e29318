"""Fréchet distance between Gaussians fitted to two feature sets (Dowson and Landau 1982)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import MetricUnavailable


def frechet_distance(
    a: NDArray[np.floating], b: NDArray[np.floating], unbiased: bool = True
) -> float:
    """|mu1 - mu2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2), in float64, at least 0.

    The last trace is the nuclear norm of A B^T, where A^T A = S1 and B^T B = S2; A is the centred
    set, or the R of its QR decomposition when it has more rows than columns. A matrix square
    root, an epsilon and complex results are avoided, also where the covariances are singular.

    Args:
        a, b: [n1, d] and [n2, d].
        unbiased: covariances over n - 1 (np.cov, TensorFlow's FVD) rather than over n
            (StyleGAN-V, cd-fvd).

    Raises:
        MetricUnavailable: fewer than 2 rows, different d, or a value that is not finite.
    """
    x, y = checked_features(a, b)
    shift = x.mean(axis=0) - y.mean(axis=0)
    root_x, root_y = (_covariance_root(z, unbiased) for z in (x, y))
    traces = np.square(root_x).sum() + np.square(root_y).sum()
    cross = np.linalg.svd(root_x @ root_y.T, compute_uv=False).sum()
    return max(float(shift @ shift + traces - 2 * cross), 0.0)


def checked_features(
    a: NDArray[np.floating], b: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both sets as float64 [n, d] with n >= 2, one d and finite values.

    Raises:
        MetricUnavailable: they are not.
    """
    for features in (a, b):
        if features.ndim != 2 or len(features) < 2 or features.shape[1] < 1:
            raise MetricUnavailable(
                f"features are {list(features.shape)}, expected [n, d] with n >= 2: "
                "a distribution needs at least 2 windows"
            )
        if not np.isfinite(features).all():
            raise MetricUnavailable("features hold a value that is not finite")
    if a.shape[1] != b.shape[1]:
        raise MetricUnavailable(
            f"features have {a.shape[1]} and {b.shape[1]} dimensions: expected the same network's"
        )
    return a.astype(np.float64), b.astype(np.float64)


def _covariance_root(features: NDArray[np.float64], unbiased: bool) -> NDArray[np.float64]:
    """A matrix [min(n, d), d] whose A^T A is the covariance."""
    n, d = features.shape
    centred = (features - features.mean(axis=0)) / np.sqrt(n - 1 if unbiased else n)
    return centred if n < d else np.asarray(np.linalg.qr(centred, mode="r"))
