"""Frame statistics: a few numbers per frame, taken in the one decode of a survey."""

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
_STRIP = 1 / 5  # of a side: where the background is looked for
_POINTS_A_STRIP = 4
_BACK_PX = 0.5  # a point that is followed there and back ends this near, or was lost


_STRIP_PX = round(_STRIP * _CAMERA_PX)
_STRIPS = np.zeros((_CAMERA_PX, _CAMERA_PX), np.uint8)
_STRIPS[:_STRIP_PX] = _STRIPS[:, :_STRIP_PX] = _STRIPS[:, -_STRIP_PX:] = 255


@dataclass(frozen=True, slots=True)
class Picture:
    """Numbers per frame, arrays [T].

    Attributes:
        times_s: presentation time.
        change: mean absolute difference to the frame before, in grey levels (0 to 255) of a
            64x64 RGB thumbnail; 0 for the first frame.
        sharpness: variance of the Laplacian of the luma at the surveying size.
        brightness: mean luma, 0 to 255.
        camera: how far the background moved since the frame before, as a share of the frame's
            sides. Points in a strip along each of the left, right and upper edge are followed
            (Lucas and Kanade); of the strips' median ways the shortest counts, since a camera moves
            all of them and a person seldom more than one or two. 0 where fewer than two strips
            have texture that can be followed.
        combed: 1 where the two fields of a frame show different times, though it is not marked as
            interlaced (what is comes deinterlaced), else 0.
        brightest: [h, w], the highest luma of each pixel over all frames of the video, at the
            surveying size.
    """

    times_s: NDArray[np.float64]
    change: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    brightness: NDArray[np.float32]
    camera: NDArray[np.float32]
    combed: NDArray[np.float32]
    brightest: NDArray[np.float32]

    @property
    def num_frames(self) -> int:
        return len(self.times_s)

    @property
    def frame_s(self) -> float:
        """The usual time from one frame to the next: the median."""
        return float(np.median(np.diff(self.times_s))) if self.num_frames > 1 else 0.0

    def between(self, start_s: float, end_s: float) -> Picture:
        """The frames of a span; its first frame has no change. (`brightest` is still the
        video's.)"""
        inside = (self.times_s >= start_s - 1e-6) & (self.times_s < end_s - 1e-6)
        change, camera = self.change[inside].copy(), self.camera[inside].copy()
        change[:1] = camera[:1] = 0
        return Picture(
            self.times_s[inside],
            change,
            self.sharpness[inside],
            self.brightness[inside],
            camera,
            self.combed[inside],
            self.brightest,
        )


class PictureMeter:
    """Accumulates per-frame statistics; `picture()` returns them."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, float, float, float, float, bool]] = []
        self._last: MatLike | None = None
        self._last_small: MatLike | None = None
        self._brightest: NDArray[np.uint8] | None = None

    def see(self, planes: Planes, time_s: float, is_combed: bool = False) -> None:
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
        sharpness, brightness = float(deviation[0, 0] ** 2), cv2.mean(luma)[0]
        self._rows.append((time_s, change, sharpness, brightness, camera, is_combed))
        if self._brightest is None:
            self._brightest = luma.copy()
        else:
            np.maximum(self._brightest, luma, out=self._brightest)

    def _camera(self, small: MatLike) -> float:
        before, self._last_small = self._last_small, small
        if before is None:
            return 0.0
        points = cv2.goodFeaturesToTrack(
            before, maxCorners=80, qualityLevel=0.01, minDistance=6, mask=_STRIPS
        )
        if points is None:
            return 0.0
        later, found, _ = cv2.calcOpticalFlowPyrLK(before, small, points, None)
        back, found_back, _ = cv2.calcOpticalFlowPyrLK(small, before, later, None)
        missed = np.hypot(*(back - points).reshape(-1, 2).T)
        kept = (found.ravel() == 1) & (found_back.ravel() == 1) & (missed < _BACK_PX)
        at, ways = points[kept].reshape(-1, 2), (later - points)[kept].reshape(-1, 2)
        in_strips = (at[:, 1] < _STRIP_PX, at[:, 0] < _STRIP_PX, at[:, 0] >= _CAMERA_PX - _STRIP_PX)
        lengths = [
            float(np.hypot(*np.median(ways[strip], axis=0)))
            for strip in in_strips
            if strip.sum() >= _POINTS_A_STRIP
        ]
        return min(lengths) / _CAMERA_PX if len(lengths) >= 2 else 0.0

    def picture(self) -> Picture:
        rows = np.array(self._rows, dtype=np.float64).reshape(-1, 6)
        change, sharpness, brightness, camera, combed = rows[:, 1:].astype(np.float32).T
        nothing = np.zeros((1, 1), np.float32)
        brightest = nothing if self._brightest is None else self._brightest.astype(np.float32)
        return Picture(rows[:, 0], change, sharpness, brightness, camera, combed, brightest)


def cropped_planes(planes: Planes, crop_px: tuple[int, int, int, int]) -> Planes:
    """The part x0, y0, x1, y1 of a picture; its colours to the nearest two pixels.

    Raises VideoError where the part exceeds the picture: headers may promise another size."""
    x0, y0, x1, y1 = crop_px
    height, width = planes.luma.shape
    if x1 > width or y1 > height:
        raise VideoError(f"the crop {crop_px} lies outside of its {width}x{height} frames")
    rows, columns = slice(y0 // 2, (y1 + 1) // 2), slice(x0 // 2, (x1 + 1) // 2)
    parts = (planes.luma[y0:y1, x0:x1], planes.blue[rows, columns], planes.red[rows, columns])
    return Planes(*(np.ascontiguousarray(part) for part in parts))


def _thumb(small: MatLike, planes: Planes) -> MatLike:
    """The frame as a small RGB picture. (All colours are converted as BT.601 has them: only their
    differences are measured.)"""
    sides = (_THUMB_PX, _THUMB_PX)
    luma, red, blue = (
        cv2.resize(plane, sides, interpolation=cv2.INTER_AREA)
        for plane in (small, planes.red, planes.blue)
    )
    return cv2.cvtColor(cv2.merge((luma, red, blue)), cv2.COLOR_YCrCb2RGB)
