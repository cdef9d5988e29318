"""The worst frames: the worst first, none twice, and none better than one that is left out."""

from __future__ import annotations

import math

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from aa_leaderboard.board.frame_scores import APART_FRAMES, worst_frames

values = st.dictionaries(
    st.sampled_from("abc"),
    st.lists(st.one_of(st.just(math.nan), st.integers(0, 9).map(float)), max_size=40),
)


@given(values, st.integers(1, 8), st.sampled_from(["higher", "lower"]))
def test_the_worst_frames_are_the_worst_ones_that_lie_apart(
    of_video: dict[str, list[float]], count: int, better: str
) -> None:
    lines = [(video, 100 + t, x) for video, row in of_video.items() for t, x in enumerate(row)]
    frames = pd.DataFrame(lines, columns=["video", "frame", "m"]).astype({"m": float})
    sign = 1 if better == "higher" else -1
    found = worst_frames(frames, "m", better, count)  # type: ignore[arg-type]
    signed = [sign * frame.value for frame in found]
    assert signed == sorted(signed)
    for frame in found:
        assert frame.value == of_video[frame.video][frame.position]
        assert frame.number == 100 + frame.position
        assert frame.of == len(of_video[frame.video])
    for i, a in enumerate(found):
        for b in found[:i]:
            assert a.video != b.video or abs(a.position - b.position) >= APART_FRAMES
    # A frame that is left out is at most as bad as the last one, or near one at least as bad.
    full = len(found) == count
    for video, row in of_video.items():
        for position, value in enumerate(row):
            if math.isnan(value):
                continue
            near = any(
                f.video == video
                and abs(f.position - position) < APART_FRAMES
                and sign * f.value <= sign * value
                for f in found
            )
            assert near or (full and sign * value >= signed[-1])
