"""Light of HDR by the numbers of its standards, and the table that FFmpeg reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorTrc

from aa_datasets.video.tone_map import _TO_BT709, _roll_off, bt709_of, needs_tone_map, write_table

PQ, HLG, SDR = ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67, ColorTrc.BT709
PLAIN = ColorPrimaries.BT709


def _nits(code: float, trc: int) -> float:
    """What a grey of this code is shown at where nothing is rolled off, in cd/m2."""
    grey = bt709_of(np.full(3, code), trc, PLAIN)
    assert np.ptp(grey) < 1e-6
    return float(100 * grey[0] ** 2.4)


@pytest.mark.parametrize(
    ("trc", "code", "nits"),
    # SMPTE ST 2084: full scale is 10,000 cd/m2; BT.2100 HLG at a peak of 1,000 cd/m2, gamma 1.2.
    [(PQ, 0.0, 0.0), (PQ, 0.1, 0.3249), (PQ, 0.2, 2.4329), (PQ, 0.3, 10.0385), (PQ, 0.4, 32.463),
     (HLG, 0.0, 0.0), (HLG, 0.25, 9.604), (HLG, 0.45, 39.37), (SDR, 0.5, 18.946), (SDR, 1, 100)],
)  # fmt: skip
def test_dark_greys_come_out_at_the_brightness_of_their_standard(
    trc: int, code: float, nits: float
) -> None:
    assert _nits(code, trc) == pytest.approx(nits, rel=2e-3, abs=1e-3)


def test_light_is_kept_to_half_of_white_and_rolls_off_smoothly_to_the_peak() -> None:
    dark = np.linspace(0, 0.5, 20)
    np.testing.assert_allclose(_roll_off(dark), dark)
    bright = np.linspace(0.5, 10, 500)
    rolled = _roll_off(bright)
    assert rolled[0] == pytest.approx(0.5)
    assert rolled[-1] == pytest.approx(1)
    slopes = np.diff(rolled) / np.diff(bright)
    assert slopes[0] == pytest.approx(1, abs=0.05), "no edge at the knee"
    assert (np.diff(slopes) < 0).all()
    assert (slopes > 0).all()
    for trc, full in ((PQ, 0.7518), (HLG, 1.0)):  # 1,000 cd/m2
        np.testing.assert_allclose(bt709_of(np.full(3, full), trc, PLAIN), 1, atol=1e-3)
        assert (bt709_of(np.full(3, full - 0.1), trc, PLAIN) < 0.99).all()


def test_a_hue_stays_where_light_is_rolled_off() -> None:
    colour = bt709_of(np.array([0.7, 0.6, 0.65]), PQ, PLAIN) ** 2.4
    code = np.array([0.7, 0.6, 0.65])
    each = np.array([_pq(c) for c in code])
    np.testing.assert_allclose(colour / colour[0], each / each[0], rtol=1e-4)


def _pq(code: float) -> float:
    """SMPTE ST 2084's EOTF, as its text has it."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    root = code ** (1 / m2)
    return float((max(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1))


def test_white_stays_white_in_every_gamut_and_colours_outside_are_cut_off() -> None:
    for primaries in _TO_BT709:
        np.testing.assert_allclose(bt709_of(np.ones(3), SDR, primaries), 1, atol=2e-3)
        pure = bt709_of(np.eye(3), SDR, primaries)
        assert (pure.argmax(1) == [0, 1, 2]).all()
        assert ((pure >= 0) & (pure <= 1)).all()
        assert np.isfinite(pure).all()
    np.testing.assert_allclose(bt709_of(np.array([0.2, 0.5, 0.9]), SDR, PLAIN), [0.2, 0.5, 0.9])


@pytest.mark.parametrize(
    ("trc", "primaries", "needed"),
    [(PQ, PLAIN, True), (HLG, PLAIN, True), (SDR, PLAIN, False),
     (SDR, ColorPrimaries.BT2020, True), (SDR, ColorPrimaries.SMPTE432, True), (2, 2, False)],
)  # fmt: skip
def test_what_is_mapped_is_hdr_or_of_a_wide_gamut(trc: int, primaries: int, needed: bool) -> None:
    assert needs_tone_map(trc, primaries) == needed


def test_the_table_is_a_cube_of_65_levels_whose_red_changes_fastest(tmp_path: Path) -> None:
    write_table(tmp_path / "a.cube", HLG, ColorPrimaries.BT2020)
    head, *lines = (tmp_path / "a.cube").read_text().splitlines()
    assert head == "LUT_3D_SIZE 65"
    assert len(lines) == 65**3
    for red, green, blue in ((0, 0, 0), (64, 0, 0), (3, 40, 17), (64, 64, 64)):
        found = [float(x) for x in lines[red + 65 * green + 65**2 * blue].split()]
        code = np.array([red, green, blue]) / 64
        np.testing.assert_allclose(found, bt709_of(code, HLG, ColorPrimaries.BT2020), atol=6e-6)
