from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aa_datasets.loader.clip_dataset import choose_window
from aa_datasets.loader.crop_resize import crop_box, resize_frames, resize_pose
from aa_datasets.pose import NUM_JOINTS, make_pose

sizes = st.tuples(st.integers(48, 160), st.integers(48, 160))


@given(st.integers(1, 90), st.integers(1, 24), st.integers(1, 5), st.integers(0, 2**31))
def test_window_lies_in_the_clip(total: int, num_frames: int, stride: int, seed: int) -> None:
    assume((num_frames - 1) * stride + 1 <= total)
    window = choose_window(total, num_frames, stride, np.random.default_rng(seed))
    assert len(window.targets) == num_frames
    assert set(np.diff(window.targets)) <= {stride}
    assert 0 <= window.targets[0] <= window.targets[-1] < total
    assert 0 <= window.reference < total


def test_every_start_and_reference_comes() -> None:
    rng = np.random.default_rng(0)
    windows = [choose_window(6, 3, 2, rng) for _ in range(200)]
    assert {int(w.targets[0]) for w in windows} == {0, 1}
    assert {w.reference for w in windows} == set(range(6))


@given(sizes, sizes)
def test_crop_box_is_centred_inside_and_touches_two_sides(
    size_hw: tuple[int, int], to_hw: tuple[int, int]
) -> None:
    top, left, height, width = crop_box(size_hw, to_hw)
    assert top >= 0
    assert left >= 0
    assert top + height <= size_hw[0]
    assert left + width <= size_hw[1]
    assert height == size_hw[0] or width == size_hw[1]
    assert abs(2 * top + height - size_hw[0]) <= 1
    assert abs(2 * left + width - size_hw[1]) <= 1
    assert abs(height / width - to_hw[0] / to_hw[1]) < 0.04 * to_hw[0] / to_hw[1]


@settings(max_examples=80)
@given(sizes, sizes, st.floats(0.2, 0.8), st.floats(0.2, 0.8))
def test_a_dot_and_its_keypoint_move_together(
    size_hw: tuple[int, int], to_hw: tuple[int, int], down: float, along: float
) -> None:
    top, left, height, width = crop_box(size_hw, to_hw)
    y, x = top + down * (height - 1), left + along * (width - 1)
    ys, xs = np.mgrid[: size_hw[0], : size_hw[1]]
    blob = 250 * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * 2.0**2))
    frame = np.repeat(blob[None, ..., None], 3, -1).round().astype(np.uint8)
    point = np.broadcast_to(np.array([x, y]), (1, NUM_JOINTS, 2))
    pose = make_pose(point, np.ones((1, NUM_JOINTS)), size_hw)

    resized = resize_frames(frame, to_hw)[0, ..., 0].astype(float)
    moved = resize_pose(pose, to_hw)
    ys, xs = np.mgrid[: to_hw[0], : to_hw[1]]
    found = np.array([(xs * resized).sum(), (ys * resized).sum()]) / resized.sum()
    assert moved.size_hw == resized.shape == to_hw
    scale = to_hw[0] / height
    np.testing.assert_allclose(found, moved.keypoints_px[0, 0], atol=0.25 * max(1, scale))


def test_pose_and_frames_of_the_right_size_are_left_alone() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_frames(frames, (32, 48)), frames)
    points = np.random.default_rng(0).uniform(0, 32, (2, NUM_JOINTS, 2))
    pose = make_pose(points, np.ones((2, NUM_JOINTS)), (32, 48))
    np.testing.assert_array_equal(resize_pose(pose, (32, 48)).keypoints_px, pose.keypoints_px)


def test_joint_outside_the_crop_stays_outside() -> None:
    points = np.broadcast_to(np.array([3.0, 50.0]), (1, NUM_JOINTS, 2))
    pose = make_pose(points, np.ones((1, NUM_JOINTS)), (100, 200))
    assert resize_pose(pose, (64, 64)).keypoints_px[0, 0, 0] < 0


@pytest.mark.parametrize("factor", [3, 4, 5])
def test_shrinking_averages_every_pixel(factor: int) -> None:
    """A one-pixel checkerboard by a factor that is not 2, where a linear filter takes one pixel of
    each block, or four."""
    ys, xs = np.mgrid[: 16 * factor, : 12 * factor]
    board = (255 * ((ys + xs) % 2)).astype(np.uint8)
    frames = np.repeat(board[None, ..., None], 3, -1)
    blocks = board.reshape(16, factor, 12, factor).astype(float).mean((1, 3))
    found = resize_frames(frames, (16, 12))[0]
    assert np.abs(found - blocks[..., None]).max() <= 0.5


def test_growing_is_cubic() -> None:
    """Against OpenCV's own filter, on an edge, which a linear filter does not overshoot."""
    edge = np.zeros((1, 8, 8, 3), np.uint8)
    edge[:, :, 4:] = 200
    grown = resize_frames(edge, (24, 24))
    np.testing.assert_array_equal(
        grown[0], cv2.resize(edge[0], (24, 24), interpolation=cv2.INTER_CUBIC)
    )
    assert grown.max() > 200
