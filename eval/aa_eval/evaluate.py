"""Evaluate: pairs and protocols in, Results out; each frame is decoded once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from aa_eval.baselines import BASELINES
from aa_eval.errors import VideoError
from aa_eval.keypoints import pck_of_pair
from aa_eval.measures import Measures
from aa_eval.pairing import Pair
from aa_eval.protocol import SET_KINDS, Metric, Protocol, VideoFeatures
from aa_eval.provenance import describe_machine, package_versions
from aa_eval.resize import resize
from aa_eval.result import SCHEMA, MetricValue, Result
from aa_eval.source import iter_frames
from aa_eval.statistics import cluster_bootstrap
from aa_eval.windows import WindowFeatures, window_starts

_CHUNK = 8  # frames in memory at a time

Frames = NDArray[np.uint8]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A Result, and its per-frame values: video id -> metric key -> [T]."""

    result: Result
    per_frame: dict[str, dict[str, Values]]


class _Tally:
    """What one method has scored so far."""

    def __init__(self) -> None:
        self.frames: dict[tuple[str, Metric, str], list[Values]] = defaultdict(list)
        self.features: dict[VideoFeatures, list[Values]] = defaultdict(list)
        self.pck: dict[tuple[str, float], Values] = {}


def evaluate(
    pairs: Sequence[Pair],
    protocols: Sequence[Protocol],
    *,
    method: str,
    label: str = "measured",
    benchmark: str | None = None,
    baselines: Sequence[str] = (),
    overrides: tuple[str, ...] = (),
    keypoints: tuple[Path, Path] | None = None,
    device: str = "cpu",
) -> list[Evaluation]:
    """Score predictions, and trivial baselines of the same references, under every protocol.

    Memory does not grow with a video's length or size of the set, except for one number per
    frame and metric and one vector of 400 per FVD window.

    Args:
        pairs: from `aa_eval.pairing.make_pairs`.
        baselines: names of `aa_eval.baselines.BASELINES`; they become results of their own,
            labelled "baseline".
        overrides: checks that were switched off; kept in every result.
        keypoints: folders of `<video>.npz` of the predictions and of the references, for PCK.

    Returns:
        For each protocol the method's evaluation, then the baselines'.

    Raises:
        VideoError: a frame cannot be decoded.
        PairingError: keypoints do not fit the videos.
    """
    measures = Measures(protocols, device)
    names = ([method] if pairs and pairs[0].prediction else []) + list(baselines)
    tallies = {name: _Tally() for name in names}
    references: dict[VideoFeatures, list[Values]] = defaultdict(list)
    with tqdm(total=sum(p.num_frames for p in pairs), unit="frame", disable=None) as progress:
        for pair in pairs:
            progress.set_postfix_str(pair.video_id)
            _score_pair(pair, measures, method, tallies, references, device, progress)
            if keypoints and pair.prediction:
                for alpha in {p.pck_alpha for p in protocols}:
                    tallies[method].pck[pair.video_id, alpha] = pck_of_pair(pair, *keypoints, alpha)
    return [
        _evaluation(
            pairs,
            protocol,
            measures,
            tallies[name],
            references,
            overrides,
            device,
            name,
            label if name == method else "baseline",
            benchmark,
        )
        for protocol in protocols
        for name in names
    ]


def _chunks(pair: Pair) -> Iterator[tuple[Frames, list[NDArray[np.uint8]]]]:
    """(reference frames, predicted frames) of up to `_CHUNK` frames; the latter may be empty."""
    reference = iter_frames(pair.reference)
    prediction = iter_frames(pair.prediction) if pair.prediction else None
    left = pair.num_frames
    while left:
        count = min(_CHUNK, left)
        theirs = list(islice(reference, count))
        ours = list(islice(prediction, count)) if prediction else []
        if len(theirs) < count or (prediction and len(ours) < count):
            raise VideoError(f"'{pair.video_id}': fewer frames can be decoded than its file holds")
        yield np.stack(theirs), ours
        left -= count
    # also lets the readers make their own checks at a file's end
    if any(next(frames, None) is not None for frames in (reference, prediction) if frames):
        raise VideoError(f"'{pair.video_id}': more frames can be decoded than its file announces")


