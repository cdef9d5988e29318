"""A stride on puppets whose pose is known: exact where frames are looked at, straight between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from aa_curation.errors import RecipeError
from aa_curation.poses.strided import Strided, between
from aa_datasets.pose import Pose, make_pose
from aa_datasets.pose_estimator import Person
from aa_datasets.puppets.render import render_puppet

PUPPET = render_puppet(3, 5, num_frames=24)


class Knowing:
    """An estimator that reads a frame's number off its first pixel and knows the pose there."""

    name = "knowing"

    def __init__(self, weights: Path | None = None) -> None:
        self.seen: list[int] = []

    def people(self, frame: NDArray[np.uint8]) -> list[Person]:
        return [Person(0.5, 0.0, PUPPET.pose.scores[0])]

    def track(self) -> Knowing:
        return self

    def see(self, frame: NDArray[np.uint8]) -> None:
        self.seen.append(int(frame[0, 0, 0]))

    def pose(self) -> Pose:
        return PUPPET.pose.at_frames(np.array(self.seen))


@given(stride=st.integers(1, 30), num_frames=st.integers(1, 24))
def test_what_is_looked_at_is_exact_and_the_ends_are(stride: int, num_frames: int) -> None:
    inner = Knowing()
    estimator = Strided(lambda weights: inner, stride)(None)
    tracker = estimator.track()
    for number in range(num_frames):
        tracker.see(np.full((4, 4, 3), number, np.uint8))
    pose = tracker.pose()
    assert inner.seen == sorted({*range(0, num_frames, stride), num_frames - 1})
    assert pose.num_frames == num_frames
    true = PUPPET.pose.at_frames(np.arange(num_frames))
    np.testing.assert_array_equal(pose.keypoints_px[inner.seen], true.keypoints_px[inner.seen])
    np.testing.assert_array_equal(pose.scores[inner.seen], true.scores[inner.seen])


class _Forgetful(Knowing):
    """A tracker that knows its first frame alone: what a person who moved away would be."""

    def track(self) -> _Forgetful:
        return _Forgetful()

    def see(self, frame: NDArray[np.uint8]) -> None:
        self.seen.append(self.seen[0] if self.seen else int(frame[0, 0, 0]))


def test_between_joints_move_straight_and_half_seen_ones_are_absent() -> None:
    keypoints = PUPPET.pose.keypoints_px[[0, 12]]
    scores = PUPPET.pose.scores[[0, 12]].copy()
    scores[1, 4] = 0
    pose = between(make_pose(keypoints, scores, PUPPET.pose.size_hw), np.array([0, 4]), 5)
    straight = 0.75 * keypoints[0, 0] + 0.25 * keypoints[1, 0]
    np.testing.assert_allclose(pose.keypoints_px[1, 0], straight, rtol=1e-5)
    assert (pose.scores[1:4, 4] == 0).all()
    assert (pose.scores[[1, 2, 3], 0] == scores[:, 0].min()).all()


def test_it_finds_people_as_the_other_does_and_says_what_it_is() -> None:
    estimator = Strided(Knowing, 3)(None)
    assert estimator.name == "knowing-every-3"
    assert len(estimator.people(PUPPET.frames[0])) == 1
    with pytest.raises(RecipeError, match="expected 1 or more"):
        Strided(Knowing, 0)
