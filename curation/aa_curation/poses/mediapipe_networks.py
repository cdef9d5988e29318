"""The networks of MediaPipe's holistic pipeline: people, body, hands and face of a frame.

Decoding follows MediaPipe's graphs: SSD anchors, sigmoid scores and weighted non-maximum
suppression for people (modules/pose_detection/pose_detection_cpu.pbtxt); 33 landmarks of a body,
sharpened by the network's own heat maps (modules/pose_landmark/
tensors_to_pose_landmarks_and_segmentation.pbtxt); 21 landmarks of a hand, in a coarse region from
the body that a second network crops better (modules/holistic_landmark/
hand_landmarks_from_pose_cpu.pbtxt, hand_recrop_by_roi_cpu.pbtxt); a mesh of 468 points of a face.

The face network is sure of the faces of people and of drawn people, and of none in pictures of
cats, hands and skeletons. What can still be measured on a drawn face: its eyes are too wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aa_curation.models.tflite_file import TFLiteModel
from aa_curation.poses.region import Points, Region, region_from_axis

# People.

_DETECT_PX = 224
_STRIDES_PX = (8, 16, 32, 32, 32)
_SCORE_AT_LEAST = 0.5
_SUPPRESS_IOU = 0.3
_BODY_SCALE = 1.25
DETECT_OUTPUTS = ("Identity", "Identity_1")  # boxes with keypoints, scores


@dataclass(frozen=True, slots=True)
class Detection:
    """One person: keypoints [4, 2] and score in [0, 1].

    Keypoints: middle of the hips, end of the full body's circle, middle of the shoulders, end of
    the upper body's circle; in pixels of the frame.
    """

    keypoints: Points
    score: float

    @property
    def body_region(self) -> Region:
        return region_from_axis(self.keypoints[0], self.keypoints[1], scale=_BODY_SCALE)


def detect_people(model: TFLiteModel, frame: NDArray[np.uint8], region: Region) -> list[Detection]:
    """All people in a region of uint8 RGB [H, W, 3], best first."""
    raw, logits = model(2 * region.crop(frame, _DETECT_PX) - 1)
    scores = np.asarray(1 / (1 + np.exp(-np.clip(logits[:, 0], -80, 80))), dtype=np.float32)
    sure = scores >= _SCORE_AT_LEAST
    if not sure.any():
        return []
    points = raw[sure].reshape(-1, 6, 2)  # centre and extent of the box, four keypoints
    centre, extent = points[:, 0] + ANCHORS[sure], points[:, 1]
    boxes = np.concatenate([centre - extent / 2, centre + extent / 2], 1)
    keypoints = region.to_frame(points[:, 2:] + ANCHORS[sure][:, None], _DETECT_PX)
    return _suppress(boxes, keypoints, scores[sure])


def whole_frame(size_hw: tuple[int, int]) -> Region:
    """The square that encloses the frame (letterbox)."""
    height, width = size_hw
    return Region(width / 2, height / 2, max(height, width))


def overlapping_tiles(size_hw: tuple[int, int], share: float) -> list[Region]:
    """Squares of side `share` of the long side that overlap by half and cover the frame."""
    height, width = size_hw
    side = share * max(height, width)

    def centres(length: float) -> NDArray[np.float64]:
        if length <= side:
            return np.array([length / 2])
        count = int(np.ceil((length - side) / (side / 2))) + 1
        return np.linspace(side / 2, length - side / 2, count)

    return [Region(x, y, side) for y in centres(height) for x in centres(width)]


def _anchors() -> Points:
    """Centres [2254, 2] in pixels of the input: two a cell for each layer of the network."""
    layers = []
    for stride in _STRIDES_PX:
        cells = np.arange(_DETECT_PX // stride, dtype=np.float32) * stride + stride / 2
        grid = np.stack(np.meshgrid(cells, cells), -1).reshape(-1, 2)
        layers.append(grid)
    # Layers of one stride share their cells: all anchors of a cell stand together.
    grouped = [np.repeat(layers[0], 2, 0), np.repeat(layers[1], 2, 0), np.repeat(layers[2], 6, 0)]
    return np.concatenate(grouped).astype(np.float32)


ANCHORS = _anchors()


def _suppress(
    boxes: NDArray[np.float32], keypoints: Points, scores: NDArray[np.float32]
) -> list[Detection]:
    """Weighted suppression: a detection is the mean of all that overlap it, by their scores."""
    left = np.argsort(-scores, kind="stable")
    people = []
    while len(left):
        best = left[0]
        same = _iou(boxes[best], boxes[left]) > _SUPPRESS_IOU
        same[0] = True
        merged, weights = left[same], scores[left[same]]
        people.append(
            Detection(
                keypoints=np.average(keypoints[merged], axis=0, weights=weights),
                score=float(scores[best]),
            )
        )
        left = left[~same]
    return people


def _iou(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    top_left, bottom_right = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.clip(bottom_right - top_left, 0, None), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    iou: NDArray[np.float32] = shared / (np.prod(box[2:] - box[:2]) + areas - shared)
    return iou


# Body.

_BODY_PX = 256
_HEATMAP_PX = 64
_KERNEL_PX = 7
_HEAT_AT_LEAST = 0.5
_REGION_CENTRE, _REGION_TIP = 33, 34  # auxiliary landmarks: where this body is, for the next frame
BODY_OUTPUTS = (
    "Identity",
    "Identity_1",
    "Identity_3",
    "Identity_2",
)  # points, presence, heat, mask


@dataclass(frozen=True, slots=True)
class BodyLandmarks:
    """One body in one frame.

    Attributes:
        points: [33, 2] pixels of the frame, BlazePose's order.
        visibility: [33] in [0, 1], that the joint is seen (not hidden by something).
        presence: [33] in [0, 1], that the joint lies inside the picture.
        confidence: in [0, 1], that there is a person in the region at all.
        next_region: where to look for the same body in the next frame.
        region: the region that the network saw.
        mask_logits: [256, 256] over that region; above 0 where the person is.
    """

    points: Points
    visibility: NDArray[np.float32]
    presence: NDArray[np.float32]
    confidence: float
    next_region: Region
    region: Region
    mask_logits: NDArray[np.float32]

    def mask_in_frame(self, size_hw: tuple[int, int], long_side_px: int) -> NDArray[np.bool_]:
        """The person's pixels in the frame of `size_hw`, scaled down to `long_side_px`."""
        scale = long_side_px / max(size_hw)
        height, width = (max(1, round(side * scale)) for side in size_hw)
        small = Region(
            self.region.x * scale,
            self.region.y * scale,
            self.region.side * scale,
            self.region.angle_rad,
        )
        mask: NDArray[np.bool_] = small.paste(self.mask_logits, (height, width)) > 0
        return mask


