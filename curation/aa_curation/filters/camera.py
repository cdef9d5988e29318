"""How fast the camera moves, whatever the people in front of it do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aa_curation.check import Check, at_most
from aa_curation.measure.frame_stats import Picture


@dataclass(frozen=True, slots=True)
class CameraMotion:
    """Measured: the median speed of the background (`Picture.camera`), in frame sides per second.

    Attributes:
        sides_per_s_at_most: infinity measures without dropping; `aa-curate redecide` can set a
            bound later.
    """

    sides_per_s_at_most: float

    def __call__(self, picture: Picture) -> Check:
        steps_s = np.diff(picture.times_s)
        steps_s[steps_s <= 0] = np.inf
        speeds = picture.camera[1:] / steps_s
        measured = float(np.median(speeds)) if len(speeds) else 0.0
        return at_most("camera_motion", measured, self.sides_per_s_at_most)
