"""Picture: a video's frames as a few numbers each, taken in one decode."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_THUMB_PX = 64


@dataclass(frozen=True, slots=True)
class Picture:
    """Numbers per frame, arrays [T].

    Attributes:
        times_s: presentation time.
        change: mean absolute difference to the frame before, in grey levels (0 to 255) of a
            64x64 RGB thumbnail; 0 for the first frame.
        sharpness: variance of the Laplacian of the grey frame at the surveying size.
        brightness: mean grey level, 0 to 255.
    """

    times_s: NDArray[np.float64]
    change: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    brightness: NDArray[np.float32]

    @property
    def num_frames(self) -> int:
        return len(self.times_s)

    def between(self, start_s: float, end_s: float) -> Picture:
        """The frames of a span; its first frame has no change."""
        inside = (self.times_s >= start_s - 1e-6) & (self.times_s < end_s - 1e-6)
        change = self.change[inside].copy()
        change[:1] = 0
        return Picture(
            self.times_s[inside], change, self.sharpness[inside], self.brightness[inside]
        )


class PictureMeter:
    """Feeds on frames, gives a Picture."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, float, float, float]] = []
        self._last: NDArray[np.int16] | None = None

    def see(self, frame: NDArray[np.uint8], time_s: float) -> None:
        """Measure one frame, uint8 RGB [H, W, 3]."""
        thumb = cv2.resize(frame, (_THUMB_PX, _THUMB_PX), interpolation=cv2.INTER_AREA)
        thumb = thumb.astype(np.int16)
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        change = 0.0 if self._last is None else float(np.abs(thumb - self._last).mean())
        self._last = thumb
        sharpness = float(cv2.Laplacian(grey, cv2.CV_32F).var())
        self._rows.append((time_s, change, sharpness, float(grey.mean())))

    def picture(self) -> Picture:
        rows = np.array(self._rows, dtype=np.float64).reshape(-1, 4)
        return Picture(rows[:, 0], *(rows[:, i].astype(np.float32) for i in (1, 2, 3)))
