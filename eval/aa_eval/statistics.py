"""Uncertainty over videos: frames of one video are not independent, videos are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
_MAX_EXACT = 14  # 2 ** 14 sign patterns are enumerated; above, they are drawn


def cluster_bootstrap(
    video_means: NDArray[np.float64], weights: NDArray[np.float64], seed: int = 0
) -> tuple[float, float] | None:
    """95 % percentile interval of the weighted mean when whole videos are drawn anew.

    Efron & Tibshirani 1993, chapter 13, with the video as the sampling unit. With few videos
    (ten on TikTok) the interval is somewhat too narrow; that is the method's known limit.

    Args:
        video_means: [V]; one mean per video.
        weights: [V]; frames per video, or ones where every video counts alike.

    Returns:
        (low, high), or None with fewer than two videos. The same seed gives the same interval.
    """
    count = len(video_means)
    if count < 2:
        return None
    drawn = np.random.default_rng(seed).integers(0, count, size=(RESAMPLES, count))
    means = (video_means * weights)[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def paired_bootstrap(differences: NDArray[np.float64], seed: int = 0) -> tuple[float, float] | None:
    """95 % interval of the mean of paired differences [V], one per video; None below two."""
    return cluster_bootstrap(differences, np.ones(len(differences)), seed)


def sign_flip_test(differences: NDArray[np.float64], seed: int = 0) -> float:
    """Two-sided p-value of "the two methods are exchangeable on every video", in (0, 1].

    Exact (all 2^V sign patterns) up to 14 videos; above, 10,000 drawn patterns with the observed
    one counted among them (Phipson & Smyth 2010). V videos cannot give p below 2 / 2^V.

    Args:
        differences: [V], one per video.
    """
    count = len(differences)
    if count <= _MAX_EXACT:
        patterns = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    else:
        patterns = np.random.default_rng(seed).integers(0, 2, size=(RESAMPLES, count))
    sums = np.abs((1 - 2 * patterns) @ differences)
    observed = abs(float(differences.sum()))
    # sums that differ by rounding only are equal
    extreme = int(np.count_nonzero(sums >= observed * (1 - 1e-12)))
    if count <= _MAX_EXACT:
        return extreme / len(patterns)
    return (extreme + 1) / (len(patterns) + 1)
