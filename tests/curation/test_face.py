"""Eyes and faces: the geometry on a mesh of known shape, and the network on real frames."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aa_curation.poses.face import look_at_face

BODY = np.zeros((33, 2), np.float32)
BODY[[2, 5, 7, 8, 9, 10]] = [(110, 90), (90, 90), (122, 95), (78, 95), (106, 112), (94, 112)]
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
    seen = look_at_face(_Mesh(eye, height, _turn(yaw, pitch, roll)), FRAME, BODY)  # type: ignore[arg-type]
    assert seen.eyes == pytest.approx(eye / height, rel=1e-4)
    assert seen.confidence == pytest.approx(1 / (1 + math.exp(-3)))


def test_a_body_without_extent_has_no_face_and_no_error() -> None:
    nothing = _Mesh(10, 100, np.zeros((3, 3)), logit=-200)
    seen = look_at_face(nothing, FRAME, np.full((33, 2), 50, np.float32))  # type: ignore[arg-type]
    assert seen.confidence < 1e-6
    assert seen.eyes == 0
