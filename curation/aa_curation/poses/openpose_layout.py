"""BlazePose's landmarks, MediaPipe's hands and face mesh, laid out as the project's 128 joints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aa_curation.poses.mediapipe_networks import BodyLandmarks, FaceLook, HandLandmarks
from aa_curation.poses.region import Points
from aa_datasets.pose import BODY, FACE, JOINT_NAMES, LEFT_HAND, NUM_JOINTS, RIGHT_HAND

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

# The mesh's vertices at iBUG 300-W's 68 points, two where a point lies between them; for each point
# of eyes, brows, nose and lips from the mesh's own contours. The jaw has none, its vertices are
# those nearest to dlib's points (`benchmarks/studies/pose_agreement.py` says how near).
_MESH_OF_FACE = (
    (127,), (234,), (93,), (132, 58), (58, 172), (136,), (149,), (148,), (152,),  # jaw
    (377,), (378,), (365,), (288, 397), (361, 288), (323,), (454,), (356,),
    (70,), (63,), (105,), (66,), (107,), (336,), (296,), (334,), (293,), (300,),  # brows
    (168, 6), (197,), (5,), (4,), (75,), (97,), (2,), (326,), (305,),  # nose
    (33,), (160,), (158,), (133,), (153,), (144,),  # the person's right eye
    (362,), (385,), (387,), (263,), (373,), (380,),
    (61,), (39, 40), (37,), (0,), (267,), (269, 270), (291,),  # lips, outside
    (405,), (314,), (17,), (84,), (181,),
    (78,), (81, 82), (13,), (311, 312), (308,), (317,), (14,), (87,),  # and inside
)  # fmt: skip
_MESH_A, _MESH_B = np.array([(at[0], at[-1]) for at in _MESH_OF_FACE]).T


def to_joints(
    body: BodyLandmarks,
    left: HandLandmarks | None,
    right: HandLandmarks | None,
    face: FaceLook | None,
    size_hw: tuple[int, int],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Keypoints [J, 2] in pixels (the first pixel's centre is 0) and scores [J].

    A body joint scores visibility x presence; the joints of a hand and of the face score its
    confidence, and a hand is absent below 0.5. Joints outside of the frame are absent.
    """
    points = np.full((NUM_JOINTS, 2), np.nan, np.float32)
    scores = np.zeros(NUM_JOINTS, np.float32)
    surely = body.visibility * body.presence
    points[_JOINTS], scores[_JOINTS] = body.points[_LANDMARKS], surely[_LANDMARKS]
    points[_NECK], scores[_NECK] = body.points[_SHOULDERS].mean(0), surely[_SHOULDERS].min()
    for part, hand in ((LEFT_HAND, left), (RIGHT_HAND, right)):
        if hand is not None and hand.confidence >= _HAND_AT_LEAST:
            points[part], scores[part] = hand.points, hand.confidence
    if face is not None:
        points[FACE], scores[FACE] = face_points(face.points), face.confidence
    height, width = size_hw
    with np.errstate(invalid="ignore"):
        outside = (points < -0.5).any(-1) | (points > (width - 0.5, height - 0.5)).any(-1)
    scores[outside | np.isnan(points).any(-1)] = 0
    points[scores == 0] = np.nan
    assert BODY.stop == len(_JOINTS) + 1  # all of the body, and the neck
    return points, scores


def face_points(mesh: Points) -> Points:
    """iBUG's 68 points [68, 2] of a mesh [468, 2]."""
    points: Points = (mesh[_MESH_A] + mesh[_MESH_B]) / 2
    return points
