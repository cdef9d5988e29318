from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aa_curation.measure.frame_stats import Picture, PictureMeter
from aa_curation.measure.shots import ShotCuts, cut_spans
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.canonical import encode_canonical
from aa_datasets.video.foreign import open_foreign


def _calm(num_frames: int, fps: float = 25.0) -> Picture:
    values = np.ones(num_frames, np.float32)
    none = np.zeros((1, 1), np.float32)
    lit = 100 * values
    return Picture(np.arange(num_frames) / fps, values, values, lit, values, values, none)


def _picture(path: Path) -> Picture:
    meter = PictureMeter()
    for frame in open_foreign(path, max_side_px=320).frames:
        meter.see(frame.planes, frame.time_s)
    return meter.picture()


def test_two_puppets_one_after_the_other_are_two_shots(tmp_path: Path) -> None:
    frames = np.concatenate([render_puppet(seed, seed, num_frames=20).frames for seed in (1, 6)])
    path = tmp_path / "shots.mp4"
    path.write_bytes(encode_canonical(frames, 24))
    picture = _picture(path)
    assert ShotCuts().cut_frames(picture) == [20]
    spans = cut_spans(picture, ShotCuts(), max_s=10)
    assert [round(span.start_s * 24) for span in spans] == [0, 20]
    assert spans[-1].end_s == pytest.approx(40 / 24)


def test_a_shaking_camera_is_no_cut() -> None:
    picture = _calm(60)
    picture.change[:] = np.random.default_rng(0).uniform(25, 45, 60)
    assert ShotCuts().cut_frames(picture) == []


@given(
    num_frames=st.integers(1, 400),
    max_s=st.floats(0.5, 12),
    cut=st.integers(1, 399),
)
def test_spans_tile_the_video_and_none_is_longer_than_asked(
    num_frames: int, max_s: float, cut: int
) -> None:
    picture = _calm(num_frames)
    if cut < num_frames:
        picture.change[cut] = 80
    spans = cut_spans(picture, ShotCuts(), max_s)
    frame_s = 1 / 25 if num_frames > 1 else 1 / 30
    assert spans[0].start_s == 0
    assert spans[-1].end_s == pytest.approx((num_frames - 1) / 25 + frame_s)
    assert all(a.end_s == b.start_s for a, b in itertools.pairwise(spans))
    assert all(0 < span.duration_s <= max_s + 1e-6 for span in spans)


def test_a_span_of_the_source_bounds_the_clips() -> None:
    (span,) = cut_spans(_calm(250), ShotCuts(), 10, within_s=(2, 6))
    assert (span.start_s, span.end_s) == (2, 6)
    assert cut_spans(_calm(25), ShotCuts(), 10, within_s=(2, 6)) == []


def test_a_gap_in_the_time_stamps_ends_a_shot_and_is_in_no_clip() -> None:
    picture = _calm(100)
    picture.times_s[40:] += 2.0
    spans = cut_spans(picture, ShotCuts(), 10)
    assert [(s.start_s, s.end_s) for s in spans] == [
        (0, pytest.approx(1.6)),
        (pytest.approx(3.6), pytest.approx(6.0)),
    ]
    assert [picture.between(s.start_s, s.end_s).num_frames for s in spans] == [40, 60]
    for claimed in (16.7, 0.0):
        assert ShotCuts().fps(picture, claimed) == pytest.approx(25), "a gap does not lower it"
    assert len(cut_spans(picture, ShotCuts(gap_s=np.inf), 10)) == 1
    (taken,) = cut_spans(picture, ShotCuts(), 10, within_s=(0.8, 3))
    assert (taken.start_s, taken.end_s) == (0.8, pytest.approx(1.6))


def test_a_late_frame_and_a_slow_camera_are_no_gaps() -> None:
    picture = _calm(100)
    picture.times_s[40:] += 0.3
    assert len(cut_spans(picture, ShotCuts(), 10)) == 1
    assert len(cut_spans(_calm(10, fps=1.0), ShotCuts(), 100)) == 1


