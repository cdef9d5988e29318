"""Pose alignment before and after, for the eye: does the skeleton fit the person now?"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_datasets.loader.frames import resize_frames
from aa_datasets.pose import Pose
from aa_datasets.pose_drawing import draw_pose
from aa_model.inference.visualize import draw_strip, pick_moments

_SIDE_PX = 256  # of a picture's shorter side
_ROWS = 3
_HEAD_PX = 22
_TITLES = ("reference", "driving", "rescaled")


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
    scale = _SIDE_PX / min(height, width)
    size_hw = (round(height * scale), round(width * scale))
    picture = resize_frames(reference[None], size_hw)[0]
    paled = (picture // 3 + 170).astype(np.uint8)
    moments = pick_moments(before.num_frames, _ROWS)
    columns = [
        _laid_over(paled, draw_pose(pose.at_frames(moments), size_hw, face=face))
        for pose in (before, after)
    ]
    its_own = draw_pose(reference_pose.at_frames(np.array([0])), size_hw, face=face)
    first = _laid_over(picture, its_own)[0]
    sheet = draw_strip(first, columns, _ROWS)
    head = np.full((_HEAD_PX, sheet.shape[1], 3), 255, np.uint8)
    for column, title in enumerate(_TITLES):
        left = column * sheet.shape[1] // len(_TITLES) + 4
        cv2.putText(head, title, (left, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 0, 1, cv2.LINE_AA)
    return np.concatenate([head, sheet])


def _laid_over(picture: NDArray[np.uint8], skeletons: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Skeletons uint8 [T, H, W, 3], drawn on black, over one picture."""
    drawn = skeletons.max(-1, keepdims=True) > 0
    return np.where(drawn, skeletons, picture)
