"""Reject what is too dark, or burnt out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aa_curation.check import Check, at_least, at_most
from aa_curation.measure.frame_stats import Picture


@dataclass(frozen=True, slots=True)
class Dark:
    """Measured: the median brightness of the frames, a grey level of 0 to 255."""

    brightness_at_least: float = 16.0

    def __call__(self, picture: Picture) -> Check:
        return at_least("too_dark", float(np.median(picture.brightness)), self.brightness_at_least)


@dataclass(frozen=True, slots=True)
class Bright:
    """Measured: the median brightness of the frames, a grey level of 0 to 255."""

    brightness_at_most: float = 250.0

    def __call__(self, picture: Picture) -> Check:
        return at_most("too_bright", float(np.median(picture.brightness)), self.brightness_at_most)
