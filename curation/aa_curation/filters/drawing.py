"""Reject lines on black: the skeletons of a pose dataset instead of its videos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aa_curation.check import Check, at_most
from aa_curation.measure.frame_stats import Picture


@dataclass(frozen=True, slots=True)
class Drawing:
    """Measured: in pictures that `Dark` would drop, their sharpness over their brightness (medians
    of the frames), in grey levels; 0 in brighter ones. Put it before `Dark`, to get its own reason.

    Sharpness and brightness grow alike with the number of lines, so that the share of black does
    not count: a dot of one pixel has 20 times its own level. Skeletons have 40 to 140, a dancer on
    a black stage 6, and what is truly dark next to nothing.

    Attributes:
        brightness_below: the bound of `Dark`.
        levels_at_most: in a picture of footage.
    """

    brightness_below: float = 16.0
    levels_at_most: float = 15.0

    def __call__(self, picture: Picture) -> Check:
        brightness = float(np.median(picture.brightness))
        dark = brightness < self.brightness_below
        measured = float(np.median(picture.sharpness)) / max(brightness, 1.0) if dark else 0.0
        return at_most("drawing", measured, self.levels_at_most)
