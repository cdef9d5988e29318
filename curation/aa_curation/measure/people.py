"""People in a few frames of a clip, and how surely they are seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aa_datasets.pose import BODY, NUM_JOINTS, Pose
from aa_datasets.pose_estimator import Person, PoseEstimator


@dataclass(frozen=True, slots=True)
class People:
    """What N sampled frames show. The main person of a frame covers most of it.

    Attributes:
        count: int [N], people seen.
        area: float32 [N], the main person's share of the frame's area; 0 without people.
        second_area: float32 [N], area of the next person over the main person's; 0 if alone.
        wobble: float32 [N], how far the main person's joints move when the estimator looks from a
            slightly other angle, as a share of the person's size; NaN where fewer than four joints
            are seen. People are steady; cats, cartoons and hands are not.
        scores: float32 [N, J], of the main person's joints.
        face: float32 [N] in [0, 1], that the main person's face is seen.
        eyes: float32 [N], the width of the main person's eyes over the height of their face; NaN
            where it was not measured. Of use where `face` is sure.
    """

    count: NDArray[np.int64]
    area: NDArray[np.float32]
    second_area: NDArray[np.float32]
    wobble: NDArray[np.float32]
    scores: NDArray[np.float32]
    face: NDArray[np.float32]
    eyes: NDArray[np.float32]


def look_for_people(frames: Iterable[NDArray[np.uint8]], estimator: PoseEstimator) -> People:
    """Search some uint8 RGB frames [H, W, 3] for people."""
    return _gather([estimator.people(frame) for frame in frames])


def people_of_pose(pose: Pose, num_frames: int) -> People:
    """People as an exact pose gives them, for `num_frames` of its frames: one person, for sure."""
    chosen = np.linspace(0, pose.num_frames - 1, num_frames).round().astype(np.int64)
    height, width = pose.size_hw
    people = []
    for points, scores in zip(pose.keypoints_px[chosen], pose.scores[chosen], strict=True):
        body = points[BODY][scores[BODY] > 0]
        sides = np.ptp(body, axis=0) if len(body) else np.zeros(2)
        # A body fills about half of the box around its joints.
        area = 0.5 * float(np.prod(sides)) / (height * width)
        people.append([Person(area=area, wobble=0.0, scores=scores)] if len(body) else [])
    return _gather(people)


def _gather(frames: list[list[Person]]) -> People:
    main = [people[0] if people else None for people in frames]
    none = np.zeros(NUM_JOINTS, np.float32)
    return People(
        count=np.array([len(people) for people in frames], np.int64),
        area=np.array([p.area if p else 0 for p in main], np.float32),
        second_area=np.array(
            [p[1].area / p[0].area if len(p) > 1 else 0 for p in frames], np.float32
        ),
        wobble=np.array([p.wobble if p else np.nan for p in main], np.float32),
        scores=np.stack([p.scores if p else none for p in main]),
        face=np.array([p.face if p else 0 for p in main], np.float32),
        eyes=np.array([p.eyes if p else np.nan for p in main], np.float32),
    )
