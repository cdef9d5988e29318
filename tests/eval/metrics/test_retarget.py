"""Angles of limbs in closed form, joints by their names, and what cannot be retargeted."""

from __future__ import annotations

import numpy as np
import pytest

from aa_eval.errors import PairingError
from aa_eval.metrics.retarget import limb_angle_deg, retarget
from aa_eval.metrics.skeleton import BODY_JOINTS, JOINT, LIMBS, Body, body_joints

COCO = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
    "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip


def body(seed: int = 0, T: int = 1) -> Body:
    return np.random.default_rng(seed).uniform(20, 80, (T, 18, 2))


def below(joint: str) -> list[int]:
    """The joint, and all that hang on it."""
    found = [JOINT[joint]]
    for child, parent in LIMBS:
        if parent in found:
            found.append(child)
    return found


def length(of: Body, child: str, parent: str) -> float:
    return float(np.hypot(*(of[0, JOINT[child]] - of[0, JOINT[parent]])))


@pytest.mark.parametrize("angle", [0, 30, 90, 135, 180, -60])
def test_an_angle_counts_by_its_limbs_length_in_the_target(angle: float) -> None:
    target, turned = body(), body()
    wrist, elbow = JOINT["left_wrist"], JOINT["left_elbow"]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.array([[c, -s], [s, c]])
    turned[0, wrist] = turned[0, elbow] + 3 * turn @ (turned[0, wrist] - turned[0, elbow])
    total = sum(length(target, BODY_JOINTS[a], BODY_JOINTS[b]) for a, b in LIMBS)
    share = length(target, "left_wrist", "left_elbow") / total
    np.testing.assert_allclose(limb_angle_deg(turned, target), [abs(angle) * share], atol=1e-6)


def test_place_size_and_proportions_do_not_count_and_absent_limbs_neither() -> None:
    target = body(T=2)
    np.testing.assert_allclose(limb_angle_deg(3 * target + 7, target), 0, atol=1e-5)
    np.testing.assert_allclose(limb_angle_deg(-target, target), 180)
    some = target.copy()
    some[0, JOINT["neck"]] = np.nan
    some[1] = np.nan
    found = limb_angle_deg(-some, target)
    assert found[0] == pytest.approx(180)
    assert np.isnan(found[1])


def test_another_persons_limbs_keep_directions_and_get_the_photos_lengths() -> None:
    driving, person = body(1, T=1), body(2)
    for side in ("left", "right"):  # of one length on both sides, and none foreshortened
        for of in (driving, person):
            for child, parent in LIMBS:
                if BODY_JOINTS[child].startswith(side):
                    way = of[0, child] - of[0, parent]
                    moved = below(BODY_JOINTS[child])
                    of[0, moved] += (10 if of is driving else 12) * way / np.hypot(*way) - way
    found = retarget(driving, person)
    assert limb_angle_deg(found, driving) == pytest.approx([0], abs=1e-6)
    np.testing.assert_allclose(found[0, JOINT["neck"]], person[0, JOINT["neck"]])
    for child, parent in LIMBS[1:]:
        assert length(found, BODY_JOINTS[child], BODY_JOINTS[parent]) == pytest.approx(12)
    # A limb of three times the others' scale is foreshortened: it is limited to half as much more.
    knee = JOINT["left_knee"]
    for side in ("left", "right"):
        knee, hip = JOINT[f"{side}_knee"], JOINT[f"{side}_hip"]
        person[0, below(f"{side}_knee")] += 2 * (person[0, knee] - person[0, hip])
    found = retarget(driving, person)
    assert length(found, "left_knee", "left_hip") == pytest.approx(12 * 1.5)


def test_the_neck_moves_in_the_scale_of_the_whole_body() -> None:
    driving = np.repeat(body(3), 2, axis=0)
    driving[1] += (5, -3)
    found = retarget(driving, 2 * driving[:1] + 11)
    np.testing.assert_allclose(found, 2 * driving + 11)


@pytest.mark.parametrize("gone", ["driving's neck", "photo's neck", "limbs"])
def test_without_a_neck_or_a_limb_in_common_nothing_is_retargeted(gone: str) -> None:
    driving, person = body(1, T=2), body(2)
    if gone == "driving's neck":
        driving[:, JOINT["neck"]] = np.nan
    elif gone == "photo's neck":
        person[:, JOINT["neck"]] = np.nan
    else:
        person[0, [j for j in range(18) if j != JOINT["neck"]]] = np.nan
    with pytest.raises(PairingError, match="have no neck, or no limb, in common"):
        retarget(driving, person)
    one = body(1, T=2)
    one[0, JOINT["neck"]] = np.nan
    retarget(one, body(2))  # a neck in one frame is enough


def test_joints_are_found_by_their_names_in_every_order() -> None:
    names = {17: COCO, 18: BODY_JOINTS, 128: BODY_JOINTS, 133: COCO}
    for count, order in names.items():
        points = np.zeros((1, count, 2))
        for place, name in enumerate(order):
            points[0, place] = (JOINT[name], 100 + JOINT[name])
        found = body_joints(points, np.ones((1, count)), 0.0)
        expected = np.stack([np.arange(18.0), 100 + np.arange(18.0)], axis=-1)
        if order is COCO:
            middle = (expected[JOINT["left_shoulder"]] + expected[JOINT["right_shoulder"]]) / 2
            expected[JOINT["neck"]] = middle
        np.testing.assert_array_equal(found[0], expected)
    with pytest.raises(PairingError, match="keypoints of 25 joints: expected 17, 18, 128 or 133"):
        body_joints(np.zeros((1, 25, 2)), np.zeros((1, 25)), 0.0)


def test_a_joint_is_seen_from_its_score_on_and_never_at_0() -> None:
    scores = np.array([[0.0, 0.29, 0.3, 1.0] + [1.0] * 14])
    points = np.ones((1, 18, 2))
    points[0, 3, 1] = np.inf
    for least, unseen in ((0.3, [0, 1, 3]), (0.0, [0, 3])):
        found = body_joints(points, scores, least)
        assert np.flatnonzero(np.isnan(found[0]).all(axis=-1)).tolist() == unseen
    coco = np.ones((1, 17))
    coco[0, COCO.index("left_shoulder")] = 0
    found = body_joints(np.ones((1, 17, 2)), coco, 0.0)
    assert np.isnan(found[0, JOINT["neck"]]).all(), "a neck needs both shoulders"
