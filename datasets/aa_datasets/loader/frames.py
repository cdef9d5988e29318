"""Which frames a sample is made of, and how they become the picture size of training."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_datasets.pose import Pose


@dataclass(frozen=True, slots=True)
class Window:
    """Indices into a clip: the reference frame, and the T frames to generate."""

    reference: int
    targets: NDArray[np.int64]


def choose_window(
    num_frames_of_clip: int, num_frames: int, stride: int, generator: np.random.Generator
) -> Window:
    """A window of `num_frames` frames `stride` apart from anywhere in the clip, and a reference
    frame from anywhere in it (Sec. 4.1 draws both at random).

    The caller has checked that the clip is at least `(num_frames - 1) * stride + 1` frames long.
    """
    span = (num_frames - 1) * stride + 1
    start = int(generator.integers(num_frames_of_clip - span + 1))
    targets = start + stride * np.arange(num_frames, dtype=np.int64)
    return Window(int(generator.integers(num_frames_of_clip)), targets)


def choose_frames(
    num_frames_of_clip: int, num_frames: int, generator: np.random.Generator
) -> Window:
    """`num_frames` single frames and a reference frame, each from anywhere in the clip."""
    targets = generator.integers(num_frames_of_clip, size=num_frames)
    return Window(int(generator.integers(num_frames_of_clip)), targets)


def crop_box(size_hw: tuple[int, int], to_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the largest centred box of the shape of `to_hw`."""
    scale = min(size_hw[0] / to_hw[0], size_hw[1] / to_hw[1])
    height, width = round(scale * to_hw[0]), round(scale * to_hw[1])
    return (size_hw[0] - height) // 2, (size_hw[1] - width) // 2, height, width


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
    """The pose in frames that `resize_frames` made; joints outside the crop stay outside."""
    if pose.size_hw == to_hw:
        return pose
    top, left, height, width = crop_box(pose.size_hw, to_hw)
    shifted = pose.keypoints_px - np.array([left, top], dtype=np.float32)
    return Pose(shifted, pose.scores, (height, width)).resized(to_hw)
