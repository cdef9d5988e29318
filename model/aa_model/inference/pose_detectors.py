"""Find the skeleton in a photo or in a driving video.

This package has no network for people. `aa_curation`'s estimator is found by its entry point, group
`aa_model.pose_estimators` in pyproject.toml; any installed distribution may offer another. For
puppets there is the small network of `puppet_keypoints`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aa_datasets.pose import BODY, BODY_JOINTS, JOINT_SEEN_SCORE, Pose
from aa_datasets.pose_estimator import PoseEstimator
from aa_model.errors import ModelError
from aa_model.inference.puppet_keypoints import PuppetEstimator, read_keypoint_net

ENTRY_POINTS = "aa_model.pose_estimators"
PUPPET_WEIGHTS = "puppet-keypoints.safetensors"  # in the folder of a checkpoint of puppets
# The mean score of the body's joints: 95 % of 300 pictures of puppets have more, and none of the
# first frames of 43 clips of people has.
_SURE_OF_A_PUPPET = 0.8
_MIN_JOINTS = 5  # the neck and four others; less is not a skeleton
# A whole person wobbles by 0.016 at most and curation asks for 0.03; the half-length portrait of
# the tests wobbles by 0.038. A bad skeleton here spoils one video, and the alignment's picture
# shows it.
_MAX_WOBBLE = 0.05


FindEstimator = Callable[[NDArray[np.uint8]], PoseEstimator]  # for a picture, RGB [H, W, 3]


def find_estimator(
    wanted: str | None, checkpoint: Path, picture: NDArray[np.uint8] | None = None
) -> PoseEstimator:
    """The estimator of this name, or of these puppet weights, or the one that suits a picture.

    Args:
        wanted: an entry point's name, a .safetensors file, or None: the puppet weights in the
            checkpoint's folder if it has them, else the first estimator that is installed.
        picture: uint8 RGB [H, W, 3] in which somebody is to be found. Where the puppet weights of
            the checkpoint are not sure of what they see, an installed estimator is taken instead.

    Raises:
        ModelError: it is not installed, or lacks its packages or weights.
    """
    of_checkpoint = checkpoint / PUPPET_WEIGHTS
    if wanted is not None and Path(wanted).suffix == ".safetensors":
        return PuppetEstimator(read_keypoint_net(Path(wanted)))
    if wanted is not None or not of_checkpoint.is_file():
        return _installed(wanted)
    puppets = PuppetEstimator(read_keypoint_net(of_checkpoint))
    if picture is None or _looks_like_a_puppet(puppets, picture):
        return puppets
    try:
        return _installed(None)  # also of an empty first frame: people may come
    except ModelError:
        return puppets  # what it is good for is said where it is used


@cache
def _installed(wanted: str | None) -> PoseEstimator:
    installed = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    name = next(iter(sorted(installed)), "") if wanted is None else wanted
    if name not in installed:
        raise ModelError(
            f"no pose detector {name!r}: installed are {sorted(installed) or 'none'}; name one, "
            "or the .safetensors file of aa-model puppet-keypoints"
        )
    try:
        estimator: PoseEstimator = installed[name].load()()
    except (ImportError, ValueError, OSError) as error:  # packages; weights
        raise ModelError(
            f"the pose detector {name} cannot be used ({error}): install what it needs "
            "(pip install 'animate-anyone-toolkit[curation]'), or give poses as npz files"
        ) from error
    return estimator


def _looks_like_a_puppet(puppets: PuppetEstimator, picture: NDArray[np.uint8]) -> bool:
    return float(puppets.people(picture)[0].scores[BODY].mean()) >= _SURE_OF_A_PUPPET


def find_pose(estimator: PoseEstimator, picture: NDArray[np.uint8]) -> Pose | None:
    """The pose (one frame) of the main person in uint8 RGB [H, W, 3]; None without a skeleton."""
    people = estimator.people(picture)
    # NaN: too little of a body is seen to tell a person from something like one.
    if not people or math.isnan(people[0].wobble) or people[0].wobble > _MAX_WOBBLE:
        return None
    pose = follow_pose(estimator, [picture])
    return pose if shows_skeleton(pose) else None


def follow_pose(
    estimator: PoseEstimator, frames: Iterable[NDArray[np.uint8]], person: int = 0
) -> Pose:
    """The pose of one person in every frame, each uint8 RGB [H, W, 3] of one size.

    Args:
        person: by size in the first frame that shows any, from 0.
    """
    # Estimators of before there was a choice take no argument.
    tracker = estimator.track(person) if person else estimator.track()
    for frame in frames:
        tracker.see(frame)
    return tracker.pose()


def shows_skeleton(pose: Pose, frame: int = 0) -> bool:
    """Whether the neck and four other body joints are seen."""
    seen = pose.scores[frame, BODY] >= JOINT_SEEN_SCORE
    return bool(seen[BODY_JOINTS.index("neck")] and seen.sum() >= _MIN_JOINTS)
