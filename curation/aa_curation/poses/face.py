"""Whether a face is seen, and how large its eyes are: MediaPipe's face mesh on a body's head.

The network is sure of faces of people and of drawn people, and of nobody's in the pictures of cats,
hands and skeletons. It fits 468 points of a human face; what stays measurable on a drawn one is
that its eyes are too wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aa_curation.poses.region import Points, Region
from aa_curation.poses.tflite import TFLiteModel

_INPUT_PX = 192
_FACE_SCALE = 1.5  # MediaPipe's margin around the face
# What makes a face as wide as high of each of BlazePose's distances; the largest is foreshortened
# least.
_OF_EYES, _OF_EARS, _OF_MOUTH = 2.2, 1.05, 2.2
_EYES = ((33, 133), (362, 263))  # corners of the mesh's right and left eye
_FOREHEAD, _CHIN = 10, 152
OUTPUTS = ("conv2d_21", "conv2d_31")  # points, whether there is a face


@dataclass(frozen=True, slots=True)
class FaceSeen:
    """What the network says of one head.

    Attributes:
        confidence: in [0, 1], that there is a face.
        eyes: mean width of the eyes over the height of the face (forehead to chin), measured in
            three dimensions, so that a turned head has what a straight one has.
    """

    confidence: float
    eyes: float


def look_at_face(model: TFLiteModel, frame: NDArray[np.uint8], body: Points) -> FaceSeen:
    """Look twice: where the body's landmarks [33, 2] put the head, then where the mesh lies."""
    region = _head(body)
    points, _ = _mesh(model, frame, region)
    region = _around(region.to_frame(points[:, :2], _INPUT_PX))
    points, confidence = _mesh(model, frame, region)
    widths = [np.linalg.norm(points[a] - points[b]) for a, b in _EYES]
    height = max(float(np.linalg.norm(points[_FOREHEAD] - points[_CHIN])), 1e-6)
    return FaceSeen(confidence, float(np.mean(widths)) / height)


def _mesh(model: TFLiteModel, frame: NDArray[np.uint8], region: Region) -> tuple[Points, float]:
    """Points [468, 3] in pixels of the crop (depth in the same unit), and the confidence."""
    raw, logit = model(region.crop(frame, _INPUT_PX))
    confidence = 1 / (1 + math.exp(-float(np.clip(logit.ravel()[0], -80, 80))))
    return raw.reshape(-1, 3), confidence


def _head(body: Points) -> Region:
    left_eye, right_eye, mouth = body[2], body[5], (body[9] + body[10]) / 2
    eyes = (left_eye + right_eye) / 2
    across = left_eye - right_eye
    side = max(
        _OF_EYES * float(np.hypot(*across)),
        _OF_EARS * float(np.hypot(*(body[7] - body[8]))),
        _OF_MOUTH * float(np.hypot(*(eyes - mouth))),
        1.0,
    )
    x, y = ((eyes + mouth) / 2).tolist()
    return Region(x, y, _FACE_SCALE * side, math.atan2(float(across[1]), float(across[0])))


def _around(points: Points) -> Region:
    low, high = points.min(0), points.max(0)
    across = points[_EYES[1][1]] - points[_EYES[0][0]]
    x, y = ((low + high) / 2).tolist()
    side = max(_FACE_SCALE * float((high - low).max()), 1.0)
    return Region(x, y, side, math.atan2(float(across[1]), float(across[0])))
