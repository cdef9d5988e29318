"""PCK by hand-made offsets, by a plain loop, and under the changes it must not see."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aa_eval.errors import PairingError
from aa_eval.metrics.pose import akd_px, missing_rate, oks, pck, pose_error

# the corners of a 100 x 50 px box, and its centre
REF = np.array([[[0, 0], [100, 0], [0, 50], [100, 50], [50, 25]]], dtype=np.float32)
SEEN = np.ones((1, 5), np.float32)


@pytest.mark.parametrize(
    ("offset", "expected"), [((10, 0), 1.0), ((10.1, 0), 0.0), ((6, 8), 1.0), ((8, 8), 0.0)]
)
def test_tolerance_is_a_tenth_of_the_longer_side(
    offset: tuple[float, float], expected: float
) -> None:
    assert pck(REF + np.float32(offset), SEEN, REF, SEEN) == [expected]


def test_missing_joints_are_wrong_and_counted() -> None:
    scores = np.array([[1, 0, 1, 1, 1]], np.float32)
    gone = REF.copy()
    gone[0, 2] = np.nan
    assert pck(gone, scores, REF, SEEN) == [0.6]
    assert missing_rate(gone, scores, REF, SEEN) == [0.4]
    # joints that the reference lacks count for nothing, and leave the box
    assert pck(REF, SEEN, gone, scores) == [1.0]
    assert missing_rate(REF, SEEN, gone, scores) == [0.0]


def test_frames_that_say_nothing_are_nan() -> None:
    ref = np.repeat(REF, 3, axis=0)
    scores = np.array([[0] * 5, [1, 0, 0, 0, 0], [1] * 5], np.float32)
    values = pck(ref, np.ones((3, 5)), ref, scores)
    np.testing.assert_array_equal(values, [np.nan, np.nan, 1.0])
    np.testing.assert_array_equal(missing_rate(ref, scores, ref, scores), [np.nan, 0, 0])


@settings(max_examples=80)
@given(
    st.integers(0, 9999), st.integers(1, 5), st.integers(1, 9), st.sampled_from([0.05, 0.1, 0.3])
)
def test_equals_a_plain_loop_and_ignores_scale_and_place(
    seed: int, frames: int, joints: int, alpha: float
) -> None:
    rng = np.random.default_rng(seed)
    ref = rng.uniform(0, 100, (frames, joints, 2))
    pred = ref + rng.normal(0, 8, ref.shape)
    pred_scores, ref_scores = (rng.random((frames, joints)).round() for _ in range(2))
    pred[pred_scores == 0] = np.nan
    ref[ref_scores == 0] = np.nan
    values = pck(pred, pred_scores, ref, ref_scores, alpha)
    for t in range(frames):
        seen = [j for j in range(joints) if ref_scores[t, j] > 0]
        sides = [max(ref[t, seen, a]) - min(ref[t, seen, a]) for a in (0, 1)] if seen else [0]
        if max(sides) == 0:
            assert np.isnan(values[t])
            continue
        near = [
            j
            for j in seen
            if pred_scores[t, j] > 0
            and np.linalg.norm(pred[t, j] - ref[t, j]) <= alpha * max(sides)
        ]
        assert values[t] == len(near) / len(seen)
    moved = pck(4 * pred + 32, pred_scores, 4 * ref + 32, ref_scores, alpha)
    np.testing.assert_allclose(moved, values)
    absent = missing_rate(pred, pred_scores, ref, ref_scores)
    assert np.all(np.nan_to_num(values) <= 1 - np.nan_to_num(absent) + 1e-12)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(PairingError, match="same T and J"):
        pck(REF, SEEN, REF[:, :4], SEEN[:, :4])
    with pytest.raises(PairingError, match="same T and J"):
        missing_rate(REF[..., :1], SEEN, REF, SEEN)


@settings(max_examples=60)
@given(st.integers(0, 9999), st.integers(1, 4), st.integers(1, 7))
def test_average_distance_equals_a_plain_loop_over_common_joints(
    seed: int, frames: int, joints: int
) -> None:
    draw = np.random.default_rng(seed)
    ours, theirs = (draw.uniform(0, 99, (frames, joints, 2)) for _ in range(2))
    a, b = (draw.integers(0, 2, (frames, joints)).astype(float) for _ in range(2))
    ours[a == 0] = np.nan  # an absent joint has no place
    found = akd_px(ours, a, theirs, b)
    for t in range(frames):
        seen = [j for j in range(joints) if a[t, j] and b[t, j]]
        common = [np.linalg.norm(ours[t, j] - theirs[t, j]) for j in seen]
        assert found[t] == pytest.approx(np.mean(common) if common else np.nan, nan_ok=True)
    np.testing.assert_allclose(akd_px(theirs + np.array([3, 4]), b, theirs, b)[b.any(axis=1)], 5)


def test_joints_below_the_least_score_do_not_count() -> None:
    points = np.array([[[0.0, 0], [0, 10], [10, 0], [10, 10]]])
    guessed = points.copy()
    guessed[0, 3] += 50
    scores = np.array([[0.9, 0.9, 0.9, 0.29]])
    assert pck(guessed, scores, points, np.ones((1, 4)), min_score=0.3)[0] == 0.75
    assert missing_rate(guessed, scores, points, np.ones((1, 4)), min_score=0.3)[0] == 0.25
    assert akd_px(guessed, scores, points, np.ones((1, 4)), min_score=0.3)[0] == 0
    assert pck(guessed, np.ones((1, 4)), points, scores, min_score=0.3)[0] == 1  # 3 of 3
    assert akd_px(guessed, scores, points, np.ones((1, 4)))[0] > 0  # of any score, by default


def test_similarity_of_a_joint_off_by_its_spread() -> None:
    """One sigma of COCO's: 2 sigma sqrt(area) away, which gives exp(-1/2)."""
    reference = np.zeros((1, 17, 2))
    reference[0, :, 0], reference[0, :, 1] = np.arange(17) * 10.0, np.arange(17) % 2 * 100.0
    area = 0.53 * 160 * 100
    prediction = reference.copy()
    prediction[0, 0, 0] += 2 * 0.026 * np.sqrt(area)  # the nose
    ones = np.ones((1, 17))
    expected = (16 + np.exp(-0.5)) / 17
    np.testing.assert_allclose(oks(prediction, ones, reference, ones), expected)
    np.testing.assert_allclose(oks(reference, ones, reference, ones), 1)
    lacking = ones.copy()
    lacking[0, 3] = 0
    np.testing.assert_allclose(oks(reference, lacking, reference, ones), 16 / 17)
    assert np.isnan(oks(reference, ones, reference, 0 * ones)).all()
    with pytest.raises(PairingError, match="which of 21 joints"):
        oks(*([np.zeros((1, 21, 2)), np.ones((1, 21))] * 2))


