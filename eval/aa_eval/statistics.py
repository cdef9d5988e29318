"""Uncertainty over videos: frames of one video are not independent, videos are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
SET_RESAMPLES = 100  # of a distance between sets: enough for a standard deviation within 7 %
_SPLITS = 20
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


def distance_spread(
    a: Sequence[NDArray[np.float64]],
    b: Sequence[NDArray[np.float64]],
    distance: Callable[[NDArray[np.float64], NDArray[np.float64]], float],
    seed: int = 0,
) -> float | None:
    """Standard deviation of a distance between sets when whole videos are drawn anew.

    The videos of both sides are drawn together. A draw repeats videos, which moves the mean of the
    distances away from the value (repeated windows have a smaller rank); their spread is what is
    taken from it.

    Args:
        a, b: per video its vectors [k, d]; the same videos in the same order.
        distance: of two sets [n, d], n >= 2.

    Returns:
        None with fewer than three videos that have vectors.
    """
    kept = [i for i in range(len(b)) if len(a[i]) and len(b[i])]
    if len(kept) < 3:
        return None
    draw = np.random.default_rng(seed)
    values = []
    for _ in range(SET_RESAMPLES):
        chosen = [kept[i] for i in draw.integers(0, len(kept), len(kept))]
        values.append(
            distance(np.concatenate([a[i] for i in chosen]), np.concatenate([b[i] for i in chosen]))
        )
    return float(np.std(values, ddof=1))


def split_half_distance(
    references: Sequence[NDArray[np.float64]],
    distance: Callable[[NDArray[np.float64], NDArray[np.float64]], float],
    seed: int = 0,
) -> float | None:
    """Mean distance of two random halves of the references, split by video: the sample's floor.

    What a method that makes perfect videos of other people could hope for at half the sample.

    Args:
        references: per video its vectors [k, d].
        distance: of two sets [n, d], n >= 2.

    Returns:
        None where a half would have fewer than two vectors.
    """
    kept = [rows for rows in references if len(rows)]
    half = len(kept) // 2
    draw = np.random.default_rng(seed)
    values = []
    for _ in range(_SPLITS):
        order = draw.permutation(len(kept))
        halves = [[kept[i] for i in order[:half]], [kept[i] for i in order[half : 2 * half]]]
        if min(sum(len(rows) for rows in side) for side in halves) < 2:
            return None
        values.append(distance(np.concatenate(halves[0]), np.concatenate(halves[1])))
    return float(np.mean(values))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for how many tests were made (Holm 1979), in the order given."""
    count = len(p_values)
    corrected = [0.0] * count
    largest = 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (count - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


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
