"""BlazePose's 33 landmarks and MediaPipe's hands, laid out as the project's 128 joints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aa_curation.poses.hands import HandLandmarks
from aa_curation.poses.landmarks import BodyLandmarks
from aa_datasets.pose import BODY, JOINT_NAMES, LEFT_HAND, NUM_JOINTS, RIGHT_HAND

# BlazePose's index of each OpenPose body joint; the neck is the middle of the shoulders.
_BLAZEPOSE = {
    "nose": 0,
    "right_shoulder": 12, "right_elbow": 14, "right_wrist": 16,
    "left_shoulder": 11, "left_elbow": 13, "left_wrist": 15,
    "right_hip": 24, "right_knee": 26, "right_ankle": 28,
    "left_hip": 23, "left_knee": 25, "left_ankle": 27,
    "right_eye": 5, "left_eye": 2, "right_ear": 8, "left_ear": 7,
}  # fmt: skip
_NECK = JOINT_NAMES.index("neck")
_SHOULDERS = [_BLAZEPOSE["left_shoulder"], _BLAZEPOSE["right_shoulder"]]
_JOINTS = [JOINT_NAMES.index(name) for name in _BLAZEPOSE]
_LANDMARKS = list(_BLAZEPOSE.values())
LEFT_PALM, RIGHT_PALM = (15, 19, 17), (16, 20, 18)  # wrist, index, little finger

_HAND_AT_LEAST = 0.5


def to_joints(
    body: BodyLandmarks,
    left: HandLandmarks | None,
    right: HandLandmarks | None,
    size_hw: tuple[int, int],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Keypoints [J, 2] in pixels (the first pixel's centre is 0) and scores [J].

    A body joint scores visibility x presence; a hand's joints score the hand's confidence, and the
    hand is absent below 0.5. Joints outside of the frame and the face's 68 are absent.
    """
    points = np.full((NUM_JOINTS, 2), np.nan, np.float32)
    scores = np.zeros(NUM_JOINTS, np.float32)
    surely = body.visibility * body.presence
    points[_JOINTS], scores[_JOINTS] = body.points[_LANDMARKS], surely[_LANDMARKS]
    points[_NECK], scores[_NECK] = body.points[_SHOULDERS].mean(0), surely[_SHOULDERS].min()
    for part, hand in ((LEFT_HAND, left), (RIGHT_HAND, right)):
        if hand is not None and hand.confidence >= _HAND_AT_LEAST:
            points[part], scores[part] = hand.points, hand.confidence
    height, width = size_hw
    with np.errstate(invalid="ignore"):
        outside = (points < -0.5).any(-1) | (points > (width - 0.5, height - 0.5)).any(-1)
    scores[outside | np.isnan(points).any(-1)] = 0
    points[scores == 0] = np.nan
    assert BODY.stop == len(_JOINTS) + 1  # all of the body, and the neck
    return points, scores
