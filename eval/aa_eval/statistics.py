"""Uncertainty over videos: frames of one video are not independent, videos are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import MetricUnavailable

RESAMPLES = 10_000
SET_RESAMPLES = 100  # of a distance between sets: enough for a standard deviation within 7 %
_SPLITS = 20
_MAX_EXACT = 14  # 2 ** 14 sign patterns are enumerated; above, they are drawn


MIN_VIDEOS = 3  # for an interval: that of two videos would be just their two values
Values = NDArray[np.float64]


class SetDistance(Protocol):
    """A distance of two sets of vectors [n, d], each row with the number of its video [n]."""

    def __call__(
        self, a: Values, b: Values, video_of_a: NDArray[np.int64], video_of_b: NDArray[np.int64], /
    ) -> float: ...


def stacked(videos: Sequence[tuple[int, Values]]) -> tuple[Values, NDArray[np.int64]]:
    """All vectors of (number, vectors) of several videos, and the number of each vector's video."""
    numbers = np.repeat([number for number, _ in videos], [len(rows) for _, rows in videos])
    return np.concatenate([rows for _, rows in videos]), numbers.astype(np.int64)


def why_no_interval(num_videos: int) -> str | None:
    """Why a value over so many videos has no interval; None where it has one."""
    if num_videos >= MIN_VIDEOS:
        return None
    s = "" if num_videos == 1 else "s"
    return f"no interval: {num_videos} video{s}, an interval over videos needs {MIN_VIDEOS}"


def cluster_bootstrap(
    video_means: NDArray[np.float64], weights: NDArray[np.float64], seed: int = 0
) -> tuple[float, float] | None:
    """95 % percentile interval of the weighted mean when whole videos are resampled.

    Efron & Tibshirani 1993, chapter 13, with the video as the sampling unit. With few videos
    (ten on TikTok) the interval is somewhat too narrow; that is the method's known limit.

    Args:
        video_means: [V]; one mean per video.
        weights: [V]; frames per video, or ones where every video counts alike.

    Returns:
        (low, high), or None with fewer than `MIN_VIDEOS`. The same seed gives the same interval.
    """
    count = len(video_means)
    if count < MIN_VIDEOS:
        return None
    drawn = np.random.default_rng(seed).integers(0, count, size=(RESAMPLES, count))
    means = (video_means * weights)[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def paired_bootstrap(differences: NDArray[np.float64], seed: int = 0) -> tuple[float, float] | None:
    """95 % interval of the mean of paired differences [V]; None below `MIN_VIDEOS`."""
    return cluster_bootstrap(differences, np.ones(len(differences)), seed)


def distance_spread(
    a: Sequence[NDArray[np.float64]],
    b: Sequence[NDArray[np.float64]],
    distance: SetDistance,
    seed: int = 0,
) -> float | None:
    """Standard deviation of a distance between sets when whole videos are resampled.

    The videos of both sides are resampled together. A sample repeats videos, which moves the mean
    of the distances away from the value (repeated windows have a smaller rank): only their spread
    is used.

    Args:
        a, b: per video its vectors [k, d]; the same videos in the same order.
        distance: of two sets, n >= 2.

    Returns:
        None with fewer than three videos that have vectors.
    """
    kept = [i for i in range(len(b)) if len(a[i]) and len(b[i])]
    if len(kept) < MIN_VIDEOS:
        return None
    draw = np.random.default_rng(seed)
    values = []
    for _ in range(SET_RESAMPLES):
        chosen = [kept[i] for i in draw.integers(0, len(kept), len(kept))]
        ours, theirs = (stacked([(i, side[i]) for i in chosen]) for side in (a, b))
        try:
            values.append(distance(ours[0], theirs[0], ours[1], theirs[1]))
        except MetricUnavailable:  # one video over and over has no pair of different ones
            continue
    return float(np.std(values, ddof=1))


def split_half_distance(
    references: Sequence[NDArray[np.float64]],
    distance: SetDistance,
    seed: int = 0,
) -> float | None:
    """Mean distance of two random halves of the references, split by video: the sample's floor.

    What a method that makes perfect videos of other people could hope for at half the sample.

    Args:
        references: per video its vectors [k, d].
        distance: of two sets, n >= 2.

    Returns:
        None where a half would have fewer than two vectors, or what else the distance needs.
    """
    kept = [(i, rows) for i, rows in enumerate(references) if len(rows)]
    half = len(kept) // 2
    draw = np.random.default_rng(seed)
    values = []
    for _ in range(_SPLITS):
        order = draw.permutation(len(kept))
        halves = [[kept[i] for i in order[:half]], [kept[i] for i in order[half : 2 * half]]]
        if min(sum(len(rows) for _, rows in side) for side in halves) < 2:
            return None
        one, other = (stacked(side) for side in halves)
        try:
            values.append(distance(one[0], other[0], one[1], other[1]))
        except MetricUnavailable:
            return None
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
