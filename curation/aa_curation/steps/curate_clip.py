"""Curate a clip: look for people, find the pose, encode the video; accept it or say why not.

A plain function of the planned clip, its source and the recipe; it knows nothing of Ray.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aa_curation.check import Check, Drop, first_drop, with_thresholds
from aa_curation.ledger.records import Decision, PlannedClip, rejected
from aa_curation.measure.frames import iter_frames_at, resized, thinned_fps, ticks_s
from aa_curation.measure.people import look_for_people, people_of_pose
from aa_curation.measure.posed_clip import PosedClip
from aa_curation.measure.sampled_frames import SampledFrames
from aa_curation.measure.shots import Span
from aa_curation.measure.signature import FrameLook, look_at_frame, make_signature, signature_frames
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import Source
from aa_curation.text.detector import TextDetector
from aa_curation.text.overlay import OverlaidText, find_overlaid_text
from aa_datasets.atomic_file import replace_file
from aa_datasets.clip import Clip
from aa_datasets.errors import KilledDecodeError, PoseError, VideoError
from aa_datasets.pose import Pose, read_pose, write_pose
from aa_datasets.pose_estimator import PoseEstimator, PoseTracker
from aa_datasets.video.canonical import encode_canonical, read_canonical
from aa_datasets.video.frame_size import canonical_size

EXACT_POSE = "renderer"


@dataclass(frozen=True, slots=True)
class _Rendered:
    """A clip's canonical video, and how its signature's frames look."""

    mp4: bytes
    looks: tuple[FrameLook, ...]


def curate_clip(
    planned: PlannedClip,
    source: Source,
    recipe: Recipe,
    estimator: Callable[[], PoseEstimator],
    folder: Path,
    text_detector: Callable[[], TextDetector | None],
) -> Decision:
    """Decide on one clip; an accepted one lies in `folder` as `<clip_id>.mp4` and `.pose.npz`.

    Args:
        planned: the span that passed the survey.
        source: where it lies, and its exact pose if there is one.
        recipe: thresholds and form.
        estimator: gives the worker's pose estimator (not asked for where the pose is exact).
        folder: for the files; shared by all workers.
        text_detector: gives the worker's text detector, None where the recipe looks for no text.
    """
    checks = list(with_thresholds(planned.checks, recipe.thresholds))

    def reject(drop: Drop) -> Decision:
        return rejected(planned.clip_id, planned.source_id, "clip", drop, checks)

    def drop_by(found: Iterable[Check]) -> Drop | None:
        checks.extend(with_thresholds(tuple(found), recipe.thresholds))
        return first_drop(checks)

    fps = thinned_fps(planned.fps, recipe.canonical.max_fps)
    size_hw = canonical_size(planned.size_hw, recipe.canonical.short_side_px)
    try:
        exact = _exact_pose(source, planned, fps)
        needed = exact is None or recipe.text is not None or bool(recipe.frame_filters)
        sampled = _sampled_frames(planned, source, recipe) if needed else []
        people = (
            look_for_people(sampled, estimator())
            if exact is None
            else people_of_pose(exact, recipe.people_frames)
        )
        drop = drop_by(check(people) for check in recipe.people_filters)
        if drop:
            return reject(drop)
        text = _text(sampled, recipe, text_detector(), size_hw)
        drop = drop_by(check(text) for check in recipe.text_filters)
        if drop:
            return reject(drop)
        looked_at = SampledFrames(sampled, recipe.weights)
        drop = drop_by(check(looked_at) for check in recipe.frame_filters)
        if drop:
            return reject(drop)
        del sampled, looked_at
        if exact is None:
            tracker = estimator().track()
            rendered = _render(planned, source, recipe, tracker, fps, size_hw)
            pose, pose_from = tracker.pose(), estimator().name
        else:
            rendered = _render(planned, source, recipe, None, fps, size_hw)
            pose, pose_from = exact, EXACT_POSE
    except KilledDecodeError:
        raise  # no word on the file: a later run tries again
    except (VideoError, PoseError) as error:
        return reject(Drop("unreadable_video", detail=str(error)))
    if pose.size_hw != size_hw:  # rounding must not touch an exact pose that fits
        pose = pose.resized(size_hw)
    posed = PosedClip(pose, fps, text.boxes)
    found = [check(pose) for check in recipe.pose_filters]
    drop = drop_by([*found, *(check(posed) for check in recipe.clip_filters)])
    if drop:
        return reject(drop)
    num_frames = pose.num_frames
    # What is stored must decode: its length, and its last frame.
    read_canonical(rendered.mp4, np.array([num_frames - 1]), num_frames=num_frames)
    clip = Clip(
        clip_id=planned.clip_id,
        source_id=source.source_id,
        source=source.location,
        licence=source.licence,
        start_s=planned.start_s,
        end_s=planned.end_s,
        fps=fps,
        size_hw=size_hw,
        num_frames=num_frames,
        synthetic=source.synthetic,
        pose_from=pose_from,
        split=source.split,
        text_px=text.boxes,
    )
    pose_npz = io.BytesIO()
    write_pose(pose_npz, pose)
    return Decision(
        clip_id=planned.clip_id,
        source_id=source.source_id,
        status="accepted",
        stage="clip",
        checks=tuple(checks),
        clip=clip,
        owner=source.owner,
        consent=source.consent,
        uploader=source.uploader,
        person=source.person,
        signature=make_signature(rendered.looks, pose).to_text(),
        mp4_sha256=_store(folder / f"{planned.clip_id}.mp4", rendered.mp4),
        pose_sha256=_store(folder / f"{planned.clip_id}.pose.npz", pose_npz.getvalue()),
    )


def _exact_pose(source: Source, planned: PlannedClip, fps: float) -> Pose | None:
    """The renderer's pose at the frames that the canonical clip keeps."""
    if source.pose_path is None:
        return None
    pose = read_pose(source.pose_path)
    if pose.size_hw != planned.size_hw:
        raise PoseError(
            f"{source.pose_path.name} is for frames of {pose.size_hw}, the video has "
            f"{planned.size_hw} (height, width)"
        )
    frames = np.round(_ticks_s(planned, fps) * planned.fps).astype(np.int64)
    if frames[-1] >= pose.num_frames:
        raise PoseError(
            f"{source.pose_path.name} ends after {pose.num_frames} frames, the clip needs frame "
            f"{frames[-1]}"
        )
    return pose.at_frames(frames)


