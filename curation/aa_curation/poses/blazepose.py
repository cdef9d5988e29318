"""BlazePose: body, hands and face by the .tflite models of the mediapipe wheel, under LiteRT.

Against MediaPipe 0.10.21's own holistic pipeline on 110 real frames, body landmarks lie 0.19 % of
the body's extent apart (median). As a detector BlazePose takes cats and cartoons for people; what
tells them apart is that their landmarks move when the region is moved a little (`Person.wobble`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aa_curation.models.tflite_file import TFLiteModel, read_model
from aa_curation.poses import mediapipe_networks as networks
from aa_curation.poses.mediapipe_networks import (
    BodyLandmarks,
    FaceLook,
    HandLandmarks,
    body_landmarks,
    hand_landmarks,
)
from aa_curation.poses.openpose_layout import LEFT_PALM, RIGHT_PALM, to_joints
from aa_curation.poses.person_choice import Choose, PersonChoice, the_first
from aa_curation.poses.region import Region
from aa_datasets.pose import NUM_JOINTS, Pose, make_pose
from aa_datasets.pose_estimator import Person

_CONFIDENCE_AT_LEAST = 0.5  # MediaPipe's bound for "there is a body in this region"
_WRIST_VISIBLE_ABOVE = 0.1  # MediaPipe's bound for looking for a hand
_NOSE_SEEN_ABOVE = 0.1  # as for wrists; MediaPipe looks for a face everywhere
_VISIBLE_AT_LEAST = 0.5  # of a joint
_SEEN_AT_LEAST = 0.4  # of a body, mean of its joints: a head with shoulders has 0.44
_TILE_SHARE = 0.4  # of the frame's long side; people half as large as the frame's shows are found
_MASK_PX = 160
_SAME_PERSON = 0.4  # of the smaller mask: two findings that share this much are one person
_FACE_INNER = slice(1, 11)
# How the region is moved to see whether the joints stay: share of its side, scale, angle.
_NUDGES = ((0.06, 1.12, 0.17), (-0.06, 0.95, -0.17))


@dataclass(frozen=True, slots=True)
class _Found:
    body: BodyLandmarks
    mask: NDArray[np.bool_]

    @property
    def quality(self) -> float:
        """Whole, sure and visible bodies first: a limb that was taken for a body is none."""
        return self.body.confidence * _seen(self.body) * math.sqrt(self.mask.mean())


class BlazePose:
    """A `PoseEstimator`. Construct one a process: the models are not to be shared.

    Args:
        models: a folder with .tflite files; those that are not in it, or all where it is None, are
            the installed mediapipe wheel's.

    Raises:
        WeightsError: a model is missing or altered.
    """

    name = "blazepose-full"

    def __init__(self, models: Path | None = None) -> None:
        def model(name: str, outputs: tuple[str, ...]) -> TFLiteModel:
            return TFLiteModel(read_model(name, models), outputs)

        self._detector = model("pose_detection", networks.DETECT_OUTPUTS)
        self._body = model("pose_landmark_full", networks.BODY_OUTPUTS)
        self._recrop = model("hand_recrop", networks.RECROP_OUTPUTS)
        self._hand = model("hand_landmark_full", networks.HAND_OUTPUTS)
        self._face = model("face_landmark", networks.FACE_OUTPUTS)

    def people(self, frame: NDArray[np.uint8]) -> list[Person]:
        """See `PoseEstimator`; of the others than the first only the joints are measured."""
        people = []
        for i, found in enumerate(self._find(frame)):
            area = float(found.mask.mean())
            columns = np.flatnonzero(found.mask.any(axis=0))
            x = float((columns[0] + columns[-1] + 1) / 2 / found.mask.shape[1])
            if i == 0:
                people.append(replace(self.person(frame, found.body, area), x=x))
            else:
                _, scores = to_joints(found.body, None, None, None, _size_hw(frame))
                people.append(Person(area, math.nan, scores, x=x))
        return people

    def person(self, frame: NDArray[np.uint8], body: BodyLandmarks, area: float) -> Person:
        """Everything that is measured of the main person."""
        _, scores = to_joints(body, None, None, None, _size_hw(frame))
        seen = networks.look_at_face(self._face, frame, body.points)
        return Person(area, self.wobble(frame, body), scores, seen.confidence, seen.eyes)

    def track(self, person: int = 0) -> BlazePoseTracker:
        return BlazePoseTracker(self, person)

    def main_body(
        self, frame: NDArray[np.uint8], region: Region | None, choose: Choose = the_first
    ) -> BodyLandmarks | None:
        """The body in `region`, or, where there is none, the chosen one of those in the frame."""
        if region is not None:
            body = self.body_in(frame, region)
            if body is not None:
                return body
        bodies = [found.body for found in self._find(frame)]
        middles = [(body.next_region.x, body.next_region.y) for body in bodies]
        return bodies[choose(middles)] if bodies else None

    def body_in(self, frame: NDArray[np.uint8], region: Region) -> BodyLandmarks | None:
        """The body in a region, if the network says that one is there."""
        body = body_landmarks(self._body, frame, region)
        return body if body.confidence >= _CONFIDENCE_AT_LEAST else None

    def bodies_in(self, frame: NDArray[np.uint8], region: Region) -> list[BodyLandmarks]:
        """Those that the detector finds in a region, surest first."""
        found = networks.detect_people(self._detector, frame, region)
        bodies = (self.body_in(frame, person.body_region) for person in found)
        return [body for body in bodies if body is not None]

    def both_hands(
        self, frame: NDArray[np.uint8], body: BodyLandmarks
    ) -> tuple[HandLandmarks | None, HandLandmarks | None]:
        """The left and the right hand, where the body has them."""
        left, right = (
            hand_landmarks(self._recrop, self._hand, frame, body.points[list(palm)])
            if body.visibility[palm[0]] > _WRIST_VISIBLE_ABOVE
            else None
            for palm in (LEFT_PALM, RIGHT_PALM)
        )
        return left, right

    def face(
        self, frame: NDArray[np.uint8], body: BodyLandmarks, region: Region | None
    ) -> FaceLook | None:
        """The face, looked for in `region` first; None where there is none, or the body's nose is
        not seen."""
        if body.visibility[0] * body.presence[0] <= _NOSE_SEEN_ABOVE:
            return None
        seen = networks.follow_face(self._face, frame, body.points, region)
        return seen if seen.confidence >= networks.FACE_AT_LEAST else None

    def _find(self, frame: NDArray[np.uint8]) -> list[_Found]:
        """Every person, by area. Findings on the frame and on its tiles are the same person where
        their masks are the same pixels."""
        size_hw = _size_hw(frame)
        candidates = []
        for region in (
            networks.whole_frame(size_hw),
            *networks.overlapping_tiles(size_hw, _TILE_SHARE),
        ):
            for body in self.bodies_in(frame, region):
                if _seen(body) < _SEEN_AT_LEAST:
                    continue
                mask = body.mask_in_frame(size_hw, _MASK_PX)
                if mask.any():
                    candidates.append(_Found(body, mask))
        kept: list[_Found] = []
        for found in sorted(candidates, key=lambda f: -f.quality):
            if not any(_same(found.mask, other.mask) for other in kept):
                kept.append(found)
        return sorted(kept, key=lambda f: -int(f.mask.sum()))

    def wobble(self, frame: NDArray[np.uint8], body: BodyLandmarks) -> float:
        """Mean way of the visible joints under `_NUDGES`, as a share of the region's side."""
        region = body.next_region
        seats = [region] + [
            Region(
                region.x + move * region.side,
                region.y - move * region.side,
                region.side * scale,
                region.angle_rad + angle_rad,
            )
            for move, scale, angle_rad in _NUDGES
        ]
        still, *moved = (body_landmarks(self._body, frame, seat) for seat in seats)
        visible = still.visibility * still.presence >= _VISIBLE_AT_LEAST
        visible[_FACE_INNER] = False
        if visible.sum() < 4:
            return math.nan  # nothing to hold on to: a head or a hand
        ways = [np.hypot(*(other.points - still.points)[visible].T).mean() for other in moved]
        return float(np.mean(ways) / region.side)


