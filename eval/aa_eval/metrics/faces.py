"""Faces: five points of a face, and the picture of it that face networks take."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

SIDE_PX = 112
# Where ArcFace was trained to find the eyes, the nose and the corners of the mouth, left to right
# as they lie in the picture (InsightFace's template).
TEMPLATE_PX = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]]
)  # fmt: skip
# Of the 68 points of a face: those of each eye, the tip of the nose, the corners of the mouth.
_OF_68: tuple[tuple[int, ...], ...] = (
    tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,),
)  # fmt: skip
_FIRST_OF_FACE = {128: 60, 133: 23}  # number of joints -> the first of its face's 68

Frame = NDArray[np.uint8]
Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Faces:
    """Five points of the face in each frame of a video, [T, 5, 2] in pixels of the reference.

    NaN in a frame that shows none.
    """

    predicted: Points
    reference: Points

    @property
    def digest(self) -> str:
        content = np.ascontiguousarray(np.stack([self.predicted, self.reference]))
        return hashlib.sha256(content.astype("<f8").data).hexdigest()


def face_points(
    points_px: NDArray[np.floating], scores: NDArray[np.floating], min_score: float
) -> Points | None:
    """The five points of a keypoints file, [T, 5, 2]; NaN in a frame where one is not seen.

    Args:
        points_px, scores: [T, J, 2] and [T, J]; J is 5 (a face detector's), 128 (this project's) or
            133 (COCO-WholeBody).
        min_score: from which a point counts as seen.

    Returns:
        None of another number of joints: they have no face.
    """
    count = points_px.shape[1]
    if count == 5:
        groups = [[index] for index in range(5)]
    elif count in _FIRST_OF_FACE:
        groups = [[_FIRST_OF_FACE[count] + point for point in group] for group in _OF_68]
    else:
        return None
    found = np.stack([points_px[:, group].mean(axis=1) for group in groups], axis=1)
    seen = np.stack([scores[:, group].min(axis=1) for group in groups], axis=1)
    lacks = ~((seen > 0) & (seen >= min_score)).all(axis=1)
    found[lacks | ~np.isfinite(found).all(axis=(1, 2))] = np.nan
    return np.asarray(found, dtype=np.float64)


def aligned_places(shown: NDArray[np.bool_]) -> Points:
    """The five points of faces that are aligned already, [T, 5, 2]; NaN where nothing is shown."""
    there = np.asarray(shown.any(axis=(1, 2)))
    return np.where(there[:, None, None], TEMPLATE_PX, np.nan)


def aligned_face(frame: Frame, points_px: Points) -> NDArray[np.float32]:
    """The face, turned, moved and scaled (not mirrored) to `TEMPLATE_PX`: [112, 112, 3], 0 to 255.

    The similarity of least squares; what lies outside of the frame is black.

    Args:
        frame: uint8 [H, W, 3].
        points_px: [5, 2], finite, not all at one place.
    """
    # a similarity is a complex factor and a shift
    source, target = (p[:, 0] + 1j * p[:, 1] for p in (TEMPLATE_PX, points_px))
    middle, onto = source.mean(), target.mean()
    factor = (
        np.vdot(source - middle, target - onto) / np.vdot(source - middle, source - middle).real
    )
    y, x = np.indices((SIDE_PX, SIDE_PX))
    places = (x + 1j * y - middle) * factor + onto
    at = np.stack([places.imag, places.real])
    channels = (frame[..., c].astype(np.float32) for c in range(3))
    # "grid-constant" fades to black within a pixel of the border, as OpenCV does
    faces = [map_coordinates(of, at, order=1, mode="grid-constant") for of in channels]
    return np.stack(faces, axis=-1)
