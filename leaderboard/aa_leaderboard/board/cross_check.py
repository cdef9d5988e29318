"""Cross-check: whether the parts of one submission are those of one evaluation.

Means, counts and intervals are computed again, from the frames where per_frame.csv is there, else
from the videos as far as these allow; weights and references that the numbers need must be named.
It finds what was edited or mixed up, not what was invented whole: that takes the predictions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aa_eval.errors import counted
from aa_eval.names import POSE_BETTER
from aa_eval.protocol import KINDS, SET_KINDS, Metric, Protocol
from aa_eval.result import MetricValue, Result, mean_of_frames
from aa_eval.scoring.feature_windows import needed_windows
from aa_eval.verify import may_be_trimmed
from aa_eval.weights.weight_files import WEIGHTS
from aa_leaderboard.board.frame_scores import PER_FRAME_FILE, PER_VIDEO_FILE, read_video_scores
from aa_leaderboard.errors import SubmissionError

if TYPE_CHECKING:
    import pandas as pd

# The float32 metrics of some protocols are averaged in float32.
_RELATIVE, _ABSOLUTE = 1e-6, 1e-9
# Feature network or kind -> the name under which a result states the hash of its weights.
_WEIGHT_OF = {
    "i3d-kinetics-400": "i3d-k400",
    "resnet3d-50-kinetics": "resnet3d-50-kinetics",
    "inception-2015": "inception-2015",
    "videomae-v2-g-ssv2": "videomae-v2-g-ssv2",
    "vjepa-h16-ssv2": "vjepa-h16",
    "pips2-fvmd": "pips2-fvmd",
    "picd": "dinov2-b14",
    "picd_nearest": "dinov2-b14",
    "csim": "arcface-w600k-r50",
}


def check_agreement(
    directory: Path, result: Result, protocol: Protocol, frames: pd.DataFrame | None
) -> None:
    """Hold metrics, per_video, per_video.csv and per_frame.csv of one result to each other.

    Args:
        directory: the result's folder; its per_video.csv may be absent.
        protocol: the one that the result names.
        frames: its per_frame.csv (`frame_scores.read_frame_scores`); None where it is absent.

    Raises:
        SubmissionError: names the two places that contradict each other, and what they say.
    """
    for problem in (
        *_origin_problems(result, protocol),
        *_metric_problems(result, protocol, frames),
        *_video_file_problems(directory, result),
    ):
        raise SubmissionError(
            f"{directory}: {problem}: not the numbers of one evaluation; run aa-eval again"
        )


def _origin_problems(result: Result, protocol: Protocol) -> Iterator[str]:
    """What the numbers rest on must be named: protocol, references, frames left out, weights."""
    if result.protocol_version != protocol.version:
        version = result.protocol_version
        yield f"protocol_version is {version!r}, {protocol.name} has {protocol.version!r}"
    if unlike := sorted(result.references.keys() ^ result.per_video.keys()):
        yield f"{unlike[0]!r} is in only one of references and per_video"
    if result.trimmed and not may_be_trimmed(result):
        yield f"trimmed has {min(result.trimmed)!r}, but no override says 'allow frame-count'"
    for metric in protocol.metrics:
        value = result.metrics.get(metric.key)
        weight = _weight_of(metric, protocol)
        if value is None or value.value is None or weight is None:
            continue
        stated = result.weights.get(weight)
        if stated is None:
            yield f"metrics.{metric.key} has a value, but weights does not name {weight}"
        elif weight in WEIGHTS and stated != WEIGHTS[weight].sha256:
            yield (
                f"weights.{weight} is {stated[:12]}, expected {WEIGHTS[weight].sha256[:12]}, the "
                "only one that aa-eval uses"
            )


def _weight_of(metric: Metric, protocol: Protocol) -> str | None:
    if metric.net is not None:
        return f"lpips-{metric.net}"
    if metric.kind in SET_KINDS and protocol.video_features is not None:
        return _WEIGHT_OF.get(protocol.video_features.net)
    return _WEIGHT_OF.get(metric.kind)


def _metric_problems(
    result: Result, protocol: Protocol, frames: pd.DataFrame | None
) -> Iterator[str]:
    kinds = {metric.key: metric.kind for metric in protocol.metrics}
    if frames is not None and len(frames) != result.num_frames:
        there = counted(len(frames), "frame")
        yield f"{PER_FRAME_FILE} has {there}, num_frames is {result.num_frames}"
    for key, metric in result.metrics.items():
        name = key.partition("@")[0]
        if name not in kinds and name not in POSE_BETTER:
            yield f"metrics.{key}, a metric that {protocol.name} does not have"
        elif kinds.get(name) in SET_KINDS:
            yield from _set_problems(key, kinds[name], metric, result, protocol, frames)
        elif metric.value is None:
            if any(values.get(key) is not None for values in result.per_video.values()):
                yield f"metrics.{key} is unavailable, but per_video has values of it"
        else:
            # Metrics of keypoints are always means over videos.
            over = "videos" if name in POSE_BETTER else protocol.aggregation
            in_float32 = name in kinds and KINDS[kinds[name]].mean_in_float32
            of_videos = name in kinds and KINDS[kinds[name]].over == "video"
            of_frames = None if of_videos else frames
            over = "videos" if of_videos else over
            yield from _mean_problems(key, metric, result, over, of_frames, in_float32)


def _mean_problems(
    key: str,
    metric: MetricValue,
    result: Result,
    over: str,
    frames: pd.DataFrame | None,
    in_float32: bool,
) -> Iterator[str]:
    """Compute the metric again: from the values of its frames, else from the means of videos.

    Without frames a mean of frames is held to the range of the videos' means alone.
    """
    given = {video: values.get(key) for video, values in result.per_video.items()}
    if frames is None:
        source = "per_video"
        values = {v: np.array([mean]) for v, mean in given.items() if mean is not None}
    elif key in frames:
        source = PER_FRAME_FILE
        values = {str(v): of.to_numpy() for v, of in frames.groupby("video")[key]}
    else:
        values = {}
    if not values:
        where = "per_video has no value" if frames is None else f"{PER_FRAME_FILE} has no column"
        yield f"metrics.{key} is {metric.value}, but {where} of it"
        return
    found, means = mean_of_frames(values, over if frames is not None else "videos", in_float32)
    stated = (metric.value, metric.ci_low, metric.ci_high, metric.n)
    computed: tuple[float | None, ...] = (found.value, found.ci_low, found.ci_high, found.n)
    if frames is None and over == "frames":
        low, high = min(means.values()), max(means.values())
        computed = tuple(None if end is None else min(max(end, low), high) for end in stated)
    for video in sorted(given.keys() | values.keys()):
        if not _close(given.get(video), means.get(video)):
            stands, gives = given.get(video), means.get(video)
            yield f"per_video.{video}.{key} is {stands}, {source} gives {gives}"
    for name, a, b in zip(("", ".ci_low", ".ci_high", ".n"), stated, computed, strict=True):
        # Older results may lack an interval; the number of frames cannot be checked.
        if frames is None and (a is None or name == ".n"):
            continue
        if not _close(a, b):
            yield f"metrics.{key}{name} is {a}, {source} gives {b}"


def _set_problems(
    key: str,
    kind: str,
    metric: MetricValue,
    result: Result,
    protocol: Protocol,
    frames: pd.DataFrame | None,
) -> Iterator[str]:
    """FVD and KVD: as many windows as the frames have, an interval around the value."""
    if metric.value is None:
        return
    low, high = metric.ci_low, metric.ci_high
    if low is not None and high is not None:
        above, below = high - metric.value, metric.value - low
        # value +- 1.96 standard deviations; a Frechet distance is cut at 0. A mean over windows
        # has the interval of a bootstrap, which lies around it in any way.
        of_means = kind in ("mean_feature_distance", "frechet_of_each_video")
        of_means = of_means and min(above, below) >= 0
        if not (of_means or _close(above, below) or (_close(low, 0.0) and above >= below)):
            yield f"metrics.{key}: the value {metric.value} is not the middle of [{low}, {high}]"
    windows, is_exact = _num_windows(result, protocol, frames)
    if metric.n > windows or (is_exact and metric.n < windows):
        rule = f"{PER_FRAME_FILE} has" if is_exact else f"for {result.num_frames} frames at most"
        yield f"metrics.{key}.n is {metric.n}, {rule} {windows} windows"


def _num_windows(
    result: Result, protocol: Protocol, frames: pd.DataFrame | None
) -> tuple[int, bool]:
    """How many windows the protocol's rule finds, and whether that is exact or a bound."""
    spec = protocol.video_features
    if spec is None:
        return result.num_frames, False
    if frames is None:
        # One long video has the most windows that so many frames can have.
        stride = spec.window_stride if spec.window_rule == "stride" else 1
        bound = max(0, (result.num_frames - spec.window_frames) // stride + 1)
        one_a_video = spec.window_rule in ("random-reference", "whole")
        return min(bound, result.num_videos) if one_a_video else bound, False
    by_video = frames.groupby("video")["frame"]
    counts = (len(needed_windows(spec, str(video), numbers.tolist(), is_reference=False))
              for video, numbers in by_video)  # fmt: skip
    return sum(counts), True


def _video_file_problems(directory: Path, result: Result) -> Iterator[str]:
    table = read_video_scores(directory, result)
    if table is None:
        return
    found: dict[str, dict[str, float | None]] = {}
    for video, *values in table.itertuples(index=False, name=None):
        of_keys = zip(table.columns[1:], values, strict=True)
        found[video] = {key: None if math.isnan(value) else value for key, value in of_keys}
    for video in sorted(result.per_video.keys() | found.keys()):
        ours, theirs = result.per_video.get(video, {}), found.get(video, {})
        for key in sorted(ours.keys() | theirs.keys()):
            if not _close(ours.get(key), theirs.get(key)):
                yield (
                    f"{PER_VIDEO_FILE} has {theirs.get(key)} as {video}.{key}, result.json has "
                    f"{ours.get(key)}"
                )


def _close(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
