"""Faces: scikit-image's similarity and warp, and which points of a keypoints file are used."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.transform import SimilarityTransform, warp

from aa_eval.metrics.faces import TEMPLATE_PX, aligned_face, face_points


def test_alignment_is_scikit_images_similarity() -> None:
    """InsightFace aligns by scikit-image's Umeyama estimate; the pixels are bilinear."""
    draw = np.random.default_rng(0)
    frame = draw.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    turn = np.array([[0.5, -0.2], [0.2, 0.5]])
    points = TEMPLATE_PX @ turn.T + (25, 10) + draw.normal(0, 1.5, (5, 2))
    estimate = SimilarityTransform.from_estimate(TEMPLATE_PX, points)
    expected = warp(frame.astype(np.float64), estimate, output_shape=(112, 112), order=1)
    np.testing.assert_allclose(aligned_face(frame, points), expected, atol=1e-3)


def test_points_at_the_template_leave_the_picture_alone() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    np.testing.assert_allclose(aligned_face(frame, TEMPLATE_PX), frame, atol=1e-3)


@pytest.mark.parametrize(("joints", "first"), [(128, 60), (133, 23)])
def test_five_points_of_sixty_eight(joints: int, first: int) -> None:
    points = np.arange(2 * joints * 2, dtype=float).reshape(2, joints, 2)
    scores = np.ones((2, joints))
    scores[1, first + 40] = 0.2  # a point of one eye
    found = face_points(points, scores, 0.3)
    assert found is not None
    eyes = [points[0, first + a : first + b].mean(axis=0) for a, b in ((36, 42), (42, 48))]
    alone = [points[0, first + index] for index in (30, 48, 54)]
    np.testing.assert_allclose(found[0], [*eyes, *alone])
    assert np.isnan(found[1]).all()


def test_a_detectors_five_points_are_taken_as_they_are_and_a_body_has_none() -> None:
    points, scores = np.random.default_rng(2).uniform(0, 50, (3, 5, 2)), np.ones((3, 5))
    found = face_points(points, scores, 0.0)
    assert found is not None
    np.testing.assert_array_equal(found, points)
    assert face_points(np.ones((3, 17, 2)), np.ones((3, 17)), 0.0) is None
