"""DWPose: 133 joints of a person by an ONNX file, within boxes that YOLOX finds.

Interface, as of DWPose's `dw-ll_ucoco_384.onnx` and MMPose's other RTMPose exports: an upright crop
of RGB, normalised, to two arrays [133, 2 W] and [133, 2 H], in which the largest value of a row is
the joint's place in half pixels of the crop and its score. Both files are given by path.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_curation.errors import WeightsError
from aa_curation.models.onnx_file import OnnxFile, OnnxModel
from aa_curation.poses.person_choice import PersonChoice
from aa_curation.poses.yolox import Box, Yolox
from aa_datasets.pose import (
    BODY,
    FACE,
    JOINT_NAMES,
    LEFT_HAND,
    NUM_JOINTS,
    RIGHT_HAND,
    Pose,
    make_pose,
)
from aa_datasets.pose_estimator import Person

_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_STD = np.array([58.395, 57.12, 57.375], np.float32)
_PADDING = 1.25  # of the box, MMPose's
_BINS_A_PIXEL = 2
_NUM_WHOLEBODY = 133
_SEEN_AT_LEAST = 0.3  # DWPose's bound for a joint
_LOST_BELOW = 4  # body joints: with fewer the person is lost
_BOX_MARGIN = 0.1  # of the joints' extent, to hold head and feet
# Where the tracked person may be by the next frame: a share of the joints' extent.
_NUDGE = 0.04
# COCO-WholeBody's index of each OpenPose body joint; the neck is the middle of the shoulders.
_COCO = {
    "nose": 0, "left_eye": 1, "right_eye": 2, "left_ear": 3, "right_ear": 4,
    "left_shoulder": 5, "right_shoulder": 6, "left_elbow": 7, "right_elbow": 8,
    "left_wrist": 9, "right_wrist": 10, "left_hip": 11, "right_hip": 12,
    "left_knee": 13, "right_knee": 14, "left_ankle": 15, "right_ankle": 16,
}  # fmt: skip
_PARTS = ((FACE, slice(23, 91)), (LEFT_HAND, slice(91, 112)), (RIGHT_HAND, slice(112, 133)))


@dataclass(frozen=True, slots=True)
class DWPoseFiles:
    """Makes the estimator: a recipe's value.

    Attributes:
        detector: YOLOX's ONNX file.
        pose: DWPose's.
        score_at_least: of a person.
    """

    detector: OnnxFile
    pose: OnnxFile
    score_at_least: float = 0.3

    def __call__(self, weights: Path | None) -> DWPose:
        """Raises WeightsError where a model is missing, altered or of another interface."""
        find = Yolox(self.detector.read(weights), self.detector.name, self.score_at_least)
        return DWPose(find, OnnxModel(self.pose.read(weights), self.pose.name, num_outputs=2))


class DWPose:
    """A `PoseEstimator`."""

    name = "dwpose"

    def __init__(self, find: Yolox, model: OnnxModel) -> None:
        self.find = find
        self._model = model

    def people(self, frame: NDArray[np.uint8]) -> list[Person]:
        """See `PoseEstimator`; joints and wobble of the first person only, and no face."""
        boxes = self.find(frame)
        people = [box.person(frame) for box in boxes]
        if boxes:
            points, scores = self.joints(frame, boxes[0])
            wobble = self._wobble(frame, boxes[0], points, scores)
            people[0] = replace(people[0], wobble=wobble, scores=scores)
        return people

    def track(self, person: int = 0) -> DWPoseTracker:
        return DWPoseTracker(self, person)

    def joints(
        self, frame: NDArray[np.uint8], box: Box
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Keypoints [J, 2] in pixels (NaN where absent) and scores [J] of the person in a box."""
        to_crop = self._to_crop(box)
        height, width = self._model.size_hw
        crop = cv2.warpAffine(frame, to_crop, (width, height), flags=cv2.INTER_LINEAR)
        across, down = self._model((crop.astype(np.float32) - _MEAN) / _STD)
        wanted = [(_NUM_WHOLEBODY, _BINS_A_PIXEL * side) for side in (width, height)]
        if [across.shape, down.shape] != wanted:
            raise WeightsError(
                f"the pose model gives {across.shape} and {down.shape}, expected {wanted[0]} and "
                f"{wanted[1]}: a SimCC model of 133 joints"
            )
        places = np.stack([across.argmax(1), down.argmax(1)], 1) / _BINS_A_PIXEL
        scores = np.clip(np.minimum(across.max(1), down.max(1)), 0, 1)
        back = cv2.invertAffineTransform(to_crop)
        points = (places @ back[:, :2].T + back[:, 2]).astype(np.float32)
        return _to_layout(points, scores, (frame.shape[0], frame.shape[1]))

    def _to_crop(self, box: Box) -> NDArray[np.float64]:
        """[2, 3]: from the frame to the crop, which holds the padded box in its own shape."""
        height, width = self._model.size_hw
        box_w, box_h = _PADDING * (box.x1 - box.x0), _PADDING * (box.y1 - box.y0)
        scale = 1 / max(box_w / width, box_h / height, 1e-6)
        x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
        return np.array([[scale, 0, width / 2 - scale * x], [0, scale, height / 2 - scale * y]])

    def _wobble(
        self,
        frame: NDArray[np.uint8],
        box: Box,
        points: NDArray[np.float32],
        scores: NDArray[np.float32],
    ) -> float:
        """Mean way of the body's joints when the box moves a little, over its long side."""
        side = max(box.x1 - box.x0, box.y1 - box.y0)
        ways = []
        for nudge in (_NUDGE * side, -_NUDGE * side):
            moved = Box(box.x0 + nudge, box.y0 - nudge, box.x1 + nudge, box.y1 - nudge, box.score)
            there, seen = self.joints(frame, moved)
            both = (scores[BODY] > 0) & (seen[BODY] > 0)
            if both.sum() < _LOST_BELOW:
                return math.nan
            ways.append(np.hypot(*(there - points)[BODY][both].T).mean())
        return float(np.mean(ways) / side)


