"""draw_pose: control images in OpenPose's style; colours and limb order are defined only here.

Limbs are ellipses at 60 % brightness under full-colour joints (OpenPose's rendering, whose 18
rainbow colours ControlNet made the field's convention); hands are thin lines, a hue per finger
bone, under blue points. Everything scales with the picture, with coordinates of 1/16 pixel.
"""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_datasets.pose import BODY, FACE, JOINT_SEEN_SCORE, LEFT_HAND, RIGHT_HAND, Pose

BODY_LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
    (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
# OpenPose's rainbow: red through yellow, green, cyan, blue to magenta, 18 steps of 85/255.
BODY_COLOURS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0),
    (0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255),
    (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
_LIMB_COLOURS = tuple(
    tuple(int(0.6 * channel) for channel in colour) for colour in BODY_COLOURS[: len(BODY_LIMBS)]
)
# wrist -> first joint -> ... -> tip, finger by finger.
HAND_LIMBS = tuple(
    (0 if joint == 1 else 4 * finger + joint - 1, 4 * finger + joint)
    for finger in range(5)
    for joint in range(1, 5)
)
_HAND_COLOURS = tuple(
    tuple(round(255 * channel) for channel in colorsys.hsv_to_rgb(i / len(HAND_LIMBS), 1.0, 1.0))
    for i in range(len(HAND_LIMBS))
)
_SHIFT = 4  # fractional bits of cv2's fixed-point coordinates
_UNIT = 1 << _SHIFT
_ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)


def draw_pose(
    pose: Pose,
    size_hw: tuple[int, int] | None = None,
    *,
    min_score: float = JOINT_SEEN_SCORE,
    hands: bool = True,
    face: bool = False,
) -> NDArray[np.uint8]:
    """Draw each frame's skeleton on black.

    Example:
        >>> skeletons = draw_pose(sample.pose, (512, 512))

    Args:
        pose: what to draw.
        size_hw: size of the pictures; the pose is scaled to it. None: the pose's own.
        min_score: joints that score less are left out, and limbs that end in them.
        hands: draw the 2 x 21 hand joints.
        face: draw the 68 face points (white dots).

    Returns:
        uint8 RGB [T, H, W, 3].
    """
    if size_hw is not None and size_hw != pose.size_hw:
        pose = pose.resized(size_hw)
    pictures = np.zeros((pose.num_frames, *pose.size_hw, 3), np.uint8)
    unit_px = min(pose.size_hw) / 512  # OpenPose's sizes are meant for 512-pixel pictures
    points = np.nan_to_num(pose.keypoints_px).astype(np.float64)
    # What can be computed for all frames at once is; cv2 then only fills.
    seen = (pose.scores >= min_score).tolist()
    limbs = _limb_outlines(points[:, BODY], max(4 * unit_px, 1.0))
    places = np.round(points * _UNIT).astype(np.int32).tolist()
    body_radius, hand_radius, face_radius = (
        round(px * _UNIT) for px in (max(4 * unit_px, 1.2), max(3 * unit_px, 0.7), 2 * unit_px)
    )
    thickness = max(1, round(2 * unit_px))
    for t, picture in enumerate(pictures):
        _draw_body(picture, limbs[t], places[t][BODY], seen[t][BODY], body_radius)
        if hands:
            for hand in (LEFT_HAND, RIGHT_HAND):
                _draw_hand(picture, places[t][hand], seen[t][hand], hand_radius, thickness)
        if face:
            for place, drawn in zip(places[t][FACE], seen[t][FACE], strict=True):
                if drawn:
                    _disc(picture, place, face_radius, (255, 255, 255))
    return pictures


def _limb_outlines(points: NDArray[np.float64], radius_px: float) -> NDArray[np.int32]:
    """Ellipses along the body's limbs: [T, 18, 2] -> fixed-point outlines [T, 17, 24, 2]."""
    a, b = (points[:, [limb[end] for limb in BODY_LIMBS]] for end in (0, 1))
    along = (b - a) / 2
    half_length = np.hypot(along[..., 0], along[..., 1])[..., None]
    direction = np.where(half_length > 0, along / np.maximum(half_length, 1e-12), [1.0, 0.0])
    across = np.stack([-direction[..., 1], direction[..., 0]], -1) * radius_px
    outline = (
        ((a + b) / 2)[..., None, :]
        + np.cos(_ANGLES)[:, None] * along[..., None, :]
        + np.sin(_ANGLES)[:, None] * across[..., None, :]
    )
    return np.round(outline * _UNIT).astype(np.int32)


def _draw_body(
    picture: NDArray[np.uint8],
    limbs: NDArray[np.int32],
    places: list[list[int]],
    seen: list[bool],
    radius: int,
) -> None:
    for (a, b), colour, outline in zip(BODY_LIMBS, _LIMB_COLOURS, limbs, strict=True):
        if seen[a] and seen[b]:
            cv2.fillConvexPoly(picture, outline, colour, cv2.LINE_AA, _SHIFT)
    for place, colour, drawn in zip(places, BODY_COLOURS, seen, strict=True):
        if drawn:
            _disc(picture, place, radius, colour)


def _draw_hand(
    picture: NDArray[np.uint8],
    places: list[list[int]],
    seen: list[bool],
    radius: int,
    thickness: int,
) -> None:
    for (a, b), colour in zip(HAND_LIMBS, _HAND_COLOURS, strict=True):
        if seen[a] and seen[b]:
            cv2.line(picture, places[a], places[b], colour, thickness, cv2.LINE_AA, _SHIFT)
    for place, drawn in zip(places, seen, strict=True):
        if drawn:
            _disc(picture, place, radius, (0, 0, 255))


def _disc(
    picture: NDArray[np.uint8], place: list[int], radius: int, colour: tuple[int, ...]
) -> None:
    cv2.circle(picture, place, radius, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)
