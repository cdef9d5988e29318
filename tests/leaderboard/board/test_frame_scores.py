"""The worst frames: the worst first, none twice, and none better than one that is left out."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aa_eval.result import Result
from aa_leaderboard.board.frame_scores import (
    APART_FRAMES,
    read_frame_scores,
    read_video_scores,
    worst_frames,
)
from aa_leaderboard.errors import SubmissionError

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


def test_frames_are_eight_apart() -> None:
    frames = pd.DataFrame({"video": "a", "frame": range(20), "m": map(float, range(20))})
    found = worst_frames(frames, "m", "higher", 3)
    assert [frame.position for frame in found] == [0, 8, 16]
    assert [f.position for f in worst_frames(frames, "m", "lower", 2)] == [19, 11]


def _write(folder: Path, *lines: str, name: str = "per_frame.csv") -> Path:
    (folder / name).write_text("".join(f"{line}\r\n" for line in lines))
    return folder


def test_a_table_is_read_with_its_frames_in_order_and_no_value_where_none_was_scored(
    make_result: Callable[..., Result], tmp_path: Path
) -> None:
    result = make_result()
    assert read_frame_scores(tmp_path, result) is None
    assert read_video_scores(tmp_path, result) is None
    _write(tmp_path, "video,frame,psnr,ssim", "video_1,999999999,200,-1", "video_0,3,,1")
    table = read_frame_scores(tmp_path, result)
    assert table is not None
    assert table.video.tolist() == ["video_1", "video_0"]
    assert table.frame.tolist() == [999999999, 3]
    assert table.ssim.tolist() == [-1.0, 1.0]
    assert table.psnr[0] == 200
    assert math.isnan(table.psnr[1])
    _write(tmp_path, "video,ssim", "video_2,0.5", name="per_video.csv")
    videos = read_video_scores(tmp_path, result)
    assert videos is not None
    assert videos.to_dict("list") == {"video": ["video_2"], "ssim": [0.5]}


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (("video,frame,ssim", "video_0,1,0.5", "mine,2,0.5"), "line 3: 'mine', a video that"),
        (("video,frame,ssim", "video_0,1,0.5", "video_0,-2,0.5"), "line 3: frame is '-2', expecte"),
        (("video,frame,ssim", "video_0,1000000000,0.5"), "line 2: frame is '1000000000', expecte"),
        (("video,frame,ssim", "video_0,1,0.5", "video_0,2,x"), "line 3: ssim is 'x', expected a n"),
        (("video,frame,ssim", "video_0,1,1.01"), "line 2: ssim is 1.01, expected -1 to 1"),
        (("video,frame,ssim", "video_0,1,-1.01"), "line 2: ssim is -1.01, expected -1 to 1"),
        (("video,frame,ssim,ssim", "video_0,1,1,1"), "its first line is 'video,frame,ssim,ssim'"),
        (("frame,video,ssim", "1,video_0,1"), ".*, expected video,frame,METRIC"),
        (("video,frame,vibes", "video_0,1,1"), "column 'vibes', which the result does not have"),
        ((), "not a table"),
    ],
)
def test_a_wrong_line_is_told_by_its_number(
    make_result: Callable[..., Result], tmp_path: Path, lines: tuple[str, ...], why: str
) -> None:
    with pytest.raises(SubmissionError, match=rf"per_frame\.csv: {why}.*: run aa-eval again"):
        read_frame_scores(_write(tmp_path, *lines), make_result())


def test_a_folder_and_a_file_of_more_than_128_mib_are_no_tables(
    make_result: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "per_frame.csv").mkdir()
    with pytest.raises(SubmissionError, match=r"per_frame.csv: not a file: run aa-eval again"):
        read_frame_scores(tmp_path, make_result())
    (tmp_path / "per_frame.csv").rmdir()
    (tmp_path / "per_frame.csv").touch()
    os.truncate(tmp_path / "per_frame.csv", 2**27 + 1)  # sparse: takes no room
    with pytest.raises(SubmissionError, match="larger than 128 MiB: not written by aa-eval"):
        read_frame_scores(tmp_path, make_result())
