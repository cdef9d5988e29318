"""Keypoint files: `<video>.npz`, as any pose estimator's output can be written."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import PairingError
from aa_eval.metrics.pose import akd_px, missing_rate, pck
from aa_eval.videos.pairing import Pair


def pose_metrics(
    pair: Pair, predicted: Path, reference: Path, alpha: float
) -> dict[str, NDArray[np.float64]]:
    """ "pck", "akd" and "missing_rate" per frame [T] from `<video>.npz` in both folders.

    NaN where nothing can be compared. See `aa_eval.metrics.pose`.

    Raises:
        PairingError: a file is missing or malformed, or frames, joints or sizes differ.
    """
    ours = read_keypoints(predicted / f"{pair.video_id}.npz")
    theirs = read_keypoints(reference / f"{pair.video_id}.npz")
    if ours[0].shape != theirs[0].shape or len(ours[0]) != pair.num_frames:
        raise PairingError(
            f"keypoints of '{pair.video_id}' are {list(ours[0].shape)} and "
            f"{list(theirs[0].shape)}: expected [{pair.num_frames} frames, joints, 2] in both"
        )
    if ours[2] != theirs[2]:
        raise PairingError(
            f"keypoints of '{pair.video_id}' are in frames of {ours[2]} and {theirs[2]} "
            "(height, width): estimate both at one size"
        )
    sides = (ours[0], ours[1], theirs[0], theirs[1])
    return {
        "pck": pck(*sides, alpha=alpha),
        "akd": akd_px(*sides),
        "missing_rate": missing_rate(*sides),
    }


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
            points = np.asarray(arrays["keypoints_px"], dtype=np.float64)
            scores = np.asarray(arrays["scores"], dtype=np.float64)
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
