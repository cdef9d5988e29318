"""Files of keypoints: what is read, in whose pixels, and what is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aa_eval.errors import PairingError
from aa_eval.videos.keypoints import keypoints_on_frames, read_keypoints


def _write(path: Path, **changed: Any) -> Path:
    arrays = {"keypoints_px": np.zeros((2, 3, 2)), "scores": np.ones((2, 3)), "size_hw": [48, 32]}
    np.savez(path, **{k: v for k, v in (arrays | changed).items() if v is not None})
    return path


def test_height_and_width_keep_their_order_and_numbers_their_values(tmp_path: Path) -> None:
    points = np.arange(12, dtype=np.float16).reshape(2, 3, 2)
    scores = np.array([[0, 1, 1], [1, 0, 1]], np.uint8)
    found = read_keypoints(_write(tmp_path / "a.npz", keypoints_px=points, scores=scores))
    assert found[2] == (48, 32)
    np.testing.assert_array_equal(found[0], points)
    np.testing.assert_array_equal(found[1], scores)
    assert found[0].dtype == found[1].dtype == np.float64


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"keypoints_px": None}, "not a keypoints file .*keypoints_px"),
        ({"scores": np.array([["a"] * 3] * 2)}, "not a keypoints file"),
        ({"keypoints_px": np.zeros((2, 3, 2), complex)}, "not a keypoints file .*complex"),
        ({"keypoints_px": np.full((2, 3, 2), None)}, "not a keypoints file"),
        ({"size_hw": [48]}, "not a keypoints file"),
        ({"size_hw": [0, 32]}, r"size_hw is \[0, 32\], expected at least 1 pixel"),
        ({"size_hw": [48, -1]}, r"size_hw is \[48, -1\]"),
        ({"keypoints_px": np.zeros((2, 3, 3))}, r"keypoints_px is \[2, 3, 3\] and scores \[2, 3\]"),
        ({"keypoints_px": np.zeros((6, 2)), "scores": np.ones(6)}, r"keypoints_px is \[6, 2\]"),
        ({"scores": np.ones((3, 2))}, r".*and scores \[3, 2\]: expected \[T, J, 2\] and \[T, J\]"),
    ],
)
def test_what_holds_no_keypoints_is_refused(
    tmp_path: Path, changed: dict[str, Any], why: str
) -> None:
    with pytest.raises(PairingError, match=rf"a\.npz: {why}"):
        read_keypoints(_write(tmp_path / "a.npz", **changed))


def test_a_missing_file_and_one_that_is_none_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PairingError, match=r"a\.npz: no such file: each video needs its"):
        read_keypoints(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(b"no")
    with pytest.raises(PairingError, match=r"b\.npz: not a keypoints file"):
        read_keypoints(tmp_path / "b.npz")


def test_one_pixel_is_enough_for_a_size(tmp_path: Path) -> None:
    assert read_keypoints(_write(tmp_path / "a.npz", size_hw=[1, 1]))[2] == (1, 1)


def test_points_move_with_the_pixels_of_another_size(tmp_path: Path) -> None:
    """The corners of a picture, half a pixel outside of its pixels' centres, stay its corners."""
    corners = np.array([[[-0.5, -0.5], [31.5, 47.5], [15.5, 23.5]]])
    path = _write(tmp_path / "a.npz", keypoints_px=corners, scores=np.ones((1, 3)))
    points, _ = keypoints_on_frames(path, (96, 64))
    np.testing.assert_allclose(points, [[[-0.5, -0.5], [63.5, 95.5], [31.5, 47.5]]])


@pytest.mark.parametrize(
    ("size_hw", "fits"),
    [((480, 320), True), ((489, 320), True), ((490, 320), False), ((480, 327), False),
     ((480, 326), True), ((320, 480), False)],
)  # fmt: skip
def test_frames_of_another_shape_are_refused(
    tmp_path: Path, size_hw: tuple[int, int], fits: bool
) -> None:
    path = _write(tmp_path / "a.npz")
    if fits:
        keypoints_on_frames(path, size_hw)
        return
    with pytest.raises(PairingError, match=rf"frames of 32x48, the reference is {size_hw[1]}x"):
        keypoints_on_frames(path, size_hw)
