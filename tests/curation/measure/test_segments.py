"""A survey in segments is the survey of one decode, to the last digit."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from aa_curation.measure import segments
from aa_curation.measure.frame_stats import Picture, PictureMeter
from aa_curation.measure.segments import picture_in_segments
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import Source
from aa_curation.steps.survey import survey
from aa_datasets.errors import KilledDecodeError
from aa_datasets.video.foreign import DecodeLimits, iter_survey_frames, probe_video


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_S", 5.0)


def _write(path: Path, codec: str, numbers: Sequence[int] = range(300)) -> Path:
    """Frames of 20 fps that are shown at these numbers; every one changes, once all of it."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=20)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.gop_size, stream.max_b_frames = 30, 2
        low = rng.integers(0, 200, (8, 12, 3), np.uint8)
        for number in numbers:
            low = (low + rng.integers(0, 20, low.shape)).astype(np.uint8)
            picture = np.kron(255 - low if number >= 200 else low, np.ones((8, 8, 1), np.uint8))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _at_once(path: Path) -> Picture:
    meter = PictureMeter()
    for frame in iter_survey_frames(path):
        meter.see(frame.planes, frame.time_s, frame.is_combed)
    return meter.picture()


def _in_segments(path: Path, processes: int = 3) -> Picture | None:
    return picture_in_segments(path, probe_video(path), processes, DecodeLimits())


@pytest.mark.parametrize(
    ("name", "codec", "gap"),
    [("a.mp4", "libx264", True), ("a.mkv", "libx264", False), ("a.ts", "libx264", True),
     ("a.avi", "mpeg4", False)],
)  # fmt: skip
def test_segments_measure_what_one_decode_does(
    tmp_path: Path, name: str, codec: str, gap: bool
) -> None:
    """Also where a second is missing at a seam."""
    numbers = [n for n in range(300) if not (gap and 90 <= n < 110)]
    path = _write(tmp_path / name, codec, numbers)
    wanted, found = _at_once(path), _in_segments(path)
    assert found is not None
    assert wanted.num_frames == len(numbers)
    for field in dataclasses.fields(Picture):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(wanted, field.name))
    assert found.change[1:].min() > 0, "no frame is the first of its segment"


def test_a_recipe_chooses_segments_and_gets_the_same_survey(
    tmp_path: Path, demo_recipe: Recipe
) -> None:
    path = _write(tmp_path / "a.ts", "libx264")
    source = Source("a", path.name, "MIT", "", False, "train", path)
    lax = dataclasses.replace(demo_recipe, video_filters=())
    one, three = (
        survey(source, dataclasses.replace(lax, decode_processes=processes)) for processes in (1, 3)
    )
    assert one == three
    assert len(one.planned) > 1
    assert dataclasses.replace(demo_recipe, decode_processes=3).sha256 == demo_recipe.sha256


def test_what_is_short_or_in_doubt_is_left_to_one_decode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path / "a.mp4", "libx264")
    assert _in_segments(path, 1) is None
    info = probe_video(path)
    for claimed in (299, 301):  # an edit list leaves frames out; or the end is missing
        other = dataclasses.replace(info, num_frames_claimed=claimed)
        assert picture_in_segments(path, other, 3, DecodeLimits()) is None
    longer = dataclasses.replace(info, duration_s=60.0)
    assert picture_in_segments(path, longer, 3, DecodeLimits()) is None
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(content)
    assert _in_segments(broken) is None
    with pytest.raises(KilledDecodeError):
        picture_in_segments(path, info, 3, DecodeLimits(stall_s=1e-4))
    monkeypatch.setattr(segments, "SEGMENT_S", 60.0)
    assert _in_segments(path) is None
