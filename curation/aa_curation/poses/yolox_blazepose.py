"""Find people by YOLOX and their joints by BlazePose.

BlazePose's own detector takes cartoons and cats for people and reports one of a crowd; YOLOX knows
80 kinds of things, a person among them. Its file is given by path (see `OnnxFile`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aa_curation.models.onnx_file import OnnxFile
from aa_curation.poses.blazepose import BlazePose, BlazePoseTracker
from aa_curation.poses.mediapipe_networks import BodyLandmarks, FaceLook, HandLandmarks
from aa_curation.poses.person_choice import Choose, the_first
from aa_curation.poses.region import Region
from aa_curation.poses.yolox import Box, Yolox
from aa_datasets.pose_estimator import Person

_SQUARE_SCALE = 1.25  # around the box: BlazePose's detector wants some room


@dataclass(frozen=True, slots=True)
class YoloxThenBlazePose:
    """Makes the estimator: a recipe's value.

    Attributes:
        detector: YOLOX's ONNX file.
        score_at_least: of a person. Low, so that a half hidden person is found.
    """

    detector: OnnxFile
    score_at_least: float = 0.3

    def __call__(self, weights: Path | None) -> YoloxBlazePose:
        """Raises WeightsError where a model is missing or altered."""
        content = self.detector.read(weights)
        return YoloxBlazePose(
            Yolox(content, self.detector.name, self.score_at_least), BlazePose(weights)
        )


class YoloxBlazePose:
    """A `PoseEstimator`."""

    name = "yolox+blazepose-full"

    def __init__(self, find: Yolox, pose: BlazePose) -> None:
        self._find = find
        self._pose = pose

    def people(self, frame: NDArray[np.uint8]) -> list[Person]:
        """See `PoseEstimator`; of the others than the first only the area is measured. A first
        person without a body that BlazePose knows has no joints: `not_a_person`."""
        boxes = self._find(frame)
        people = [box.person(frame) for box in boxes]
        body = self._body_in_box(frame, boxes[0]) if boxes else None
        if body is not None:
            people[0] = replace(self._pose.person(frame, body, people[0].area), x=people[0].x)
        return people

    def track(self, person: int = 0) -> BlazePoseTracker:
        return BlazePoseTracker(self, person)

    def main_body(
        self, frame: NDArray[np.uint8], region: Region | None, choose: Choose = the_first
    ) -> BodyLandmarks | None:
        """The body in `region`, or, where there is none, in the chosen box."""
        if region is not None:
            body = self._pose.body_in(frame, region)
            if body is not None:
                return body
        boxes = self._find(frame)
        middles = [((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2) for box in boxes]
        return self._body_in_box(frame, boxes[choose(middles)]) if boxes else None

    def both_hands(
        self, frame: NDArray[np.uint8], body: BodyLandmarks
    ) -> tuple[HandLandmarks | None, HandLandmarks | None]:
        return self._pose.both_hands(frame, body)

    def face(
        self, frame: NDArray[np.uint8], body: BodyLandmarks, region: Region | None
    ) -> FaceLook | None:
        return self._pose.face(frame, body, region)

    def _body_in_box(self, frame: NDArray[np.uint8], box: Box) -> BodyLandmarks | None:
        """The surest whose middle lies in the box: the neighbour's may be in its square, too.
        Joints that are not seen do not count: a head's hips are put below the frame."""
        side = _SQUARE_SCALE * max(box.x1 - box.x0, box.y1 - box.y0)
        square = Region((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2, side)
        for body in self._pose.bodies_in(frame, square):
            x, y = np.average(body.points, axis=0, weights=body.visibility * body.presence + 1e-6)
            if box.x0 <= x <= box.x1 and box.y0 <= y <= box.y1:
                return body
        return self._pose.body_in(frame, square)
