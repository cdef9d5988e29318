"""Regions: parts of the picture that image metrics can look at alone, as masks or as boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import PairingError, VideoError
from aa_eval.videos.source import VideoSource, iter_frames

# Of the longer side of a box, added on each side: joints lie inside of what they belong to.
BOX_MARGIN = 0.15

# Number of joints -> region -> the joints of each of its boxes. COCO's 17, OpenPose's 18, this
# project's 128 (body, left hand, right hand, face) and COCO-WholeBody's 133.
JOINTS: dict[int, dict[str, tuple[tuple[int, ...], ...]]] = {
    17: {"face": (tuple(range(5)),)},
    18: {"face": ((0, 14, 15, 16, 17),)},
    128: {
        "face": (tuple(range(60, 128)),),
        "hands": (tuple(range(18, 39)), tuple(range(39, 60))),
    },
    133: {
        "face": (tuple(range(23, 91)),),
        "hands": (tuple(range(91, 112)), tuple(range(112, 133))),
    },
}
REGION_NAMES = ("person", "face", "hands")  # what boxes can be made of


@dataclass(frozen=True, slots=True)
class MaskFrames:
    """A region given as pictures: inside is where a picture is at least 128."""

    source: VideoSource


@dataclass(frozen=True, slots=True)
class Boxes:
    """A region given as boxes: int [T, B, 4] of (left, top, right, bottom) in whole pixels.

    Right and bottom are not inside; a box without extent is none.
    """

    boxes_px: NDArray[np.int64]


Region: TypeAlias = MaskFrames | Boxes


def iter_masks(region: Region, size_hw: tuple[int, int]) -> Iterator[NDArray[np.bool_]]:
    """The masks of a video's frames in order, bool [H, W].

    Raises:
        VideoError: a picture cannot be read, or its levels are not those of a mask.
    """
    if isinstance(region, MaskFrames):
        for index, frame in enumerate(iter_frames(region.source)):
            largest = int(frame.max())
            if 0 < largest < 128:
                raise VideoError(
                    f"{region.source.name}: the largest level of mask {index} is {largest}: "
                    "expected 0 outside and 255 inside"
                )
            yield frame[..., 0] >= 128
        return
    for boxes in region.boxes_px:
        mask = np.zeros(size_hw, dtype=np.bool_)
        for left, top, right, bottom in boxes:
            mask[top:bottom, left:right] = True
        yield mask


def boxes_of_joints(
    keypoints_px: NDArray[np.floating],
    scores: NDArray[np.floating],
    name: str,
    size_hw: tuple[int, int],
) -> Boxes:
    """The boxes around a region's visible joints, grown by `BOX_MARGIN` and cut at the picture.

    A joint is visible where its score is above 0 and its place finite. A frame with fewer than
    two visible joints of a box, or all of them at one place, has no such box.

    Args:
        keypoints_px: [T, J, 2], (x, y) in pixels of frames of `size_hw`; (0, 0) is a centre.
        scores: [T, J].
        name: one of `REGION_NAMES`; "hands" are two boxes.

    Raises:
        PairingError: it is not known which of J joints are the region's.
    """
    count = keypoints_px.shape[1]
    if name == "person":
        groups: tuple[tuple[int, ...], ...] = (tuple(range(count)),)
    elif name in JOINTS.get(count, {}):
        groups = JOINTS[count][name]
    else:
        known = ", ".join(str(joints) for joints, names in JOINTS.items() if name in names)
        raise PairingError(
            f"which of {count} joints are '{name}' is not known (it is for {known}): give masks "
            "with --regions"
        )
    visible = (scores > 0) & np.isfinite(keypoints_px).all(axis=-1)
    boxes = [_box(keypoints_px[:, g], visible[:, g], size_hw) for g in map(list, groups)]
    return Boxes(np.stack(boxes, axis=1))


def _box(
    points_px: NDArray[np.floating], visible: NDArray[np.bool_], size_hw: tuple[int, int]
) -> NDArray[np.int64]:
    """[T, 4]; zeros where the frame has none."""
    shown = visible[..., None]
    low = np.where(shown, points_px, np.inf).min(axis=1)
    high = np.where(shown, points_px, -np.inf).max(axis=1)
    side = np.maximum((high - low).max(axis=1), 0)  # -inf where no joint is visible
    there = (visible.sum(axis=1) >= 2) & (side > 0)
    low, high = (np.where(there[:, None], corner, 0) for corner in (low, high))
    margin = (BOX_MARGIN * np.where(there, side, 0))[:, None]
    limit = np.array(size_hw[::-1])  # (width, height), as the corners
    first = np.clip(np.floor(low - margin), 0, limit)
    end = np.clip(np.ceil(high + margin) + 1, 0, limit)
    box = np.concatenate([first, end], axis=1).astype(np.int64)
    return np.asarray(np.where(there[:, None], box, 0))
