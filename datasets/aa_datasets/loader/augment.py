"""Random changes of a sample: mirror it, and disturb its poses.

A mirrored person's left hand is a right hand: joints swap sides with the picture, so that the
skeleton's colours, which tell left from right, stay right. Poses get the errors of estimators and
of other people's bodies: missing joints, jitter, another size than the target's. All random numbers
come from the sample's own Generator, after its window is chosen: windows are the same without
augmentation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aa_datasets.errors import DatasetError
from aa_datasets.pose import BODY, Pose, make_pose


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Strength of each change; 0 switches it off.

    Attributes:
        flip: probability in [0, 1] that the sample is mirrored, all of its frames and poses.
        joint_drop: probability in [0, 1] that a joint is absent, sampled for each joint and frame.
        jitter: standard deviation of each joint's place, as a share of the body's height.
        scale: the skeleton grows or shrinks about its middle by up to this share, once a sample,
            log-uniformly: 0.1 gives factors of 1 / 1.1 to 1.1.

    Raises:
        DatasetError: a value outside of its range.
    """

    flip: float = 0.0
    joint_drop: float = 0.0
    jitter: float = 0.0
    scale: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("flip", 1), ("joint_drop", 1), ("jitter", np.inf), ("scale", np.inf)):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise DatasetError(f"augmentation {name} is {value}, expected 0 to {most:g}")


def flip_frames(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mirror frames [..., H, W, C] left to right."""
    return frames[..., ::-1, :]


def draw_flip(augmentation: Augmentation, generator: np.random.Generator) -> bool:
    """Sample whether to mirror."""
    return bool(generator.random() < augmentation.flip)


def disturb_pose(pose: Pose, augmentation: Augmentation, generator: np.random.Generator) -> Pose:
    """Drop joints, scale the skeleton and add jitter; joints that stay keep their scores."""
    # Sampled in any case, so that the value of one option does not change another one's numbers.
    kept = generator.random(pose.scores.shape) >= augmentation.joint_drop
    tremble = generator.standard_normal(pose.keypoints_px.shape)
    growth = (1 + augmentation.scale) ** generator.uniform(-1, 1)
    body, found = pose.keypoints_px[:, BODY].astype(np.float64), pose.scores[:, BODY] > 0
    if not found.any():
        return pose
    middle = (body[found].min(0) + body[found].max(0)) / 2
    # Of the frame in which the person is tallest: jitter stays the same when they crouch.
    height_px = max(
        float(np.ptp(points[seen, 1]))
        for points, seen in zip(body, found, strict=True)
        if seen.any()
    )
    keypoints_px = middle + growth * (pose.keypoints_px - middle)
    keypoints_px = keypoints_px + augmentation.jitter * height_px * tremble
    return make_pose(keypoints_px, np.where(kept, pose.scores, 0), pose.size_hw)
