"""Whole numbers stay whole, at sizes where 32 bits would overflow."""

from __future__ import annotations

import numpy as np
import pytest

from aa_eval.metrics.colour import colour_distribution
from aa_eval.metrics.exact_sums import absolute_difference, sums, sums_of_squares


def test_a_difference_of_levels_does_not_wrap() -> None:
    levels = np.arange(256, dtype=np.uint8)
    a, b = (x.ravel()[None, None] for x in np.meshgrid(levels, levels))
    found = absolute_difference(a, b)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.abs(a.astype(int) - b))
    np.testing.assert_array_equal(a.ravel()[:256], levels, "what was given is left as it is")


@pytest.mark.parametrize("width", [3, 22_017 // 3, 22_020 // 3, 30_000])
def test_sums_are_those_of_python(width: int) -> None:
    """66,051 squares of 255 are the most that 32 bits hold."""
    frames = np.full((2, 3, width, 3), 255, np.uint8)
    frames[1, 1, 0] = 7
    for found, power in ((sums(frames), 1), (sums_of_squares(frames), 2)):
        whole = 9 * width * 255**power
        assert found.tolist() == [whole, whole - 3 * 255**power + 3 * 7**power]
        assert found.dtype == np.float64


def test_colours_are_apart_by_how_far_levels_have_to_move() -> None:
    black, noise = np.zeros((1, 4, 6, 3), np.uint8), np.random.default_rng(0)
    grey = np.full_like(black, 100)
    assert colour_distribution(black, grey).tolist() == [100]
    red = black.copy()
    red[..., 0] = 60
    assert colour_distribution(red, black).tolist() == [20], "one channel of three"
    some = noise.integers(0, 256, (1, 4, 6, 3), dtype=np.uint8)
    turned = some[:, ::-1, ::-1]
    assert colour_distribution(some, turned).tolist() == [0], "wherever they lie"
    mask = np.zeros((2, 4, 6), dtype=np.bool_)
    mask[0, 1, 1] = True
    two = [np.concatenate([x, x]) for x in (some, grey)]
    found = colour_distribution(*two, mask)
    assert found[0] == pytest.approx(np.abs(some[0, 1, 1].astype(float) - 100).mean())
    assert np.isnan(found[1])
