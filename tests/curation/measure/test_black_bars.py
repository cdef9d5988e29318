from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aa_curation.measure.black_bars import BlackBars
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import Source
from aa_curation.steps.worker import Worker
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.canonical import encode_canonical

SIDES = st.tuples(*(st.integers(0, 30),) * 4)


@given(bars=SIDES, scale=st.sampled_from([1, 2, 3]))
def test_the_box_lies_inside_the_picture_and_loses_little_of_it(
    bars: tuple[int, int, int, int], scale: int
) -> None:
    top, bottom, left, right = bars
    brightest = np.full((120, 160), 9, np.float32)  # black, with an encoder's noise
    brightest[top : 120 - bottom, left : 160 - right] = 200
    size_hw = (120 * scale, 160 * scale)
    box = BlackBars(share_at_least=0.0).box(brightest, size_hw)
    x0, y0, x1, y1 = box or (0, 0, size_hw[1], size_hw[0])
    for start, end, before, after, side in (
        (y0, y1, top, bottom, size_hw[0]),
        (x0, x1, left, right, size_hw[1]),
    ):
        assert start == (before * scale + 1 if before else 0)
        assert end == (side - after * scale - 1 if after else side)


def test_a_dark_film_a_thin_line_and_a_full_frame_have_no_bars() -> None:
    dark = np.full((100, 100), 20, np.float32)
    assert BlackBars().box(dark, (100, 100)) is None
    lit = dark.copy()
    lit[45:55, 45:55] = 200  # a candle in the night: cropping to it would lose the film
    assert BlackBars().box(lit, (100, 100)) is None
    thin = np.full((400, 400), 99, np.float32)
    thin[:2] = 0
    assert BlackBars().box(thin, (400, 400)) is None


@pytest.fixture
def letterboxed(tmp_path: Path) -> tuple[Source, np.ndarray]:
    """A puppet between bars above and below, encoded; and the picture between them."""
    frames = render_puppet(1, 2, num_frames=30, size_hw=(256, 256)).frames
    boxed = np.zeros((30, 352, 256, 3), np.uint8)
    boxed[:, 48:304] = frames
    path = tmp_path / "boxed.mp4"
    path.write_bytes(encode_canonical(boxed, 24))
    return Source("boxed", "boxed.mp4", "MIT", "", True, "train", path), frames


def test_a_letterboxed_video_is_planned_without_its_bars(
    letterboxed: tuple[Source, np.ndarray], demo_recipe: Recipe, tmp_path: Path
) -> None:
    source, _ = letterboxed
    (planned,) = Worker(demo_recipe, tmp_path).survey(source).planned
    assert planned.crop_px == (0, 49, 256, 303)
    assert planned.size_hw == (254, 256)
    kept = dataclasses.replace(demo_recipe, bars=None)
    (planned,) = Worker(kept, tmp_path).survey(source).planned
    assert (planned.crop_px, planned.size_hw) == (None, (352, 256))
    # A crop of the list comes first, and the bars are looked for within it.
    cropped = dataclasses.replace(source, crop_px=(10, 20, 250, 340))
    (planned,) = Worker(demo_recipe, tmp_path).survey(cropped).planned
    assert planned.crop_px == (10, 49, 250, 303)


def test_bars_are_those_of_the_span_that_is_asked_for(demo_recipe: Recipe, tmp_path: Path) -> None:
    """A full frame before the span, as of a logo, does not hide them."""
    shown = render_puppet(1, 2, num_frames=60, size_hw=(352, 256)).frames.copy()
    shown[24:, :48] = shown[24:, 304:] = 0
    path = tmp_path / "logo.mp4"
    path.write_bytes(encode_canonical(shown, 24))
    source = Source("logo", "logo.mp4", "MIT", "", True, "train", path)
    spans = {None: None, (1.2, 2.5): (0, 49, 256, 303)}
    for span_s, crop_px in spans.items():
        asked = dataclasses.replace(source, span_s=span_s)
        planned = Worker(demo_recipe, tmp_path).survey(asked).planned
        assert {clip.crop_px for clip in planned} == {crop_px}


def test_the_resolution_counts_the_picture_and_not_its_bars(
    letterboxed: tuple[Source, np.ndarray], demo_recipe: Recipe, tmp_path: Path
) -> None:
    source, _ = letterboxed
    strict = dataclasses.replace(
        demo_recipe,
        video_filters=(dataclasses.replace(demo_recipe.video_filters[0], short_side_px=256),),  # type: ignore[type-var]  # a dataclass
    )
    (decision,) = Worker(strict, tmp_path).survey(source).decisions
    assert (decision.reason, decision.measured) == ("low_resolution", 254)
