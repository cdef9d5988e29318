"""How much the person moves, whatever the camera does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aa_curation.check import Check, at_least
from aa_curation.measure.posed_clip import PosedClip, body_boxes, body_px


@dataclass(frozen=True, slots=True)
class SubjectMotion:
    """Measured: the mean speed of the body's joints, in body extents per second. What all joints
    have in common is left out: it is the camera's motion as often as the person's.

    Joints are compared over `lag_s`, since from one frame to the next an estimator's noise moves
    them as far as a slow person does. On real clips who poses
    or nods has 0.05 to 0.1, who runs, surfs or balances 0.15 to 0.4.

    Attributes:
        extents_per_s_at_least: 0 measures without dropping; `aa-curate redecide` can set a bound
            later. Published sets pick clips rich in motion by joint speed.
        lag_s: the time over which a joint's way is measured.
    """

    extents_per_s_at_least: float = 0.0
    lag_s: float = 0.2

    def __call__(self, clip: PosedClip) -> Check:
        body, boxes = body_px(clip.pose), body_boxes(clip.pose)
        lag = max(1, round(self.lag_s * clip.fps))
        ways = body[lag:] - body[:-lag]
        ways = ways[np.isfinite(ways[..., 0]).sum(1) >= 2]
        if not len(ways) or not len(boxes):
            return at_least("subject_motion", 0.0, self.extents_per_s_at_least)
        own = ways - np.nanmean(ways, axis=1, keepdims=True)
        extent = float(np.median(np.hypot(*(boxes[:, 2:] - boxes[:, :2]).T)))
        speed = float(np.nanmean(np.hypot(own[..., 0], own[..., 1]))) * clip.fps / lag
        return at_least("subject_motion", speed / max(extent, 1.0), self.extents_per_s_at_least)
