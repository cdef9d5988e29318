"""Score pairs of videos under protocols: what was computed of each video becomes Results."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import counted
from aa_eval.malloc import keep_freed_memory
from aa_eval.metrics.crops import PERSON_CROPS
from aa_eval.metrics.pose import oks, pose_error
from aa_eval.names import STATIC, STATIC_OF
from aa_eval.progress import progress
from aa_eval.protocol import KINDS, NEEDS, REGION_KINDS, SET_KINDS, Metric, Protocol
from aa_eval.provenance import describe_machine, package_versions
from aa_eval.result import SCHEMA, MetricValue, Result, mean_of_frames, region_key
from aa_eval.scoring.baselines import BASELINES, baseline_places
from aa_eval.scoring.cache import Cache
from aa_eval.scoring.metric_runner import Measures, features_of, fit_of, full_float32, without_key
from aa_eval.scoring.process_pool import default_workers, score_in_processes
from aa_eval.scoring.ray_pool import score_on_ray
from aa_eval.scoring.set_metrics import set_metric
from aa_eval.scoring.video_scores import (
    PIXELS,
    REFERENCE,
    Item,
    VideoScores,
    masks_of,
    score_video,
    scores_in_cache,
)
from aa_eval.statistics import cluster_bootstrap
from aa_eval.videos.keypoints import (
    Keypoints,
    driven_pose_metrics,
    keypoints_of,
    pose_metrics,
    with_faces,
)
from aa_eval.videos.pairing import HUMANVID_FRAMES, Pair

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Context:
    """What all results of one run have in common."""

    pairs: Sequence[Pair]
    scores: Mapping[str, VideoScores]
    measures: Measures
    pose: Mapping[tuple[str, str, float, float], dict[str, Values]]
    bodies: Mapping[str, tuple[Keypoints, Keypoints]]
    benchmark: str | None
    overrides: tuple[str, ...]
    method: str
    keypoints_by: str | None


def score_pairs(
    pairs: Sequence[Pair],
    protocols: Sequence[Protocol],
    *,
    method: str,
    label: str = "measured",
    benchmark: str | None = None,
    baselines: Sequence[str] = (),
    overrides: tuple[str, ...] = (),
    keypoints: tuple[Path, Path] | None = None,
    keypoints_by: str | None = None,
    device: str = "cpu",
    cache: Cache | None = None,
    workers: int | None = 1,
    ray_address: str | None = None,
) -> list[Result]:
    """Score predictions, and trivial baselines of the same references, under every protocol.

    Each frame is decoded once for all protocols. Memory does not grow with a video's length or the
    size of the set, except for one number per frame and metric and one vector per FVD window.

    Args:
        pairs: from `aa_eval.videos.pairing.make_pairs`.
        baselines: names of `aa_eval.scoring.baselines.BASELINES`; they become results of their own,
            labelled "baseline".
        overrides: checks that were switched off; kept in every result.
        keypoints: folders of `<video>.npz` of the predictions and of the references, for PCK,
            AKD and the missing rate.
        keypoints_by: the command that made them, for the notes.
        cache: what it holds of a video is not computed again; a video goes into it when finished.
        workers: processes that videos are spread over, see `score_in_processes`; None for as many
            as there are cores, where that pays. Networks' numbers depend on the number of threads
            by some 1e-6 relative, on nothing else.
        ray_address: spreads videos over a Ray cluster instead, see `score_on_ray`.

    Returns:
        For each protocol the method's result, then the baselines'.

    Raises:
        VideoError: a frame cannot be decoded.
        PairingError: keypoints do not fit the videos.
    """
    pairs = sorted(pairs, key=lambda pair: pair.video_id)  # sums round by their order
    measures = Measures(protocols, device, cache)
    predicted = bool(pairs) and pairs[0].prediction is not None
    names = ([method] if predicted else []) + list(baselines)
    bodies: dict[str, tuple[Keypoints, Keypoints]] = {}
    pose: dict[tuple[str, str, float, float], dict[str, Values]] = {}  # by name, video and how
    for pair in pairs:  # first, since it costs nothing and may be refused
        for how in {(p.pck_alpha, p.min_joint_score) for p in protocols}:
            if pair.driven is not None:
                for name, of_name in driven_pose_metrics(pair, how[0]).items():
                    pose[(name or method, pair.video_id, *how)] = of_name
            elif keypoints and predicted:
                pose[(method, pair.video_id, *how)] = pose_metrics(pair, *keypoints, *how)
    if keypoints and predicted:
        for protocol in protocols:
            needs = {KINDS[metric.kind].needs for metric in protocol.metrics}
            if "face" in needs:
                pairs = [with_faces(pair, *keypoints, protocol.min_joint_score) for pair in pairs]
            if "keypoints" in needs:
                bodies = {pair.video_id: keypoints_of(pair, *keypoints) for pair in pairs}
    cached = {pair.video_id: scores_in_cache(pair, names, measures, cache) for pair in pairs}
    left = [pair for pair in pairs if cached[pair.video_id] is None]
    workers = workers or default_workers(left, device)
    if not left:
        finished: Iterator[tuple[Pair, VideoScores]] = iter(())
    elif ray_address is not None:
        finished = score_on_ray(left, names, protocols, device, cache, ray_address)
    elif workers > 1:
        finished = score_in_processes(left, names, protocols, device, cache, workers)
    else:
        finished = _score_in_turn(left, names, measures, cache)
    scores = {video_id: found for video_id, found in cached.items() if found is not None}
    total = sum(pair.num_frames for pair in left)
    with progress(desc="scoring", unit="frame", total=total, disable=not left) as shown:
        for pair, of_video in finished:
            scores[pair.video_id] = of_video
            shown.update(pair.num_frames)
    context = _Context(
        pairs, scores, measures, pose, bodies, benchmark, overrides, method, keypoints_by
    )
    return [
        _result(context, protocol, name, label if name == method else None)
        for protocol in protocols
        for name in names
    ]


def _score_in_turn(
    pairs: Sequence[Pair], names: Sequence[str], measures: Measures, cache: Cache | None
) -> Iterator[tuple[Pair, VideoScores]]:
    keep_freed_memory()
    for pair in pairs:
        with full_float32(measures.device):
            scores = score_video(pair, names, measures, cache)
        yield pair, scores


def _result(context: _Context, protocol: Protocol, name: str, label: str | None) -> Result:
    """`label` is the method's; None for a baseline of this run, which has no keypoints."""
    pairs, measures = context.pairs, context.measures
    metrics: dict[str, MetricValue] = {}
    per_frame: dict[str, dict[str, Values]] = {pair.video_id: {} for pair in pairs}
    per_video: dict[str, dict[str, float | None]] = {pair.video_id: {} for pair in pairs}
    for metric in protocol.metrics:
        lacks = [measures.reason(metric, protocol), _lacking(context, metric)]
        reason = "; ".join(filter(None, lacks)) or None
        if reason is None and KINDS[metric.kind].over == "video":
            metrics[metric.key] = _of_videos(context, metric, protocol, name, per_video)
        elif reason is None and metric.kind in SET_KINDS:
            metrics[metric.key] = _of_set(context, metric, protocol, name)
        elif reason is None:
            metrics[metric.key] = _of_frames(context, metric, protocol, name, per_frame, per_video)
        else:
            metrics[metric.key] = MetricValue(None, None, None, reason, 0, None)
        if metric.kind not in SET_KINDS:
            _fill_where_unavailable(metric.key, metrics, per_frame, per_video)
    for region in pairs[0].regions if pairs else ():
        for metric in protocol.metrics:
            if metric.kind not in REGION_KINDS:
                continue
            key = region_key(metric.key, region)
            if reason := measures.reason(metric, protocol):
                metrics[key] = MetricValue(None, None, None, reason, 0, None)
            else:
                metrics[key] = _of_frames(
                    context, metric, protocol, name, per_frame, per_video, region
                )
            _fill_where_unavailable(key, metrics, per_frame, per_video)
    how = protocol.pck_alpha, protocol.min_joint_score
    if all((name, pair.video_id, *how) in context.pose for pair in pairs):
        of_pairs = {p.video_id: context.pose[(name, p.video_id, *how)] for p in pairs}
        for key in next(iter(of_pairs.values()), {}):
            for video_id, values_of in of_pairs.items():
                values = _without_reference_frame(values_of[key], protocol)
                per_frame[video_id][key] = values
            note = _pose_note(key, protocol) + _made_by(context)
            metrics[key] = _mean_of_frames(key, per_frame, per_video, "videos", note)
            _fill_where_unavailable(key, metrics, per_frame, per_video)
    elif protocol.pairing == "photo" and not context.pose:
        reason = "needs --keypoints DIR, the poses of the predictions"
        for key in ("pck", "akd", "missing_rate", "limb_angle"):
            metrics[key] = MetricValue(None, None, None, reason, 0, None)
            _fill_where_unavailable(key, metrics, per_frame, per_video)
    return Result(
        schema=SCHEMA,
        method=STATIC_OF + context.method if name == STATIC else name,  # one for each method
        label="baseline" if label is None else label,
        benchmark=context.benchmark,
        protocol=protocol.name,
        protocol_version=protocol.version,
        protocol_hash=protocol.hash,
        metrics=metrics,
        per_video=per_video,
        references={video: _pixels(scores) for video, scores in context.scores.items()},
        regions=_regions(context),
        trimmed={pair.video_id: _spans(pair.kept) for pair in pairs if pair.kept is not None},
        num_videos=len(pairs),
        num_frames=sum(pair.num_frames for pair in pairs),
        weights=measures.weights_of(protocol),
        packages=package_versions(),
        overrides=context.overrides,
        machine=describe_machine(measures.device),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        per_frame=per_frame,
        frame_numbers={pair.video_id: pair.frame_numbers for pair in pairs},
    )


