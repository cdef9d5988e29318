"""What a signature keeps of a frame's colours: shares of red and green, which darkness blurs."""

from __future__ import annotations

import numpy as np
import pytest

from aa_curation.measure.signature import look_at_frame, signature_frames


def colours(rgb: tuple[int, int, int]) -> np.ndarray:
    return look_at_frame(np.full((32, 48, 3), rgb, np.uint8)).colours


@pytest.mark.parametrize("rgb", [(200, 40, 20), (0, 255, 0), (3, 0, 0), (90, 90, 90)])
def test_a_colour_is_its_share_of_the_light_with_eight_levels_added(
    rgb: tuple[int, int, int],
) -> None:
    total = sum(rgb) + 24
    expected = [255 * (rgb[0] + 8) / total, 255 * (rgb[1] + 8) / total]
    found = colours(rgb)
    assert found.shape == (4, 4, 2)
    np.testing.assert_allclose(found.reshape(-1, 2), [expected] * 16, rtol=1e-5)


def test_black_and_white_have_no_colour_and_half_the_light_has_almost_the_same() -> None:
    np.testing.assert_allclose(colours((0, 0, 0)), 85)
    np.testing.assert_allclose(colours((255, 255, 255)), 85)
    bright, dim = colours((200, 100, 100)), colours((100, 50, 50))
    assert 0 < np.abs(bright - dim).max() < 5


def test_the_frames_that_are_looked_at_are_the_middles_of_eight_parts() -> None:
    assert signature_frames(160).tolist() == [10, 30, 50, 70, 90, 110, 130, 150]
    assert signature_frames(1).tolist() == [0] * 8
