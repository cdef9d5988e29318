"""Black bars: find the box that shows a picture, where the rest of the frame stays black."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aa_curation.measure.frames import Crop


@dataclass(frozen=True, slots=True)
class BlackBars:
    """When an edge of the frame is a bar, to be cropped away.

    Attributes:
        level_at_most: grey level (0 to 255) that no pixel of a bar exceeds in any frame: encoders
            leave some noise in black.
        share_at_least: narrower bars (share of the side, both edges together) are left alone.
        picture_at_least: share of each side that must remain; a film in the dark has no bars.
    """

    level_at_most: float = 24.0
    share_at_least: float = 0.02
    picture_at_least: float = 0.25

    def box(self, brightest: NDArray[np.float32], size_hw: tuple[int, int]) -> Crop | None:
        """The picture within bars as x0, y0, x1, y1 in pixels of the full frame; None without bars.

        Args:
            brightest: the brightest level that each pixel had in any frame, [h, w], perhaps smaller
                than the frame.
            size_hw: of the full frame.
        """
        y0, y1 = self._edges(brightest.max(axis=1), size_hw[0])
        x0, x1 = self._edges(brightest.max(axis=0), size_hw[1])
        if (x0, y0, x1, y1) == (0, 0, size_hw[1], size_hw[0]):
            return None
        return x0, y0, x1, y1

    def _edges(self, profile: NDArray[np.float32], side_px: int) -> tuple[int, int]:
        shown = np.flatnonzero(profile > self.level_at_most)
        if len(shown) == 0:
            return 0, side_px
        scale = side_px / len(profile)
        first, last = int(shown[0]), int(shown[-1]) + 1
        # Inwards to whole pixels, and past the line that the bar's edge is blended into.
        start = math.ceil(first * scale) + 1 if first else 0
        end = math.floor(last * scale) - 1 if last < len(profile) else side_px
        bars = 1 - (end - start) / side_px
        if bars < self.share_at_least or 1 - bars < self.picture_at_least:
            return 0, side_px
        return start, end
