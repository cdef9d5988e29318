"""A rotated square of a frame: what every model of the pose pipeline looks at.

Coordinates count pixel centres from 0, in the frame as in the crop: the crop's pixel (0, 0) is the
square's corner itself. MediaPipe's crops on a CPU are made so, and the networks answer so: shifting
by half a pixel of the crop puts landmarks 0.5 % of the body away from MediaPipe's, not 0.19 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
_UNIT_RANGE = np.arange(256, dtype=np.float32) / np.float32(255)  # of each grey level


@dataclass(frozen=True, slots=True)
class Region:
    """A square with this centre and side in pixels, turned clockwise by `angle_rad`."""

    x: float
    y: float
    side: float
    angle_rad: float = 0.0

    def crop(self, frame: NDArray[np.uint8], side_px: int) -> NDArray[np.float32]:
        """The square's pixels at `side_px`, float32 RGB [S, S, 3] in [0, 1]; black outside."""
        to_frame = self._matrix(side_px)
        picture = cv2.warpAffine(
            frame, to_frame, (side_px, side_px), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        return np.asarray(cv2.LUT(picture, _UNIT_RANGE), dtype=np.float32)

    def paste(self, crop: NDArray[np.float32], size_hw: tuple[int, int]) -> NDArray[np.float32]:
        """A crop [S, S] laid back into a frame of `size_hw`; -1 outside of the square."""
        to_frame = self._matrix(len(crop))
        return np.asarray(
            cv2.warpAffine(crop, to_frame, size_hw[::-1], flags=cv2.INTER_LINEAR, borderValue=-1),
            dtype=np.float32,
        )

    def to_frame(self, points: Points, side_px: int) -> Points:
        """Points [..., 2] of the crop at `side_px`, in coordinates of the frame."""
        matrix = self._matrix(side_px)
        mapped: Points = (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
        return mapped

    def shifted(self, share_of_side_y: float) -> Region:
        """Moved along its own vertical axis."""
        shift = share_of_side_y * self.side
        return Region(
            self.x - shift * math.sin(self.angle_rad),
            self.y + shift * math.cos(self.angle_rad),
            self.side,
            self.angle_rad,
        )

    def scaled(self, factor: float) -> Region:
        return Region(self.x, self.y, self.side * factor, self.angle_rad)

    def _matrix(self, side_px: int) -> NDArray[np.float64]:
        """[2, 3]: from coordinates of the crop to those of the frame."""
        scale = self.side / side_px
        cos, sin = scale * math.cos(self.angle_rad), scale * math.sin(self.angle_rad)
        half = side_px / 2
        return np.array(
            [
                [cos, -sin, self.x - half * (cos - sin)],
                [sin, cos, self.y - half * (sin + cos)],
            ]
        )


def region_from_axis(centre: Points, tip: Points, *, scale: float, upward: bool = True) -> Region:
    """The square around `centre` whose half side is the distance to `tip`, times `scale`.

    It is turned so that centre -> tip points up in the crop (down when not `upward`).
    """
    dx, dy = (float(v) for v in tip - centre)
    angle_rad = math.atan2(dy, dx) + (math.pi / 2 if upward else -math.pi / 2)
    return Region(float(centre[0]), float(centre[1]), 2 * math.hypot(dx, dy) * scale, angle_rad)
