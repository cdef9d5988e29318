"""The frames of a span of a source video: at a constant rate, and cropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_curation.measure.shots import Span
from aa_datasets.errors import VideoError
from aa_datasets.video.foreign import DecodeLimits, ForeignFrame, iter_foreign_frames
from aa_datasets.video.frame_size import every_nth

Crop = tuple[int, int, int, int]

_GRACE = 0.25  # of a frame, by which time stamps may be off: Matroska rounds them to 1 ms


def thinned_fps(source_fps: float, max_fps: float) -> float:
    """The source's rate over the smallest whole number that brings it to `max_fps` at most.

    60 -> 30, 50 -> 25, 29.97 stays: frames are left out but never repeated or blended.
    """
    return source_fps / every_nth(source_fps, max_fps)


def ticks_s(span: Span, fps: float) -> NDArray[np.float64]:
    """When the frames of a span at a constant `fps` are shown, in seconds of the video."""
    return span.start_s + np.arange(max(1, round(span.duration_s * fps))) / fps


def iter_frames_at(
    path: Path,
    times_s: NDArray[np.float64],
    source_fps: float,
    *,
    crop_px: Crop | None,
    max_side_px: int,
    size_hw: tuple[int, int] | None = None,
    limits: DecodeLimits | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """What a video shows at these times (ascending), uint8 RGB [H, W, 3].

    Args:
        source_fps: of the video; its time stamps may be off by a quarter of a frame.
        crop_px: x0, y0, x1, y1 in pixels of the full-size frame.
        max_side_px: the decoder scales frames down to this long side; with a crop it does not.
        size_hw: what is wanted in the end: it scales to that at once, again without a crop.
        limits: time and memory at which the decoder is killed.

    Raises:
        VideoError: the file cannot be decoded, or the crop lies outside of its frames.
    """
    limits = limits or DecodeLimits()
    # Where the container has no index, all that lies before is decoded, too.
    until_last_s = limits.s_per_video_s * float(times_s[-1])
    limits = replace(limits, total_s=max(limits.total_s, until_last_s))
    # From a second before: the frame that is shown at the first time may start before it.
    frames = iter_foreign_frames(
        path,
        limits,
        max_side_px=None if crop_px else max_side_px,
        size_hw=None if crop_px else size_hw,
        start_s=max(0.0, float(times_s[0]) - 1.0),
        end_s=float(times_s[-1]) + 1.0,
    )
    with closing(frames):
        for frame in _each_shown_at(frames, times_s + _GRACE / source_fps):
            yield frame if crop_px is None else cropped(frame, crop_px)


def cropped(frame: NDArray[np.uint8], crop_px: Crop) -> NDArray[np.uint8]:
    """The part of the frame; raises VideoError where it has none."""
    x0, y0, x1, y1 = crop_px
    height, width = frame.shape[:2]
    if x1 > width or y1 > height:
        raise VideoError(f"the crop {crop_px} lies outside of its {width}x{height} frames")
    return np.ascontiguousarray(frame[y0:y1, x0:x1])


def resized(frame: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Area-averaged, which neither aliases nor blurs when scaling down."""
    if frame.shape[:2] == size_hw:
        return frame
    return np.asarray(
        cv2.resize(frame, size_hw[::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8
    )


def _each_shown_at(
    frames: Iterable[ForeignFrame], times_s: NDArray[np.float64]
) -> Iterator[NDArray[np.uint8]]:
    """For each time, the last frame that started at or before it."""
    wanted = 0
    shown: NDArray[np.uint8] | None = None
    for frame in frames:
        while shown is not None and wanted < len(times_s) and frame.time_s > times_s[wanted]:
            yield shown
            wanted += 1
        if wanted == len(times_s):
            return
        shown = frame.pixels
    while shown is not None and wanted < len(times_s):
        yield shown
        wanted += 1
