"""Crops: the part of a frame that shows the person, at one size whatever frame and person.

A photo and a frame of another pose and size have no pixel in common; their crops have.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import map_coordinates

from aa_eval.metrics import faces
from aa_eval.metrics.faces import aligned_face
from aa_eval.metrics.skeleton import JOINT, LIMBS, Body, Crop, Person

# which need to know where the person is
PERSON_CROPS: tuple[Crop, ...] = ("person", "limbs", "figure", "face")
Frames = NDArray[np.uint8]
Masks = NDArray[np.bool_]

SIDE_PX = 256
_MARGIN = 0.15  # of the longer side of the joints' box, added on each side
_ALONG, _ACROSS = 8, 3  # cells of one limb
_IN_CELL = 4  # samples of a cell in each direction: a cell's colour is their mean
_HALF_WIDTH = 0.08  # of a limb's strip, in lengths of the torso: inside of an arm
_THICKNESS = 0.4  # of a limb in a figure, in lengths of the torso; of the head twice that


def crop_frames(frames: Frames, person: Person | None, crop: Crop) -> tuple[Frames, Masks]:
    """Crops [T, h, w, 3] of frames [T, H, W, 3], and where they show anything, [T, h, w].

    "picture" is the whole frame, squashed to 256 x 256. "person" is the square around the visible
    joints, likewise; nothing of a frame that shows fewer than two. "limbs" are the colours along
    each limb, 8 x 3 cells of it, one limb below the other, however it lies in the frame; of limbs
    that are not seen, nothing. "figure" is "person", showing only what lies near a limb, in the
    head or in the torso. "face" is the face at the places of `aa_eval.metrics.faces.TEMPLATE_PX`,
    112 x 112; nothing where it is not seen.

    Args:
        person: in pixels of the frames; not looked at for "picture".
    """
    if crop == "picture":
        whole = (0, 0, frames.shape[2], frames.shape[1])
        return np.stack([_resized(frame, whole) for frame in frames]), np.ones(
            (len(frames), SIDE_PX, SIDE_PX), dtype=np.bool_
        )
    assert person is not None  # the caller has seen to it
    if crop == "face":
        assert person.face is not None
        pairs = [_face(*pair) for pair in zip(frames, person.face, strict=True)]
    else:
        of_frame = {"person": _person, "limbs": _limbs, "figure": _figure}[crop]
        pairs = [of_frame(*pair) for pair in zip(frames, person.body, strict=True)]
    crops, masks = zip(*pairs, strict=True)
    return np.stack(crops), np.stack(masks)


def _square(joints: Body) -> tuple[float, float, float] | None:
    """(left, top, side) of the square around a frame's visible joints, in pixels from its edge."""
    seen = joints[np.isfinite(joints).all(axis=-1)]
    side = float(np.ptp(seen, axis=0).max()) * (1 + 2 * _MARGIN) if len(seen) > 1 else 0.0
    if side < 1:
        return None
    left, top = (seen.max(axis=0) + seen.min(axis=0) + 1 - side) / 2  # +1: from a pixel's edge
    return float(left), float(top), side


