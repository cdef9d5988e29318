"""Pose -> control image in OpenPose's style; colours and limb order are written only here.

Limbs are ellipses at 60 % brightness under full-colour joints (OpenPose's rendering, whose 18
rainbow colours ControlNet made the field's convention); hands are thin lines, a hue per finger
bone, under blue points. Everything scales with the picture and is placed to 1/16 pixel.
"""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_datasets.pose import BODY, FACE, LEFT_HAND, RIGHT_HAND, Pose

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
# wrist -> first joint -> ... -> tip, finger by finger.
HAND_LIMBS = tuple(
    (0 if joint == 1 else 4 * finger + joint - 1, 4 * finger + joint)
    for finger in range(5)
    for joint in range(1, 5)
)
_SHIFT = 4  # fractional bits of cv2's fixed-point coordinates
_UNIT = 1 << _SHIFT


def draw_pose(
    pose: Pose,
    size_hw: tuple[int, int] | None = None,
    *,
    min_score: float = 0.3,
    hands: bool = True,
    face: bool = False,
) -> NDArray[np.uint8]:
    """Draw each frame's skeleton on black.

    Args:
        pose: what to draw.
        size_hw: size of the pictures; the pose is scaled to it. None: the pose's own.
        min_score: joints that score less are left out, and the limbs that need them.
        hands: draw the 2 x 21 hand joints.
        face: draw the 68 face points (white dots).

    Returns:
        uint8 RGB [T, H, W, 3].
    """
    if size_hw is not None and size_hw != pose.size_hw:
        pose = pose.resized(size_hw)
    pictures = np.zeros((pose.num_frames, *pose.size_hw, 3), np.uint8)
    unit_px = min(pose.size_hw) / 512  # OpenPose's sizes are meant for 512-pixel pictures
    for picture, keypoints_px, scores in zip(pictures, pose.keypoints_px, pose.scores, strict=True):
        seen = scores >= min_score
        points = np.nan_to_num(keypoints_px).astype(np.float64)
        _draw_body(picture, points[BODY], seen[BODY], unit_px)
        if hands:
            for hand in (LEFT_HAND, RIGHT_HAND):
                _draw_hand(picture, points[hand], seen[hand], unit_px)
        if face:
            for point, drawn in zip(points[FACE], seen[FACE], strict=True):
                if drawn:
                    _disc(picture, point, 2 * unit_px, (255, 255, 255))
    return pictures


def _draw_body(
    picture: NDArray[np.uint8], points: NDArray[np.float64], seen: NDArray[np.bool_], unit_px: float
) -> None:
    for (a, b), colour in zip(BODY_LIMBS, BODY_COLOURS, strict=False):
        if seen[a] and seen[b]:
            dimmed = tuple(int(0.6 * channel) for channel in colour)
            _ellipse(picture, points[a], points[b], max(4 * unit_px, 1.0), dimmed)
    for joint, colour in enumerate(BODY_COLOURS):
        if seen[joint]:
            _disc(picture, points[joint], max(4 * unit_px, 1.2), colour)


def _draw_hand(
    picture: NDArray[np.uint8], points: NDArray[np.float64], seen: NDArray[np.bool_], unit_px: float
) -> None:
    thickness = max(1, round(2 * unit_px))
    for i, (a, b) in enumerate(HAND_LIMBS):
        if seen[a] and seen[b]:
            red, green, blue = colorsys.hsv_to_rgb(i / len(HAND_LIMBS), 1.0, 1.0)
            colour = (round(255 * red), round(255 * green), round(255 * blue))
            cv2.line(
                picture, _fixed(points[a]), _fixed(points[b]), colour, thickness,
                cv2.LINE_AA, _SHIFT,
            )  # fmt: skip
    for point, drawn in zip(points, seen, strict=True):
        if drawn:
            _disc(picture, point, max(3 * unit_px, 0.7), (0, 0, 255))


_CIRCLE = np.stack(
    [np.cos(np.linspace(0, 2 * np.pi, 24, False)), np.sin(np.linspace(0, 2 * np.pi, 24, False))], 1
)


def _ellipse(
    picture: NDArray[np.uint8],
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    radius_px: float,
    colour: tuple[int, ...],
) -> None:
    along = (b - a) / 2
    half_length = float(np.hypot(*along))
    direction = along / half_length if half_length > 0 else np.array([1.0, 0.0])
    across = np.array([-direction[1], direction[0]]) * radius_px
    outline = (a + b) / 2 + _CIRCLE[:, :1] * along + _CIRCLE[:, 1:] * across
    cv2.fillConvexPoly(
        picture, np.round(outline * _UNIT).astype(np.int32), colour, cv2.LINE_AA, _SHIFT
    )


def _disc(
    picture: NDArray[np.uint8],
    centre: NDArray[np.float64],
    radius_px: float,
    colour: tuple[int, ...],
) -> None:
    cv2.circle(
        picture, _fixed(centre), round(radius_px * _UNIT), colour, cv2.FILLED, cv2.LINE_AA, _SHIFT
    )


def _fixed(point: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(point[0]) * _UNIT), round(float(point[1]) * _UNIT)