def _ticks_s(planned: PlannedClip, fps: float) -> NDArray[np.float64]:
    return ticks_s(Span(planned.start_s, planned.end_s), fps)


def _sampled_frames(
    planned: PlannedClip, source: Source, recipe: Recipe
) -> list[NDArray[np.uint8]]:
    """At the middles of equal parts of the clip; ten frames of 1920 x 1080 are 62 MB."""
    times_s = np.linspace(planned.start_s, planned.end_s, 2 * recipe.people_frames + 1)[1::2]
    frames = iter_frames_at(
        source.path,
        times_s,
        planned.fps,
        crop_px=planned.crop_px,
        max_side_px=recipe.canonical.read_side_px,
        limits=recipe.decode,
    )
    return list(frames)


def _text(
    sampled: list[NDArray[np.uint8]],
    recipe: Recipe,
    detector: TextDetector | None,
    size_hw: tuple[int, int],
) -> OverlaidText:
    """What is laid over the clip, in pixels of the canonical clip."""
    if recipe.text is None or detector is None:
        return OverlaidText((), size_hw)
    return find_overlaid_text(sampled, recipe.text, detector).resized(size_hw)


def _render(
    planned: PlannedClip,
    source: Source,
    recipe: Recipe,
    tracker: PoseTracker | None,
    fps: float,
    size_hw: tuple[int, int],
) -> _Rendered:
    """One decode feeds the pose and the encoder; no clip is ever held as pixels."""
    times_s = _ticks_s(planned, fps)
    wanted = set(signature_frames(len(times_s)).tolist())
    looks: dict[int, FrameLook] = {}

    def frames() -> Iterator[NDArray[np.uint8]]:
        at = iter_frames_at(
            source.path,
            times_s,
            planned.fps,
            crop_px=planned.crop_px,
            max_side_px=recipe.canonical.read_side_px,
            # Large frames are for the tracker; where the pose is known they need not travel.
            size_hw=None if tracker else size_hw,
            limits=recipe.decode,
        )
        for number, frame in enumerate(at):
            if tracker:
                tracker.see(frame)
            canonical = resized(frame, size_hw)
            if number in wanted:
                looks[number] = look_at_frame(canonical)
            yield canonical

    mp4 = encode_canonical(frames(), fps)
    return _Rendered(mp4, tuple(looks[n] for n in signature_frames(len(times_s)).tolist()))


def _store(path: Path, content: bytes) -> str:
    """Write atomically; return the sha256."""
    replace_file(path, content)
    return hashlib.sha256(content).hexdigest()
