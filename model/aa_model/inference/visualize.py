"""Pictures of results: frames side by side, and a skeleton before and after its alignment."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_datasets.loader.crop_resize import resize_frames
from aa_datasets.pose import Pose
from aa_datasets.pose_drawing import draw_pose

_GAP_PX = 4
_MIN_SIDE_PX = 128  # smaller pictures are enlarged by a whole factor
_ALIGNMENT_SIDE_PX = 256  # of its pictures' shorter side
_ALIGNMENT_ROWS = 3
_HEAD_PX = 22
_TITLES = ("reference", "driving", "rescaled")


def pick_moments(num_frames: int, rows: int = 5) -> NDArray[np.int64]:
    """Indices of at most `rows` evenly spaced frames, the first and the last among them."""
    return np.unique(np.linspace(0, num_frames - 1, min(rows, num_frames)).round().astype(np.int64))


def draw_strip(
    reference: NDArray[np.uint8], columns: list[NDArray[np.uint8]], rows: int = 5
) -> NDArray[np.uint8]:
    """A white sheet with some evenly spaced moments, one a row: the reference, then the columns.

    Args:
        reference: uint8 [H, W, 3].
        columns: videos uint8 [T, H, W, 3] of one length, e.g. pose, generated, truth.
        rows: at most this many moments, the first and the last among them.
    """
    T = min(len(column) for column in columns)
    moments = pick_moments(T, rows)
    factor = -(-_MIN_SIDE_PX // min(reference.shape[:2]))
    H, W = (factor * side for side in reference.shape[:2])
    height = len(moments) * (H + _GAP_PX) - _GAP_PX
    width = (1 + len(columns)) * (W + _GAP_PX) - _GAP_PX
    sheet = np.full((height, width, 3), 255, np.uint8)
    for row, moment in enumerate(moments):
        for column, picture in enumerate([reference, *(c[moment] for c in columns)]):
            top, left = row * (H + _GAP_PX), column * (W + _GAP_PX)
            sheet[top : top + H, left : left + W] = picture.repeat(factor, 0).repeat(factor, 1)
    return sheet


def draw_alignment(
    reference: NDArray[np.uint8],
    reference_pose: Pose,
    before: Pose,
    after: Pose,
    face: bool = False,
) -> NDArray[np.uint8]:
    """Three columns: the reference under its skeleton, the driving skeleton, the rescaled one.

    Both skeletons lie over the reference, paled, so that it shows whether they fit the person.

    Args:
        reference: uint8 RGB [H, W, 3].
        reference_pose, before, after: in frames of the size of `reference`.
        face: whether skeletons show the face's points.

    Returns:
        uint8 RGB, three moments of the video at most.
    """
    height, width = reference.shape[:2]
    scale = _ALIGNMENT_SIDE_PX / min(height, width)
    size_hw = (round(height * scale), round(width * scale))
    picture = resize_frames(reference[None], size_hw)[0]
    paled = (picture // 3 + 170).astype(np.uint8)
    moments = pick_moments(before.num_frames, _ALIGNMENT_ROWS)
    columns = [
        _laid_over(paled, draw_pose(pose.at_frames(moments), size_hw, face=face))
        for pose in (before, after)
    ]
    its_own = draw_pose(reference_pose.at_frames(np.array([0])), size_hw, face=face)
    first = _laid_over(picture, its_own)[0]
    sheet = draw_strip(first, columns, _ALIGNMENT_ROWS)
    head = np.full((_HEAD_PX, sheet.shape[1], 3), 255, np.uint8)
    for column, title in enumerate(_TITLES):
        left = column * sheet.shape[1] // len(_TITLES) + 4
        cv2.putText(head, title, (left, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 0, 1, cv2.LINE_AA)
    return np.concatenate([head, sheet])


def _laid_over(picture: NDArray[np.uint8], skeletons: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Skeletons uint8 [T, H, W, 3], drawn on black, over one picture."""
    drawn = skeletons.max(-1, keepdims=True) > 0
    return np.where(drawn, skeletons, picture)