def _pose_note(key: str, protocol: Protocol) -> str:
    least = protocol.min_joint_score
    visible = f"joints of a score of at least {least:g}" if least else "joints of any score"
    held_to = "photo" if protocol.pairing == "photo" else "reference"
    words = {
        "pck": f"within {protocol.pck_alpha:g}; {visible}",
        "akd": f"pixels of the {held_to}; joints of both sides; {visible}",
        "limb_angle": f"degrees; {visible}",
    }
    moved = protocol.pairing == "photo" and key in ("pck", "akd")
    return words.get(key, visible) + ("; up to one shift a video" if moved else "")


def _made_by(context: _Context) -> str:
    return f"; keypoints by '{context.keypoints_by}'" if context.keypoints_by else ""


def _lacking(context: _Context, metric: Metric) -> str | None:
    """What the metric needs and was not given."""
    needs = KINDS[metric.kind].needs
    there = {
        "": True,
        "person": all("person" in pair.regions for pair in context.pairs),
        # without true frames the crop says what is lacking
        "face": all(pair.faces is not None or pair.driven is not None for pair in context.pairs),
        "keypoints": bool(context.bodies),
    }
    return None if there[needs] else NEEDS[needs]


def _of_videos(
    context: _Context,
    metric: Metric,
    protocol: Protocol,
    name: str,
    per_video: dict[str, dict[str, float | None]],
) -> MetricValue:
    """pAPE: one value a video, and their mean."""
    first = 0 if protocol.score_reference_frame else 1
    least = protocol.min_joint_score
    values = []
    for video_id, ((points, scores), (true_points, true_scores)) in context.bodies.items():
        if name in BASELINES:
            points = baseline_places(name, true_points)
            scores = np.nan_to_num(
                baseline_places(name, np.stack([true_scores] * 2, axis=-1))[..., 0]
            )
        alike = oks(points, scores, true_points, true_scores, least)
        value = pose_error(alike[first:], scores[first:], least)
        per_video[video_id][metric.key] = value if np.isfinite(value) else None
        values += [value] if np.isfinite(value) else []
    if not values:
        return MetricValue(None, None, None, "no frame could be scored", 0, None)
    low, high = cluster_bootstrap(np.asarray(values), np.ones(len(values))) or (None, None)
    frames = sum(pair.num_frames - first for pair in context.pairs)
    note = f"COCO's 17 joints, of a score of at least {least:g}{_made_by(context)}"
    return MetricValue(float(np.mean(values)), low, high, None, frames, note)


