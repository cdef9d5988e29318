"""YOLOX: boxes of people, by an ONNX file of the form that Megvii's exporter writes.

Interface: BGR in [0, 255], letterboxed with 114 at the right and the bottom, to [N, 5 + classes]:
centre and log size of a box in cells of its stride, objectness, and classes of which 0 is a person.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_curation.errors import WeightsError
from aa_curation.models.onnx_file import OnnxModel
from aa_datasets.pose import NUM_JOINTS
from aa_datasets.pose_estimator import Person

_STRIDES_PX = (8, 16, 32)
_GREY = 114
_SUPPRESS_IOU = 0.45
_PERSON = 5  # column of the first class
_BOX_FILLED = 0.5  # by a body, as `people_of_pose` has it


@dataclass(frozen=True, slots=True)
class Box:
    """A person's box, in pixels of the frame and cut off at its edges; score in [0, 1]."""

    x0: float
    y0: float
    x1: float
    y1: float
    score: float

    @property
    def area_px(self) -> float:
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def person(self, frame: NDArray[np.uint8]) -> Person:
        """Who is in the box, before joints are looked for; of a frame [H, W, 3]."""
        height, width = frame.shape[:2]
        share = _BOX_FILLED * self.area_px / (height * width)
        no_joints = np.zeros(NUM_JOINTS, np.float32)
        return Person(share, math.nan, no_joints, x=(self.x0 + self.x1) / 2 / width)


class Yolox:
    """Finds people.

    Args:
        content: of the ONNX file, verified.
        name: for messages.
        score_at_least: objectness times the person's class.

    Raises:
        WeightsError: not YOLOX's interface.
    """

    def __init__(self, content: bytes, name: str, score_at_least: float) -> None:
        self._model = OnnxModel(content, name, num_outputs=1)
        self._score_at_least = score_at_least
        self._cells, self._strides_px = _grid(self._model.size_hw)
        self._name = name

    def __call__(self, frame: NDArray[np.uint8]) -> list[Box]:
        """All people in uint8 RGB [H, W, 3], the largest first."""
        height, width = frame.shape[:2]
        into_h, into_w = self._model.size_hw
        scale = min(into_h / height, into_w / width)
        inner = (max(1, int(width * scale)), max(1, int(height * scale)))
        canvas = np.full((into_h, into_w, 3), _GREY, np.float32)
        canvas[: inner[1], : inner[0]] = cv2.resize(frame, inner)[:, :, ::-1]
        (raw,) = self._model(canvas)
        if raw.ndim != 2 or len(raw) != len(self._cells) or raw.shape[1] <= _PERSON:
            raise WeightsError(
                f"{self._name} gives {raw.shape}, expected ({len(self._cells)}, 5 + classes)"
            )
        scores = raw[:, 4] * raw[:, _PERSON]
        sure = scores >= self._score_at_least
        centres = (raw[sure, :2] + self._cells[sure]) * self._strides_px[sure] / scale
        halves = np.exp(raw[sure, 2:4]) * self._strides_px[sure] / scale / 2
        boxes = np.concatenate([centres - halves, centres + halves], 1)
        boxes = np.clip(boxes, 0, [width, height, width, height])
        people = []
        for i in _suppress(boxes, scores[sure]):
            x0, y0, x1, y1 = boxes[i].tolist()
            people.append(Box(x0, y0, x1, y1, float(scores[sure][i])))
        return sorted(people, key=lambda box: -box.area_px)


def _grid(size_hw: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cells [N, 2] (x, y) and strides [N, 1] of all rows of the output."""
    cells, strides = [], []
    for stride in _STRIDES_PX:
        rows, columns = size_hw[0] // stride, size_hw[1] // stride
        grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2)
        cells.append(grid)
        strides.append(np.full((len(grid), 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _suppress(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> list[int]:
    """Non-maximum suppression: the places of those that stay."""
    corners_wh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    kept = cv2.dnn.NMSBoxes(corners_wh.tolist(), scores.tolist(), 0.0, _SUPPRESS_IOU)
    return [int(i) for i in np.ravel(kept)]