class DWPoseTracker:
    """Follows one person: the box comes from the joints of the frame before, so that the detector
    runs only at the start and after the person was lost."""

    def __init__(self, estimator: DWPose, person: int = 0) -> None:
        self._estimator = estimator
        self._choice = PersonChoice(person)
        self._box: Box | None = None
        self._rows: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        self._size_hw = (0, 0)

    def see(self, frame: NDArray[np.uint8]) -> None:
        self._size_hw = (frame.shape[0], frame.shape[1])
        found = self._in(frame, self._box) if self._box else None
        if found is None:
            boxes = self._estimator.find(frame)
            middles = [((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2) for box in boxes]
            found = self._in(frame, boxes[self._choice(middles)]) if boxes else None
        if found is None:
            self._box = None
            absent = np.full((NUM_JOINTS, 2), np.nan, np.float32)
            found = absent, np.zeros(NUM_JOINTS, np.float32)
        else:
            points = found[0][BODY][found[1][BODY] > 0]
            low, high = points.min(0), points.max(0)
            margin = _BOX_MARGIN * (high - low).max()
            (x0, y0), (x1, y1) = (low - margin).tolist(), (high + margin).tolist()
            self._box = Box(x0, y0, x1, y1, 1.0)
            self._choice.was_at = ((x0 + x1) / 2, (y0 + y1) / 2)
        self._rows.append(found)

    def pose(self) -> Pose:
        points, scores = (np.stack(rows) for rows in zip(*self._rows, strict=True))
        return make_pose(points, scores, self._size_hw)

    def _in(
        self, frame: NDArray[np.uint8], box: Box
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        points, scores = self._estimator.joints(frame, box)
        return (points, scores) if (scores[BODY] > 0).sum() >= _LOST_BELOW else None


def _to_layout(
    points: NDArray[np.float32], scores: NDArray[np.float32], size_hw: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """COCO-WholeBody's 133 as the project's 128 (its six points of the feet are left out)."""
    ours = np.full((NUM_JOINTS, 2), np.nan, np.float32)
    surely = np.zeros(NUM_JOINTS, np.float32)
    for name, index in _COCO.items():
        joint = JOINT_NAMES.index(name)
        ours[joint], surely[joint] = points[index], scores[index]
    shoulders, neck = [_COCO["left_shoulder"], _COCO["right_shoulder"]], JOINT_NAMES.index("neck")
    ours[neck], surely[neck] = points[shoulders].mean(0), scores[shoulders].min()
    for part, theirs in _PARTS:
        ours[part], surely[part] = points[theirs], scores[theirs]
    height, width = size_hw
    outside = (ours < -0.5).any(-1) | (ours > (width - 0.5, height - 0.5)).any(-1)
    surely[outside | (surely < _SEEN_AT_LEAST)] = 0
    ours[surely == 0] = np.nan
    return ours, surely
