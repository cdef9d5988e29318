from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aa_datasets.pose import FACE, LEFT_HAND, NUM_JOINTS, Pose, make_pose
from aa_datasets.pose_drawing import BODY_COLOURS, BODY_LIMBS, HAND_LIMBS, draw_pose
from aa_datasets.puppets.render import render_puppet


def _only(joints: dict[int, tuple[float, float]], score: float = 1.0) -> Pose:
    keypoints_px = np.full((1, NUM_JOINTS, 2), np.nan)
    for joint, point in joints.items():
        keypoints_px[0, joint] = point
    return make_pose(keypoints_px, np.full((1, NUM_JOINTS), score), (96, 128))


def test_nothing_is_drawn_of_absent_and_doubtful_joints() -> None:
    everything = {joint: (10 + joint % 100, 40) for joint in range(NUM_JOINTS)}
    for pose in (_only({}), _only(everything, 0.0), _only(everything, 0.29)):
        assert not draw_pose(pose, face=True).any()
    assert draw_pose(_only(everything, 0.31)).any()


@settings(max_examples=40)
@given(st.integers(0, 17), st.integers(0, 127), st.integers(0, 95))
def test_a_joints_pixel_has_its_colour(joint: int, x: int, y: int) -> None:
    picture = draw_pose(_only({joint: (x, y)}))[0]
    assert tuple(picture[y, x]) == BODY_COLOURS[joint]
    ys, xs = np.nonzero(picture.any(-1))
    assert np.hypot(ys - y, xs - x).max() < 3


@pytest.mark.parametrize("limb", range(len(BODY_LIMBS)))
def test_a_limbs_middle_has_its_dimmed_colour(limb: int) -> None:
    a, b = BODY_LIMBS[limb]
    picture = draw_pose(_only({a: (20, 20), b: (100, 60)}))[0]
    expected = [int(0.6 * channel) for channel in BODY_COLOURS[limb]]
    np.testing.assert_allclose(picture[40, 60].astype(int), expected, atol=1)
    assert not draw_pose(_only({a: (20, 20)}))[0][40, 60].any()


def test_limbs_are_as_thick_in_every_direction() -> None:
    """A limb along y is one along x with the axes changed."""
    a, b = BODY_LIMBS[0]
    along_x, along_y = (
        draw_pose(_only({a: (20, 20), b: end}))[0, :96, :96].any(-1) for end in ((80, 20), (20, 80))
    )
    assert (along_x ^ along_y.T).sum() <= 0.02 * along_x.sum()


def test_hands_and_face_are_drawn_on_demand() -> None:
    hand = _only({LEFT_HAND.start: (30, 30), LEFT_HAND.start + 1: (60, 50)})
    assert tuple(draw_pose(hand)[0][30, 30]) == (0, 0, 255)
    assert draw_pose(hand)[0][40, 45].any()
    assert not draw_pose(hand, hands=False).any()
    face = _only({FACE.start + 5: (50, 50)})
    assert not draw_pose(face).any()
    assert draw_pose(face, face=True)[0][50, 50].min() > 100


@pytest.mark.parametrize(
    ("joint", "radius_px"), [(0, 4), (LEFT_HAND.start + 3, 3), (FACE.start, 2)]
)
def test_points_are_as_large_as_openposes_in_512_pixels(joint: int, radius_px: float) -> None:
    pose = dataclasses.replace(_only({joint: (256, 256)}), size_hw=(512, 512))
    covered = draw_pose(pose, face=True)[0].max(-1).sum() / 255
    smooth_px = 0.5  # what antialiasing adds
    assert np.sqrt(covered / np.pi) == pytest.approx(radius_px + smooth_px, abs=0.25)


def test_hand_bones_run_from_the_wrist_to_five_tips() -> None:
    parents = {b: a for a, b in HAND_LIMBS}
    assert sorted(parents) == list(range(1, 21))
    for tip in (4, 8, 12, 16, 20):
        chain = [tip]
        while chain[-1]:
            chain.append(parents[chain[-1]])
        assert chain == [tip, tip - 1, tip - 2, tip - 3, 0]


def test_larger_pictures_show_the_same_drawing() -> None:
    pose = render_puppet(0, 0, num_frames=2, size_hw=(512, 512)).pose
    normal = draw_pose(pose, (512, 512))
    twice = draw_pose(pose, (1024, 1024))
    np.testing.assert_array_equal(twice, draw_pose(pose.resized((1024, 1024))))
    for small, large in zip(normal, twice, strict=True):
        halved = cv2.resize(large, (512, 512), interpolation=cv2.INTER_AREA)
        drawn = small.any(-1) | halved.any(-1)
        difference = np.abs(small.astype(float) - halved).mean(-1)[drawn].mean()
        assert difference < 0.25 * small[drawn].mean()


def test_joints_outside_the_picture_do_no_harm() -> None:
    picture = draw_pose(_only({1: (-5000, 40), 2: (5000, 40), 5: (1e6, -1e6)}))[0]
    assert picture[40, 64].any()
