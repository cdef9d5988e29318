"""Reject what is out of focus, or was scaled up from something small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aa_curation.check import Check, at_least
from aa_curation.measure.frame_stats import Picture


@dataclass(frozen=True, slots=True)
class Blur:
    """Measured: the median sharpness of the frames (`Picture.sharpness`), in grey levels squared.

    Smooth studio backgrounds are sharp footage with a low value: keep the bound low.
    """

    sharpness_at_least: float

    def __call__(self, picture: Picture) -> Check:
        return at_least("blurred", float(np.median(picture.sharpness)), self.sharpness_at_least)
