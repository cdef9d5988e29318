"""A rotated square: its corners by trigonometry, and pixels that go there and back."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from aa_curation.poses.region import Region, region_from_axis

CORNERS = np.array([[0, 0], [64, 0], [64, 64], [0, 64], [32, 32]], np.float32)


@pytest.mark.parametrize("angle_deg", [0, 30, 90, 180, -45])
def test_a_crops_corners_are_the_squares(angle_deg: float) -> None:
    a = math.radians(angle_deg)
    found = Region(100, 70, 40, a).to_frame(CORNERS, 64)
    right, down = np.array([math.cos(a), math.sin(a)]), np.array([-math.sin(a), math.cos(a)])
    expected = [(100, 70) + 20 * (x * right + y * down)
                for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1), (0, 0))]  # fmt: skip
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.dtype == np.float32


@pytest.mark.parametrize("angle_deg", [0, 30, 90, -120])
def test_a_region_moves_along_its_own_down_and_grows_about_its_middle(angle_deg: float) -> None:
    a = math.radians(angle_deg)
    region = Region(100, 70, 40, a)
    moved = region.shifted(0.25)
    expected = (100 - 10 * math.sin(a), 70 + 10 * math.cos(a))
    assert (moved.x, moved.y) == pytest.approx(expected)
    assert (moved.side, moved.angle_rad) == (40, a)
    back = moved.shifted(-0.25)
    assert (back.x, back.y) == pytest.approx((100, 70))
    assert region.scaled(1.5) == Region(100, 70, 60, a)


@pytest.mark.parametrize(
    ("tip", "upward", "angle_deg"),
    [((50, 20), True, 0), ((80, 50), True, 90), ((50, 80), False, 0), ((50, 80), True, 180)],
)
def test_an_axis_points_up_in_the_crop_and_is_half_of_its_side(
    tip: tuple[float, float], upward: bool, angle_deg: float
) -> None:
    centre, end = np.array([50, 50], np.float32), np.array(tip, np.float32)
    found = region_from_axis(centre, end, scale=1.5, upward=upward)
    assert (found.x, found.y, found.side) == (50, 50, pytest.approx(90))
    assert math.degrees(found.angle_rad) % 360 == pytest.approx(angle_deg % 360, abs=1e-4)
    at = found.to_frame(np.array([32, 32 - 64 / 3 if upward else 32 + 64 / 3], np.float32), 64)
    np.testing.assert_allclose(at, tip, atol=1e-3)


def test_a_crop_shows_its_square_and_black_outside_and_is_laid_back_where_it_was() -> None:
    y, x = np.mgrid[:120, :160]
    frame = np.stack([x, y, np.full_like(x, 255)], axis=-1).astype(np.uint8)
    region = Region(80, 60, 40, math.pi / 2)  # turned clockwise: its top is the frame's right
    crop = region.crop(frame, 80)
    assert crop.shape == (80, 80, 3)
    assert crop.dtype == np.float32
    np.testing.assert_allclose(crop[40, 40] * 255, (80, 60, 255), atol=0.6)
    np.testing.assert_allclose(crop[10, 40] * 255, (95, 60, 255), atol=0.6)
    np.testing.assert_allclose(crop[40, 10] * 255, (80, 45, 255), atol=0.6)
    outside = Region(0, 60, 40).crop(frame, 40)
    assert not outside[:, :19].any()
    assert (outside[:, 21:, 2] == 1).all()
    back = region.paste(crop[..., 0], (120, 160))
    inside = back[45:75, 65:95]
    np.testing.assert_allclose(inside * 255, frame[45:75, 65:95, 0], atol=0.6)
    assert (back[:35] == -1).all()
    assert (back[:, 105:] == -1).all()
    points = region.to_frame(np.array([[10.0, 40.0]], np.float32), 80)
    picture = cv2.circle(np.zeros((120, 160, 3), np.uint8), points[0].round().astype(int).tolist(),
                         2, (255, 255, 255), -1)  # fmt: skip
    assert region.crop(picture, 80)[40, 10].min() > 0.5
