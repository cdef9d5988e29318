"""Agreement: whether the parts of one submission are those of one evaluation.

Means are computed again, from the videos and, where per_frame.csv is there, from the frames; the
weights and references that the numbers need must be named. It finds what was edited or mixed up,
not what was invented whole: that takes the predictions.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from aa_eval.protocol import SET_KINDS, Metric, Protocol
from aa_eval.result import Result
from aa_eval.weights.weight_files import WEIGHTS
from aa_leaderboard.board.frame_scores import PER_FRAME_FILE, FrameScores, require_table_file
from aa_leaderboard.errors import SubmissionError

PER_VIDEO_FILE = "per_video.csv"
# The float32 metrics of some protocols are averaged in float32.
_RELATIVE, _ABSOLUTE = 1e-6, 1e-9
# Of keypoints that the user gives; not among a protocol's metrics, always a mean over videos.
_POSE_KEYS = frozenset({"pck", "akd", "missing_rate"})
# Feature network -> the name under which a result states the hash of its weights.
_WEIGHT_OF_NETWORK = {
    "i3d-kinetics-400": "i3d-k400",
    "resnet3d-50-kinetics": "resnet3d-50-kinetics",
}


def check_agreement(
    directory: Path, result: Result, protocol: Protocol, scores: FrameScores | None
) -> None:
    """Hold metrics, per_video, per_video.csv and per_frame.csv of one result to each other.

    Args:
        directory: the result's folder; its per_video.csv may be absent.
        protocol: the one that the result names.
        scores: its per_frame.csv; None where it is absent.

    Raises:
        SubmissionError: names the two places that contradict each other, and what they say.
    """
    for problem in (
        *_origin_problems(result, protocol),
        *_interval_problems(result),
        *_problems(result, protocol, scores),
    ):
        raise SubmissionError(
            f"{directory}: {problem}: not the numbers of one evaluation; run aa-eval again"
        )
    _check_per_video_file(directory / PER_VIDEO_FILE, result)


def _origin_problems(result: Result, protocol: Protocol) -> Iterator[str]:
    """What the numbers rest on must be named: references, frames left out, weights."""
    if unlike := sorted(result.references.keys() ^ result.per_video.keys()):
        yield f"{unlike[0]!r} is in only one of references and per_video"
    if result.trimmed and not any(o.startswith("allow frame-count:") for o in result.overrides):
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
        return _WEIGHT_OF_NETWORK.get(protocol.video_features.net)
    return None


def _interval_problems(result: Result) -> Iterator[str]:
    for key, metric in result.metrics.items():
        if metric.value is None or metric.ci_low is None or metric.ci_high is None:
            continue
        inside = metric.ci_low <= metric.value <= metric.ci_high
        at_an_end = _close(metric.value, metric.ci_low) or _close(metric.value, metric.ci_high)
        if not (inside or at_an_end):
            yield (
                f"metrics.{key} is {metric.value:.10g}, outside its own interval "
                f"[{metric.ci_low:.10g}, {metric.ci_high:.10g}]"
            )


def _problems(result: Result, protocol: Protocol, scores: FrameScores | None) -> Iterator[str]:
    kinds = {metric.key: metric.kind for metric in protocol.metrics}
    for key, metric in result.metrics.items():
        name = key.partition("@")[0]
        if name not in kinds and name not in _POSE_KEYS:
            yield f"metrics.{key}, a metric that {protocol.name} does not have"
        if kinds.get(name) in SET_KINDS:
            continue
        of_videos = [values.get(key) for values in result.per_video.values()]
        given = [value for value in of_videos if value is not None]
        if metric.value is None:
            if given:
                yield f"metrics.{key} is unavailable, but per_video has values of it"
            continue
        if not given:
            yield f"metrics.{key} is {metric.value:.10g}, but per_video has no value of it"
            continue
        expected = math.fsum(given) / len(given)
        if protocol.aggregation == "frames" and name not in _POSE_KEYS:
            if scores is not None:
                yield from _frame_mean_problems(key, metric.value, scores)
                continue
            expected = min(max(metric.value, min(given)), max(given))
        if not _close(metric.value, expected):
            yield f"metrics.{key} is {metric.value:.10g}, per_video gives {expected:.10g}"
    if scores is not None:
        yield from _frame_problems(result, scores)


def _frame_problems(result: Result, scores: FrameScores) -> Iterator[str]:
    frames = sum(len(numbers) for numbers in scores.numbers.values())
    if frames != result.num_frames:
        yield f"{PER_FRAME_FILE} has {frames} frames, num_frames is {result.num_frames}"
    for video, values in result.per_video.items():
        for key, value in values.items():
            found = [v for v in scores.values.get(key, {}).get(video, []) if not math.isnan(v)]
            mean = math.fsum(found) / len(found) if found else None
            if (mean is None) != (value is None) or not _close(mean or 0.0, value or 0.0):
                yield f"per_video.{video}.{key} is {value}, {PER_FRAME_FILE} gives {mean}"
    for key, of_video in scores.values.items():
        count = sum(not math.isnan(v) for values in of_video.values() for v in values)
        if count != result.metrics[key].n:
            yield f"metrics.{key}.n is {result.metrics[key].n}, {PER_FRAME_FILE} has {count} values"


def _frame_mean_problems(key: str, value: float, scores: FrameScores) -> Iterator[str]:
    of_videos = scores.values.get(key, {}).values()
    found = [v for values in of_videos for v in values if not math.isnan(v)]
    mean = math.fsum(found) / len(found) if found else math.nan
    if not _close(value, mean):
        yield f"metrics.{key} is {value:.10g}, {PER_FRAME_FILE} gives {mean:.10g}"


def _check_per_video_file(path: Path, result: Result) -> None:
    if not path.exists():
        return
    require_table_file(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head, *lines = list(csv.reader(file, strict=True)) or [[]]
        found = {
            line[0]: {
                key: float(text) if text else None
                for key, text in zip(head[1:], line[1:], strict=True)
            }
            for line in lines
        }
    except (UnicodeDecodeError, csv.Error, ValueError, IndexError) as error:
        raise SubmissionError(f"{path}: not a table of numbers: run aa-eval again") from error
    for video in sorted(result.per_video.keys() | found.keys()):
        ours, theirs = result.per_video.get(video, {}), found.get(video, {})
        for key in sorted(ours.keys() | theirs.keys()):
            a, b = ours.get(key), theirs.get(key)
            if (a is None) != (b is None) or not _close(a or 0.0, b or 0.0):
                raise SubmissionError(
                    f"{path}: {video}.{key} is {b}, result.json says {a}: not the numbers of one "
                    "evaluation; run aa-eval again"
                )


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
