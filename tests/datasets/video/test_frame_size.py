"""Sizes and rates, by cases that a person can check."""

from __future__ import annotations

import pytest

from aa_datasets.video.frame_size import canonical_size, every_nth, scaled_size


@pytest.mark.parametrize(
    ("size_hw", "scale_to", "expected"),
    [
        ((480, 640), None, (480, 640)),
        ((480, 640), 640, (480, 640)),
        ((480, 640), 641, (480, 640)),  # never up
        ((480, 640), 320, (240, 320)),
        ((640, 480), 320, (320, 240)),
        ((480, 640), 639, (479, 639)),
        ((4, 1000), 100, (2, 100)),  # two pixels at least
        ((480, 640), (100, 30), (100, 30)),  # a size is taken as it is
    ],
)
def test_the_long_side_is_scaled_down_and_never_up(
    size_hw: tuple[int, int], scale_to: int | None, expected: tuple[int, int]
) -> None:
    assert scaled_size(size_hw, scale_to) == expected


@pytest.mark.parametrize(
    ("size_hw", "short_side_px", "expected"),
    [
        ((1080, 1920), 768, (768, 1366)),
        ((1920, 1080), 768, (1366, 768)),
        ((481, 641), 768, (480, 640)),
        ((483, 641), 768, (484, 640)),
        ((2, 1000), 1, (2, 500)),
    ],
)
def test_stored_sides_are_even_and_the_short_one_as_asked(
    size_hw: tuple[int, int], short_side_px: int, expected: tuple[int, int]
) -> None:
    assert canonical_size(size_hw, short_side_px) == expected


@pytest.mark.parametrize(
    ("fps", "max_fps", "n"),
    [(30, 30, 1), (30.29, 30, 1), (30.5, 30, 2), (60, 30, 2), (59.94, 30, 2), (50, 30, 2),
     (25, 30, 1), (5, 30, 1), (120, 30, 4), (61, 30, 3)],
)  # fmt: skip
def test_frames_are_dropped_until_the_rate_is_within_a_hundredth(
    fps: float, max_fps: float, n: int
) -> None:
    assert every_nth(fps, max_fps) == n
