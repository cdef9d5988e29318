"""Find the pose in every n-th frame, and interpolate between.

Poses cost more than twenty times as much as decoding; the loss in accuracy is measured by
`benchmarks/studies/pose_stride.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aa_curation.errors import RecipeError
from aa_datasets.pose import Pose, make_pose
from aa_datasets.pose_estimator import Person, PoseEstimator, PoseTracker


@dataclass(frozen=True, slots=True)
class Strided:
    """An estimator for a recipe: `estimator=Strided(BlazePose, 2)`.

    Attributes:
        make: the estimator itself, as a recipe names it.
        stride: frames from one that is looked at to the next; the last one is looked at, too.
    """

    make: Callable[[Path | None], PoseEstimator]
    stride: int

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise RecipeError(f"a stride of {self.stride} frames: expected 1 or more")

    def __call__(self, weights: Path | None) -> PoseEstimator:
        return StridedEstimator(self.make(weights), self.stride)


@dataclass(frozen=True, slots=True)
class StridedEstimator:
    """People are found as `inner` finds them; its tracker sees fewer frames."""

    inner: PoseEstimator
    stride: int

    @property
    def name(self) -> str:
        return f"{self.inner.name}-every-{self.stride}"

    def people(self, frame: NDArray[np.uint8]) -> list[Person]:
        return self.inner.people(frame)

    def track(self, person: int = 0) -> PoseTracker:
        inner = self.inner.track(person) if person else self.inner.track()
        return StridedTracker(inner, self.stride)


class StridedTracker:
    """Between two frames that were looked at, joints that both show move straight; others are
    absent."""

    def __init__(self, inner: PoseTracker, stride: int) -> None:
        self._inner = inner
        self._stride = stride
        self._looked_at: list[int] = []
        self._num_frames = 0
        # The last frame, where it was not looked at.
        self._passed_over: NDArray[np.uint8] | None = None

    def see(self, frame: NDArray[np.uint8]) -> None:
        if self._num_frames % self._stride == 0:
            self._look(frame, self._num_frames)
        else:
            self._passed_over = frame
        self._num_frames += 1

    def pose(self) -> Pose:
        if self._passed_over is not None:  # nothing behind it could be interpolated to
            self._look(self._passed_over, self._num_frames - 1)
        pose = self._inner.pose()
        return between(pose, np.array(self._looked_at, np.int64), self._num_frames)

    def _look(self, frame: NDArray[np.uint8], number: int) -> None:
        self._inner.see(frame)
        self._looked_at.append(number)
        self._passed_over = None


def between(pose: Pose, frames: NDArray[np.int64], num_frames: int) -> Pose:
    """The pose of `frames` (ascending, from 0 to the last one) in all frames."""
    times = np.arange(num_frames)
    after = np.searchsorted(frames, times)
    before = np.where(frames[after] == times, after, after - 1)
    span = np.maximum(frames[after] - frames[before], 1)
    share = ((times - frames[before]) / span)[:, None, None]
    keypoints = pose.keypoints_px[before] * (1 - share) + pose.keypoints_px[after] * share
    scores = np.minimum(pose.scores[before], pose.scores[after])
    return make_pose(keypoints, scores, pose.size_hw)
