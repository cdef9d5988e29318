"""BlazePose's person detector: everybody that it sees in a frame, or in a part of one.

Decoding follows MediaPipe's graph (modules/pose_detection/pose_detection_cpu.pbtxt): SSD anchors,
sigmoid scores, weighted non-maximum suppression. A box encloses the head; the keypoints give the
region of the whole body.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aa_curation.models.tflite_file import TFLiteModel
from aa_curation.poses.region import Points, Region, region_from_axis

_INPUT_PX = 224
_STRIDES_PX = (8, 16, 32, 32, 32)
_SCORE_AT_LEAST = 0.5
_SUPPRESS_IOU = 0.3
_BODY_SCALE = 1.25
OUTPUTS = ("Identity", "Identity_1")  # boxes with keypoints, scores


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
    """Everybody in a region of uint8 RGB [H, W, 3], best first."""
    raw, logits = model(2 * region.crop(frame, _INPUT_PX) - 1)
    scores = np.asarray(1 / (1 + np.exp(-np.clip(logits[:, 0], -80, 80))), dtype=np.float32)
    sure = scores >= _SCORE_AT_LEAST
    if not sure.any():
        return []
    points = raw[sure].reshape(-1, 6, 2)  # centre and extent of the box, four keypoints
    centre, extent = points[:, 0] + ANCHORS[sure], points[:, 1]
    boxes = np.concatenate([centre - extent / 2, centre + extent / 2], 1)
    keypoints = region.to_frame(points[:, 2:] + ANCHORS[sure][:, None], _INPUT_PX)
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
        cells = np.arange(_INPUT_PX // stride, dtype=np.float32) * stride + stride / 2
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