@pytest.mark.parametrize(("claimed", "expected"), [(25.1, 25.1), (30.0, 25.0), (0.0, 25.0)])
def test_the_claimed_rate_counts_where_it_is_nearly_the_counted_one(
    claimed: float, expected: float
) -> None:
    assert ShotCuts().fps(_calm(100), claimed) == pytest.approx(expected)


def _faded(frames: np.ndarray, into: int, black: int, out: int) -> np.ndarray:
    """A video that fades from black in `into` frames and to black in `out`, and stays black."""
    light = np.ones(len(frames))
    light[:into] = np.arange(into) / into
    light[len(light) - out :] = 1 - (np.arange(out) + 1) / out
    lit = (frames * light[:, None, None, None]).astype(np.uint8)
    return np.concatenate([lit, np.zeros((black, *frames.shape[1:]), np.uint8)])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fades_are_those_of_pyscenedetect_and_black_is_in_no_clip(
    seed: int, tmp_path: Path
) -> None:
    import scenedetect

    rng = np.random.default_rng(seed)
    puppets = [render_puppet(int(p), int(p), num_frames=40).frames for p in rng.permutation(20)[:4]]
    shots = [_faded(p, *(int(n) for n in rng.integers((2, 1, 2), (12, 9, 12)))) for p in puppets]
    path = tmp_path / "fades.mp4"
    path.write_bytes(encode_canonical(np.concatenate(shots), 24))
    picture = _picture(path)
    runs = ShotCuts().black_runs(picture)
    scenes = scenedetect.detect(str(path), scenedetect.ThresholdDetector(min_scene_len=5))
    theirs = [start.frame_num for start, _ in scenes[1:]]
    inner = [(first, end) for first, end in runs if first > 0 and end < picture.num_frames]
    assert len(inner) == len(theirs) == 3
    assert all(first <= cut <= end for (first, end), cut in zip(inner, theirs, strict=True))
    spans = cut_spans(picture, ShotCuts(), max_s=10)
    assert len(spans) == 4
    shown = [picture.between(span.start_s, span.end_s).brightness for span in spans]
    assert min(brightness.min() for brightness in shown) >= 12
    assert all(len(brightness) >= 28 for brightness in shown)  # what is not dark is not lost
    assert len(cut_spans(picture, ShotCuts(change_at_least=np.inf, dark_below=0), 60)) == 1


def test_darkness_that_is_not_black_and_blackness_throughout_are_no_fades() -> None:
    picture = _calm(60)
    picture.brightness[:] = 100
    picture.brightness[20:30] = 5
    assert ShotCuts().black_runs(picture) == []
    picture.brightness[:] = 1
    assert ShotCuts().black_runs(picture) == []
    assert len(cut_spans(picture, ShotCuts(), 10)) == 1


def test_a_night_loses_no_more_than_a_second_on_each_side_of_black() -> None:
    picture = _calm(250)
    picture.brightness[:] = 6
    picture.brightness[120] = 1
    picture.brightness[-1] = 50
    assert ShotCuts().black_runs(picture) == [(95, 146)]
    spans = cut_spans(picture, ShotCuts(), 10)
    assert [(s.start_s, s.end_s) for s in spans] == [(0, 95 / 25), (146 / 25, 10)]


@given(st.tuples(st.floats(0, 10), st.floats(0, 10)), st.integers(0, 249), st.integers(1, 60))
def test_spans_within_a_part_of_the_source_hold_no_black(
    within_s: tuple[float, float], first: int, length: int
) -> None:
    picture = _calm(250)
    picture.brightness[first : first + length] = 0
    start_s, end_s = sorted(within_s)
    spans = cut_spans(picture, ShotCuts(), 10, within_s=(start_s, end_s))
    shown = np.zeros(250, bool)
    for span in spans:
        assert start_s <= span.start_s < span.end_s <= end_s
        shown |= (picture.times_s >= span.start_s) & (picture.times_s < span.end_s)
    inside = (picture.times_s >= start_s) & (picture.times_s < end_s)
    np.testing.assert_array_equal(shown, inside & (picture.brightness > 0))