def _fill_where_unavailable(
    key: str,
    metrics: dict[str, MetricValue],
    per_frame: dict[str, dict[str, Values]],
    per_video: dict[str, dict[str, float | None]],
) -> None:
    """A metric without value has none for any video, and no column of frames."""
    if metrics[key].value is None:
        for video_id in per_video:
            per_frame[video_id].pop(key, None)
            per_video[video_id][key] = None


def _regions(context: _Context) -> dict[str, str]:
    """Region -> sha256 over the videos, in order, of their masks'."""
    found = {}
    for region in context.pairs[0].regions if context.pairs else ():
        whole = hashlib.sha256()
        for pair in context.pairs:
            digest = context.scores[pair.video_id][masks_of(region)]
            assert not isinstance(digest, str)  # masks that could be read have a digest
            whole.update(pair.video_id.encode() + b"\0" + digest.tobytes())
        found[region] = whole.hexdigest()
    return found


def _spans(positions: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Ascending positions as (first, end), the end not among them."""
    starts = [p for i, p in enumerate(positions) if i == 0 or positions[i - 1] != p - 1]
    ends = [p + 1 for i, p in enumerate(positions, 1) if positions[i : i + 1] != (p + 1,)]
    return tuple(zip(starts, ends, strict=True))


def _pixels(scores: VideoScores) -> str:
    digest = scores[PIXELS]
    assert not isinstance(digest, str)  # the digest of frames that could be read
    return digest.tobytes().hex()


def _of_set(context: _Context, metric: Metric, protocol: Protocol, name: str) -> MetricValue:
    spec, fit = features_of(protocol)
    sides: list[list[Values]] = []
    for side in (name, REFERENCE):
        rows = []
        for pair in context.pairs:
            features = context.scores[pair.video_id][Item(side, spec, fit)]
            if isinstance(features, str):
                return MetricValue(None, None, None, features, 0, None)
            rows.append(features)
        sides.append(rows)
    return set_metric(metric, spec, context.pairs, sides[0], sides[1])


def _of_frames(
    context: _Context,
    metric: Metric,
    protocol: Protocol,
    name: str,
    per_frame: dict[str, dict[str, Values]],
    per_video: dict[str, dict[str, float | None]],
    region: str = "",
) -> MetricValue:
    if protocol.pairing == "humanvid-24":
        for pair in context.pairs:
            if pair.num_frames < HUMANVID_FRAMES:
                reason = (
                    f"'{pair.video_id}': {counted(pair.num_frames, 'frame')}: HumanVid's script "
                    f"stops below {HUMANVID_FRAMES}"
                )
                return MetricValue(None, None, None, reason, 0, None)
    needs = KINDS[metric.kind].needs
    inside = needs if needs == "person" else region
    item = Item(name, without_key(metric), fit_of(protocol, metric.crop), inside)
    key = region_key(metric.key, region) if region else metric.key
    identical = absent = 0
    for pair in context.pairs:
        values = context.scores[pair.video_id][item]
        if isinstance(values, str):
            return MetricValue(None, None, None, values, 0, None)
        values = _without_reference_frame(values, protocol)
        identical += int(np.isposinf(values).sum())
        of_part = region or needs or metric.crop in PERSON_CROPS
        absent += int(np.isnan(values).sum()) if of_part else 0
        per_frame[pair.video_id][key] = np.where(
            np.isposinf(values), protocol.identical_psnr_db, values
        )
    if identical and np.isinf(protocol.identical_psnr_db):
        frames = counted(identical, "frame")
        reason = f"infinite: {frames} of zero error, which {protocol.name} gives no cap"
        return MetricValue(None, None, None, reason, 0, None)
    notes = []
    if identical:
        cap = f"{protocol.identical_psnr_db:g} dB"
        notes.append(f"frames of zero error (in its arithmetic), counted as {cap}: {identical}")
    skipped = 0 if protocol.score_reference_frame else len(context.pairs)
    if absent > skipped:
        notes.append(f"frames without {region or needs or 'person'}: {absent - skipped}")
    in_float32 = KINDS[metric.kind].mean_in_float32
    note = "; ".join(notes) or None
    return _mean_of_frames(key, per_frame, per_video, protocol.aggregation, note, in_float32)


def _without_reference_frame(values: Values, protocol: Protocol) -> Values:
    if protocol.score_reference_frame:
        return values
    values = values.copy()
    values[:1] = np.nan
    return values


def _mean_of_frames(
    key: str,
    per_frame: dict[str, dict[str, Values]],
    per_video: dict[str, dict[str, float | None]],
    aggregation: str,
    note: str | None,
    in_float32: bool = False,
) -> MetricValue:
    """The mean over frames or videos, with its interval; fills `per_video`."""
    values = {video_id: values_of[key] for video_id, values_of in per_frame.items()}
    found, means = mean_of_frames(values, aggregation, in_float32)
    for video_id in per_frame:
        per_video[video_id][key] = means.get(video_id)
    return replace(found, note=note)
