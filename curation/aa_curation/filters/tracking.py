"""Whether the pose of the whole clip can be learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aa_curation.check import Check, at_least, at_most
from aa_curation.measure.posed_clip import body_boxes, body_px
from aa_datasets.pose import BODY, FACE, JOINT_NAMES, LEFT_HAND, RIGHT_HAND, Pose

_NECK = JOINT_NAMES.index("neck")


@dataclass(frozen=True, slots=True)
class PoseFound:
    """Measured: the share of frames that have a pose (a neck and five more body joints)."""

    share_at_least: float = 0.95

    def __call__(self, pose: Pose) -> Check:
        seen = pose.scores[:, BODY] > 0
        found = seen[:, _NECK] & (seen.sum(1) >= 6)
        return at_least("pose_lost", float(found.mean()), self.share_at_least)


@dataclass(frozen=True, slots=True)
class Jitter:
    """Measured: how far body joints jump: the median over joints and frames of the second
    difference, as a share of the body's extent in the frame.

    Attributes:
        jitter_at_most: a fast dance at 30 fps has about 0.01; joints that jump between two people
            or at random far more.
    """

    jitter_at_most: float = 0.04

    def __call__(self, pose: Pose) -> Check:
        body = body_px(pose)
        if len(body) < 3:
            return at_most("jittery_pose", 0.0, self.jitter_at_most)
        jumps = np.hypot(*np.moveaxis(body[2:] - 2 * body[1:-1] + body[:-2], -1, 0))
        some = np.any(np.isfinite(body[..., 0]), axis=1)
        if not np.isfinite(jumps).any() or not some.any():
            return at_most("jittery_pose", 1.0, self.jitter_at_most)
        extents = [np.hypot(*np.nanmax(p, 0) - np.nanmin(p, 0)) for p in body[some]]
        measured = float(np.nanmedian(jumps)) / max(float(np.median(extents)), 1.0)
        return at_most("jittery_pose", measured, self.jitter_at_most)


@dataclass(frozen=True, slots=True)
class HandsSeen:
    """Measured: the share of hands that are seen, of two in every frame; a hand is seen if half of
    its 21 joints are.

    Attributes:
        share_at_least: 0 measures without dropping; `aa-curate redecide` can set a bound later.
    """

    share_at_least: float = 0.0

    def __call__(self, pose: Pose) -> Check:
        hands = [(pose.scores[:, hand] > 0).mean(1) >= 0.5 for hand in (LEFT_HAND, RIGHT_HAND)]
        return at_least("hands_unseen", float(np.mean(hands)), self.share_at_least)


@dataclass(frozen=True, slots=True)
class FaceSeen:
    """Measured: the share of frames in which the face is seen, half of its 68 points.

    Attributes:
        share_at_least: 0 measures without dropping, see `HandsSeen`.
    """

    share_at_least: float = 0.0

    def __call__(self, pose: Pose) -> Check:
        seen = (pose.scores[:, FACE] > 0).mean(1) >= 0.5
        return at_least("face_unseen", float(np.mean(seen)), self.share_at_least)


@dataclass(frozen=True, slots=True)
class IdentitySwitches:
    """Measured: how many times the skeleton jumps onto another person: the box around the body does
    not meet the box in the frame before that shows it, or by less than a tenth of the smaller one.

    A pose that flips over stays within its box. On 43 real clips all jumps overlap by nothing, and
    what one person does by 0.59 and more.

    Attributes:
        switches_at_most: infinity measures without dropping, see `HandsSeen`.
        overlap_at_least: of the smaller box.
    """

    switches_at_most: float = 0.0
    overlap_at_least: float = 0.1

    def __call__(self, pose: Pose) -> Check:
        boxes = body_boxes(pose, joints_at_least=4)
        sides = boxes[:, 2:] - boxes[:, :2]
        area = np.prod(np.maximum(sides, 1), axis=1)
        inner = np.minimum(boxes[1:, 2:], boxes[:-1, 2:]) - np.maximum(
            boxes[1:, :2], boxes[:-1, :2]
        )
        shared = np.prod(np.maximum(inner, 0), axis=1) / np.minimum(area[1:], area[:-1])
        switches = float(np.sum(shared < self.overlap_at_least))
        return at_most("identity_switches", switches, self.switches_at_most)
