from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aa_datasets.errors import PoseError
from aa_datasets.pose import (
    BODY,
    FACE,
    JOINT_NAMES,
    LEFT_HAND,
    NUM_JOINTS,
    RIGHT_HAND,
    Pose,
    make_pose,
    read_pose,
    write_pose,
)


def random_pose(seed: int, num_frames: int = 3, size_hw: tuple[int, int] = (60, 80)) -> Pose:
    rng = np.random.default_rng(seed)
    keypoints_px = rng.uniform(-10, 90, (num_frames, NUM_JOINTS, 2))
    scores = rng.uniform(0, 1, (num_frames, NUM_JOINTS)) * (rng.uniform(size=NUM_JOINTS) > 0.3)
    return make_pose(keypoints_px, scores, size_hw)


def test_joint_table_is_128_unique_names_in_four_groups() -> None:
    assert len(set(JOINT_NAMES)) == NUM_JOINTS == 128
    assert JOINT_NAMES[BODY][2] == "right_shoulder"
    assert JOINT_NAMES[BODY][5] == "left_shoulder"
    assert all(name.startswith("left_hand_") for name in JOINT_NAMES[LEFT_HAND])
    assert all(name.startswith("right_hand_") for name in JOINT_NAMES[RIGHT_HAND])
    assert all(name.startswith("face_") for name in JOINT_NAMES[FACE])


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 5))
def test_written_pose_reads_back_equal_and_with_equal_bytes(seed: int, num_frames: int) -> None:
    pose = random_pose(seed, num_frames)
    first, second = io.BytesIO(), io.BytesIO()
    write_pose(first, pose)
    write_pose(second, pose)
    back = read_pose(first.getvalue())
    assert first.getvalue() == second.getvalue()
    np.testing.assert_array_equal(back.keypoints_px, pose.keypoints_px)
    np.testing.assert_array_equal(back.scores, pose.scores)
    assert back.size_hw == pose.size_hw


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(8, 900), st.integers(8, 900))
def test_resize_there_and_back_is_the_identity(seed: int, height: int, width: int) -> None:
    pose = random_pose(seed)
    back = pose.resized((height, width)).resized(pose.size_hw)
    np.testing.assert_allclose(back.keypoints_px, pose.keypoints_px, atol=2e-3)
    np.testing.assert_array_equal(back.scores, pose.scores)


@given(st.integers(2, 400), st.integers(2, 400))
def test_resize_keeps_the_corners_of_the_picture(height: int, width: int) -> None:
    corners = np.full((1, NUM_JOINTS, 2), np.nan)
    corners[0, 0], corners[0, 1] = (-0.5, -0.5), (79.5, 59.5)  # outer edges of the outer pixels
    resized = make_pose(corners, np.ones((1, NUM_JOINTS)), (60, 80)).resized((height, width))
    np.testing.assert_allclose(resized.keypoints_px[0, 0], (-0.5, -0.5), atol=1e-4)
    np.testing.assert_allclose(resized.keypoints_px[0, 1], (width - 0.5, height - 0.5), atol=1e-3)


def test_make_pose_marks_absent_joints_both_ways() -> None:
    keypoints_px, scores = np.zeros((1, NUM_JOINTS, 2)), np.full((1, NUM_JOINTS), 2.0)
    keypoints_px[0, 3, 1], scores[0, 4], scores[0, 5] = np.inf, 0, np.nan
    pose = make_pose(keypoints_px, scores, (8, 8))
    absent = np.flatnonzero(pose.scores[0] == 0)
    assert absent.tolist() == [3, 4, 5]
    assert np.flatnonzero(np.isnan(pose.keypoints_px[0]).any(-1)).tolist() == [3, 4, 5]
    assert pose.scores.max() == 1


def test_at_frames_picks_and_orders() -> None:
    pose = random_pose(1, 5)
    picked = pose.at_frames(np.array([4, 0, 4]))
    np.testing.assert_array_equal(picked.scores, pose.scores[[4, 0, 4]])


ONES = np.ones((2, NUM_JOINTS), np.float32)
POINTS = np.ones((2, NUM_JOINTS, 2), np.float32)


@pytest.mark.parametrize(
    ("keypoints_px", "scores", "message"),
    [
        (POINTS[:, :18], ONES[:, :18], "body 18, left hand 21"),
        (POINTS[:1], ONES, "not a pose"),
        (POINTS.astype(float), ONES, "expected float32"),
        (POINTS, 2 * ONES, r"outside \[0, 1\]"),
        (POINTS, np.nan * ONES, "not a number"),
        (POINTS * np.float32(np.nan), ONES, "make_pose"),
        (POINTS, 0 * ONES, "make_pose"),
    ],
)
def test_wrong_arrays_are_refused(
    keypoints_px: np.ndarray, scores: np.ndarray, message: str
) -> None:
    with pytest.raises(PoseError, match=message):
        Pose(keypoints_px, scores, (8, 8))


def _bytes_of(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _pose_bytes() -> bytes:
    file = io.BytesIO()
    write_pose(file, random_pose(0))
    return file.getvalue()


class _Bomb:
    exploded = False

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return _explode, ("boom",)


def _explode(_: str) -> None:
    _Bomb.exploded = True


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!doctype html><html>404</html>",
        pickle.dumps(_Bomb()),
        _bytes_of(keypoints_px=np.array([_Bomb()], object), scores=ONES, size_hw=np.array([8, 8])),
        _bytes_of(keypoints_px=POINTS, scores=ONES),
        _bytes_of(keypoints_px=POINTS, scores=ONES, size_hw=np.array([8, 8, 8])),
        _bytes_of(keypoints_px=POINTS, scores=ONES, size_hw=np.array(8)),
        _npy(),
        _pose_bytes()[:-30],
        _pose_bytes()[:700],
        _pose_bytes().replace(b"\x00\x00\x80\x3f", b"\x00\x00\x80\x3e")[:-5] + b"xxxxx",
    ],
    ids=[
        "empty", "html", "pickle", "pickled_array", "lacking", "three", "scalar", "npy", "cut",
        "short", "tail",
    ],
)  # fmt: skip
def test_files_that_hold_no_pose_are_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.pose.npz"
    path.write_bytes(content)
    with pytest.raises(PoseError, match=r"some\.pose\.npz"):
        read_pose(path)
    with pytest.raises(PoseError, match="pose in memory"):
        read_pose(content)
    assert not _Bomb.exploded


def test_flipped_byte_is_noticed() -> None:
    content = bytearray(_pose_bytes())
    content[600] ^= 0xFF  # inside the keypoints: the zip's CRC tells
    with pytest.raises(PoseError, match="is not a pose file"):
        read_pose(bytes(content))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match=r"gone\.npz"):
        read_pose(tmp_path / "gone.npz")
