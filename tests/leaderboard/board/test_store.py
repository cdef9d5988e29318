"""The board's folders: which evaluations share a row, what is carried over, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aa_eval.result import Result
from aa_leaderboard.board.store import _same_numbers, add_results, read_board, row_id_of
from aa_leaderboard.errors import BoardError, SubmissionError

Make = Callable[..., Result]
Write = Callable[[Result], Path]


@pytest.mark.parametrize(
    "change",
    [
        {"method": "theirs"},
        {"label": "measured"},
        {"benchmark": "ubc"},
        {"protocol_hash": "ab" * 32},
        {"per_video": {"other": {"ssim": 0.5}}},
        {"references": {"video_0": "ab" * 32}},
        {"overrides": ("a", "b")},
    ],
)
def test_another_way_of_measuring_is_another_row(make_result: Make, change: dict[str, Any]) -> None:
    result = make_result("ours", overrides=("a",))
    other = replace(result, **change)
    assert row_id_of(other) != row_id_of(result)
    if "overrides" in change:
        assert row_id_of(other) == row_id_of(replace(other, overrides=("b", "a")))


def test_another_machine_another_day_and_other_numbers_are_the_same_row(make_result: Make) -> None:
    result = make_result("Our method")
    numbers = {video: dict.fromkeys(of, 0.5) for video, of in result.per_video.items()}
    other = replace(
        result, created="2026-01-01T00:00:00+00:00", machine="m", packages={}, metrics={},
        per_video=numbers, num_frames=1,
    )  # fmt: skip
    assert row_id_of(other) == row_id_of(result)
    name, _, digest = row_id_of(result).rpartition("-")
    assert name == "our-method-aa-clean-v1"
    assert len(digest) == 12
    long = row_id_of(replace(result, method="m" * 57 + "!!!!!"))
    assert long.rpartition("-")[0] == "m" * 57 + "-aa"
    assert row_id_of(replace(result, method="舞", protocol="舞")).startswith("row-")


def test_numbers_are_the_same_where_they_differ_as_another_processor_rounds(
    make_result: Make,
) -> None:
    result = make_result()

    def changed(factor: float, where: str) -> Result:
        if where == "metrics":
            metric = result.metrics["ssim"]
            assert metric.value is not None
            value = replace(metric, value=metric.value * factor)
            return replace(result, metrics=result.metrics | {"ssim": value})
        video = result.per_video["video_1"]
        assert video["ssim"] is not None
        new = {**video, "ssim": video["ssim"] * factor}
        return replace(result, per_video={**result.per_video, "video_1": new})

    for where in ("metrics", "per_video"):
        assert _same_numbers(result, changed(1 + 9e-6, where))
        assert not _same_numbers(result, changed(1 + 1.2e-5, where))
    gone = replace(result.metrics["ssim"], value=None)
    assert not _same_numbers(result, replace(result, metrics=result.metrics | {"ssim": gone}))
    fewer = replace(result.metrics["ssim"], n=68)
    assert not _same_numbers(result, replace(result, metrics=result.metrics | {"ssim": fewer}))
    lacking = {k: v for k, v in result.metrics.items() if k != "ssim"}
    assert not _same_numbers(result, replace(result, metrics=lacking))


def test_a_row_of_the_board_that_is_damaged_is_refused_by_name_and_can_be_overwritten(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    board, folder = tmp_path / "board", write(make_result())
    (added,) = add_results(folder, board)
    file = board / added.row_id / "result.json"
    file.write_text(file.read_text().replace('"num_frames": 72', '"num_frames": -1'))
    with pytest.raises(BoardError, match=r"num_frames is -1.* \(a row of board .*: mend or remove"):
        read_board(board)
    with pytest.raises(SubmissionError, match=r"num_frames is -1.*--replace overwrites it"):
        add_results(folder, board)
    assert "-1" in file.read_text()
    (again,) = add_results(folder, board, replace=True)
    assert again.replaced
    assert len(read_board(board)) == 1


def test_a_row_under_another_name_is_refused(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    (added,) = add_results(write(make_result()), tmp_path / "board")
    (tmp_path / "board" / added.row_id).rename(tmp_path / "board" / "mine")
    with pytest.raises(BoardError, match=f"mine: expected the name {added.row_id}: add it again"):
        read_board(tmp_path / "board")


def test_a_board_that_is_none_and_what_else_lies_on_it(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    with pytest.raises(BoardError, match="no such board: make one with"):
        read_board(tmp_path / "absent")
    add_results(write(make_result("b")), tmp_path / "board")
    add_results(write(make_result("a")), tmp_path / "board")
    (tmp_path / "board" / ".adding-killed").mkdir()  # what a killed `add` leaves
    assert [row.method for row in read_board(tmp_path / "board")] == ["a", "b"]
    (tmp_path / "board" / "notes.txt").write_text("mine")
    with pytest.raises(BoardError, match=r"notes.txt: not a folder"):
        read_board(tmp_path / "board")


def test_two_results_of_one_evaluation_in_one_folder_must_be_one(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    folder = write(make_result())
    write(make_result()).rename(folder / "again")
    assert len(add_results(folder, tmp_path / "board")) == 1
    later = make_result(created="2025-02-02T00:00:00+00:00")
    shutil.rmtree(folder / "again")
    write(later).rename(folder / "again")
    with pytest.raises(SubmissionError, match="hold two results of one evaluation"):
        add_results(folder, tmp_path / "board")


def test_new_clips_and_new_frames_take_the_place_of_the_old_ones(
    make_result: Make, write_with_frames: Write, tmp_path: Path, mp4: bytes
) -> None:
    board, folder = tmp_path / "board", write_with_frames(make_result())
    (folder / "media").mkdir()
    for video in ("video_0", "video_1"):
        (folder / "media" / f"{video}.prediction.mp4").write_bytes(mp4)
    (added,) = add_results(folder, board)
    (folder / "media" / "video_0.prediction.mp4").unlink()
    add_results(folder, board)
    row = board / added.row_id
    assert [path.name for path in (row / "media").iterdir()] == ["video_1.prediction.mp4"]
    assert (row / "per_frame.csv").read_bytes() == (folder / "per_frame.csv").read_bytes()
    assert json.loads((row / "result.json").read_text())["method"] == "ours"
    assert not (row / "per_video.csv").exists(), "the page shows none of it"
