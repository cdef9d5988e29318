"""Pose fidelity: how many joints of the prediction lie where the reference's do, and how near."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import PairingError


def pck(
    pred_keypoints_px: NDArray[np.floating],
    pred_scores: NDArray[np.floating],
    ref_keypoints_px: NDArray[np.floating],
    ref_scores: NDArray[np.floating],
    alpha: float = 0.1,
    min_score: float = 0.0,
) -> NDArray[np.float64]:
    """Percentage of correct keypoints per frame, as a fraction in [0, 1] (Yang and Ramanan 2013).

    Of the joints visible in the reference: those whose prediction lies within `alpha` times the
    longer side of the bounding box of the reference's visible joints. A joint that the prediction
    lacks counts as wrong. A joint is visible where its score is above 0 and at least `min_score`,
    and its place finite.

    Args:
        pred_keypoints_px, ref_keypoints_px: [T, J, 2], (x, y) in pixels of the same frame.
        pred_scores, ref_scores: [T, J]; 0 where the joint is absent.
        alpha: tolerance; 0.1 for PCK@0.1.
        min_score: from which a joint counts as visible.

    Returns:
        [T]; NaN for a frame that says nothing: no visible joint in the reference, or a bounding
        box without extent.

    Raises:
        PairingError: the shapes do not fit each other.
    """
    predicted, visible = _present(
        pred_keypoints_px, pred_scores, ref_keypoints_px, ref_scores, min_score
    )
    shown = visible[..., None]
    low = np.where(shown, ref_keypoints_px, np.inf).min(axis=1, initial=np.inf)
    high = np.where(shown, ref_keypoints_px, -np.inf).max(axis=1, initial=-np.inf)
    longer_side_px = (high - low).max(axis=1)
    both = predicted & visible
    distance_px = _distance_px(pred_keypoints_px, ref_keypoints_px, both)
    correct = both & (distance_px <= alpha * longer_side_px[:, None])
    values = _ratio(correct.sum(axis=1), visible.sum(axis=1))
    values[~(longer_side_px > 0)] = np.nan
    return values


def akd_px(
    pred_keypoints_px: NDArray[np.floating],
    pred_scores: NDArray[np.floating],
    ref_keypoints_px: NDArray[np.floating],
    ref_scores: NDArray[np.floating],
    min_score: float = 0.0,
) -> NDArray[np.float64]:
    """Average keypoint distance in pixels, per frame: [T] (Siarohin et al. 2019).

    Over the joints that both sides have: read it with `missing_rate`, or a prediction without a
    person looks perfect. It grows with the size of the frames. Arguments and errors as in `pck`;
    NaN for frames without a joint in common.
    """
    predicted, visible = _present(
        pred_keypoints_px, pred_scores, ref_keypoints_px, ref_scores, min_score
    )
    both = predicted & visible
    distance_px = _distance_px(pred_keypoints_px, ref_keypoints_px, both)
    return _ratio(distance_px.sum(axis=1), both.sum(axis=1))


def missing_rate(
    pred_keypoints_px: NDArray[np.floating],
    pred_scores: NDArray[np.floating],
    ref_keypoints_px: NDArray[np.floating],
    ref_scores: NDArray[np.floating],
    min_score: float = 0.0,
) -> NDArray[np.float64]:
    """Fraction of the reference's visible joints that the prediction lacks, per frame: [T].

    Arguments and errors as in `pck`; NaN for frames without a visible joint in the reference.
    """
    predicted, visible = _present(
        pred_keypoints_px, pred_scores, ref_keypoints_px, ref_scores, min_score
    )
    return _ratio((visible & ~predicted).sum(axis=1), visible.sum(axis=1))


def _present(
    pred_keypoints_px: NDArray[np.floating],
    pred_scores: NDArray[np.floating],
    ref_keypoints_px: NDArray[np.floating],
    ref_scores: NDArray[np.floating],
    min_score: float,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    shapes = [x.shape for x in (pred_keypoints_px, pred_scores, ref_keypoints_px, ref_scores)]
    frames_joints = shapes[3]
    wanted = [(*frames_joints, 2), frames_joints] * 2
    if len(frames_joints) != 2 or shapes != wanted:
        found = ", ".join(str(list(shape)) for shape in shapes)
        raise PairingError(
            f"keypoints and scores of prediction and reference are {found}: "
            "expected [T, J, 2], [T, J], [T, J, 2], [T, J] with the same T and J"
        )
    return (
        (pred_scores > 0)
        & (pred_scores >= min_score)
        & np.isfinite(pred_keypoints_px).all(axis=-1),
        (ref_scores > 0) & (ref_scores >= min_score) & np.isfinite(ref_keypoints_px).all(axis=-1),
    )


def _distance_px(
    ours: NDArray[np.floating], theirs: NDArray[np.floating], both: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """[T, J]; 0 where `both` is false."""
    offset = np.subtract(ours, theirs, out=np.zeros(ours.shape), where=both[..., None])
    return np.asarray(np.hypot(offset[..., 0], offset[..., 1]), dtype=np.float64)


def _ratio(
    part: NDArray[np.int64] | NDArray[np.float64], whole: NDArray[np.int64]
) -> NDArray[np.float64]:
    values = np.full(len(whole), np.nan)
    np.divide(part, whole, out=values, where=whole > 0)
    return values
