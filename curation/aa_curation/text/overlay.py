"""Text that stays in place while the people move: captions, subtitles, logos, user names.

Writing on clothes moves with them. Signs before a still camera stay where they are and count as
overlaid, too: nothing in the picture tells them apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aa_curation.text.detector import TextBox, TextDetector

_EDGE = 0.25  # of the height of a line: how far its upper and lower edge may shift
_SHARED = 0.5  # of the shorter line: subtitles change their words, but stand in one place
_LINE_AT_MOST = 1 / 5  # of the frame's short side: what is thicker is a pattern, or a person

PixelBox = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class TextSearch:
    """How a clip is searched for overlaid text.

    Attributes:
        side_px: see `TextDetector`.
        share_at_least: of the sampled frames (`Recipe.people_frames`) in which a line of text must
            stand at the same place.
    """

    side_px: int = 736
    share_at_least: float = 0.3

    def make_detector(self) -> TextDetector:
        """Raises WeightsError where the model is missing or altered."""
        return TextDetector(self.side_px)


@dataclass(frozen=True, slots=True)
class OverlaidText:
    """Where text is laid over a clip at some time.

    Attributes:
        boxes: (x0, y0, x1, y1) in pixels of frames of `size_hw`; x1 and y1 are outside.
        size_hw: height and width of the frames.
    """

    boxes: tuple[PixelBox, ...]
    size_hw: tuple[int, int]

    @property
    def area(self) -> float:
        """Share of the frame under the boxes, in [0, 1]."""
        return float(self.mask().mean())

    def mask(self) -> NDArray[np.bool_]:
        """Which pixels lie under a box, bool [H, W]."""
        covered = np.zeros(self.size_hw, bool)
        for x0, y0, x1, y1 in self.boxes:
            covered[y0:y1, x0:x1] = True
        return covered

    def resized(self, size_hw: tuple[int, int]) -> OverlaidText:
        """For frames of another size; every box still holds the text that it held."""
        scale_y, scale_x = size_hw[0] / self.size_hw[0], size_hw[1] / self.size_hw[1]
        boxes = [
            (x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y)
            for x0, y0, x1, y1 in self.boxes
        ]
        return OverlaidText(tuple(_whole_pixels(box, size_hw) for box in boxes), size_hw)


def find_overlaid_text(
    frames: Iterable[NDArray[np.uint8]], search: TextSearch, detector: TextDetector
) -> OverlaidText:
    """Search some frames of a clip, uint8 RGB [H, W, 3], all of one size."""
    found, size_hw = [], (1, 1)
    for frame in frames:
        size_hw = (frame.shape[0], frame.shape[1])
        found.append([box for box in detector(frame) if _is_line(box, size_hw)])
    boxes = in_place(found, search.share_at_least)
    return OverlaidText(tuple(_whole_pixels(box, size_hw) for box in boxes), size_hw)


def in_place(found: Sequence[Sequence[TextBox]], share_at_least: float) -> list[TextBox]:
    """The boxes that stand on one line in at least so many frames, joined line by line.

    Args:
        found: of each sampled frame, its boxes.
        share_at_least: of the frames.

    Returns:
        boxes that together hold all boxes that stay; sorted.
    """
    needed = share_at_least * len(found)
    staying = [
        box
        for boxes in found
        for box in boxes
        if sum(any(_one_line(box, other) for other in frame) for frame in found) >= needed
    ]
    joined: list[TextBox] = []
    for box in sorted(staying):
        while other := next((other for other in joined if _one_line(box, other)), None):
            joined.remove(other)
            box = (
                min(box[0], other[0]),
                min(box[1], other[1]),
                max(box[2], other[2]),
                max(box[3], other[3]),
            )
        joined.append(box)
    return sorted(joined)


def _is_line(box: TextBox, size_hw: tuple[int, int]) -> bool:
    return min(box[2] - box[0], box[3] - box[1]) <= _LINE_AT_MOST * min(size_hw)


def _one_line(a: TextBox, b: TextBox) -> bool:
    height = min(a[3] - a[1], b[3] - b[1])
    if max(abs(a[1] - b[1]), abs(a[3] - b[3])) > _EDGE * height:
        return False
    shared = min(a[2], b[2]) - max(a[0], b[0])
    return shared >= _SHARED * min(a[2] - a[0], b[2] - b[0])


def _whole_pixels(box: TextBox, size_hw: tuple[int, int]) -> PixelBox:
    """Outwards, and within the frame. (A hair of tolerance: 2.0000000001 pixels are 2.)"""
    x0, y0 = (max(0, math.floor(edge + 1e-6)) for edge in box[:2])
    x1 = min(size_hw[1], math.ceil(box[2] - 1e-6))
    y1 = min(size_hw[0], math.ceil(box[3] - 1e-6))
    return x0, y0, x1, y1
