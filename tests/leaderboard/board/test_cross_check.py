"""Numbers that contradict each other are refused, wherever one of them was changed."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aa_eval.protocol import read_protocol
from aa_eval.result import MetricValue, Result, write_result
from aa_leaderboard.board.store import add_results, read_board
from aa_leaderboard.errors import SubmissionError

Write = Callable[[Result], Path]
Make = Callable[..., Result]


def refused(folder: Path, board: Path, why: str) -> None:
    with pytest.raises(SubmissionError, match=why) as caught:
        add_results(folder, board)
    assert "\n" not in str(caught.value)
    assert "run aa-eval again" in str(caught.value)
    assert not board.exists() or not list(board.iterdir())


def edit_json(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "result.json"
    row = json.loads(path.read_text())
    change(row)
    path.write_text(json.dumps(row))


def edit_cell(path: Path, line: int, column: int, change: Callable[[str], str]) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        table = list(csv.reader(file))
    table[line][column] = change(table[line][column])
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(table)


def test_one_changed_number_anywhere_is_refused(
    make_result: Make, write_with_frames: Write, tmp_path: Path
) -> None:
    result = make_result()
    draw = random.Random(0)

    def slightly(text: str) -> str:
        return repr(float(text) * 1.0001)

    places: list[Callable[[Path], None]] = []

    def in_json(field: Callable[[dict[str, Any]], dict[str, Any]], key: str) -> None:
        places.append(
            lambda folder: edit_json(
                folder, lambda row: field(row).update({key: field(row)[key] * 1.0001})
            )
        )

    for key in result.metrics:
        in_json(lambda row, key=key: row["metrics"][key], "value")
        in_json(lambda row: row["per_video"]["video_1"], key)
    for _ in range(20):
        line, column = draw.choice([n for n in range(2, 73) if n % 24 != 1]), draw.randint(2, 5)
        places.append(
            lambda folder, line=line, column=column: edit_cell(
                folder / "per_frame.csv", line, column, slightly
            )
        )
    for line in (1, 2, 3):
        places.append(
            lambda folder, line=line: edit_cell(folder / "per_video.csv", line, 1, slightly)
        )
    places.append(lambda folder: edit_json(folder, lambda row: row.update(num_frames=71)))
    places.append(lambda folder: edit_json(folder, lambda row: row["metrics"]["ssim"].update(n=72)))
    for change in places:
        folder = write_with_frames(result)
        add_results(folder, tmp_path / "honest", replace=True)
        change(folder)
        refused(folder, tmp_path / "board", "not the numbers of one evaluation")


def test_the_frames_of_another_method_are_refused(
    make_result: Make, write_with_frames: Write, tmp_path: Path
) -> None:
    mine, theirs = (write_with_frames(make_result(name)) for name in ("mine", "theirs"))
    (mine / "per_frame.csv").write_bytes((theirs / "per_frame.csv").read_bytes())
    refused(mine, tmp_path / "board", "per_frame.csv gives")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda line: ["video", "frame", "ssim", "ssim"] if line[0] == "video" else line, "first"),
        (lambda line: ["video", "frame", "vibes"] if line[0] == "video" else line, "'vibes'"),
        (lambda line: [*line, "1"] if line[1] == "12" else line, "has 7 fields, expected 6"),
        (lambda line: ["../v", *line[1:]] if line[1] == "12" else line, "'../v', a video that"),
        (lambda line: [line[0], "x", *line[2:]] if line[1] == "12" else line, "no number"),
        (lambda line: [*line[:2], "nan", *line[3:]] if line[1] == "12" else line, "ssim is nan"),
        (lambda line: [*line[:2], "1e400", *line[3:]] if line[1] == "12" else line, "is 1e400"),
        (lambda line: [line[0], "9" * 5000, *line[2:]] if line[1] == "12" else line, "no number"),
        (lambda line: ["a" * 200_000, *line[1:]] if line[1] == "12" else line, "not a table"),
        (lambda line: ["" for _ in line], "its first line is"),
    ],
)
def test_a_malformed_table_of_frames_is_refused(
    make_result: Make,
    write_with_frames: Write,
    tmp_path: Path,
    change: Callable[[list[str]], list[str]],
    why: str,
) -> None:
    folder = write_with_frames(make_result())
    path = folder / "per_frame.csv"
    with path.open(newline="", encoding="utf-8") as file:
        lines = [change(line) for line in csv.reader(file)]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    refused(folder, tmp_path / "board", why)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"references": {}}, "'video_0' is in only one of references and per_video"),
        ({"trimmed": {"video_0": ((0, 9),)}}, "no override says 'allow frame-count'"),
        ({"weights": {}}, "lpips_alex has a value, but weights does not name lpips-alex"),
        ({"weights": {"lpips-alex": "ab" * 32}}, "is abababababab, expected .*, the only one"),
        (
            {"metrics": {"ssim": MetricValue(0.5, 0.6, 0.7, None, 72, None)}},
            r"outside its own interval \[0.6, 0.7\]",
        ),
    ],
)
def test_what_the_numbers_rest_on_must_be_named_and_fit(
    make_result: Make, write: Write, tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    refused(write(make_result(**change)), tmp_path / "board", why)


def test_a_mean_that_was_rounded_to_float32_is_no_contradiction(
    make_result: Make, write_with_frames: Write, tmp_path: Path
) -> None:
    folder = write_with_frames(make_result())
    for field in ("metrics", "per_video"):
        edit_json(folder, lambda row, field=field: _round_to_float32(row[field]))
    add_results(folder, tmp_path / "board")
    assert len(read_board(tmp_path / "board")) == 1


def _round_to_float32(fields: dict[str, dict[str, Any]]) -> None:
    for values in fields.values():
        for key, value in values.items():
            if isinstance(value, float):
                values[key] = float(np.float32(value))


def test_a_metric_that_the_protocol_does_not_have_is_refused(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    metrics = {"vibes": MetricValue(0.9, None, None, None, 72, None)}
    folder = write(make_result(metrics=metrics))
    refused(folder, tmp_path / "board", "metrics.vibes, a metric that aa-clean-v1 does not have")


def test_where_frames_count_alike_their_mean_is_held_and_not_that_of_the_videos(
    make_result: Make, tmp_path: Path
) -> None:
    # Two frames of one video and one of another: the mean over frames is no mean over videos.
    protocol = read_protocol("tiktok-disco-2023")
    result = make_result(
        protocol=protocol.name,
        protocol_hash=protocol.hash,
        metrics={"ssim": MetricValue(0.5, None, None, None, 3, None)},
        per_video={"a": {"ssim": 0.6}, "b": {"ssim": 0.3}},
        references={"a": "a0" * 32, "b": "b0" * 32},
        num_videos=2,
        num_frames=3,
    )
    write_result(tmp_path / "out", result)
    table = "video,frame,ssim\r\na,0,0.5\r\na,1,0.7\r\nb,0,0.3\r\n"
    (tmp_path / "out" / "per_frame.csv").write_text(table)
    add_results(tmp_path / "out", tmp_path / "board")
    assert len(read_board(tmp_path / "board")) == 1
    over_videos = {"ssim": MetricValue(0.45, None, None, None, 3, None)}
    write_result(tmp_path / "out", replace(result, metrics=over_videos))
    refused(tmp_path / "out", tmp_path / "other", "ssim is 0.45, per_frame.csv gives 0.5")
    (tmp_path / "out" / "per_frame.csv").unlink()
    outside = {"ssim": MetricValue(0.61, None, None, None, 3, None)}
    write_result(tmp_path / "out", replace(result, metrics=outside))
    refused(tmp_path / "out", tmp_path / "other", "ssim is 0.61, per_video gives 0.6")
