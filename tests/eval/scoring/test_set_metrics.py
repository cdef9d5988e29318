"""Distances of sets of videos, on vectors that are written down: values, counts, notes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from aa_eval.errors import counted
from aa_eval.metrics.kvd import kernel_distance
from aa_eval.protocol import read_protocol
from aa_eval.result import MetricValue
from aa_eval.scoring.set_metrics import set_metric
from aa_eval.statistics import distance_spread

Vectors = Sequence[Sequence[Sequence[float]]]


def measure(protocol_name: str, key: str, ours: Vectors, theirs: Vectors) -> MetricValue:
    """The metric `key` of two sets: per video its vectors of two numbers."""
    protocol = read_protocol(protocol_name)
    metric = next(metric for metric in protocol.metrics if metric.key == key)
    assert protocol.video_features is not None
    sides = ([np.reshape(np.asarray(v, float), (-1, 2)) for v in side] for side in (ours, theirs))
    return set_metric(metric, protocol.video_features, [], *sides)


# Four windows on the corners of a square around 0, one video each.
SQUARE = [[[1, 1]], [[1, -1]], [[-1, 1]], [[-1, -1]]]
MOVED = [[[x + 3, y]] for ((x, y),) in SQUARE]


def test_humanvids_distance_is_the_mean_square_over_all_windows() -> None:
    ours = [[[0, 0]], [[1, 0], [0, 2]], []]
    theirs = [[[0, 0]], [[0, 0], [0, 0]], []]
    found = measure("tiktok-humanvid-2024", "fvd", ours, theirs)
    assert found.value == pytest.approx(5 / 3)
    assert (found.n, found.ci_low, found.ci_high) == (3, None, None)
    assert found.note == "no distance of distributions: comparable with no other FVD"
    none = measure("tiktok-humanvid-2024", "fvd", [[]], [[]])
    assert (none.value, none.n, none.unavailable) == (None, 0, "no video has 10 frames")


def test_humanvids_interval_is_over_videos_by_their_windows() -> None:
    same = [[[2, 0]], [[2, 0], [0, 2]], [[0, 2]]]
    found = measure("tiktok-humanvid-2024", "fvd", same, [[[0, 0]], [[0, 0]] * 2, [[0, 0]]])
    assert (found.value, found.ci_low, found.ci_high) == (4, 4, 4)


def test_fvd_of_a_shift_is_its_square_and_the_note_says_what_it_rests_on() -> None:
    found = measure("aa-clean-v2", "fvd", [*MOVED, [], []], [*SQUARE, [], []])
    assert found.value == pytest.approx(9)
    assert found.n == 4
    assert found.note is not None
    said = found.note.split("; ")
    assert said[:2] == ["N = 4", "videos without a window of 16 frames: 2"]
    assert said[2].startswith("two halves of the references are ")


def test_as_many_windows_as_dimensions_are_rank_deficient() -> None:
    assert "rank-deficient: N = 2 <= d = 2" in str(
        measure("aa-clean-v2", "fvd", MOVED[:2], SQUARE[:2]).note
    )
    assert "rank" not in str(measure("aa-clean-v2", "fvd", MOVED[:3], SQUARE[:3]).note)


def test_an_interval_is_the_value_and_1_96_spreads_and_no_fvd_is_below_0() -> None:
    found = measure("aa-clean-v1", "kvd", MOVED, SQUARE)
    sides = [[np.asarray(video, float) for video in side] for side in (MOVED, SQUARE)]
    spread = distance_spread(sides[0], sides[1], lambda a, b, *_: kernel_distance(a, b))
    assert spread is not None
    assert found.value is not None
    assert (found.ci_low, found.ci_high) == pytest.approx(
        (found.value - 1.96 * spread, found.value + 1.96 * spread)
    )
    near = measure("aa-clean-v2", "fvd", [[[1.2, 1]], *SQUARE[1:3], [[-1, -1.2]]], SQUARE)
    assert near.ci_low == 0


def test_few_windows_and_few_videos_are_called_so() -> None:
    assert "noisy: N = 4 < 50 windows" in str(measure("aa-clean-v1", "kvd", MOVED, SQUARE).note)
    many = SQUARE * 13
    assert "noisy" not in str(measure("aa-clean-v1", "kvd", many, many).note)
    assert "not ranked: 4 videos < 10" in str(measure("aa-clean-v2", "kvd", MOVED, SQUARE).note)
    ten = [*SQUARE, *SQUARE, *SQUARE[:2]]
    assert "N = 10" in str(measure("aa-clean-v2", "kvd", ten, ten).note)
    assert "not ranked" not in str(measure("aa-clean-v2", "kvd", ten, ten).note)
    some = [*ten[:9], []]  # a video without a window is none of the ten
    assert "not ranked: 9 videos < 10" in str(measure("aa-clean-v2", "kvd", some, some).note)


@pytest.mark.parametrize("side", [[[]], [[[1, 1]]]])
def test_fewer_than_two_windows_are_no_distribution(side: Vectors) -> None:
    found = measure("aa-clean-v2", "fvd", side, side)
    count = len(side[0])
    assert (found.value, found.n) == (None, count)
    assert str(found.unavailable).startswith(
        f"{counted(count, 'window')} of 16 consecutive frames (stride 16)"
    )
