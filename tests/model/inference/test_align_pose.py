"""Pose alignment: proportions of the reference, directions of the driver."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aa_datasets.pose import BODY_JOINTS, NUM_JOINTS, Pose, make_pose
from aa_datasets.puppets.render import render_puppet
from aa_model.errors import ModelError
from aa_model.inference.align_pose import align_pose, foreshortened_limbs

NECK = BODY_JOINTS.index("neck")


def rigid_pose(T: int, seed: int) -> Pose:
    """A skeleton whose limbs keep their lengths over T frames, hands and face included."""
    puppet = render_puppet(seed, seed, num_frames=1, size_hw=(128, 128)).pose
    first = puppet.keypoints_px[0]
    rng = np.random.default_rng(seed)
    angles = np.concatenate([[0.0], rng.uniform(-0.5, 0.5, T - 1)])
    turns = np.stack([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]])
    moved = np.einsum("abt,jb->tja", turns, first - first[NECK]) + first[NECK]
    moved += rng.uniform(-5, 5, (T, 1, 2)) * (np.arange(T) > 0)[:, None, None]
    return make_pose(moved, np.repeat(puppet.scores, T, 0), puppet.size_hw)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 20), scale=st.floats(0.5, 2.0), x=st.floats(-30, 30), y=st.floats(-30, 30)
)
def test_a_reference_of_the_same_proportions_gives_a_similarity(
    seed: int, scale: float, x: float, y: float
) -> None:
    driving = rigid_pose(4, seed)
    shift = np.array([x, y])

    def similar(keypoints: NDArray[np.float32]) -> NDArray[np.float64]:
        return keypoints.astype(np.float64) * scale + shift

    reference = make_pose(similar(driving.keypoints_px[:1]), driving.scores[:1], driving.size_hw)
    found = align_pose(driving, reference)
    expected = similar(driving.keypoints_px)
    assert np.allclose(found.keypoints_px, expected, atol=0.05, equal_nan=True)
    assert np.array_equal(found.scores, driving.scores)


def test_a_forearm_that_mostly_points_at_the_camera_is_as_long_as_where_it_does_not() -> None:
    whole = rigid_pose(10, 3)
    points = whole.keypoints_px.copy()
    ends = [(BODY_JOINTS.index(f"{side}_elbow"), BODY_JOINTS.index(f"{side}_wrist"))
            for side in ("left", "right")]  # fmt: skip
    for elbow, wrist in ends:  # half as long in eight of ten frames
        points[:8, wrist] = (points[:8, elbow] + points[:8, wrist]) / 2
    driving = make_pose(points, whole.scores, whole.size_hw)
    found = align_pose(driving, whole.at_frames(slice(0, 1))).keypoints_px
    for elbow, wrist in ends:
        length = np.linalg.norm(whole.keypoints_px[0, wrist] - whole.keypoints_px[0, elbow])
        shown = np.linalg.norm(found[:, wrist] - found[:, elbow], axis=-1)
        np.testing.assert_allclose(shown, length * np.repeat([0.5, 1], [8, 2]), rtol=0.01)


def test_a_limb_deviates_from_the_whole_body_by_a_half_at_most() -> None:
    driving = rigid_pose(1, 3)
    points = driving.keypoints_px.copy()
    ends = [(BODY_JOINTS.index(f"{side}_elbow"), BODY_JOINTS.index(f"{side}_wrist"))
            for side in ("left", "right")]  # fmt: skip
    for elbow, wrist in ends:  # a third of its length: it points at the camera
        points[:, wrist] = points[:, elbow] + (points[:, wrist] - points[:, elbow]) / 3
    reference = make_pose(points, driving.scores, driving.size_hw)
    found = align_pose(driving, reference).keypoints_px[0]
    for elbow, wrist in ends:
        length = np.linalg.norm(driving.keypoints_px[0, wrist] - driving.keypoints_px[0, elbow])
        assert np.linalg.norm(found[wrist] - found[elbow]) == pytest.approx(length / 1.5, rel=0.01)
    assert set(foreshortened_limbs(driving, reference)) == {"left_wrist", "right_wrist"}


def test_limbs_take_the_references_lengths_and_keep_their_directions() -> None:
    driving, reference = rigid_pose(5, 3), rigid_pose(1, 11)
    found = align_pose(driving, reference).keypoints_px
    for side in ("left", "right"):
        a, b = BODY_JOINTS.index(f"{side}_knee"), BODY_JOINTS.index(f"{side}_ankle")
        old = driving.keypoints_px[:, b] - driving.keypoints_px[:, a]
        new = found[:, b] - found[:, a]
        cross = old[:, 0] * new[:, 1] - old[:, 1] * new[:, 0]
        assert np.abs(cross).max() < 1e-2
        assert (np.sum(old * new, -1) > 0).all()
    assert np.allclose(found[0, NECK], reference.keypoints_px[0, NECK], atol=1e-3)


def test_joints_that_the_reference_lacks_take_the_scale_of_the_body() -> None:
    driving = rigid_pose(3, 5)
    keypoints = driving.keypoints_px[:1] * 1.5
    scores = driving.scores[:1].copy()
    for name in ("left_knee", "left_ankle", "right_knee", "right_ankle"):  # half-length portrait
        scores[:, BODY_JOINTS.index(name)] = 0
    found = align_pose(driving, make_pose(keypoints, scores, driving.size_hw))
    assert np.allclose(found.keypoints_px, driving.keypoints_px * 1.5
                       - 1.5 * driving.keypoints_px[0, NECK] + keypoints[0, NECK],
                       atol=0.05, equal_nan=True)  # fmt: skip


@settings(max_examples=20)
@given(seed=st.integers(0, 20), share=st.floats(0.1, 0.7), scale=st.floats(0.5, 2.0))
def test_a_joint_that_is_not_seen_takes_no_other_away(
    seed: int, share: float, scale: float
) -> None:
    """Out of the frame, say: an elbow must not take the hand along, nor a neck everything."""
    driving = rigid_pose(4, seed)
    gone = np.random.default_rng(seed).random((4, NUM_JOINTS)) < share
    gone[0] = False  # the first frame shows everything: limbs keep their true lengths
    some = make_pose(driving.keypoints_px, np.where(gone, 0, driving.scores), driving.size_hw)
    reference = make_pose(driving.keypoints_px[:1] * scale, driving.scores[:1], driving.size_hw)
    found, whole = align_pose(some, reference), align_pose(driving, reference)
    assert np.array_equal(found.scores, some.scores)
    kept = found.scores > 0
    assert kept.any()
    # Of one person at two scales, every joint has one place, on whatever it hangs.
    assert np.allclose(found.keypoints_px[kept], whole.keypoints_px[kept], atol=0.05)


@pytest.mark.parametrize("frames", [0, 1])
def test_a_reference_without_a_person_is_an_error_that_says_what_to_do(frames: int) -> None:
    empty = make_pose(
        np.full((frames, NUM_JOINTS, 2), np.nan), np.zeros((frames, NUM_JOINTS)), (128, 128)
    )
    with pytest.raises(ModelError, match="animate without alignment"):
        align_pose(rigid_pose(2, 1), empty)


def test_limbs_whose_length_cannot_be_known_are_named() -> None:
    driving = render_puppet(1, 2, num_frames=5, size_hw=(128, 128)).pose
    assert foreshortened_limbs(driving, driving) == ()
    keypoints_px = driving.keypoints_px[:1].copy()
    body = list(BODY_JOINTS)
    for side in ("left", "right"):  # both forearms point at the camera
        elbow, wrist = (body.index(f"{side}_{joint}") for joint in ("elbow", "wrist"))
        keypoints_px[0, wrist] = keypoints_px[0, elbow] + 1
    person = make_pose(keypoints_px, driving.scores[:1], driving.size_hw)
    assert foreshortened_limbs(driving, person) == ("right_wrist", "left_wrist")
