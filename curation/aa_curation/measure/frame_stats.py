"""Picture: a video's frames as a few numbers each, taken in one decode."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from aa_datasets.errors import VideoError
from aa_datasets.video.foreign import Planes

_THUMB_PX = 64
_CAMERA_PX = 128
_SAME_LEVELS = 2  # what an encoder changes in a still picture
_STILL_SHARE = 0.5  # of the picture


@dataclass(frozen=True, slots=True)
class Picture:
    """Numbers per frame, arrays [T].

    Attributes:
        times_s: presentation time.
        change: mean absolute difference to the frame before, in grey levels (0 to 255) of a
            64x64 RGB thumbnail; 0 for the first frame.
        sharpness: variance of the Laplacian of the luma at the surveying size.
        brightness: mean luma, 0 to 255.
        camera: how far the picture as a whole moved since the frame before, as a share of its
            sides: the median way of up to 80 points (Lucas and Kanade); 0 where half of the pixels
            or more stayed as they were, which a subject's motion leaves.
        brightest: [h, w], the highest luma of each pixel over all frames of the video, at the
            surveying size.
    """

    times_s: NDArray[np.float64]
    change: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    brightness: NDArray[np.float32]
    camera: NDArray[np.float32]
    brightest: NDArray[np.float32]

    @property
    def num_frames(self) -> int:
        return len(self.times_s)

    def between(self, start_s: float, end_s: float) -> Picture:
        """The frames of a span; its first frame has no change. (`brightest` stays the video's.)"""
        inside = (self.times_s >= start_s - 1e-6) & (self.times_s < end_s - 1e-6)
        change, camera = self.change[inside].copy(), self.camera[inside].copy()
        change[:1] = camera[:1] = 0
        return Picture(
            self.times_s[inside],
            change,
            self.sharpness[inside],
            self.brightness[inside],
            camera,
            self.brightest,
        )


class PictureMeter:
    """Feeds on frames, gives a Picture."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, float, float, float, float]] = []
        self._last: MatLike | None = None
        self._last_small: MatLike | None = None
        self._brightest: NDArray[np.uint8] | None = None

    def see(self, planes: Planes, time_s: float) -> None:
        """Measure one frame."""
        luma = planes.luma
        # Half first, which is quick: the small picture's own ratio is not whole, and costs more.
        half = cv2.resize(luma, planes.blue.shape[::-1], interpolation=cv2.INTER_AREA)
        small = cv2.resize(half, (_CAMERA_PX,) * 2, interpolation=cv2.INTER_AREA)
        thumb = _thumb(small, planes)
        change = 0.0 if self._last is None else float(np.mean(cv2.absdiff(thumb, self._last)))
        self._last = thumb
        # 16 bits hold the Laplacian of 8-bit levels; OpenCV sums them in one pass.
        _, deviation = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))
        camera = self._camera(small)
        row = (time_s, change, float(deviation[0, 0] ** 2), cv2.mean(luma)[0], camera)
        self._rows.append(row)
        if self._brightest is None:
            self._brightest = luma.copy()
        else:
            np.maximum(self._brightest, luma, out=self._brightest)

    def _camera(self, small: MatLike) -> float:
        before, self._last_small = self._last_small, small
        # A camera that moves changes nearly every pixel, a person before a still one does not.
        if before is None or np.mean(cv2.absdiff(small, before) < _SAME_LEVELS) >= _STILL_SHARE:
            return 0.0
        points = cv2.goodFeaturesToTrack(before, maxCorners=80, qualityLevel=0.01, minDistance=6)
        if points is None:
            return 0.0
        later, followed, _ = cv2.calcOpticalFlowPyrLK(before, small, points, None)
        ways = (later - points)[followed.ravel() == 1].reshape(-1, 2)
        return float(np.hypot(*np.median(ways, axis=0))) / _CAMERA_PX if len(ways) else 0.0

    def picture(self) -> Picture:
        rows = np.array(self._rows, dtype=np.float64).reshape(-1, 5)
        change, sharpness, brightness, camera = (rows[:, i].astype(np.float32) for i in range(1, 5))
        nothing = np.zeros((1, 1), np.float32)
        brightest = nothing if self._brightest is None else self._brightest.astype(np.float32)
        return Picture(rows[:, 0], change, sharpness, brightness, camera, brightest)


def cropped_planes(planes: Planes, crop_px: tuple[int, int, int, int]) -> Planes:
    """The part x0, y0, x1, y1 of a picture; its colours to the nearest two pixels.

    Raises VideoError where the picture has no such part: headers may promise another size."""
    x0, y0, x1, y1 = crop_px
    height, width = planes.luma.shape
    if x1 > width or y1 > height:
        raise VideoError(f"the crop {crop_px} lies outside of its {width}x{height} frames")
    rows, columns = slice(y0 // 2, (y1 + 1) // 2), slice(x0 // 2, (x1 + 1) // 2)
    parts = (planes.luma[y0:y1, x0:x1], planes.blue[rows, columns], planes.red[rows, columns])
    return Planes(*(np.ascontiguousarray(part) for part in parts))


def _thumb(small: MatLike, planes: Planes) -> MatLike:
    """The frame as a small RGB picture. (All colours as BT.601 has them: differences of them are
    measured, not they themselves.)"""
    sides = (_THUMB_PX, _THUMB_PX)
    luma, red, blue = (
        cv2.resize(plane, sides, interpolation=cv2.INTER_AREA)
        for plane in (small, planes.red, planes.blue)
    )
    return cv2.cvtColor(cv2.merge((luma, red, blue)), cv2.COLOR_YCrCb2RGB)
