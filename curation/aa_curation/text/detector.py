"""Find text in a frame: PP-OCRv4's detector, from the rapidocr-onnxruntime wheel.

The network gives the probability of text at each pixel; boxes are made from it as in Liao et al.,
Real-time Scene Text Detection with Differentiable Binarization (AAAI 2020), Sec. 3.4: threshold,
contours, and a rectangle around each that is grown back to the text's size, since the network was
trained on shrunk ones.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_curation.models.onnx_file import OnnxModel, WheelOnnxFile

TextBox = tuple[float, float, float, float]

# Apache-2.0. The wheel asks for opencv-python, which conflicts with the headless one: it is
# installed with --no-deps, and its file is read.
DETECTOR = WheelOnnxFile(
    "rapidocr-onnxruntime",
    "1.4.4",
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
    "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
)

# RapidOCR's own settings for this network; it dilates the map as well, PaddleOCR does not.
PROBABILITY_ABOVE = 0.3
MEAN_PROBABILITY_AT_LEAST = 0.5
UNCLIP_RATIO = 1.6
_SIDE_AT_LEAST_PX = 3  # of the network's picture: thinner findings are noise
_STRIDE_PX = 32
# Letters of a frame with a shorter long side may be too small for the network: such a frame is also
# looked at enlarged.
_SMALL_PX = 512


class TextDetector:
    """Finds lines of text, in any script and up to any slant.

    Args:
        side_px: frames are scaled down to this long side for the network; those of less than 512 px
            are looked at twice, the second time at twice their size. The cost grows with the area.

    Raises:
        WeightsError: the model is missing or altered; the message names what to install.
    """

    def __init__(self, side_px: int) -> None:
        self._model = OnnxModel(DETECTOR.read(), "the text detector", 1, any_size=True)
        self._side_px = side_px

    def __call__(self, frame: NDArray[np.uint8]) -> list[TextBox]:
        """Upright boxes (x0, y0, x1, y1) around text in uint8 RGB [H, W, 3], in its pixels."""
        height, width = frame.shape[:2]
        boxes = []
        for enlarge in (1.0, 2.0) if max(height, width) < _SMALL_PX else (1.0,):
            probability = self.probability(frame, enlarge)
            scale = np.array([width, height] * 2) / (probability.shape[::-1] * 2)
            boxes += [np.array(box) * scale for box in text_boxes(probability)]
        clipped = np.clip(np.reshape(boxes, (-1, 4)), 0, [width, height, width, height])
        return [(float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in clipped]

    def probability(self, frame: NDArray[np.uint8], enlarge: float = 1.0) -> NDArray[np.float32]:
        """The probability of text at each pixel, float32 [h, w], at the network's size."""
        scale = min(enlarge, self._side_px / max(frame.shape[:2]))
        rows, columns = (
            max(1, round(side * scale / _STRIDE_PX)) * _STRIDE_PX for side in frame.shape[:2]
        )
        small = cv2.resize(frame, (columns, rows))[:, :, ::-1]  # BGR, as it was trained
        (probability,) = self._model(small.astype(np.float32) / 127.5 - 1)
        return np.asarray(probability[0], np.float32)


def text_boxes(probability: NDArray[np.float32]) -> list[TextBox]:
    """Upright boxes (x0, y0, x1, y1) around the text of a probability map, in its pixels."""
    sure = (probability > PROBABILITY_ABOVE).astype(np.uint8)
    contours, _ = cv2.findContours(sure, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    boxes: list[TextBox] = []
    for contour in contours:
        centre, (width, height), angle = cv2.minAreaRect(contour)
        if min(width, height) < _SIDE_AT_LEAST_PX:
            continue
        if _mean_within(probability, (centre, (width, height), angle)) < MEAN_PROBABILITY_AT_LEAST:
            continue
        # Offsetting a polygon by area * ratio / length grows a rectangle by that on all sides.
        grown = UNCLIP_RATIO * width * height / (width + height)
        corners = cv2.boxPoints((centre, (width + grown, height + grown), angle))
        boxes.append((*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()))
    return boxes


def _mean_within(probability: NDArray[np.float32], rectangle: cv2.typing.RotatedRect) -> float:
    corners = cv2.boxPoints(rectangle)
    x0, y0 = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    x1, y1 = np.ceil(corners.max(axis=0)).astype(int) + 1
    part = probability[y0:y1, x0:x1]
    inside = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(inside, [(corners - (x0, y0)).astype(np.int32)], 1)
    return float(cv2.mean(part, inside)[0])
