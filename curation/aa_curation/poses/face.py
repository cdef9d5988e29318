"""The face of a body: MediaPipe's mesh of 468 points, whether there is one, how large its eyes are.

The network is sure of faces of people and of drawn people, and of nobody's in the pictures of cats,
hands and skeletons. What stays measurable on a drawn face is that its eyes are too wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aa_curation.models.tflite_file import TFLiteModel
from aa_curation.poses.region import Points, Region

_INPUT_PX = 192
_FACE_SCALE = 1.5  # MediaPipe's margin around the face
# What makes a face as wide as high of each of BlazePose's distances; the largest is foreshortened
# least.
_OF_EYES, _OF_EARS, _OF_MOUTH = 2.2, 1.05, 2.2
_EYES = ((33, 133), (362, 263))  # corners of the mesh's right and left eye
_FOREHEAD, _CHIN, _NOSE = 10, 152, 4
FACE_AT_LEAST = 0.5  # MediaPipe's bound for "there is a face in this region"
_SAME_HEAD = 0.35  # of the region's side: how far the mesh's nose may lie from the body's
OUTPUTS = ("conv2d_21", "conv2d_31")  # points, whether there is a face


@dataclass(frozen=True, slots=True)
class FaceLook:
    """What the network says of one head.

    Attributes:
        confidence: in [0, 1], that there is a face.
        eyes: mean width of the eyes over the height of the face (forehead to chin), measured in
            three dimensions, so that a turned head has what a straight one has.
        points: [468, 2] pixels of the frame, in the mesh's order.
        next_region: where to look for the same face in the next frame.
    """

    confidence: float
    eyes: float
    points: Points
    next_region: Region


def look_at_face(model: TFLiteModel, frame: NDArray[np.uint8], body: Points) -> FaceLook:
    """Look twice: where the body's landmarks [33, 2] put the head, then where the mesh lies."""
    return _look(model, frame, _look(model, frame, _head(body)).next_region)


def follow_face(
    model: TFLiteModel, frame: NDArray[np.uint8], body: Points, region: Region | None
) -> FaceLook:
    """Look once, in the region that the frame before gave; as `look_at_face` where it gave none, or
    where there is no face in it, or another's."""
    if region is not None:
        seen = _look(model, frame, region)
        off = float(np.hypot(*(seen.points[_NOSE] - body[0])))
        if seen.confidence >= FACE_AT_LEAST and off <= _SAME_HEAD * seen.next_region.side:
            return seen
    return look_at_face(model, frame, body)


def _look(model: TFLiteModel, frame: NDArray[np.uint8], region: Region) -> FaceLook:
    mesh, confidence = _mesh(model, frame, region)
    widths = [np.linalg.norm(mesh[a] - mesh[b]) for a, b in _EYES]
    height = max(float(np.linalg.norm(mesh[_FOREHEAD] - mesh[_CHIN])), 1e-6)
    points = region.to_frame(mesh[:, :2], _INPUT_PX)
    return FaceLook(confidence, float(np.mean(widths)) / height, points, _around(points))


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
