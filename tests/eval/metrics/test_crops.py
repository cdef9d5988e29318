"""Crops: what of a frame they show, by pictures whose colours tell their places."""

from __future__ import annotations

import numpy as np
import pytest

from aa_eval.metrics.crops import SIDE_PX, crop_frames
from aa_eval.metrics.skeleton import JOINT, LIMBS, Person

H, W = 200, 300


def places() -> np.ndarray:
    """Red tells the column, green the row."""
    frame = np.zeros((H, W, 3), np.uint8)
    frame[..., 0] = np.linspace(0, 255, W).round()
    frame[..., 1] = np.linspace(0, 255, H).round()[:, None]
    return frame


def person(**joints: tuple[float, float]) -> Person:
    body = np.full((1, 18, 2), np.nan)
    for name, place in joints.items():
        body[0, JOINT[name]] = place
    return Person(body)


def shown_px(crop: np.ndarray) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of what a crop of `places` shows, in pixels from the edge."""
    red, green = (crop[..., c].astype(float) for c in (0, 1))
    across, down = red[128] / 255 * (W - 1) + 0.5, green[:, 128] / 255 * (H - 1) + 0.5
    step_x, step_y = (across[-40] - across[40]) / 176, (down[-40] - down[40]) / 176
    left, top = across[40] - 40.5 * step_x, down[40] - 40.5 * step_y
    return left, top, left + 256 * step_x, top + 256 * step_y


def test_a_picture_is_the_whole_frame_squashed() -> None:
    crops, masks = crop_frames(places()[None], None, "picture")
    assert crops.shape == (1, SIDE_PX, SIDE_PX, 3) == (1, 256, 256, 3)
    assert masks.all()
    np.testing.assert_allclose(shown_px(crops[0]), (0, 0, W, H), atol=2)


def test_a_person_is_the_square_around_the_joints_and_a_margin() -> None:
    crops, masks = crop_frames(
        places()[None], person(nose=(140, 60), left_ankle=(160, 140), neck=(150, 100)), "person"
    )
    assert masks.all()
    # 80 px high, and 0.15 of that on each side: 104 px around the middle of the joints' pixels.
    np.testing.assert_allclose(shown_px(crops[0]), (98.5, 48.5, 202.5, 152.5), atol=1.5)


def test_beyond_the_frame_its_border_goes_on() -> None:
    crops, _ = crop_frames(
        places()[None], person(nose=(20, 60), left_ankle=(0, 140)), "person"
    )  # from -41.5 to 62.5 px
    outside = crops[0][:, :95]
    assert (outside[..., 0] == 0).all()
    assert crops[0][128, -1, 0] > 40
    np.testing.assert_array_equal(outside[:, :1].repeat(95, 1), outside)


@pytest.mark.parametrize("crop", ["person", "figure"])
@pytest.mark.parametrize("joints", [{}, {"nose": (50.0, 50.0)}])
def test_fewer_than_two_joints_show_nothing(crop: str, joints: dict) -> None:  # type: ignore[type-arg]
    crops, masks = crop_frames(places()[None], person(**joints), crop)  # type: ignore[arg-type]
    assert not crops.any()
    assert not masks.any()


STANDING = {
    "nose": (150.0, 40.0), "neck": (150.0, 60.0), "right_shoulder": (135.0, 60.0),
    "left_shoulder": (165.0, 60.0), "right_hip": (140.0, 110.0), "left_hip": (160.0, 110.0),
    "left_elbow": (190.0, 60.0), "left_wrist": (190.0, 100.0),
}  # fmt: skip


def test_limbs_are_their_colours_from_joint_to_joint() -> None:
    crops, masks = crop_frames(places()[None], person(**STANDING), "limbs")
    assert crops.shape == (1, 8 * len(LIMBS), 3, 3)
    of_limb = {(child, parent): slice(8 * n, 8 * n + 8) for n, (child, parent) in enumerate(LIMBS)}
    forearm = crops[0][of_limb[JOINT["left_wrist"], JOINT["left_elbow"]]].astype(float)
    rows = forearm[..., 1] / 255 * (H - 1)
    np.testing.assert_allclose(rows.mean(1), 60 + 40 * (np.arange(8) + 0.5) / 8, atol=1)
    columns = forearm[..., 0] / 255 * (W - 1)
    half = 0.08 * 50  # of the torso's length, on each side
    across = np.sort(columns.mean(0))
    np.testing.assert_allclose(across, 190 + half * np.array([-2, 0, 2]) / 3, atol=1)
    seen = {pair: bool(masks[0][rows_].all()) for pair, rows_ in of_limb.items()}
    known = {JOINT[name] for name in STANDING}
    assert seen == {pair: set(pair) <= known for pair in of_limb}
    assert all(not masks[0][of_limb[pair]].any() for pair, all_ in seen.items() if not all_)


def test_cells_of_a_limb_that_leave_the_frame_are_not_shown() -> None:
    out = STANDING | {"left_elbow": (290.0, 60.0), "left_wrist": (310.0, 60.0)}
    _, masks = crop_frames(places()[None], person(**out), "limbs")
    forearm = LIMBS.index((JOINT["left_wrist"], JOINT["left_elbow"]))
    shown = masks[0][8 * forearm : 8 * forearm + 8].all(axis=1)
    assert shown.tolist() == [True] * 3 + [False] * 5  # 290 to 299.5 px of 20 px


def test_a_figure_is_the_persons_crop_near_limbs_in_the_torso_and_the_head() -> None:
    crops, masks = crop_frames(places()[None], person(**STANDING), "figure")
    whole, _ = crop_frames(places()[None], person(**STANDING), "person")
    np.testing.assert_array_equal(crops, whole)
    left, top = 163.0 - 45.5, 75.5 - 45.5  # the middle, less half of 70 px and its margins
    scale = 256 / 91

    def is_shown(x: float, y: float) -> bool:
        at = int((y + 0.5 - top) * scale), int((x + 0.5 - left) * scale)
        return bool(masks[0][at])

    assert is_shown(150, 90), "the torso"
    assert is_shown(150 - 18, 40), "the head is 0.4 torsos about the nose"
    assert is_shown(178, 60 + 9), "an upper arm is 0.2 torsos thick on each side"
    assert not is_shown(178, 60 + 12)
    assert not is_shown(150 - 23, 40)
    assert not is_shown(205, 110)
    assert not is_shown(125, 100)
