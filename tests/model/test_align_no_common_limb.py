"""A reference pose that shares no limb with the driving one has no proportions to give."""

from __future__ import annotations

import numpy as np
import pytest

from aa_datasets.pose import BODY_JOINTS, Pose, make_pose
from aa_datasets.puppets.render import render_puppet
from aa_model.errors import ModelError
from aa_model.inference.align_pose import align_pose


def showing(*joints: str) -> Pose:
    """A puppet of which these joints alone are seen."""
    pose = render_puppet(3, 3, num_frames=2, size_hw=(64, 64)).pose
    scores = np.zeros_like(pose.scores)
    for name in joints:
        scores[:, BODY_JOINTS.index(name)] = 1
    return make_pose(pose.keypoints_px, scores, pose.size_hw)


def test_no_limb_in_common_is_refused_and_one_is_enough() -> None:
    legs = ("neck", "left_hip", "left_knee", "right_knee")
    portrait = ("neck", "nose", "left_shoulder", "left_elbow")
    with pytest.raises(ModelError, match=r"no limb that the driving pose shows too.*alignment"):
        align_pose(showing(*legs), showing(*portrait))
    align_pose(showing(*legs), showing(*portrait, "left_hip"))


def test_a_limb_and_its_twin_on_the_other_side_are_one_limb() -> None:
    left, right = (("neck", f"{s}_shoulder", f"{s}_elbow") for s in ("left", "right"))
    align_pose(showing(*left), showing(*right))
