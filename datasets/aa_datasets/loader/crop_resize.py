"""Centre crop and resize: frames, poses and text masks at the picture size of training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_datasets.pose import Pose


def crop_box(size_hw: tuple[int, int], to_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of the largest centred box of the shape of `to_hw`."""
    scale = min(size_hw[0] / to_hw[0], size_hw[1] / to_hw[1])
    height, width = round(scale * to_hw[0]), round(scale * to_hw[1])
    return (size_hw[0] - height) // 2, (size_hw[1] - width) // 2, height, width


def nearest_shape(size_hw: tuple[int, int], sizes_hw: Sequence[tuple[int, int]]) -> int:
    """Which of some sizes cuts least off a picture of `size_hw`; the first of several."""

    def cut_off(to_hw: tuple[int, int]) -> float:
        return abs(math.log(size_hw[0] * to_hw[1] / (size_hw[1] * to_hw[0])))

    return min(range(len(sizes_hw)), key=lambda i: cut_off(sizes_hw[i]))


def resize_frames(frames: NDArray[np.uint8], to_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Centre crop to the shape of `to_hw`, then resize (area when smaller, cubic when larger).

    uint8 [T, H, W, 3] -> uint8 [T, *to_hw, 3] (Sec. 4.1: centre crop and resize).
    """
    top, left, height, width = crop_box((frames.shape[1], frames.shape[2]), to_hw)
    cropped = frames[:, top : top + height, left : left + width]
    if (height, width) == to_hw:
        return cropped
    how = cv2.INTER_AREA if height > to_hw[0] else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, to_hw[::-1], interpolation=how) for frame in cropped])


def resize_pose(pose: Pose, to_hw: tuple[int, int]) -> Pose:
    """Move a pose as `resize_frames` moves its frames; joints outside the crop stay outside."""
    if pose.size_hw == to_hw:
        return pose
    top, left, height, width = crop_box(pose.size_hw, to_hw)
    shifted = pose.keypoints_px - np.array([left, top], dtype=np.float32)
    return Pose(shifted, pose.scores, (height, width)).resized(to_hw)


def mask_text(
    boxes_px: Iterable[tuple[int, int, int, int]],
    size_hw: tuple[int, int],
    to_hw: tuple[int, int],
) -> NDArray[np.bool_]:
    """Mask where the loss counts: everywhere but on text that was laid over the video.

    Args:
        boxes_px: (x0, y0, x1, y1) of text, in pixels of the clip; x1 and y1 are outside.
        size_hw: of the clip.
        to_hw: of the frames that `resize_frames` made.

    Returns:
        bool [*to_hw]; False where text covers a pixel, even in part.
    """
    top, left, height, width = crop_box(size_hw, to_hw)
    scale_y, scale_x = to_hw[0] / height, to_hw[1] / width
    mask = np.ones(to_hw, bool)
    for x0, y0, x1, y1 in boxes_px:
        rows = slice(
            max(math.floor((y0 - top) * scale_y), 0), max(math.ceil((y1 - top) * scale_y), 0)
        )
        columns = slice(
            max(math.floor((x0 - left) * scale_x), 0), max(math.ceil((x1 - left) * scale_x), 0)
        )
        mask[rows, columns] = False
    return mask
