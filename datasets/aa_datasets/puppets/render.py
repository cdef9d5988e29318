"""Puppets: procedural articulated characters with exact keypoints. Synthetic, and labelled so.

For tests, demos and benchmarks that need many identities, endless motion and a truth that no
estimator can give. An identity seed and a motion seed determine every pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_datasets.pose import NUM_JOINTS, Pose, make_pose
from aa_datasets.puppets.identity import PuppetIdentity, make_identity
from aa_datasets.puppets.motion import Skeleton, make_angles, pose_skeleton
from aa_datasets.puppets.scenery import draw_scenery
from aa_datasets.puppets.shapes import Projected, make_parts

_SHIFT = 4
_HEIGHT_OF_PICTURE = 0.68  # a puppet of average distance fills this much of the picture
_FLOOR = 0.92


@dataclass(frozen=True, slots=True)
class Puppet:
    """A rendered puppet: `frames` uint8 RGB [T, H, W, 3] and the exact `pose` of its joints."""

    frames: NDArray[np.uint8]
    pose: Pose


def render_puppet(
    identity_seed: int,
    motion_seed: int,
    *,
    num_frames: int = 48,
    fps: float = 24.0,
    size_hw: tuple[int, int] = (256, 256),
    kind: str | None = None,
    scenery: bool = False,
) -> Puppet:
    """Render one puppet.

    Args:
        identity_seed: who it is, and where (background).
        motion_seed: how it moves.
        num_frames, fps: length and rate.
        size_hw: picture size in pixels.
        kind: force one of `MOTION_KINDS`; None lets the motion seed draw it.
        scenery: stand before `draw_scenery` of the identity seed instead of a smooth background.
    """
    who = make_identity(identity_seed)
    angles = make_angles(motion_seed, num_frames, fps, kind)
    skeleton = pose_skeleton(who, angles)
    at = _project(skeleton, angles.yaw, angles.root_xz[:, 1], size_hw)
    parts = make_parts(who, at)
    order = np.argsort(np.stack([part.depth for part in parts]), axis=0, kind="stable")
    drawings = [
        [
            (np.round(layer.points_px * (1 << _SHIFT)).astype(np.int32), layer.colour, layer.shown)
            for layer in part.layers
        ]
        for part in parts
    ]
    background = draw_scenery(identity_seed, size_hw) if scenery else _background(who, size_hw)
    frames = np.repeat(background[None], num_frames, 0)
    for t, frame in enumerate(frames):
        _draw_shadow(frame, at, t)
        for part in order[:, t]:
            for points, colour, shown in drawings[part]:
                if shown is None or shown[t]:
                    cv2.fillConvexPoly(frame, points[t], colour, cv2.LINE_AA, _SHIFT)
    return Puppet(frames, _exact_pose(skeleton, at, size_hw))


def _project(
    skeleton: Skeleton,
    yaw: NDArray[np.float64],
    root_z: NDArray[np.float64],
    size_hw: tuple[int, int],
) -> Projected:
    """Weak perspective: each frame has one scale, larger when the puppet stands nearer."""
    height, width = size_hw
    nearness = 1 + 0.4 * root_z
    px = _HEIGHT_OF_PICTURE * height * nearness
    floor_y = height * (_FLOOR + 0.08 * root_z)

    def flat(points: NDArray[np.float64]) -> NDArray[np.float64]:
        extra = (slice(None),) + (None,) * (points.ndim - 2)
        x = width / 2 + px[extra] * points[..., 0]
        return np.stack([x, floor_y[extra] + px[extra] * points[..., 1]], -1)

    return Projected(
        body=flat(skeleton.body),
        body_z=skeleton.body[..., 2],
        hands=flat(skeleton.hands),
        hands_z=skeleton.hands[..., 2],
        toes=flat(skeleton.toes),
        head=flat(skeleton.head),
        facing=skeleton.facing,
        yaw=yaw,
        px=px,
    )


def _background(who: PuppetIdentity, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = size_hw
    edge = round(who.horizon * height)
    rows = np.zeros((height, 3))
    sky_top, sky_bottom, floor_far, floor_near = (np.array(c, float) for c in who.background)
    rows[:edge] = np.linspace(sky_top, sky_bottom, edge)
    rows[edge:] = np.linspace(floor_far, floor_near, height - edge)
    return np.ascontiguousarray(
        np.broadcast_to(np.round(rows)[:, None], (height, width, 3)).astype(np.uint8)
    )


def _draw_shadow(frame: NDArray[np.uint8], at: Projected, t: int) -> None:
    feet = at.body[t, [10, 13]]
    x, y = float(feet[:, 0].mean()), float(feet[:, 1].max() + 0.04 * at.px[t])
    row, column = min(max(int(y), 0), len(frame) - 1), min(max(int(x), 0), frame.shape[1] - 1)
    colour = tuple(int(0.72 * channel) for channel in frame[row, column])
    reach_px = 0.11 * at.px[t] + abs(float(feet[0, 0] - feet[1, 0])) / 2
    unit = 1 << _SHIFT
    centre = (round(x * unit), round(y * unit))
    axes = (round(reach_px * unit), round(0.035 * at.px[t] * unit))
    cv2.ellipse(frame, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)


def _exact_pose(skeleton: Skeleton, at: Projected, size_hw: tuple[int, int]) -> Pose:
    T = len(at.px)
    keypoints_px = np.full((T, NUM_JOINTS, 2), np.nan)
    keypoints_px[:, :18] = at.body
    keypoints_px[:, 18:60] = at.hands.reshape(T, 42, 2)
    scores = np.isfinite(keypoints_px).all(-1).astype(float)
    # Face points on the far side of the head are hidden, as an estimator would find them.
    for joint in (0, 14, 15, 16, 17):
        scores[at.body_z[:, joint] < skeleton.head[:, 2] - 1e-3, joint] = 0
    outside = (keypoints_px < 0) | (keypoints_px > np.array([size_hw[1] - 1, size_hw[0] - 1]))
    scores[outside.any(-1)] = 0
    return make_pose(keypoints_px, scores, size_hw)