class BodyFinder(Protocol):
    """What the tracker follows with: `BlazePose`, or it behind another detector."""

    def main_body(
        self, frame: NDArray[np.uint8], region: Region | None, choose: Choose
    ) -> BodyLandmarks | None: ...

    def both_hands(
        self, frame: NDArray[np.uint8], body: BodyLandmarks
    ) -> tuple[HandLandmarks | None, HandLandmarks | None]: ...

    def face(
        self, frame: NDArray[np.uint8], body: BodyLandmarks, region: Region | None
    ) -> FaceLook | None: ...


class BlazePoseTracker:
    """Follows one person: the regions of body and face come from the frame before, so that the
    detector runs only at the start and after the person was lost."""

    def __init__(self, estimator: BodyFinder, person: int = 0) -> None:
        self._estimator = estimator
        self._choice = PersonChoice(person)
        self._region: Region | None = None
        self._face_region: Region | None = None
        self._joints: list[tuple[NDArray[np.float32], NDArray[np.float32]] | None] = []
        self._size_hw = (0, 0)

    def see(self, frame: NDArray[np.uint8]) -> None:
        self._size_hw = _size_hw(frame)
        body = self._estimator.main_body(frame, self._region, self._choice)
        if body is None:
            self._region = self._face_region = None
            self._joints.append(None)
            return
        self._region = body.next_region
        self._choice.was_at = (self._region.x, self._region.y)
        left, right = self._estimator.both_hands(frame, body)
        seen = self._estimator.face(frame, body, self._face_region)
        self._face_region = seen.next_region if seen is not None else None
        self._joints.append(to_joints(body, left, right, seen, self._size_hw))

    def pose(self) -> Pose:
        keypoints_px = np.full((len(self._joints), NUM_JOINTS, 2), np.nan, np.float32)
        scores = np.zeros((len(self._joints), NUM_JOINTS), np.float32)
        for t, joints in enumerate(self._joints):
            if joints is not None:
                keypoints_px[t], scores[t] = joints
        return make_pose(keypoints_px, scores, self._size_hw)


def _seen(body: BodyLandmarks) -> float:
    """Mean visibility of the joints, toes left out."""
    return float((body.visibility * body.presence)[:29].mean())


def _same(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> bool:
    return bool((a & b).sum() >= _SAME_PERSON * min(a.sum(), b.sum()))


def _size_hw(frame: NDArray[np.uint8]) -> tuple[int, int]:
    return frame.shape[0], frame.shape[1]
