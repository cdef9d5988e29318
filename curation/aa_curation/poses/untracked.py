"""Untracked: people are searched for in every frame, as if it were the only one.

A tracker looks where the person was a frame before: five times as quick, but it may follow its own
mistake. How far the two lie apart is measured by `benchmarks/studies/pose_stride.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aa_datasets.errors import PoseError
from aa_datasets.pose import Pose
from aa_datasets.pose_estimator import Person, PoseEstimator, PoseTracker


@dataclass(frozen=True, slots=True)
class Untracked:
    """An estimator for a recipe: `estimator=Untracked(BlazePose)`."""

    make: Callable[[Path | None], PoseEstimator]

    def __call__(self, weights: Path | None) -> PoseEstimator:
        return UntrackedEstimator(self.make(weights))


@dataclass(frozen=True, slots=True)
class UntrackedEstimator:
    """People are found as `inner` finds them; each frame has a tracker of its own."""

    inner: PoseEstimator

    @property
    def name(self) -> str:
        return f"{self.inner.name}-untracked"

    def people(self, frame: NDArray[np.uint8]) -> list[Person]:
        return self.inner.people(frame)

    def track(self) -> PoseTracker:
        return _FrameByFrame(self.inner)


class _FrameByFrame:
    def __init__(self, estimator: PoseEstimator) -> None:
        self._estimator = estimator
        self._poses: list[Pose] = []

    def see(self, frame: NDArray[np.uint8]) -> None:
        tracker = self._estimator.track()
        tracker.see(frame)
        self._poses.append(tracker.pose())

    def pose(self) -> Pose:
        if not self._poses:
            raise PoseError("no frame was seen: a pose needs at least one")
        return Pose(
            np.concatenate([pose.keypoints_px for pose in self._poses]),
            np.concatenate([pose.scores for pose in self._poses]),
            self._poses[0].size_hw,
        )
