"""A clip whose pose is known: what filters take that need pose, rate and text together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aa_datasets.pose import BODY, JOINT_SEEN_SCORE, Pose


@dataclass(frozen=True, slots=True)
class PosedClip:
    """Pose and text of one clip, both in pixels of the stored frames.

    Attributes:
        pose: of all frames.
        fps: of the stored clip.
        text_px: boxes x0, y0, x1, y1 of overlaid text; x1 and y1 are outside.
    """

    pose: Pose
    fps: float
    text_px: tuple[tuple[int, int, int, int], ...] = ()


def body_px(pose: Pose) -> NDArray[np.float32]:
    """The body's joints, float32 [T, 18, 2] in pixels; NaN where one is not seen."""
    seen = pose.scores[:, BODY, None] >= JOINT_SEEN_SCORE
    return np.where(seen, pose.keypoints_px[:, BODY], np.float32(np.nan))


def body_boxes(pose: Pose, joints_at_least: int = 2) -> NDArray[np.float32]:
    """Boxes x0, y0, x1, y1 around the body, float32 [N, 4] in pixels, of the frames in which that
    many joints are seen."""
    body = body_px(pose)
    body = body[np.isfinite(body[..., 0]).sum(1) >= joints_at_least]
    if not len(body):
        return np.zeros((0, 4), np.float32)
    return np.concatenate([np.nanmin(body, 1), np.nanmax(body, 1)], 1)
