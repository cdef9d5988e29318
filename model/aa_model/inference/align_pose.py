"""Rescale a driving skeleton to the proportions of the person to be animated (Sec. 4.1).

Every limb keeps its direction and gets the length that it has in the reference picture; the neck
starts where the reference's neck is, and moves as the driving neck does, in the same scale. A joint
whose neighbour is not seen (out of the frame, say) hangs on the next one towards the neck that is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aa_datasets.pose import (
    BODY_JOINTS,
    FACE,
    JOINT_SEEN_SCORE,
    LEFT_HAND,
    NUM_JOINTS,
    RIGHT_HAND,
    Pose,
    make_pose,
)
from aa_model.errors import ModelError

_INDEX = {name: i for i, name in enumerate(BODY_JOINTS)}
_NECK = _INDEX["neck"]
# child -> parent, parents first; each chain starts at the neck.
_PARENTS = {
    "nose": "neck",
    "right_shoulder": "neck", "right_elbow": "right_shoulder", "right_wrist": "right_elbow",
    "left_shoulder": "neck", "left_elbow": "left_shoulder", "left_wrist": "left_elbow",
    "right_hip": "neck", "right_knee": "right_hip", "right_ankle": "right_knee",
    "left_hip": "neck", "left_knee": "left_hip", "left_ankle": "left_knee",
    "right_eye": "nose", "left_eye": "nose", "right_ear": "right_eye", "left_ear": "left_eye",
}  # fmt: skip
_LIMBS = tuple((_INDEX[child], _INDEX[parent]) for child, parent in _PARENTS.items())
_LARGEST_DEVIATION = 1.5  # of one limb's scale from the whole body's: beyond, it is foreshortening


def align_pose(driving: Pose, reference: Pose, *, min_score: float = JOINT_SEEN_SCORE) -> Pose:
    """The driving pose with the limb lengths and the place of the reference.

    A limb's length in the driving video is its 90th percentile over the frames, since a limb that
    points at the camera looks short; left and right share one scale, from the longer of the two.
    Limbs not seen in either take the scale of the whole body.

    Args:
        driving: T frames.
        reference: its first frame is used; in frames of the same size as `driving`.

    Raises:
        ModelError: the reference pose is empty, or shares no limb with the driving pose.
    """
    if reference.num_frames == 0:
        raise ModelError("the reference pose has no frames: give one, or animate without alignment")
    body, person = _seen(driving, min_score), _seen(reference, min_score)[:1]
    ratios = _limb_ratios(body, person)
    known = ratios[np.isfinite(ratios)]
    if not len(known) or not np.isfinite(person[0, _NECK]).all():
        raise ModelError(
            "the reference pose shows no neck, or no limb that the driving pose shows too: give "
            "another --reference-pose, or animate without alignment"
        )
    whole = float(np.median(known))
    ratios = np.where(np.isfinite(ratios), ratios, whole)
    ratios = np.clip(ratios, whole / _LARGEST_DEVIATION, whole * _LARGEST_DEVIATION)
    old = driving.keypoints_px.astype(np.float64)
    neck = old[:, _NECK]
    first = neck[np.isfinite(neck).all(-1)][:1]
    if not len(first):
        raise ModelError("the driving pose never shows a neck: animate without alignment")
    new = np.full_like(old, np.nan)
    # What hangs on a joint, per frame: where it was and where it goes. A joint that is not seen
    # hands on what it hangs on itself; a neck, the place where the neck begins.
    was = np.broadcast_to(first[0], (len(old), NUM_JOINTS, 2)).copy()
    goes = np.broadcast_to(person[0, _NECK], was.shape).copy()

    def hang(points: slice, parent: int, scale: float) -> None:
        seen = np.isfinite(old[:, parent]).all(-1)
        scales = np.where(seen, scale, whole)[:, None, None]
        anchor = slice(parent, parent + 1)
        new[:, points] = goes[:, anchor] + scales * (old[:, points] - was[:, anchor])

    def hand_on(joint: int, parent: int) -> None:
        seen = np.isfinite(old[:, joint]).all(-1, keepdims=True)
        was[:, joint] = np.where(seen, old[:, joint], was[:, parent])
        goes[:, joint] = np.where(seen, new[:, joint], goes[:, parent])

    new[:, _NECK] = person[0, _NECK] + whole * (neck - first)
    hand_on(_NECK, _NECK)
    forearms = {_INDEX["left_wrist"]: LEFT_HAND, _INDEX["right_wrist"]: RIGHT_HAND}
    for (child, parent), ratio in zip(_LIMBS, ratios.tolist(), strict=True):
        hang(slice(child, child + 1), parent, ratio)
        hand_on(child, parent)
        if child in forearms:
            hang(forearms[child], child, ratio)
    hang(FACE, _INDEX["nose"], whole)
    return make_pose(new, driving.scores, driving.size_hw)


def foreshortened_limbs(
    driving: Pose, reference: Pose, *, min_score: float = JOINT_SEEN_SCORE
) -> tuple[str, ...]:
    """Limbs whose scale `align_pose` limits, by the joint at their end, such as "left_wrist".

    Such a limb points at the camera in the reference (or in all of the driving video), so that its
    length is not known.
    """
    ratios = _limb_ratios(_seen(driving, min_score), _seen(reference, min_score)[:1])
    if not np.isfinite(ratios).any():
        return ()
    deviation = np.abs(np.log(ratios / np.nanmedian(ratios)))
    limited = deviation > np.log(_LARGEST_DEVIATION) + 1e-9  # False for NaN
    return tuple(name for name, far in zip(_PARENTS, limited, strict=True) if far)


def _seen(pose: Pose, min_score: float) -> NDArray[np.float64]:
    body = pose.keypoints_px[:, : len(BODY_JOINTS)].astype(np.float64)
    body[pose.scores[:, : len(BODY_JOINTS)] < min_score] = np.nan
    return body


def _limb_ratios(
    driving: NDArray[np.float64], reference: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Reference length / driving length of each limb, NaN where one of them is not seen."""
    lengths = {
        limb: (_length(reference, limb), _length(driving, limb)) for limb in range(len(_LIMBS))
    }
    names = list(_PARENTS)
    ratios = np.full(len(_LIMBS), np.nan)
    for limb, name in enumerate(names):
        twin = names.index(_mirrored(name))
        pair = np.array([lengths[limb], lengths[twin]])
        longest = np.where(np.isfinite(pair), pair, 0).max(0)
        if (longest > 0).all():
            ratios[limb] = longest[0] / longest[1]
    return ratios


def _length(joints: NDArray[np.float64], limb: int) -> float:
    child, parent = _LIMBS[limb]
    lengths = np.linalg.norm(joints[:, child] - joints[:, parent], axis=-1)
    lengths = lengths[np.isfinite(lengths)]
    return float(np.percentile(lengths, 90)) if len(lengths) else float("nan")


def _mirrored(name: str) -> str:
    side, _, rest = name.partition("_")
    return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, name)
