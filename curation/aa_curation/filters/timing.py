"""How many frames a clip has and how evenly they come, as decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aa_curation.check import Check, at_least, at_most
from aa_curation.measure.frame_stats import Picture

_OFF = 0.25  # of the usual step: Matroska rounds times to 1 ms, which is 0.06 of it at 60 fps


@dataclass(frozen=True, slots=True)
class FrameCount:
    """Measured: the frames of the source that were decoded within the clip, before thinning.

    Attributes:
        frames_at_least: a window that is trained on has 24 (Sec. 4.1).
    """

    frames_at_least: int = 24

    def __call__(self, picture: Picture) -> Check:
        return at_least("few_frames", picture.num_frames, self.frames_at_least)


@dataclass(frozen=True, slots=True)
class VariableRate:
    """Measured: the share of steps from frame to frame that are not as long as the usual one (the
    median), by a quarter or more. A clip is stored at a constant rate: there such frames are
    repeated, or left out.

    Attributes:
        share_at_most: infinity measures without dropping; `aa-curate redecide` can set a bound
            later.
    """

    share_at_most: float = math.inf

    def __call__(self, picture: Picture) -> Check:
        steps_s = np.diff(picture.times_s)
        usual_s = float(np.median(steps_s)) if len(steps_s) else 0.0
        uneven = np.abs(steps_s - usual_s) >= _OFF * usual_s
        share = float(np.mean(uneven)) if usual_s > 0 else 0.0
        return at_most("variable_rate", share, self.share_at_most)
