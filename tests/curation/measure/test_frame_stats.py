"""What is measured of each frame, by frames whose numbers are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from aa_curation.measure.frame_stats import Picture, PictureMeter
from aa_datasets.video.foreign import Planes


def _planes(luma: np.ndarray) -> Planes:
    grey = np.full((luma.shape[0] // 2, luma.shape[1] // 2), 128, np.uint8)
    return Planes(luma, grey, grey.copy())


def _measured(*lumas: np.ndarray, fps: float = 25.0) -> Picture:
    meter = PictureMeter()
    for n, luma in enumerate(lumas):
        meter.see(_planes(luma), 1 + n / fps)
    return meter.picture()


def test_brightness_change_and_the_brightest_are_those_of_the_levels() -> None:
    a, b = np.full((128, 256), 60, np.uint8), np.full((128, 256), 60, np.uint8)
    b[:64] = 100
    found = _measured(a, b, a)
    assert found.num_frames == 3
    assert found.times_s.tolist() == [1, 1.04, 1.08]
    assert found.frame_s == pytest.approx(0.04)
    np.testing.assert_allclose(found.brightness, [60, 80, 60])
    np.testing.assert_allclose(found.change, [0, 20, 20], atol=0.1)
    np.testing.assert_array_equal(found.brightest, b)
    assert _measured(a).frame_s == 0


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 192), dtype=np.uint8)
    found = _measured(noise, np.full_like(noise, 90))
    expected = cv2.Laplacian(noise.astype(np.float64), cv2.CV_64F).var()
    np.testing.assert_allclose(found.sharpness, [expected, 0], rtol=1e-4)


def test_a_span_holds_the_frames_that_start_in_it_and_its_first_has_no_change() -> None:
    rows = np.arange(1.0, 6.0, dtype=np.float32)
    times = np.arange(5) / 25
    whole = Picture(times, rows, rows, rows, rows.copy(), rows, np.zeros((2, 2)))
    part = whole.between(times[1], times[4])
    assert part.times_s.tolist() == times[1:4].tolist(), "the end is not part of it"
    assert part.change.tolist() == part.camera.tolist() == [0, 3, 4]
    assert part.sharpness.tolist() == part.brightness.tolist() == part.combed.tolist() == [2, 3, 4]
    assert whole.change.tolist() == rows.tolist(), "the whole is left as it is"
    assert whole.between(times[1] + 5e-7, times[4] + 2e-6).num_frames == 4, "up to rounding"