def body_landmarks(model: TFLiteModel, frame: NDArray[np.uint8], region: Region) -> BodyLandmarks:
    """Run the landmark network on a region of uint8 RGB [H, W, 3]."""
    raw, confidence, heat, mask = model(region.crop(frame, _BODY_PX))
    raw = raw.reshape(39, 5)
    points = _refine(raw[:, :2].copy(), heat)
    in_frame = region.to_frame(points, _BODY_PX)
    return BodyLandmarks(
        points=in_frame[:33],
        visibility=_sigmoid(raw[:33, 3]),
        presence=_sigmoid(raw[:33, 4]),
        confidence=float(confidence[0]),
        next_region=region_from_axis(
            in_frame[_REGION_CENTRE], in_frame[_REGION_TIP], scale=_BODY_SCALE
        ),
        region=region,
        mask_logits=mask[..., 0],
    )


def _refine(points: Points, heat: NDArray[np.float32]) -> Points:
    """Move each point to the centre of mass of its heat map's 7x7 surroundings, if it is warm.

    `heat` are logits [64, 64, 39].
    """
    scale = _BODY_PX / _HEATMAP_PX
    column, row = (points / scale).astype(np.int64).T
    inside = (column >= 0) & (column < _HEATMAP_PX) & (row >= 0) & (row < _HEATMAP_PX)
    near = np.arange(_KERNEL_PX) - _KERNEL_PX // 2
    columns, rows = column[:, None] + near, row[:, None] + near  # [39, 7]
    there = [(at >= 0) & (at < _HEATMAP_PX) for at in (rows, columns)]
    patches = heat[
        rows.clip(0, _HEATMAP_PX - 1)[:, :, None],
        columns.clip(0, _HEATMAP_PX - 1)[:, None, :],
        np.arange(len(points))[:, None, None],
    ]
    warmth = np.where(there[0][:, :, None] & there[1][:, None, :], _sigmoid(patches), 0)
    warm = inside & (warmth.max(axis=(1, 2)) >= _HEAT_AT_LEAST)
    total = warmth.sum(axis=(1, 2))[warm]
    for axis, (places, other) in enumerate(((columns, 1), (rows, 2))):
        points[warm, axis] = scale * (warmth.sum(axis=other) * places).sum(axis=1)[warm] / total
    return points


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), dtype=np.float32)


