"""BlazePose's landmarks as the project's joints."""

from __future__ import annotations

import numpy as np
import pytest

from aa_curation.poses.mediapipe_networks import BodyLandmarks
from aa_curation.poses.openpose_layout import to_joints
from aa_curation.poses.region import Region
from aa_datasets.pose import JOINT_NAMES

WIDTH, HEIGHT = 120, 80
NOSE, LEFT_SHOULDER, RIGHT_SHOULDER = 0, 11, 12  # of BlazePose


def _joints(points: np.ndarray, visibility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ones, region = np.ones(33, np.float32), Region(60, 40, 80)
    body = BodyLandmarks(
        points.astype(np.float32), visibility.astype(np.float32), ones, 1.0, region, region,
        np.zeros((256, 256), np.float32),
    )  # fmt: skip
    return to_joints(body, None, None, None, (HEIGHT, WIDTH))


@pytest.mark.parametrize(
    ("point", "inside"),
    [
        ((-0.4, 40), True), ((-0.6, 40), False), ((60, -0.4), True), ((60, -0.6), False),
        ((WIDTH - 0.6, 40), True), ((WIDTH - 0.4, 40), False),
        ((60, HEIGHT - 0.6), True), ((60, HEIGHT - 0.4), False), ((100, 70), True),
    ],
)  # fmt: skip
def test_joints_within_the_outer_pixels_are_there_and_others_are_not(
    point: tuple[float, float], inside: bool
) -> None:
    """The first pixel's centre is 0, so that the picture begins at -0.5."""
    points = np.full((33, 2), 40.0)
    points[NOSE] = point
    found, scores = _joints(points, np.full(33, 0.8))
    nose = JOINT_NAMES.index("nose")
    assert scores[nose] == pytest.approx(0.8 if inside else 0)
    if inside:
        np.testing.assert_allclose(found[nose], point, rtol=1e-6)
    else:
        assert np.isnan(found[nose]).all()


def test_the_neck_is_between_the_shoulders_and_as_sure_as_the_less_sure_of_them() -> None:
    points, visibility = np.full((33, 2), 40.0), np.full(33, 0.9)
    points[LEFT_SHOULDER], points[RIGHT_SHOULDER] = (70, 20), (50, 30)
    visibility[RIGHT_SHOULDER] = 0.6
    found, scores = _joints(points, visibility)
    at = [JOINT_NAMES.index(name) for name in ("neck", "left_shoulder", "right_shoulder")]
    np.testing.assert_allclose(found[at], [(60, 25), (70, 20), (50, 30)])
    np.testing.assert_allclose(scores[at], [0.6, 0.9, 0.6], rtol=1e-6)
