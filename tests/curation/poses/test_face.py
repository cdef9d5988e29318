"""Eyes and faces: the geometry on a mesh of known shape, and the network on real frames."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st

from aa_curation.measure.frames import iter_frames_at
from aa_curation.poses.blazepose import BlazePose
from aa_curation.poses.mediapipe_networks import FaceLook, follow_face, look_at_face
from aa_curation.poses.openpose_layout import face_points
from aa_curation.poses.region import Region
from aa_datasets.pose import BODY, FACE, MIRRORED_JOINTS

LANDMARKS = np.zeros((33, 2), np.float32)
LANDMARKS[[2, 5, 7, 8, 9, 10]] = [(110, 90), (90, 90), (122, 95), (78, 95), (106, 112), (94, 112)]
FRAME = np.zeros((240, 240, 3), np.uint8)


class _Mesh:
    """In place of the network: a face of this form, turned, in pixels of the crop."""

    def __init__(self, eye: float, height: float, turn: np.ndarray, logit: float = 3.0) -> None:
        points = np.random.default_rng(0).uniform(-height / 2, height / 2, (468, 3))
        points[[10, 152]] = [(0, -height / 2, 0), (0, height / 2, 0)]
        points[[33, 133, 362, 263]] = [(-5 - eye, 0, 1), (-5, 0, 1), (5, 0, 1), (5 + eye, 0, 1)]
        self._points = points @ turn.T + 96
        self._logit = logit

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        assert image.shape == (192, 192, 3)
        return [
            self._points.astype(np.float32).reshape(1, 1, -1),
            np.full((1, 1, 1), self._logit, np.float32),
        ]


def _turn(yaw: float, pitch: float, roll: float) -> np.ndarray:
    (cy, sy), (cp, sp), (cr, sr) = ((math.cos(a), math.sin(a)) for a in (yaw, pitch, roll))
    return (
        np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    )


@given(
    st.floats(8, 30), st.floats(60, 130), st.floats(-1, 1), st.floats(-0.6, 0.6), st.floats(-3, 3)
)
def test_eyes_are_as_wide_however_the_head_is_turned(
    eye: float, height: float, yaw: float, pitch: float, roll: float
) -> None:
    seen = look_at_face(_Mesh(eye, height, _turn(yaw, pitch, roll)), FRAME, LANDMARKS)  # type: ignore[arg-type]
    assert seen.eyes == pytest.approx(eye / height, rel=1e-4)
    assert seen.confidence == pytest.approx(1 / (1 + math.exp(-3)))


def test_a_body_without_extent_has_no_face_and_no_error() -> None:
    nothing = _Mesh(10, 100, np.zeros((3, 3)), logit=-200)
    seen = look_at_face(nothing, FRAME, np.full((33, 2), 50, np.float32))  # type: ignore[arg-type]
    assert seen.confidence < 1e-6
    assert seen.eyes == 0


class _Counting(_Mesh):
    """A straight face of 100 pixels of the crop, whose network counts its calls."""

    def __init__(self, logit: float = 3.0) -> None:
        super().__init__(10, 100, np.eye(3), logit)
        self._points[4] = 96  # the nose in the middle
        self.calls = 0

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        self.calls += 1
        return super().__call__(image)


def test_a_face_is_followed_by_one_look_and_searched_anew_by_two() -> None:
    there = Region(100, 102, 60)

    def looks(model: _Counting, region: Region | None) -> tuple[int, FaceLook]:
        seen = follow_face(model, FRAME, body, region)  # type: ignore[arg-type]
        return model.calls, seen

    body = LANDMARKS.copy()
    body[0] = (100, 102)  # the nose
    calls, seen = looks(_Counting(), there)
    assert calls == 1
    np.testing.assert_allclose(seen.points[4], (100, 102), atol=1e-3)
    assert seen.points[152][1] - seen.points[10][1] == pytest.approx(100 * 60 / 192)
    assert (seen.next_region.x, seen.next_region.angle_rad) == (pytest.approx(100, abs=1), 0)
    assert looks(_Counting(), None)[0] == 2
    assert looks(_Counting(logit=-3), there)[0] == 3  # no face there any more
    assert looks(_Counting(), Region(160, 102, 60))[0] == 3  # somebody else's


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """A woman who looks at the camera, smiling, [512, 512, 3]."""
    return np.asarray(skimage.data.astronaut(), np.uint8)


@pytest.mark.weights
def test_68_points_stand_where_ibug_has_them_and_change_sides_in_a_mirror(
    estimator: BlazePose, portrait: np.ndarray
) -> None:
    def points_of(frame: np.ndarray) -> np.ndarray:
        body = estimator.main_body(frame, None)
        assert body is not None
        seen = estimator.face(frame, body, None)
        assert seen is not None
        assert seen.confidence > 0.9
        return face_points(seen.points)

    points = points_of(portrait)
    x, y = points.T
    assert np.all(np.diff(x[:17]) > -1)  # the jaw, from the person's right ear to the left one
    assert x[0] < x[36] < x[39] < x[27] < x[42] < x[45] < x[16]
    assert y[17:27].mean() < y[36:48].mean()  # brows over eyes
    assert np.all(np.diff(y[27:31]) > 0)  # down the nose
    assert y[36:48].max() < y[33] < y[51] < y[62] <= y[66] < y[57] < y[8]  # nose, lips, chin
    mirrored = points_of(np.ascontiguousarray(portrait[:, ::-1])) * (-1, 1) + (511, 0)
    swapped = mirrored[np.array(MIRRORED_JOINTS[60:]) - 60]
    eyes_apart = float(np.hypot(*(points[36] - points[45])))
    assert np.median(np.hypot(*(swapped - points).T)) < 0.05 * eyes_apart


@pytest.mark.weights
def test_a_face_moves_with_its_person_and_an_unrecognisable_one_is_absent(
    estimator: BlazePose, portrait: np.ndarray, package_clip: Callable[..., Path]
) -> None:
    tracker = estimator.track()
    for t in range(4):
        tracker.see(np.roll(portrait, 6 * t, axis=1))
    face = tracker.pose().keypoints_px[:, FACE]
    assert (tracker.pose().scores[:, FACE] > 0.9).all()
    np.testing.assert_allclose(np.diff(face[..., 0], axis=0).mean(1), 6, atol=1)
    path = package_clip("SinglePerson", 1)  # a man whose face was made unrecognisable
    tracker = estimator.track()
    for frame in iter_frames_at(path, np.arange(3) / 30, 60, crop_px=None, max_side_px=1920):
        tracker.see(frame)
    pose = tracker.pose()
    assert (pose.scores[:, BODY].mean(1) > 0.8).all()
    assert not pose.scores[:, FACE].any()
