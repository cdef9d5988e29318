"""The forms in which a decoded frame is handed over: RGB, or the planes that a survey measures."""

from __future__ import annotations

from typing import cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from aa_datasets.video.frame_size import (
    CanonicalForm,
    ScaleTo,
    canonical_size,
    every_nth,
    scaled_size,
)

# Rounded alike with and without vector instructions; that costs nothing beside scaling. What is
# not scaled is converted as decord does it, so that our own videos have the same pixels by both.
_AREA = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


class RgbForm:
    """One picture a frame: RGB [H, W, 3]."""

    def __init__(self, scale_to: ScaleTo) -> None:
        self._scale_to = scale_to
        # One for all frames of a size: to set one up takes as long as a frame.
        self._reformatter = VideoReformatter()

    def pictures(self, frame: av.VideoFrame, number: int, fps: float) -> list[NDArray[np.uint8]]:
        return [self.of(frame, self._scale_to)]

    def of(self, frame: av.VideoFrame, scale_to: ScaleTo) -> NDArray[np.uint8]:
        scaled = _scaled(frame, scale_to, self._reformatter, "rgb24")
        return _turned(cast(NDArray[np.uint8], scaled.to_ndarray()), frame)


class SurveyForm:
    """Three pictures a frame, the planes of `Planes`, and a fourth where a clip would keep it."""

    def __init__(self, scale_to: ScaleTo, also: CanonicalForm | None) -> None:
        self._scale_to, self._also = scale_to, also
        self._reformatter, self._canonical = VideoReformatter(), RgbForm(None)

    def pictures(self, frame: av.VideoFrame, number: int, fps: float) -> list[NDArray[np.uint8]]:
        planar = _scaled(frame, self._scale_to, self._reformatter, "yuv420p", ColorRange.JPEG)
        pictures = [_turned(_plane(plane), frame) for plane in planar.planes]
        if self._also and number % every_nth(fps, self._also.max_fps) == 0:
            small_hw = canonical_size(_shown_hw(frame), self._also.short_side_px)
            pictures.append(self._canonical.of(frame, small_hw))
        return pictures


def _scaled(
    frame: av.VideoFrame,
    scale_to: ScaleTo,
    reformatter: VideoReformatter,
    pixel_format: str,
    color_range: ColorRange | None = None,
) -> av.VideoFrame:
    size_hw = scaled_size(_shown_hw(frame), scale_to)
    height, width = size_hw[::-1] if _turns(frame) % 2 else size_hw
    return reformatter.reformat(
        frame,
        width,
        height,
        pixel_format,
        interpolation=_AREA if (height, width) != (frame.height, frame.width) else None,
        dst_color_range=color_range,
        threads=1,  # the default is all cores, which other workers use
    )


def _plane(plane: av.video.plane.VideoPlane) -> NDArray[np.uint8]:
    rows: NDArray[np.uint8] = np.frombuffer(memoryview(plane), np.uint8)
    return rows.reshape(-1, plane.line_size)[: plane.height, : plane.width]


def _turned(pixels: NDArray[np.uint8], frame: av.VideoFrame) -> NDArray[np.uint8]:
    turns = _turns(frame)
    return np.rot90(pixels, turns) if turns else pixels


def _shown_hw(frame: av.VideoFrame) -> tuple[int, int]:
    size_hw = frame.height, frame.width
    return size_hw[::-1] if _turns(frame) % 2 else size_hw


def _turns(frame: av.VideoFrame) -> int:
    """Of the display matrix, which counts degrees counter-clockwise, as np.rot90."""
    return round(frame.rotation / 90) % 4
