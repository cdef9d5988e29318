"""Distances of sets of videos, such as FVD: draws, sample size, interval, sample floor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import MetricUnavailable, counted
from aa_eval.features.spec import VideoFeatures
from aa_eval.metrics.frechet import frechet_distance
from aa_eval.metrics.kvd import jedi_distance, kernel_distance, kernel_distance_of_videos
from aa_eval.protocol import Metric
from aa_eval.result import MetricValue
from aa_eval.scoring.feature_windows import drawn_starts
from aa_eval.statistics import (
    SetDistance,
    cluster_bootstrap,
    distance_spread,
    split_half_distance,
    stacked,
)
from aa_eval.videos.pairing import Pair

Values = NDArray[np.float64]

# KVD is unbiased at any N, but below these its spread is as large as what it measures.
_FEW_WINDOWS = 50
MIN_RANKED_VIDEOS = 10  # the number of TikTok's; the board ranks no KVD of fewer


def set_metric(
    metric: Metric,
    spec: VideoFeatures,
    pairs: Sequence[Pair],
    predictions: Sequence[Values],
    references: Sequence[Values],
) -> MetricValue:
    """FVD or KVD over all videos.

    Args:
        predictions, references: per video the vectors [k, d] of the windows that
            `aa_eval.scoring.feature_windows.needed_windows` names.

    Returns:
        The value; its interval is value +- 1.96 standard deviations of the bootstrap over videos.
        The note tells N and rank, and how far two halves of the references are from each other.
    """
    if metric.kind == "mean_feature_distance":
        return _mean_feature_distance(spec, predictions, references)
    if metric.kind == "frechet_of_each_video":
        return _frechet_of_each_video(spec, pairs, predictions, references)
    draws = [_draw(spec, pairs, predictions, references, run) for run in range(spec.runs)]
    ours, theirs = draws[0]
    count = sum(len(rows) for rows in theirs)
    if count < 2:
        reason = (
            f"{counted(count, 'window')} of {spec.window_frames or 'all'} consecutive frames "
            f"({_rule(spec)}): a distribution needs at least 2"
        )
        return MetricValue(None, None, None, reason, count, None)
    distance = _distance(metric, spec)
    try:
        values = [_value(distance, a, b) for a, b in draws]
    except MetricUnavailable as error:
        return MetricValue(None, None, None, str(error), count, None)
    value = float(np.mean(values))
    notes = _sample_notes(metric, count, theirs)
    if spec.runs > 1:
        notes.append(f"mean of {spec.runs} draws, standard deviation {np.std(values):.4g}")
    if empty := sum(len(rows) == 0 for rows in theirs):
        notes.append(f"videos without a window of {spec.window_frames} frames: {empty}")
    floor = split_half_distance(theirs, distance)
    if floor is not None:
        notes.append(f"two halves of the references are {floor:.4g} apart")
    spread = distance_spread(ours, theirs, distance)
    low, high = (None, None) if spread is None else (value - 1.96 * spread, value + 1.96 * spread)
    if low is not None and metric.kind in ("fvd", "jedi"):
        low = max(low, 0.0)
    return MetricValue(value, low, high, None, count, "; ".join(notes) or None)


def _draw(
    spec: VideoFeatures,
    pairs: Sequence[Pair],
    predictions: Sequence[Values],
    references: Sequence[Values],
    run: int,
) -> tuple[list[Values], list[Values]]:
    if spec.window_rule != "random-reference":
        return list(predictions), list(references)
    theirs = []
    for pair, rows in zip(pairs, references, strict=True):
        drawn = drawn_starts(spec, pair.video_id, pair.frame_numbers)
        row_of = {start: row for row, start in enumerate(sorted(set(drawn)))}
        theirs.append(rows[[row_of[drawn[run]]]] if drawn else rows)
    return list(predictions), theirs


def _mean_feature_distance(
    spec: VideoFeatures, predictions: Sequence[Values], references: Sequence[Values]
) -> MetricValue:
    """Mean of |f - g|^2 over all pairs of windows, with an interval over videos.

    HumanVid's "FVD" (metrics/utils/fvd.py at 28ff734): a Fréchet distance of one vector a side, for
    each prefix of each video. It averages in float32.
    """
    pairs = zip(predictions, references, strict=True)
    of_videos = [np.square(a - b).sum(axis=1) for a, b in pairs if len(a)]
    if not of_videos:
        reason = f"no video has {spec.window_frames} frames"
        return MetricValue(None, None, None, reason, 0, None)
    every = np.concatenate(of_videos)
    counts = np.asarray([len(values) for values in of_videos], dtype=np.float64)
    means = np.asarray([values.mean() for values in of_videos])
    low, high = cluster_bootstrap(means, counts) or (None, None)
    note = "no distance of distributions: comparable with no other FVD"
    return MetricValue(float(every.astype(np.float32).mean()), low, high, None, len(every), note)


def _frechet_of_each_video(
    spec: VideoFeatures,
    pairs: Sequence[Pair],
    predictions: Sequence[Values],
    references: Sequence[Values],
) -> MetricValue:
    """Mean over videos of the Fréchet distance between the two sides of each.

    One-to-All's FID (benchmark/eval_tiktok.sh at c6014ff).
    """
    counts = [len(rows) for rows in references]
    distances = []
    for pair, ours, theirs in zip(pairs, predictions, references, strict=True):
        try:
            distances.append(frechet_distance(ours, theirs, spec.unbiased_covariance))
        except MetricUnavailable as error:
            return MetricValue(None, None, None, f"'{pair.video_id}': {error}", sum(counts), None)
    means = np.asarray(distances)
    low, high = cluster_bootstrap(means, np.ones(len(means))) or (None, None)
    dim = references[0].shape[1]
    note = "of each video by itself: comparable with no FID of a whole set"
    if min(counts) <= dim:
        note = f"rank-deficient: N = {min(counts)} <= d = {dim}; {note}"
    return MetricValue(float(means.mean()), low, high, None, sum(counts), note)


def _value(distance: SetDistance, a: Sequence[Values], b: Sequence[Values]) -> float:
    ours, theirs = (stacked(list(enumerate(side))) for side in (a, b))
    return distance(ours[0], theirs[0], ours[1], theirs[1])


def _distance(metric: Metric, spec: VideoFeatures) -> SetDistance:
    if metric.kind == "kvd_of_videos":
        return kernel_distance_of_videos
    if metric.kind == "kvd":
        return lambda a, b, *_: kernel_distance(a, b)
    if metric.kind == "jedi":
        return lambda a, b, *_: jedi_distance(a, b)
    return lambda a, b, *_: frechet_distance(a, b, spec.unbiased_covariance)


def _sample_notes(metric: Metric, count: int, theirs: Sequence[Values]) -> list[str]:
    dim = theirs[0].shape[1]
    videos = sum(len(rows) > 0 for rows in theirs)
    if metric.kind == "fvd" and count <= dim:
        return [f"rank-deficient: N = {count} <= d = {dim}"]
    if metric.kind == "kvd_of_videos" and videos < MIN_RANKED_VIDEOS:
        return [f"not ranked: {counted(videos, 'video')} < {MIN_RANKED_VIDEOS}"]
    if metric.kind == "kvd" and count < _FEW_WINDOWS:
        return [f"noisy: N = {count} < {_FEW_WINDOWS} windows"]
    return [f"N = {count}"]


def _rule(spec: VideoFeatures) -> str:
    if spec.window_rule == "stride":
        return f"stride {spec.window_stride}"
    return "one a video"
