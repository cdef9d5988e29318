"""Pose fidelity: how many joints of the prediction lie where the reference's do, and how near."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import PairingError

# Where COCO's 17 joints stand, by number of joints: OpenPose's 18 come first in this project's 128.
_OPENPOSE_OF_COCO = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
_COCO = {
    17: tuple(range(17)), 133: tuple(range(17)), 18: _OPENPOSE_OF_COCO, 128: _OPENPOSE_OF_COCO,
}  # fmt: skip
# How far apart people put a joint, in roots of the person's area (Ronchi and Perona 2017).
_SIGMAS = np.array(
    [.26, .25, .25, .35, .35, .79, .79, .72, .72, .62, .62, 1.07, 1.07, .87, .87, .89, .89]
) / 10.0  # fmt: skip
_AREA_OF_BOX = 0.53  # a person's share of the box about the joints, where no mask tells (CrowdPose)
_THRESHOLDS = np.linspace(0.5, 0.95, 10)


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
    longer_side_px = _box_sides_px(ref_keypoints_px, visible).max(axis=1)
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


def oks(
    pred_keypoints_px: NDArray[np.floating],
    pred_scores: NDArray[np.floating],
    ref_keypoints_px: NDArray[np.floating],
    ref_scores: NDArray[np.floating],
    min_score: float = 0.0,
) -> NDArray[np.float64]:
    """COCO's object keypoint similarity of the body's 17 joints, per frame: [T], 0 to 1.

    exp(-d^2 / (2 area (2 sigma)^2)), mean over the reference's visible joints; a joint that the
    prediction lacks counts as 0. The area is 0.53 of the box about those joints. Arguments and
    errors as in `pck`; NaN for a frame whose reference has no visible joint, or a box without
    extent.

    Raises:
        PairingError: it is not known which of J joints are the body's.
    """
    count = ref_scores.shape[-1]
    if count not in _COCO:
        raise PairingError(
            f"which of {count} joints are COCO's 17 is not known: expected 17, 18, 128 or 133"
        )
    body = list(_COCO[count])
    ours, theirs = pred_keypoints_px[:, body], ref_keypoints_px[:, body]
    predicted, visible = _present(
        ours, pred_scores[:, body], theirs, ref_scores[:, body], min_score
    )
    area = _AREA_OF_BOX * _box_sides_px(theirs, visible).prod(axis=1)
    area[~(area > 0)] = np.nan
    squares = np.square(_distance_px(ours, theirs, predicted & visible))
    alike = np.exp(-squares / (2 * area[:, None] * np.square(2 * _SIGMAS)))
    return _ratio((alike * (predicted & visible)).sum(axis=1), visible.sum(axis=1))


def pose_error(
    similarities: NDArray[np.float64], pred_scores: NDArray[np.floating], min_score: float = 0.0
) -> float:
    """1 - mAP of one video's poses, one person a frame, as COCO's evaluation computes AP.

    WYD's pAPE (Bugliarello et al. 2025). Frames are ranked by the mean score of the predicted
    joints; a prediction is right where its similarity is at least 0.50, 0.55, ... 0.95; precision
    is interpolated at 101 recalls, and averaged over these and the ten thresholds.

    Args:
        similarities: [T] of `oks`; NaN where the reference shows no person, so that a prediction is
            wrong there.
        pred_scores: [T, J]; a frame without a joint above 0 and `min_score` has none.

    Returns:
        0 to 1; NaN where the reference shows no person in any frame.
    """
    shown = np.isfinite(similarities)
    if not shown.any():
        return float("nan")
    there = (pred_scores > 0) & (pred_scores >= min_score)
    made = there.any(axis=1)
    confidence = _ratio((pred_scores * there).sum(axis=1), there.sum(axis=1))[made]
    ranked = np.where(shown, similarities, -1)[made][np.argsort(-confidence, kind="stable")]
    precisions = []
    for threshold in _THRESHOLDS:
        right = np.cumsum(ranked >= threshold)
        recall = right / shown.sum()
        precision = right / np.arange(1, len(right) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
        precisions.append(np.append(precision, 0.0)[places].mean())
    return 1 - float(np.mean(precisions))


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


def _box_sides_px(
    keypoints_px: NDArray[np.floating], visible: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Width and height of the box about the visible joints, [T, 2]; 0 where there is none."""
    low = np.where(visible[..., None], keypoints_px, np.inf).min(axis=1, initial=np.inf)
    high = np.where(visible[..., None], keypoints_px, -np.inf).max(axis=1, initial=-np.inf)
    return np.asarray(np.maximum(high - low, 0), dtype=np.float64)


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
