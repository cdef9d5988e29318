"""The 21 landmarks of a hand, found from the body's wrist, index and little finger.

Follows MediaPipe's holistic graphs (modules/holistic_landmark/hand_landmarks_from_pose_cpu.pbtxt,
hand_recrop_by_roi_cpu.pbtxt): a coarse region from the body, a network that crops it better, then
the hand network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aa_curation.models.tflite_file import TFLiteModel
from aa_curation.poses.region import Points, Region, region_from_axis

_RECROP_PX = 256
_LANDMARK_PX = 224
_COARSE_SCALE = 2.7
_TOWARDS_FINGERS = -0.1  # of the side: the region moves up, from the wrist to the finger tips
RECROP_OUTPUTS = ("output_crop",)
LANDMARK_OUTPUTS = ("Identity", "Identity_1")  # landmarks, presence


@dataclass(frozen=True, slots=True)
class HandLandmarks:
    """One hand: points [21, 2] in pixels of the frame, confidence in [0, 1]."""

    points: Points
    confidence: float


def hand_landmarks(
    recrop: TFLiteModel, model: TFLiteModel, frame: NDArray[np.uint8], palm: Points
) -> HandLandmarks | None:
    """Run both networks around `palm` [3, 2]: the body's wrist, index and little finger.

    None where the three points coincide or lie outside of the frame.
    """
    wrist, index, little = palm
    middle = (2 * index + little) / 3
    reach = float(np.hypot(*(middle - wrist)))
    height, width = frame.shape[:2]
    if reach < 1 or not (0 <= middle[0] <= width and 0 <= middle[1] <= height):
        return None
    # The region turns with wrist -> middle but lies around the middle; MediaPipe moves it before
    # it makes it larger.
    turned = region_from_axis(wrist, middle, scale=1)
    coarse = Region(float(middle[0]), float(middle[1]), turned.side, turned.angle_rad)
    coarse = coarse.shifted(_TOWARDS_FINGERS).scaled(_COARSE_SCALE)
    (axis,) = recrop(coarse.crop(frame, _RECROP_PX))
    centre, tip = coarse.to_frame(axis.reshape(2, 2), _RECROP_PX)
    fine = region_from_axis(centre, tip, scale=1, upward=False).shifted(_TOWARDS_FINGERS)
    if not np.isfinite(fine.side) or fine.side < 1:
        return None
    raw, confidence = model(fine.crop(frame, _LANDMARK_PX))
    points = fine.to_frame(raw.reshape(21, 3)[:, :2], _LANDMARK_PX)
    return HandLandmarks(points, float(confidence[0]))
