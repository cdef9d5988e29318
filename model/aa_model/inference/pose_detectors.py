"""Who finds the skeleton in a photo or a driving video: an installed estimator, or puppets' own.

This room holds no network for people. `aa_curation`'s estimator is found by its entry point, group
`aa_model.pose_estimators` in pyproject.toml; any installed distribution may offer another.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aa_datasets.pose import BODY, BODY_JOINTS, NUM_JOINTS, Pose, make_pose
from aa_model.cli.puppet_keypoints import read_keypoint_net
from aa_model.errors import ModelError
from aa_model.toy.puppet_keypoints import NUM_BODY_JOINTS, KeypointNet, detect_keypoints

ENTRY_POINTS = "aa_model.pose_estimators"
PUPPET_WEIGHTS = "puppet-keypoints.safetensors"  # beside a checkpoint of puppets
MIN_SCORE = 0.3  # of a joint that is drawn, see `draw_pose`
_MIN_JOINTS = 5  # the neck and four others; less is no skeleton
# A whole person wobbles by 0.016 at most and curation asks for 0.03; the half-length portrait of
# the tests wobbles by 0.038. A bad skeleton here spoils one video, and the alignment's picture
# shows it.
_MAX_WOBBLE = 0.05
_BATCH = 32  # frames


class PoseDetector(Protocol):
    """Finds the skeleton of the main person."""

    @property
    def name(self) -> str: ...

    def find(self, picture: NDArray[np.uint8]) -> Pose | None:
        """The pose (one frame) in uint8 RGB [H, W, 3]; None where no skeleton is found."""
        ...

    def follow(self, frames: Iterable[NDArray[np.uint8]]) -> Pose:
        """The pose in every frame of a video, each uint8 RGB [H, W, 3] of one size."""
        ...


class Estimator(Protocol):
    """What an entry point makes when called without arguments: `aa_datasets.pose_estimator`."""

    name: str

    def people(self, frame: NDArray[np.uint8]) -> Sequence[EstimatedPerson]: ...

    def track(self) -> EstimatorTracker: ...


class EstimatedPerson(Protocol):
    @property
    def wobble(self) -> float: ...


class EstimatorTracker(Protocol):
    def see(self, frame: NDArray[np.uint8]) -> None: ...

    def pose(self) -> Pose: ...


class InstalledDetector:
    """An estimator of people that another package brought."""

    def __init__(self, estimator: Estimator) -> None:
        self.name = estimator.name
        self._estimator = estimator

    def find(self, picture: NDArray[np.uint8]) -> Pose | None:
        people = self._estimator.people(picture)
        # NaN: too little of a body is seen to tell a person from something like one.
        if not people or math.isnan(people[0].wobble) or people[0].wobble > _MAX_WOBBLE:
            return None
        pose = self.follow([picture])
        return pose if shows_skeleton(pose) else None

    def follow(self, frames: Iterable[NDArray[np.uint8]]) -> Pose:
        tracker = self._estimator.track()
        for frame in frames:
            tracker.see(frame)
        return tracker.pose()


class PuppetDetector:
    """The keypoint network of `aa-model puppet-keypoints`: body joints, of puppets only."""

    name = "puppet-keypoints"

    def __init__(self, net: KeypointNet) -> None:
        self._net = net

    def find(self, picture: NDArray[np.uint8]) -> Pose | None:
        pose = self.follow([picture])
        return pose if shows_skeleton(pose) else None

    def follow(self, frames: Iterable[NDArray[np.uint8]]) -> Pose:
        frames = iter(frames)
        size_hw = (0, 0)
        keypoints_px, scores = [], []
        while part := list(itertools.islice(frames, _BATCH)):
            size_hw = (part[0].shape[0], part[0].shape[1])
            found = detect_keypoints(self._net, np.stack([_squared(frame) for frame in part]))
            keypoints_px.append(found[0])
            scores.append(found[1])
        if not scores:
            return body_pose(np.zeros((0, NUM_BODY_JOINTS, 2)), np.zeros((0, 18)), size_hw)
        return body_pose(np.concatenate(keypoints_px), np.concatenate(scores), size_hw)


def find_detector(wanted: str | None, checkpoint: Path) -> PoseDetector:
    """The detector of this name or of these puppet weights.

    Args:
        wanted: an entry point's name, a .safetensors file, or None: the puppet weights in the
            checkpoint's folder if there are any, else the first estimator that is installed.

    Raises:
        ModelError: there is none, or it lacks its packages or weights.
    """
    beside = checkpoint / PUPPET_WEIGHTS
    if wanted is None and beside.is_file():
        wanted = str(beside)
    if wanted is not None and Path(wanted).suffix == ".safetensors":
        return PuppetDetector(read_keypoint_net(Path(wanted)))
    installed = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    name = next(iter(sorted(installed)), "") if wanted is None else wanted
    if name not in installed:
        raise ModelError(
            f"no pose detector {name!r}: installed are {sorted(installed) or 'none'}; name one, "
            "or the .safetensors file of aa-model puppet-keypoints"
        )
    try:
        return InstalledDetector(installed[name].load()())
    except (ImportError, ValueError, OSError) as error:  # packages; weights
        raise ModelError(
            f"the pose detector {name} cannot be used ({error}): install what it needs "
            "(pip install 'animate-anyone-toolkit[curation]'), or give poses as npz files"
        ) from error


def shows_skeleton(pose: Pose, frame: int = 0) -> bool:
    """Whether the neck and four other body joints are seen."""
    seen = pose.scores[frame, BODY] >= MIN_SCORE
    return bool(seen[BODY_JOINTS.index("neck")] and seen.sum() >= _MIN_JOINTS)


def body_pose(
    keypoints_px: NDArray[np.floating], scores: NDArray[np.floating], size_hw: tuple[int, int]
) -> Pose:
    """A Pose of [T, 18, 2] body joints; hands and face are absent."""
    T = len(scores)
    all_px = np.full((T, NUM_JOINTS, 2), np.nan)
    all_scores = np.zeros((T, NUM_JOINTS))
    all_px[:, BODY], all_scores[:, BODY] = keypoints_px, scores
    return make_pose(all_px, all_scores, size_hw)


def _squared(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Padded at the right or the bottom: the network would squeeze a frame that is not square."""
    height, width = frame.shape[:2]
    side = max(height, width)
    return np.pad(frame, ((0, side - height), (0, side - width), (0, 0)), mode="edge")
