"""PoseEstimator: the interface of pose estimators, for curation and animation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aa_datasets.pose import Pose


@dataclass(frozen=True, slots=True)
class Person:
    """One person in one frame.

    Attributes:
        area: share of the frame's area that the person covers, in [0, 1].
        wobble: how far the joints move when the estimator looks from a slightly other frame; NaN
            if unknown.
        scores: float32 [J] in [0, 1], of the project's joints.
        face: confidence in [0, 1] that the face is seen; 0 from estimators that find no faces.
        eyes: width of the eyes over the height of the face; NaN from estimators that find no faces.
        x: where the person's middle lies across the frame, from 0 at the left to 1; NaN if unknown.
    """

    area: float
    wobble: float
    scores: NDArray[np.float32]
    face: float = 0.0
    eyes: float = math.nan
    x: float = math.nan


class PoseTracker(Protocol):
    """Follows one person of a clip; give it every frame in order, once."""

    def see(self, frame: NDArray[np.uint8]) -> None:
        """Track the person in the next frame, uint8 RGB [H, W, 3]; all frames have one size."""
        ...

    def pose(self) -> Pose:
        """Return the pose in all frames so far; joints are absent in frames without the person."""
        ...


class PoseEstimator(Protocol):
    """Finds people and their joints."""

    @property
    def name(self) -> str:
        """Stored with every clip, e.g. "blazepose-full"."""
        ...

    def people(self, frame: NDArray[np.uint8]) -> list[Person]:
        """Find all people in uint8 RGB [H, W, 3]; by area, the largest first."""
        ...

    def track(self, person: int = 0) -> PoseTracker:
        """Make a new tracker for one clip.

        Args:
            person: whom to follow, by the order of `people` in the first frame that shows any.
                Where the first person is lost the largest is followed next; another person, once
                lost, is looked for where they were.
        """
        ...
