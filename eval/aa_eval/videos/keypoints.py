"""Keypoint files: `<video>.npz`, as any pose estimator's output can be written."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import PairingError
from aa_eval.metrics.faces import Faces, face_points
from aa_eval.metrics.pose import akd_px, missing_rate, pck
from aa_eval.metrics.retarget import limb_angle_deg
from aa_eval.metrics.skeleton import Body
from aa_eval.videos.pairing import Pair

ASPECT_TOLERANCE = 0.02  # of the sides' ratio: sizes are rounded to whole pixels


Keypoints: TypeAlias = "tuple[NDArray[np.float64], NDArray[np.float64]]"  # [T, J, 2] px, [T, J]


def keypoints_of(pair: Pair, predicted: Path, reference: Path) -> tuple[Keypoints, Keypoints]:
    """Both sides' keypoints, in pixels of the reference, and scores, from `<video>.npz`.

    Raises:
        PairingError: a file is missing or malformed, or frames, joints or the sides' ratio differ.
    """
    ours = keypoints_on_frames(predicted / f"{pair.video_id}.npz", pair.size_hw)
    theirs = keypoints_on_frames(reference / f"{pair.video_id}.npz", pair.size_hw)
    if ours[0].shape != theirs[0].shape or len(ours[0]) != pair.num_frames:
        raise PairingError(
            f"keypoints of '{pair.video_id}' are {list(ours[0].shape)} and "
            f"{list(theirs[0].shape)}: expected [{pair.num_frames} frames, joints, 2] in both"
        )
    return ours, theirs


def pose_metrics(
    pair: Pair, predicted: Path, reference: Path, alpha: float, min_score: float
) -> dict[str, NDArray[np.float64]]:
    """ "pck", "akd" and "missing_rate" per frame [T]; NaN where nothing can be compared.

    See `keypoints_of` and `aa_eval.metrics.pose`.

    Raises:
        PairingError: as `keypoints_of`.
    """
    ours, theirs = keypoints_of(pair, predicted, reference)
    sides = (*ours, *theirs)
    return {
        "pck": pck(*sides, alpha=alpha, min_score=min_score),
        "akd": akd_px(*sides, min_score=min_score),
        "missing_rate": missing_rate(*sides, min_score=min_score),
    }


def driven_pose_metrics(pair: Pair, alpha: float) -> dict[str, dict[str, NDArray[np.float64]]]:
    """ "pck", "akd", "missing_rate" and "limb_angle" per frame [T] against the driving pose.

    In pixels of the photo. Methods put the person where they like: before PCK and AKD a video's
    target is moved as a whole, by the median over its frames and joints of what it is off.

    Returns:
        By whose pose it is: "" for the prediction's, "static" for its first frame's, and
        "repeat-reference" for the photo's; without those of which no keypoints were given.
    """
    driven = pair.driven
    assert driven is not None  # the caller has seen to it
    assert pair.prediction_size_hw is not None
    bodies: dict[str, Body] = {}
    if driven.predicted is not None:
        bodies[""] = driven.predicted.resized(pair.prediction_size_hw, pair.size_hw).body
        bodies["static"] = np.repeat(bodies[""][:1], pair.num_frames, axis=0)
        if driven.photo is not None:
            bodies["repeat-reference"] = np.repeat(driven.photo.body, pair.num_frames, axis=0)
    found = {}
    for name, body in bodies.items():
        off_px = (body - driven.target).reshape(-1, 2)
        known = off_px[np.isfinite(off_px).all(axis=-1)]
        target = driven.target + (np.median(known, axis=0) if len(known) else 0)
        sides = [
            (points, np.asarray(np.isfinite(points).all(axis=-1), dtype=np.float64))
            for points in (body, target)
        ]
        found[name] = {
            "pck": pck(*sides[0], *sides[1], alpha=alpha),
            "akd": akd_px(*sides[0], *sides[1]),
            "missing_rate": missing_rate(*sides[0], *sides[1]),
            "limb_angle": limb_angle_deg(body, target),
        }
    return found


def with_faces(pair: Pair, predicted: Path, reference: Path, min_score: float) -> Pair:
    """The pair with its faces, where the keypoints have them.

    Raises:
        PairingError: as `keypoints_of`.
    """
    sides = [face_points(*side, min_score) for side in keypoints_of(pair, predicted, reference)]
    ours, theirs = sides
    return pair if ours is None or theirs is None else replace(pair, faces=Faces(ours, theirs))


def keypoints_on_frames(
    path: Path, size_hw: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """keypoints_px [T, J, 2] in pixels of frames of `size_hw`, and scores [T, J], of one file.

    Raises:
        PairingError: it is missing or malformed, or was made of frames of another shape.
    """
    points, scores, made_at_hw = read_keypoints(path)
    stretch = (size_hw[0] / made_at_hw[0]) / (size_hw[1] / made_at_hw[1])
    if abs(stretch - 1) > ASPECT_TOLERANCE:
        raise PairingError(
            f"{path}: keypoints of frames of {made_at_hw[1]}x{made_at_hw[0]}, the reference is "
            f"{size_hw[1]}x{size_hw[0]} (width x height): estimate them on frames of its shape"
        )
    scale = np.array(size_hw[::-1]) / np.array(made_at_hw[::-1])
    # a pixel's centre is at a whole number in both sizes
    return (points + 0.5) * scale - 0.5, scores


def read_keypoints(
    path: Path,
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[int, int]]:
    """keypoints_px [T, J, 2], scores [T, J] and (height, width) of one file.

    Raises:
        PairingError: it is missing or malformed.
    """
    if not path.is_file():
        raise PairingError(f"{path}: no such file: each video needs its <video>.npz of keypoints")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            points, scores = (
                np.asarray(arrays[name]).astype(np.float64, casting="same_kind")
                if arrays[name].dtype.kind in "fc"
                else np.asarray(arrays[name], dtype=np.float64)
                for name in ("keypoints_px", "scores")
            )
            height, width = (int(side) for side in arrays["size_hw"])
    except (KeyError, ValueError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise PairingError(
            f"{path}: not a keypoints file ({error}): expected an npz of keypoints_px [T, J, 2], "
            "scores [T, J] and size_hw"
        ) from error
    if min(height, width) < 1:
        raise PairingError(f"{path}: size_hw is {[height, width]}, expected at least 1 pixel")
    if points.ndim != 3 or points.shape[2] != 2 or scores.shape != points.shape[:2]:
        raise PairingError(
            f"{path}: keypoints_px is {list(points.shape)} and scores {list(scores.shape)}: "
            "expected [T, J, 2] and [T, J]"
        )
    return points, scores, (height, width)