def _cuts_of_both(path: Path) -> tuple[list[int], list[int]]:
    """Ours and PySceneDetect's (ContentDetector, its own thresholds)."""
    import scenedetect  # the oracle: slow to import, and no part of what is tested

    scenes = scenedetect.detect(str(path), scenedetect.ContentDetector(min_scene_len=5))
    return ShotCuts().cut_frames(_picture(path)), [start.frame_num for start, _ in scenes[1:]]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cuts_between_puppets_are_those_of_pyscenedetect(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(10, 40, 6)
    shots = [
        render_puppet(int(p), int(p), num_frames=int(n), size_hw=(256, 256)).frames
        for p, n in zip(rng.permutation(20)[:6], lengths, strict=True)
    ]
    path = tmp_path / "shots.mp4"
    path.write_bytes(encode_canonical(np.concatenate(shots), 24))
    ours, theirs = _cuts_of_both(path)
    assert ours == theirs == np.cumsum(lengths)[:-1].tolist()


def test_cuts_of_a_street_film_are_those_of_pyscenedetect() -> None:
    path = Path(__file__).parents[3] / "../shared/corpus/clips/clip_038.mp4"
    if not path.is_file():
        pytest.skip("skipped: no ../shared")
    ours, theirs = _cuts_of_both(path)
    assert ours == theirs
    assert len(ours) == 5  # six shots


@pytest.mark.parametrize(
    ("offset", "change", "is_cut"),
    [
        (-4, 60, True), (-3, 60, False), (-3, 20, True), (-1, 20.1, False), (1, 20, True),
        (1, 20.1, False), (3, 60, False), (4, 60, True),
    ],
)  # fmt: skip
def test_a_cut_is_twice_what_changes_in_three_frames_on_each_side(
    offset: int, change: float, is_cut: bool
) -> None:
    picture = _calm(30)
    picture.change[15], picture.change[15 + offset] = 40, change
    assert (15 in ShotCuts().cut_frames(picture)) == is_cut
    picture.change[15] = 24.99
    assert 15 not in ShotCuts().cut_frames(picture)


def test_the_first_frame_has_no_change_that_counts_and_one_near_it_may_be_a_cut() -> None:
    picture = _calm(30)
    picture.change[[0, 2]] = 20, 25
    assert ShotCuts().cut_frames(picture) == [2]


def test_a_dark_frame_is_left_out_up_to_a_second_from_black() -> None:
    picture = _calm(100)  # of 25 a second
    picture.brightness[10:80] = 11.9
    picture.brightness[9] = 12.0
    picture.brightness[40] = 1.9
    assert ShotCuts().black_runs(picture) == [(15, 66)]
    picture.brightness[40] = 2.0
    assert ShotCuts().black_runs(picture) == []


@pytest.mark.parametrize(
    ("step_s", "usual_s", "is_gap"),
    [(0.5, 1 / 24, False), (0.51, 1 / 24, True), (0.6, 0.2, False), (0.61, 0.2, True)],
)
def test_a_gap_is_longer_than_half_a_second_and_than_three_usual_steps(
    step_s: float, usual_s: float, is_gap: bool
) -> None:
    times = np.arange(20) * usual_s
    times[10:] += step_s - usual_s
    picture = dataclasses.replace(_calm(20), times_s=times)
    gaps = ShotCuts().gaps(picture)
    assert bool(gaps) == is_gap
    if is_gap:
        assert gaps == [(pytest.approx(times[9] + usual_s), pytest.approx(times[10]))]


def test_a_claimed_rate_counts_within_a_fiftieth() -> None:
    picture = dataclasses.replace(_calm(101), times_s=np.arange(101) / 25)
    cuts = ShotCuts()
    assert [cuts.fps(picture, claimed) for claimed in (25.4, 24.6)] == [25.4, 24.6]
    assert [round(cuts.fps(picture, claimed), 6) for claimed in (25.6, 24.4, 0.0)] == [25, 25, 25]
    one = dataclasses.replace(_calm(1), times_s=np.zeros(1))
    assert [cuts.fps(one, claimed) for claimed in (12.5, 0.0)] == [12.5, 30.0]