def test_openpose_and_coco_have_the_same_body() -> None:
    draw = np.random.default_rng(0)
    openpose = [draw.uniform(0, 100, (4, 18, 2)) for _ in range(2)]
    order = [0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10]
    coco = [points[:, order] for points in openpose]
    a, b = (oks(x, np.ones(x.shape[:2]), y, np.ones(y.shape[:2])) for x, y in (openpose, coco))
    np.testing.assert_array_equal(a, b)


def test_pose_error_is_one_minus_pycocotools_map() -> None:
    """pycocotools 2.0.11 on the same 40 frames (areas as here, one detection a frame): 0.16615."""
    draw = np.random.default_rng(3)
    reference = draw.uniform(20, 200, (40, 17, 2))
    seen = (draw.uniform(0, 1, (40, 17)) > 0.2) * 1.0
    seen[5] = seen[17] = 0  # no person: what is predicted there is wrong
    prediction = reference + draw.normal(0, 1, (40, 17, 2)) * draw.uniform(1, 25, (40, 1, 1))
    scores = draw.uniform(0.1, 1, (40, 17))
    scores[9] = 0  # no prediction
    alike = oks(prediction, scores, reference, seen)
    assert 1 - pose_error(alike, scores) == pytest.approx(0.16615144510238197, abs=1e-12)
    assert pose_error(oks(reference, seen, reference, seen), seen) == 0
    assert pose_error(alike, 0 * scores) == 1
    assert np.isnan(pose_error(np.full(3, np.nan), np.ones((3, 17))))