def _score_pair(
    pair: Pair,
    measures: Measures,
    method: str,
    tallies: dict[str, _Tally],
    references: dict[VideoFeatures, list[Values]],
    device: str,
    progress: tqdm[NoReturn],
) -> None:
    def stream(spec: VideoFeatures) -> WindowFeatures:
        starts = window_starts(pair.frame_numbers, spec.window_frames, spec.window_stride)
        return WindowFeatures(spec, measures.networks[spec], starts, device)

    predictors = {name: BASELINES[name]() for name in tallies if name in BASELINES}
    theirs = {spec: stream(spec) for spec in measures.networks}
    ours = {(name, spec): stream(spec) for name in tallies for spec in measures.networks}
    for reference, predicted in _chunks(pair):
        for spec in theirs:
            theirs[spec].push(reference)
        for name, tally in tallies.items():
            if name == method and predicted:
                frames = np.stack(predicted)
            else:
                frames = np.stack([predictors[name](frame) for frame in reference])
            for spec in measures.networks:
                ours[name, spec].push(frames)
            for metric, resize_name in measures.frame_metrics:
                sized = frames
                if frames.shape != reference.shape:
                    sized = resize(frames, resize_name, pair.size_hw).astype(np.uint8)
                values = measures.per_frame(metric, sized, reference, pair.video_id)
                if values is not None:
                    tally.frames[pair.video_id, metric, resize_name].append(values)
        progress.update(len(reference))
    for spec in theirs:
        references[spec].append(theirs[spec].finish())
        for name, tally in tallies.items():
            tally.features[spec].append(ours[name, spec].finish())


def _evaluation(
    pairs: Sequence[Pair],
    protocol: Protocol,
    measures: Measures,
    tally: _Tally,
    references: dict[VideoFeatures, list[Values]],
    overrides: tuple[str, ...],
    device: str,
    name: str,
    label: str,
    benchmark: str | None,
) -> Evaluation:
    metrics: dict[str, MetricValue] = {}
    per_frame: dict[str, dict[str, Values]] = {pair.video_id: {} for pair in pairs}
    per_video: dict[str, dict[str, float | None]] = {pair.video_id: {} for pair in pairs}
    for metric in protocol.metrics:
        reason = measures.reason(metric, protocol)
        if metric.kind in SET_KINDS:
            spec = protocol.video_features
            if reason is None and spec is not None:
                metrics[metric.key] = measures.of_set(
                    metric, spec, np.concatenate(tally.features[spec]),
                    np.concatenate(references[spec]),
                )  # fmt: skip
            else:
                metrics[metric.key] = MetricValue(None, None, None, reason, 0, None)
            continue
        if reason is not None:
            metrics[metric.key] = MetricValue(None, None, None, reason, 0, None)
            for video in per_video.values():
                video[metric.key] = None
            continue
        identical = 0
        for pair in pairs:
            key = (pair.video_id, measures.without_key(metric), protocol.size_mismatch_resize)
            values = np.concatenate(tally.frames[key])
            identical += int(np.isposinf(values).sum())
            per_frame[pair.video_id][metric.key] = np.where(
                np.isposinf(values), protocol.identical_psnr_db, values
            )
        cap = f"{protocol.identical_psnr_db:g} dB"
        note = f"{identical} frames of zero error (in its arithmetic) count as {cap}"
        metrics[metric.key] = _mean(metric.key, per_frame, per_video, protocol.aggregation,
                                    note if identical else None)  # fmt: skip
    if tally.pck:
        for pair in pairs:
            per_frame[pair.video_id]["pck"] = tally.pck[pair.video_id, protocol.pck_alpha]
        metrics["pck"] = _mean("pck", per_frame, per_video, "videos",
                               f"within {protocol.pck_alpha:g}")  # fmt: skip
    result = Result(
        schema=SCHEMA,
        method=name,
        label=label,
        benchmark=benchmark,
        protocol=protocol.name,
        protocol_version=protocol.version,
        protocol_hash=protocol.hash,
        metrics=metrics,
        per_video=per_video,
        num_videos=len(pairs),
        num_frames=sum(pair.num_frames for pair in pairs),
        weights=measures.weights_of(protocol),
        packages=package_versions(),
        overrides=overrides,
        machine=describe_machine(device),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return Evaluation(result, per_frame)


def _mean(
    key: str,
    per_frame: dict[str, dict[str, Values]],
    per_video: dict[str, dict[str, float | None]],
    aggregation: str,
    note: str | None,
) -> MetricValue:
    """The mean over frames or videos, with its interval; fills `per_video`."""
    means, counts = [], []
    for video_id, values_of in per_frame.items():
        scored = values_of[key][np.isfinite(values_of[key])]
        per_video[video_id][key] = float(scored.mean()) if len(scored) else None
        if len(scored):
            means.append(float(scored.mean()))
            counts.append(len(scored))
    if not means:
        return MetricValue(None, None, None, "no frame could be scored", 0, note)
    weights = np.asarray(counts if aggregation == "frames" else [1] * len(counts), dtype=np.float64)
    value = float(np.average(means, weights=weights))
    low, high = cluster_bootstrap(np.asarray(means), weights) or (None, None)
    return MetricValue(value, low, high, None, sum(counts), note)