def _person(frame: Frames, joints: Body) -> tuple[Frames, Masks]:
    if (square := _square(joints)) is None:
        empty = np.zeros((SIDE_PX, SIDE_PX), dtype=np.bool_)
        return np.zeros((*empty.shape, 3), dtype=np.uint8), empty
    left, top, side = square
    # what lies outside of the frame is the frame's nearest pixel
    pad = int(
        np.ceil(max(0, -left, -top, left + side - frame.shape[1], top + side - frame.shape[0]))
    )
    padded = np.pad(frame, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    box = (left + pad, top + pad, left + pad + side, top + pad + side)
    return _resized(padded, box), np.ones((SIDE_PX, SIDE_PX), dtype=np.bool_)


def _figure(frame: Frames, joints: Body) -> tuple[Frames, Masks]:
    crop, shown = _person(frame, joints)
    if (square := _square(joints)) is None:
        return crop, shown
    left, top, side = square
    at = ((joints + 0.5 - [left, top]) * SIDE_PX / side - 0.5).tolist()
    torso_px = _torso_px(joints) * SIDE_PX / side
    width = _THICKNESS * torso_px if np.isfinite(torso_px) else SIDE_PX / 10
    picture = Image.new("1", (SIDE_PX, SIDE_PX))
    draw = ImageDraw.Draw(picture)
    known = np.asarray(np.isfinite(joints).all(axis=-1))
    for child, parent in LIMBS:
        if known[child] and known[parent]:
            draw.line([*at[child], *at[parent]], fill=1, width=max(round(width), 1))
    for joint in np.flatnonzero(known):  # the limbs' ends are round; the head is about the nose
        (x, y), radius = at[joint], width / 2 * (2 if joint == JOINT["nose"] else 1)
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=1)
    trunk = [JOINT[of] for of in ("right_shoulder", "left_shoulder", "left_hip", "right_hip")]
    if known[trunk].all():
        draw.polygon([tuple(at[joint]) for joint in trunk], fill=1)
    return crop, np.asarray(picture)


def _face(frame: Frames, points_px: faces.Points) -> tuple[Frames, Masks]:
    side = (faces.SIDE_PX, faces.SIDE_PX)
    if not np.isfinite(points_px).all():
        return np.zeros((*side, 3), dtype=np.uint8), np.zeros(side, dtype=np.bool_)
    face = np.rint(aligned_face(frame, points_px)).astype(np.uint8)
    return face, np.ones(side, dtype=np.bool_)


def _torso_px(joints: Body) -> float:
    hips = (joints[JOINT["right_hip"]] + joints[JOINT["left_hip"]]) / 2
    return float(np.hypot(*(hips - joints[JOINT["neck"]])))


def _limbs(frame: Frames, joints: Body) -> tuple[Frames, Masks]:
    half_px = _HALF_WIDTH * _torso_px(joints)
    ends, starts = (joints[list(side)] for side in zip(*LIMBS, strict=True))
    direction = ends - starts
    length = np.hypot(direction[:, 0], direction[:, 1])
    with np.errstate(invalid="ignore", divide="ignore"):
        across = np.stack([-direction[:, 1], direction[:, 0]], axis=-1) / length[:, None] * half_px
    along_at = (np.arange(_ALONG * _IN_CELL) + 0.5) / (_ALONG * _IN_CELL)
    across_at = (np.arange(_ACROSS * _IN_CELL) + 0.5) / (_ACROSS * _IN_CELL) * 2 - 1
    places = (
        starts[:, None, None]
        + along_at[:, None, None] * direction[:, None, None]
        + across_at[:, None] * across[:, None, None]
    )  # [limbs, along, across, (x, y)]
    limit = np.array(frame.shape[1::-1]) - 0.5
    inside = np.asarray(((places >= -0.5) & (places <= limit)).all(axis=-1))  # not where it is NaN
    at = np.moveaxis(np.where(inside[..., None], places, 0), -1, 0)[::-1]
    samples = np.stack(
        [
            map_coordinates(frame[..., c].astype(np.float32), at, order=1, mode="nearest")
            for c in range(3)
        ],
        axis=-1,
    )
    cells = (len(LIMBS), _ALONG, _IN_CELL, _ACROSS, _IN_CELL)
    colours = samples.reshape(*cells, 3).mean(axis=(2, 4))
    shown = np.all(inside.reshape(cells), axis=(2, 4))
    size = (len(LIMBS) * _ALONG, _ACROSS)
    return np.rint(colours).astype(np.uint8).reshape(*size, 3), shown.reshape(size)


def _resized(frame: Frames, box: tuple[float, float, float, float]) -> Frames:
    """The box (left, top, right, bottom) of a frame, antialiased, at 256 x 256."""
    image = Image.fromarray(np.ascontiguousarray(frame))
    return np.asarray(image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR, box=box))
