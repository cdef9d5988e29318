"""BlazePose's 33 body landmarks in a region, sharpened by the network's own heat maps.

Follows MediaPipe's modules/pose_landmark/tensors_to_pose_landmarks_and_segmentation.pbtxt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aa_curation.models.tflite_file import TFLiteModel
from aa_curation.poses.region import Points, Region, region_from_axis

_INPUT_PX = 256
_HEATMAP_PX = 64
_KERNEL_PX = 7
_HEAT_AT_LEAST = 0.5
_REGION_CENTRE, _REGION_TIP = 33, 34  # auxiliary landmarks: where this body is, for the next frame
_BODY_SCALE = 1.25
OUTPUTS = ("Identity", "Identity_1", "Identity_3", "Identity_2")  # points, presence, heat, mask


@dataclass(frozen=True, slots=True)
class BodyLandmarks:
    """One body in one frame.

    Attributes:
        points: [33, 2] pixels of the frame, BlazePose's order.
        visibility: [33] in [0, 1], that the joint is seen (not hidden by something).
        presence: [33] in [0, 1], that the joint lies inside the picture.
        confidence: in [0, 1], that there is a person in the region at all.
        next_region: where to look for the same body in the next frame.
        region: the region that the network saw.
        mask_logits: [256, 256] over that region; above 0 where the person is.
    """

    points: Points
    visibility: NDArray[np.float32]
    presence: NDArray[np.float32]
    confidence: float
    next_region: Region
    region: Region
    mask_logits: NDArray[np.float32]

    def mask_in_frame(self, size_hw: tuple[int, int], long_side_px: int) -> NDArray[np.bool_]:
        """The person's pixels in the frame of `size_hw`, scaled down to `long_side_px`."""
        scale = long_side_px / max(size_hw)
        height, width = (max(1, round(side * scale)) for side in size_hw)
        small = Region(
            self.region.x * scale,
            self.region.y * scale,
            self.region.side * scale,
            self.region.angle_rad,
        )
        mask: NDArray[np.bool_] = small.paste(self.mask_logits, (height, width)) > 0
        return mask


def body_landmarks(model: TFLiteModel, frame: NDArray[np.uint8], region: Region) -> BodyLandmarks:
    """Run the landmark network on a region of uint8 RGB [H, W, 3]."""
    raw, confidence, heat, mask = model(region.crop(frame, _INPUT_PX))
    raw = raw.reshape(39, 5)
    points = _refine(raw[:, :2].copy(), heat)
    in_frame = region.to_frame(points, _INPUT_PX)
    return BodyLandmarks(
        points=in_frame[:33],
        visibility=_sigmoid(raw[:33, 3]),
        presence=_sigmoid(raw[:33, 4]),
        confidence=float(confidence[0]),
        next_region=region_from_axis(
            in_frame[_REGION_CENTRE], in_frame[_REGION_TIP], scale=_BODY_SCALE
        ),
        region=region,
        mask_logits=mask[..., 0],
    )


def _refine(points: Points, heat: NDArray[np.float32]) -> Points:
    """Move each point to the centre of mass of its heat map's 7x7 surroundings, if it is warm.

    `heat` are logits [64, 64, 39].
    """
    scale = _INPUT_PX / _HEATMAP_PX
    column, row = (points / scale).astype(np.int64).T
    inside = (column >= 0) & (column < _HEATMAP_PX) & (row >= 0) & (row < _HEATMAP_PX)
    near = np.arange(_KERNEL_PX) - _KERNEL_PX // 2
    columns, rows = column[:, None] + near, row[:, None] + near  # [39, 7]
    there = [(at >= 0) & (at < _HEATMAP_PX) for at in (rows, columns)]
    patches = heat[
        rows.clip(0, _HEATMAP_PX - 1)[:, :, None],
        columns.clip(0, _HEATMAP_PX - 1)[:, None, :],
        np.arange(len(points))[:, None, None],
    ]
    warmth = np.where(there[0][:, :, None] & there[1][:, None, :], _sigmoid(patches), 0)
    warm = inside & (warmth.max(axis=(1, 2)) >= _HEAT_AT_LEAST)
    total = warmth.sum(axis=(1, 2))[warm]
    for axis, (places, other) in enumerate(((columns, 1), (rows, 2))):
        points[warm, axis] = scale * (warmth.sum(axis=other) * places).sum(axis=1)[warm] / total
    return points


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), dtype=np.float32)
