"""Backgrounds that stand for photographs: their statistics, and puppets before them."""

from __future__ import annotations

import numpy as np

from aa_datasets.puppets.render import render_puppet
from aa_datasets.puppets.scenery import draw_scenery

SIZE_HW = (96, 128)


def test_the_seed_alone_decides_the_picture() -> None:
    pictures = [draw_scenery(seed, SIZE_HW) for seed in (1, 1, 2)]
    assert all(p.shape == (*SIZE_HW, 3) and p.dtype == np.uint8 for p in pictures)
    assert np.array_equal(pictures[0], pictures[1])
    assert np.mean(pictures[0] != pictures[2]) > 0.5


def test_the_power_spectrum_falls_as_that_of_photographs() -> None:
    """Single photographs have powers of frequency^-1.6 to ^-3 (Tolhurst et al., 1992); noise has
    none. Shapes of one size, small or large, lose one side of that or the detail of the middle."""
    side = 128
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    edges = np.geomspace(0.02, 0.3, 10)
    ring = np.digitize(frequency, edges)
    window = np.outer(np.hanning(side), np.hanning(side))
    slopes, coarse = [], []
    for seed in range(40):
        grey = draw_scenery(seed, (side, side)).mean(-1)
        power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
        means = [np.log(power[ring == r].mean()) for r in range(1, len(edges))]
        middle = np.log((edges[1:] + edges[:-1]) / 2)
        slopes.append(np.polyfit(middle, means, 1)[0])
        cells = grey.reshape(side // 4, 4, side // 4, 4).mean((1, 3))
        coarse.append(np.abs(np.diff(cells, axis=1)).mean())
    assert -2.95 < np.median(slopes) < -1.6
    assert np.mean(coarse) > 10  # grey levels from one cell of 4 x 4 pixels to the next


def test_a_puppet_before_scenery_moves_and_the_scenery_stands_still() -> None:
    plain = render_puppet(3, 5, num_frames=6, size_hw=SIZE_HW)
    before = render_puppet(3, 5, num_frames=6, size_hw=SIZE_HW, scenery=True)
    assert np.array_equal(plain.pose.keypoints_px, before.pose.keypoints_px, equal_nan=True)
    background = draw_scenery(3, SIZE_HW)
    away = (before.frames != background).any(-1)
    assert 0.02 < away.mean() < 0.4  # figure and shadow
    # They cover the same pixels as on the plain background, but for faintly blended edges.
    still = (plain.frames == plain.frames[:, :, :1]).all((0, -1))  # each row has one colour
    assert 0.5 < still.mean() < 1
    assert away[:, still].mean() < 0.01
    assert (away[1:] != away[:-1]).any()
