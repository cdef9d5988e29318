"""How much of the body is in the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from aa_curation.check import Check, at_least
from aa_curation.measure.people import People
from aa_datasets.pose import BODY_JOINTS, JOINT_NAMES, JOINT_SEEN_SCORE

_HEAD = ("nose", "right_shoulder", "left_shoulder")
_UPPER = (*_HEAD, "right_elbow", "left_elbow")
REQUIRED_JOINTS = {
    "head": _HEAD,
    "upper": _UPPER,
    "full": (
        *_UPPER,
        *("right_hip", "left_hip", "right_knee", "left_knee", "right_ankle", "left_ankle"),
    ),
}
assert set(REQUIRED_JOINTS["full"]) <= set(BODY_JOINTS)


@dataclass(frozen=True, slots=True)
class Completeness:
    """Measured: the share of the required joints that are seen, median of the sampled frames.

    Attributes:
        body: "full" (head to ankles), "upper" (head to elbows) or "head" (with shoulders).
        score_at_least: the score from which on a joint is seen. One side of the body hides the
            other of a person who walks by, so not all joints can be asked for.
        share_at_least: of the required joints.
    """

    body: Literal["full", "upper", "head"]
    score_at_least: float = JOINT_SEEN_SCORE
    share_at_least: float = 0.75

    def __call__(self, people: People) -> Check:
        joints = [JOINT_NAMES.index(name) for name in REQUIRED_JOINTS[self.body]]
        seen = (people.scores[:, joints] >= self.score_at_least).mean(1)
        return at_least("incomplete_body", float(np.median(seen)), self.share_at_least)
