"""Frozen pictures: a photo, a slide, a video that hangs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aa_curation.check import Check, at_most
from aa_curation.measure.frame_stats import Picture


@dataclass(frozen=True, slots=True)
class Static:
    """Measured: the share of frames that are the frame before, again.

    Attributes:
        same_below: mean change in grey levels under which a frame is a repetition (an encoder
            leaves that much between two identical frames).
        share_at_most: repetitions that a clip may hold; 8 fps footage in a 24 fps file has 0.67.
    """

    same_below: float = 0.05
    share_at_most: float = 0.5

    def __call__(self, picture: Picture) -> Check:
        steps = picture.change[1:]
        share = float(np.mean(steps < self.same_below)) if len(steps) else 1.0
        return at_most("static", share, self.share_at_most)
