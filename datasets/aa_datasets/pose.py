"""Pose: the keypoints of one person over a clip, and the joint table (written only here)."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from aa_datasets.errors import PoseError

# OpenPose's body of 18 (COCO order with the neck); left and right are the person's own.
BODY_JOINTS = (
    "nose", "neck",
    "right_shoulder", "right_elbow", "right_wrist",
    "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle",
    "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
_FINGERS = ("thumb", "index", "middle", "ring", "little")
# OpenPose's hand of 21: the wrist, then four joints a finger from the palm outwards.
HAND_JOINTS = ("wrist", *(f"{finger}_{i}" for finger in _FINGERS for i in range(1, 5)))
FACE_JOINTS = tuple(f"face_{i}" for i in range(68))  # the 68 points of iBUG 300-W

JOINT_NAMES = (
    *BODY_JOINTS,
    *(f"left_hand_{name}" for name in HAND_JOINTS),
    *(f"right_hand_{name}" for name in HAND_JOINTS),
    *FACE_JOINTS,
)
NUM_JOINTS = len(JOINT_NAMES)  # 128
JOINT_SEEN_SCORE = 0.3  # score from which a joint counts as seen: it is drawn, aligned, measured
BODY = slice(0, 18)
LEFT_HAND = slice(18, 39)
RIGHT_HAND = slice(39, 60)
FACE = slice(60, 128)


def _face_mirrored() -> tuple[int, ...]:
    """Order of iBUG's 68 points in a mirrored face: each row of points is reversed."""
    rows = ((0, 17), (17, 27), (31, 36), (48, 55), (55, 60), (60, 65), (65, 68))
    mirrored = list(range(68))
    for first, end in rows:
        mirrored[first:end] = range(end - 1, first - 1, -1)
    for right, left in ((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)):
        mirrored[right], mirrored[left] = left, right
    return tuple(mirrored)


def _mirrored_joints() -> tuple[int, ...]:
    """For each joint, the joint that takes its place in a mirror: left and right exchange."""
    swapped = [
        name.replace("left", "?").replace("right", "left").replace("?", "right")
        for name in JOINT_NAMES[:60]
    ]
    return (*(JOINT_NAMES.index(name) for name in swapped), *(60 + j for j in _face_mirrored()))


MIRRORED_JOINTS = _mirrored_joints()


@dataclass(frozen=True, slots=True)
class Pose:
    """One person through the T frames of a clip.

    Attributes:
        keypoints_px: float32 [T, J, 2], (x, y) in pixels of `size_hw`; the centre of the top left
            pixel is (0, 0). NaN where the joint is absent. J = 128, see `JOINT_NAMES`.
        scores: float32 [T, J] in [0, 1]; 0 exactly where the joint is absent.
        size_hw: height and width in pixels of the frames that the keypoints lie in.

    Raises:
        PoseError: shapes or ranges are not as above.
    """

    keypoints_px: NDArray[np.float32]
    scores: NDArray[np.float32]
    size_hw: tuple[int, int]

    def __post_init__(self) -> None:
        found, frames = self.keypoints_px.shape, len(self.scores)
        if found != (frames, NUM_JOINTS, 2) or self.scores.shape != (frames, NUM_JOINTS):
            raise PoseError(
                f"keypoints {found} and scores {self.scores.shape} are not a pose: expected "
                f"[T, {NUM_JOINTS}, 2] and [T, {NUM_JOINTS}] (body 18, left hand 21, right hand "
                f"21, face 68)"
            )
        if self.keypoints_px.dtype != np.float32 or self.scores.dtype != np.float32:
            raise PoseError(
                f"keypoints are {self.keypoints_px.dtype}, scores {self.scores.dtype}: "
                "expected float32 for both"
            )
        if not np.all((self.scores >= 0) & (self.scores <= 1)):
            raise PoseError("a score is outside [0, 1] or not a number: absent joints score 0")
        unknown = np.isnan(self.keypoints_px)  # `any` over an axis of 2 takes ten times as long
        if not np.array_equal(unknown[..., 0] | unknown[..., 1], self.scores == 0):
            raise PoseError("a joint must be NaN exactly where its score is 0: use make_pose()")

    @property
    def num_frames(self) -> int:
        return len(self.scores)

    def at_frames(self, indices: NDArray[np.int64] | slice) -> Pose:
        """Select frames, in this order."""
        return Pose(self.keypoints_px[indices], self.scores[indices], self.size_hw)

    def mirrored(self) -> Pose:
        """Mirror the pose left to right; left and right joints exchange their names."""
        joints = np.array(MIRRORED_JOINTS)
        keypoints_px = self.keypoints_px[:, joints]
        keypoints_px[..., 0] = self.size_hw[1] - 1 - keypoints_px[..., 0]
        return Pose(keypoints_px, self.scores[:, joints], self.size_hw)

    def resized(self, size_hw: tuple[int, int]) -> Pose:
        """Scale the pose to frames of another size; pixel centres keep their relative position."""
        scale_xy = np.array(
            [size_hw[1] / self.size_hw[1], size_hw[0] / self.size_hw[0]], dtype=np.float32
        )
        keypoints_px = (self.keypoints_px + np.float32(0.5)) * scale_xy - np.float32(0.5)
        return Pose(keypoints_px, self.scores, size_hw)


def make_pose(
    keypoints_px: NDArray[np.floating], scores: NDArray[np.floating], size_hw: tuple[int, int]
) -> Pose:
    """Make a Pose from any float arrays: cast, clip scores to [0, 1], set absent joints to NaN."""
    keypoints_px = np.array(keypoints_px, dtype=np.float32)
    scores = np.clip(np.nan_to_num(np.array(scores, dtype=np.float32)), 0, 1)
    scores[~np.isfinite(keypoints_px).all(-1)] = 0
    keypoints_px[scores == 0] = np.nan
    return Pose(keypoints_px, scores, size_hw)


def write_pose(file: Path | str | BinaryIO, pose: Pose) -> None:
    """Write a pose as an uncompressed npz; the same pose gives the same bytes."""
    file = Path(file) if isinstance(file, str) else file
    np.savez(
        file,
        keypoints_px=pose.keypoints_px,
        scores=pose.scores,
        size_hw=np.array(pose.size_hw, dtype=np.int32),
    )


def read_pose(file: Path | str | bytes) -> Pose:
    """Read a pose that `write_pose` wrote; never unpickles.

    Raises:
        PoseError: the file is not an npz, lacks an array, or has another joint table.
    """
    file = Path(file) if isinstance(file, str) else file
    name = file.name if isinstance(file, Path) else "pose in memory"
    try:
        with np.load(io.BytesIO(file) if isinstance(file, bytes) else file) as arrays:
            height, width = (int(v) for v in arrays["size_hw"])
            return Pose(arrays["keypoints_px"], arrays["scores"], (height, width))
    except PoseError as error:
        raise PoseError(f"{name}: {error}") from error
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise PoseError(
            f"{name} is not a pose file ({error}): expected an npz with keypoints_px "
            f"[T, {NUM_JOINTS}, 2], scores [T, {NUM_JOINTS}] and size_hw [2]"
        ) from error
