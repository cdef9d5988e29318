"""Files as cameras and phones write them, from the file to the clip that is stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from aa_curation.filters.corrected import Combs, Hdr, Interlaced, PixelAspect
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import Source
from aa_curation.steps.worker import Worker
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.foreign import probe_video


def _source(path: Path) -> Source:
    return Source(path.stem, path.name, "MIT", "", False, "train", path)


@pytest.fixture
def recipe(demo_recipe: Recipe) -> Recipe:
    """The demo's without its people: whoever is shown, the clip is stored."""
    return dataclasses.replace(demo_recipe, min_s=0.5, people_filters=(), pose_filters=())


def _write(path: Path, *, gap_s: float = 0.0, options: Callable[[av.VideoStream], None]) -> None:
    """A puppet of 60 frames at 30 fps, with a gap in the middle."""
    frames = render_puppet(3, 5, num_frames=60, size_hw=(256, 256)).frames
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=30, width=256, height=256, pix_fmt="yuv420p")
        stream.time_base = stream.codec_context.time_base = Fraction(1, 90000)
        options(stream)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels)
            frame.time_base = Fraction(1, 90000)
            frame.pts = round(90000 * (number / 30 + (gap_s if number >= 30 else 0)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_hole_of_two_seconds_is_in_no_clip(tmp_path: Path, recipe: Recipe, suffix: str) -> None:
    path = tmp_path / f"gap{suffix}"
    _write(path, gap_s=2.0, options=lambda stream: None)
    worker = Worker(recipe, tmp_path)
    planned = worker.survey(_source(path)).planned
    assert [clip.fps for clip in planned] == pytest.approx([30, 30], abs=0.1)
    decisions = [worker.curate(clip, _source(path)) for clip in planned]
    assert [decision.status for decision in decisions] == ["accepted"] * 2
    assert [d.clip.num_frames for d in decisions if d.clip] == pytest.approx([30, 30], abs=1)
    for decision in decisions:
        with av.open(tmp_path / f"{decision.clip_id}.mp4") as container:
            shown = np.stack([f.to_ndarray(format="gray") for f in container.decode(video=0)])
        changes = np.abs(np.diff(shown.astype(int), axis=0)).mean((1, 2))
        assert changes[1:].min() > 0.05, "no picture stands still"


def test_pixels_twice_as_wide_as_high_are_stored_square(tmp_path: Path, recipe: Recipe) -> None:
    def wide(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)

    path = tmp_path / "wide.mp4"
    _write(path, options=wide)
    (planned,) = Worker(recipe, tmp_path).survey(_source(path)).planned
    assert planned.size_hw == (256, 512)
    strict = dataclasses.replace(recipe, video_filters=(PixelAspect(1.0),))
    (decision,) = Worker(strict, tmp_path).survey(_source(path)).decisions
    assert (decision.reason, decision.measured) == ("pixel_aspect", 2)


def test_interlaced_footage_that_does_not_say_so_is_dropped(tmp_path: Path, recipe: Recipe) -> None:
    """Two frames woven into one, as a careless copy has them; the same frames apart pass."""
    recipe = dataclasses.replace(recipe, picture_filters=(Combs(),))
    moving = render_puppet(3, 5, num_frames=1, size_hw=(256, 256)).frames[0]
    fields = [np.roll(moving, 3 * number, axis=1) for number in range(120)]
    for name, frames in {
        "woven": [np.where(np.arange(256)[:, None, None] % 2, b, a)
                  for a, b in zip(fields[::2], fields[1::2], strict=True)],
        "plain": fields[::2],
    }.items():  # fmt: skip
        with av.open(tmp_path / f"{name}.mp4", "w") as container:
            stream = container.add_stream("libx264", 30, width=256, height=256, pix_fmt="yuv420p")
            for pixels in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
            container.mux(stream.encode())
    worker = Worker(recipe, tmp_path)
    (decision,) = worker.survey(_source(tmp_path / "woven.mp4")).decisions
    assert decision.reason == "combed"
    assert decision.measured is not None
    assert decision.measured > 0.9
    assert worker.survey(_source(tmp_path / "plain.mp4")).decisions == ()


@pytest.mark.parametrize(
    ("name", "clips", "reason"),
    [
        ("base.mp4", 1, ""),
        ("mirror.mp4", 1, ""),
        ("sar.mkv", 1, "pixel_aspect"),
        ("hlg_rot.mov", 1, "hdr"),
        ("pq.mp4", 1, "hdr"),
        ("interlaced.mp4", 1, "interlaced"),
        ("gap2s.mp4", 2, ""),
        ("cover_first.mkv", 1, ""),
        ("twotracks.mp4", 1, ""),
    ],
)
def test_files_as_people_really_have_them(
    media: Path, tmp_path: Path, recipe: Recipe, name: str, clips: int, reason: str
) -> None:
    size_hw = probe_video(media / "base.mp4").size_hw
    survey = Worker(recipe, tmp_path).survey(_source(media / name))
    assert survey.decisions == ()
    assert [clip.size_hw for clip in survey.planned] == [size_hw] * clips
    assert all(clip.fps == 30 for clip in survey.planned)
    strict = dataclasses.replace(recipe, video_filters=(Hdr(0), Interlaced(0), PixelAspect(1)))
    found = Worker(strict, tmp_path).survey(_source(media / name)).decisions
    assert [decision.reason for decision in found] == ([reason] if reason else [])


def test_a_dvd_is_not_too_wide(media: Path, tmp_path: Path, recipe: Recipe) -> None:
    (planned,) = Worker(recipe, tmp_path).survey(_source(media / "sar_dvd.mpg")).planned
    assert (planned.size_hw, planned.fps) == ((576, 324), 25)
