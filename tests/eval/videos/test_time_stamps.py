"""Steady rates and true ends, by the time stamps that containers write."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest

from aa_eval.errors import VideoError
from aa_eval.videos.time_stamps import is_steady, require_end


@pytest.mark.parametrize(
    ("steps", "steady"),
    [
        ([], True),
        ([0.04], True),
        ([0.03, 0.03, 0.04, 0.03, 0.03, 0.04], True),  # 30 fps in hundredths
        ([0.033, 0.034, 0.033], True),
        ([0.04] * 9 + [0.065], False),
        ([0.04] * 9 + [0.063], True),
        ([0.04] * 9 + [0.023], False),
        ([0.04] * 9 + [0.025], True),
        ([0.04, 0.08, 0.04, 0.08], False),  # every third frame is missing
        ([0.0, 0.04, 0.04], False),
    ],
)
def test_a_rate_is_steady_where_no_frame_lasts_far_longer_or_shorter(
    steps: list[float], steady: bool
) -> None:
    times = [2.0]
    for step in steps:
        times.append(times[-1] + step)
    assert is_steady(times) == steady
    assert is_steady([])


def _container(format_: str, **tags: str) -> Any:
    stream = SimpleNamespace(metadata=tags)
    return SimpleNamespace(
        format=SimpleNamespace(name=format_), streams=SimpleNamespace(video=[stream])
    )


def test_a_gif_ends_in_a_semicolon() -> None:
    require_end("a.gif", io.BytesIO(b"GIF89a...;"), _container("gif"), [0.0])
    with pytest.raises(VideoError, match=r"a\.gif: truncated: a GIF ends in ';'"):
        require_end("a.gif", io.BytesIO(b"GIF89a;.."), _container("gif"), [0.0])
    require_end("a.webm", io.BytesIO(b"no"), _container("matroska,webm"), [0.0])


@pytest.mark.parametrize(
    ("told", "truncated"),
    [
        ("00:00:01.000000000", False),  # 25 frames of 0.04 s
        ("00:00:01.059", False),
        ("00:00:01.061", True),  # two frames and a half after the last
        ("00:01:00.96", True),
        ("01:00:00.96", True),
        ("00:00:00.5", False),
        ("soon", False),
    ],
)
def test_a_header_that_promises_more_than_there_is_tells_a_cut(told: str, truncated: bool) -> None:
    times = [0.04 * n for n in range(25)]
    container = _container("matroska,webm", DURATION=told)
    if not truncated:
        require_end("a.mkv", io.BytesIO(b""), container, times)
        return
    with pytest.raises(VideoError, match=r"a\.mkv: truncated: its header promises .*at 0\.96 s"):
        require_end("a.mkv", io.BytesIO(b""), container, times)
    require_end("a.mkv", io.BytesIO(b""), container, [])


def test_hours_minutes_and_seconds_add_up() -> None:
    container = _container("matroska,webm", DURATION="01:02:03.5")
    times = [0.5 * n for n in range(2 * 3723 + 1)]
    require_end("a.mkv", io.BytesIO(b""), container, times)
    with pytest.raises(VideoError, match=r"promises 3723\.5 s, the last frame is at 3721 s"):
        require_end("a.mkv", io.BytesIO(b""), container, times[:-4])


def test_of_one_frame_a_few_milliseconds_are_allowed() -> None:
    container = _container("matroska,webm", DURATION="00:00:00.002")
    require_end("a.mkv", io.BytesIO(b""), container, [0.0])
    with pytest.raises(VideoError, match="truncated"):
        require_end("a.mkv", io.BytesIO(b""), _container("x", DURATION="00:00:00.003"), [0.0])
