"""Skeleton: the 18 body joints of any keypoints file, and the limbs between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import PairingError
from aa_eval.metrics.faces import Points, face_points

# What of a frame is looked at, see `crops`; here, since a protocol names it and draws nothing.
Crop: TypeAlias = Literal["", "picture", "person", "limbs", "figure", "face"]
# OpenPose's order; left and right are the person's own.
BODY_JOINTS = (
    "nose", "neck",
    "right_shoulder", "right_elbow", "right_wrist",
    "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle",
    "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
JOINT = {name: index for index, name in enumerate(BODY_JOINTS)}
# (joint, the joint that it hangs on), from the neck outwards
LIMBS = tuple(
    (JOINT[child], JOINT[parent])
    for child, parent in (
        ("nose", "neck"), ("right_shoulder", "neck"), ("right_elbow", "right_shoulder"),
        ("right_wrist", "right_elbow"), ("left_shoulder", "neck"), ("left_elbow", "left_shoulder"),
        ("left_wrist", "left_elbow"), ("right_hip", "neck"), ("right_knee", "right_hip"),
        ("right_ankle", "right_knee"), ("left_hip", "neck"), ("left_knee", "left_hip"),
        ("left_ankle", "left_knee"), ("right_eye", "nose"), ("left_eye", "nose"),
        ("right_ear", "right_eye"), ("left_ear", "left_eye"),
    )
)  # fmt: skip
# COCO's joint for each of ours; it has no neck, which is put between the shoulders.
_OF_COCO = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)

Body = NDArray[np.float64]  # [T, 18, 2], (x, y) in pixels; NaN where a joint is not seen


@dataclass(frozen=True, slots=True)
class Person:
    """Where a person is in each frame of a video.

    Attributes:
        body: see `Body`.
        face: five points, [T, 5, 2], NaN in a frame that shows none; None where the keypoints have
            no face, see `aa_eval.metrics.faces.face_points`.
    """

    body: Body
    face: Points | None = None

    def __len__(self) -> int:
        return len(self.body)

    def at(self, frames: slice) -> Person:
        """In some of the frames."""
        return Person(self.body[frames], None if self.face is None else self.face[frames])

    def resized(self, from_hw: tuple[int, int], to_hw: tuple[int, int]) -> Person:
        """In pixels of another size; a pixel's centre is at a whole number in both."""
        scale = np.array(to_hw[::-1]) / np.array(from_hw[::-1])
        face = None if self.face is None else (self.face + 0.5) * scale - 0.5
        return Person((self.body + 0.5) * scale - 0.5, face)


def person_of(
    points_px: NDArray[np.floating], scores: NDArray[np.floating], least: float
) -> Person:
    """Body and face of a keypoints file; arguments and errors as in `body_joints`."""
    face = face_points(np.asarray(points_px, dtype=np.float64), scores, least)
    return Person(body_joints(points_px, scores, least), face)


def body_joints(
    points_px: NDArray[np.floating], scores: NDArray[np.floating], least: float
) -> Body:
    """The body of a keypoints file, NaN where a joint's score is 0 or below `least`.

    Args:
        points_px, scores: [T, J, 2] and [T, J]; J is 17 (COCO), 18 (OpenPose), 128 (this project's)
            or 133 (COCO-WholeBody).

    Raises:
        PairingError: another number of joints, whose order is not known.
    """
    count = points_px.shape[1]
    if count not in (17, 18, 128, 133):
        raise PairingError(f"keypoints of {count} joints: expected 17, 18, 128 or 133")
    seen = np.asarray(points_px, dtype=np.float64).copy()
    seen[(scores <= 0) | (scores < least)] = np.nan
    seen[~np.isfinite(seen).all(axis=-1)] = np.nan
    if count in (18, 128):
        return seen[:, : len(BODY_JOINTS)]
    body = seen[:, list(_OF_COCO)]
    body[:, JOINT["neck"]] = (
        body[:, JOINT["right_shoulder"]] + body[:, JOINT["left_shoulder"]]
    ) / 2
    return body
