"""Retarget: another person's motion in the proportions and at the place of the person in a photo.

Methods differ in how they do this, so that the harness has one way of its own, to which every
method is held. It is that of `aa-animate` (a test holds the two to each other), on body joints.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import PairingError
from aa_eval.metrics.skeleton import BODY_JOINTS, JOINT, LIMBS, Body

_LONG_PERCENT = 90  # of a limb's lengths over the frames: one that points at the camera looks short
_MAX_DEVIATION = 1.5  # of one limb's scale from the whole body's: beyond, it is foreshortening
_NECK = JOINT["neck"]


def retarget(driving: Body, person: Body) -> Body:
    """The driving body, each limb in its own direction and of the length that it has in the photo.

    The neck starts where it is in the photo, and moves as the driving neck does in the scale of the
    whole body. Left and right share one scale. A joint whose neighbour towards the neck is not seen
    hangs on the next one that is.

    Args:
        driving: [T, 18, 2] of the driving video, in its pixels.
        person: [1, 18, 2] in the photo, in its pixels.

    Returns:
        [T, 18, 2] in pixels of the photo.

    Raises:
        PairingError: one of them never shows a neck, or they have no limb in common.
    """
    scales = _limb_scales(driving, person)
    necks = driving[:, _NECK][np.isfinite(driving[:, _NECK]).all(axis=-1)]
    if not np.isfinite(scales).any() or not len(necks) or np.isnan(person[0, _NECK]).any():
        raise PairingError(
            "the photo's pose and the driving pose have no neck, or no limb, in common: expected a "
            "person who is seen in both"
        )
    whole = float(np.nanmedian(scales))
    scales = np.clip(
        np.nan_to_num(scales, nan=whole), whole / _MAX_DEVIATION, whole * _MAX_DEVIATION
    )
    target = np.full_like(driving, np.nan)
    target[:, _NECK] = person[0, _NECK] + whole * (driving[:, _NECK] - necks[0])
    # Of each joint, what hangs on it measures from `was` and goes to `goes`: the joint's own places
    # where it is seen, else those of the joint that it hangs on; of a neck, where the neck begins.
    was, goes = driving.copy(), target.copy()
    unseen = np.asarray(np.isnan(driving).any(axis=-1))
    was[unseen[:, _NECK], _NECK], goes[unseen[:, _NECK], _NECK] = necks[0], person[0, _NECK]
    for (joint, parent), scale in zip(LIMBS, scales.tolist(), strict=True):
        of_frame = np.where(unseen[:, parent], whole, scale)[:, None]
        target[:, joint] = goes[:, parent] + of_frame * (driving[:, joint] - was[:, parent])
        lost = unseen[:, joint]
        goes[~lost, joint] = target[~lost, joint]
        was[lost, joint], goes[lost, joint] = was[lost, parent], goes[lost, parent]
    return target


def limb_angle_deg(predicted: Body, target: Body) -> NDArray[np.float64]:
    """Mean angle between the two sides' limbs, degrees in [0, 180], per frame: [T].

    Over limbs that both have, each counted by its length in the target: a limb that points at the
    camera has hardly a direction. Free of proportions, place and size; NaN without a common limb.
    """
    ours, theirs = (_vectors(side) for side in (predicted, target))
    cross = ours[..., 0] * theirs[..., 1] - ours[..., 1] * theirs[..., 0]
    angles = np.degrees(np.abs(np.arctan2(cross, (ours * theirs).sum(axis=-1))))
    lengths = np.where(np.isfinite(angles), np.hypot(*np.moveaxis(theirs, -1, 0)), 0.0)
    total = lengths.sum(axis=1)
    values = np.full(len(total), np.nan)
    np.divide((lengths * np.nan_to_num(angles)).sum(axis=1), total, out=values, where=total > 0)
    return values


def _vectors(body: Body) -> NDArray[np.float64]:
    """[T, limbs, 2], from the joint that a limb hangs on to its end."""
    ends, starts = zip(*LIMBS, strict=True)
    return np.asarray(body[:, list(ends)] - body[:, list(starts)])


def _limb_scales(driving: Body, person: Body) -> NDArray[np.float64]:
    """Photo's length / driving length of each limb, from the longer of left and right; or NaN."""
    sides = np.stack([_lengths(person), _lengths(driving)])
    with_twin = np.fmax(sides, sides[:, [_twin(limb) for limb in range(len(LIMBS))]])
    ours, theirs = with_twin
    scales = np.full(len(LIMBS), np.nan)
    np.divide(ours, theirs, out=scales, where=(ours > 0) & (theirs > 0))
    return scales


def _lengths(body: Body) -> NDArray[np.float64]:
    lengths = np.hypot(*np.moveaxis(_vectors(body), -1, 0))
    found = np.full(len(LIMBS), np.nan)
    for limb, of_limb in enumerate(lengths.T):
        seen = of_limb[np.isfinite(of_limb)]
        if len(seen):
            found[limb] = np.percentile(seen, _LONG_PERCENT)
    return found


def _twin(limb: int) -> int:
    """The limb of the other side of the body; itself for the nose's."""
    side, _, rest = BODY_JOINTS[LIMBS[limb][0]].partition("_")
    other = JOINT[{"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, side)]
    return next(index for index, (joint, _) in enumerate(LIMBS) if joint == other)