# Hands.

_RECROP_PX = 256
_HAND_PX = 224
_COARSE_SCALE = 2.7
_TOWARDS_FINGERS = -0.1  # of the side: the region moves up, from the wrist to the finger tips
RECROP_OUTPUTS = ("output_crop",)
HAND_OUTPUTS = ("Identity", "Identity_1")  # landmarks, presence


@dataclass(frozen=True, slots=True)
class HandLandmarks:
    """One hand: points [21, 2] in pixels of the frame, confidence in [0, 1]."""

    points: Points
    confidence: float


def hand_landmarks(
    recrop: TFLiteModel, model: TFLiteModel, frame: NDArray[np.uint8], palm: Points
) -> HandLandmarks | None:
    """Run both networks around `palm` [3, 2]: the body's wrist, index and little finger.

    Returns None where the three points coincide or lie outside of the frame.
    """
    wrist, index, little = palm
    middle = (2 * index + little) / 3
    reach = float(np.hypot(*(middle - wrist)))
    height, width = frame.shape[:2]
    if reach < 1 or not (0 <= middle[0] <= width and 0 <= middle[1] <= height):
        return None
    # The region turns with wrist -> middle but lies around the middle; MediaPipe moves it before
    # it makes it larger.
    turned = region_from_axis(wrist, middle, scale=1)
    coarse = Region(float(middle[0]), float(middle[1]), turned.side, turned.angle_rad)
    coarse = coarse.shifted(_TOWARDS_FINGERS).scaled(_COARSE_SCALE)
    (axis,) = recrop(coarse.crop(frame, _RECROP_PX))
    centre, tip = coarse.to_frame(axis.reshape(2, 2), _RECROP_PX)
    fine = region_from_axis(centre, tip, scale=1, upward=False).shifted(_TOWARDS_FINGERS)
    if not np.isfinite(fine.side) or fine.side < 1:
        return None
    raw, confidence = model(fine.crop(frame, _HAND_PX))
    points = fine.to_frame(raw.reshape(21, 3)[:, :2], _HAND_PX)
    return HandLandmarks(points, float(confidence[0]))


# Face.

_FACE_PX = 192
_FACE_SCALE = 1.5  # MediaPipe's margin around the face
# What makes a face as wide as high of each of BlazePose's distances; the largest is foreshortened
# least.
_OF_EYES, _OF_EARS, _OF_MOUTH = 2.2, 1.05, 2.2
_EYES = ((33, 133), (362, 263))  # corners of the mesh's right and left eye
_FOREHEAD, _CHIN, _NOSE = 10, 152, 4
FACE_AT_LEAST = 0.5  # MediaPipe's bound for "there is a face in this region"
_SAME_HEAD = 0.35  # of the region's side: how far the mesh's nose may lie from the body's
FACE_OUTPUTS = ("conv2d_21", "conv2d_31")  # points, whether there is a face


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
    """Look once, in the region that the frame before gave; as `look_at_face` without such a region,
    or where it holds no face or another person's."""
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
    points = region.to_frame(mesh[:, :2], _FACE_PX)
    return FaceLook(confidence, float(np.mean(widths)) / height, points, _around(points))


def _mesh(model: TFLiteModel, frame: NDArray[np.uint8], region: Region) -> tuple[Points, float]:
    """Points [468, 3] in pixels of the crop (depth in the same unit), and the confidence."""
    raw, logit = model(region.crop(frame, _FACE_PX))
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
