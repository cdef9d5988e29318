"""What the board refuses: malformed, implausible and hostile result folders."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aa_eval.result import SCHEMA, MetricValue, Result
from aa_leaderboard.board import add_results, read_board, row_id_of
from aa_leaderboard.errors import BoardError, SubmissionError

Write = Callable[[Result], Path]
Make = Callable[..., Result]
MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(64)


def refused(folder: Path, tmp_path: Path, why: str) -> None:
    """The folder is refused with that reason in one line, and the board stays as it was."""
    board = tmp_path / "board"
    with pytest.raises(SubmissionError, match=why) as caught:
        add_results(folder, board)
    assert "\n" not in str(caught.value)
    assert not board.exists() or not list(board.iterdir())


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    path = folder / "result.json"
    row = json.loads(path.read_text())
    change(row)
    path.write_text(json.dumps(row))
    return folder


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"method": "../../etc/passwd"}, "method is '../../etc/passwd', a path"),
        ({"method": "..\\evil"}, "a path"),
        ({"method": "/abs"}, "a path"),
        ({"method": " "}, "method is empty"),
        ({"method": "m" * 121}, "121 characters"),
        ({"method": "ours\u202eexe"}, r"hidden character U\+202E"),
        ({"method": "ours\x00"}, r"hidden character U\+0000"),
        ({"label": "de\x1bmo"}, r"label holds the hidden character U\+001B"),
        ({"benchmark": "../tiktok"}, "benchmark"),
        ({"protocol": "a/../b"}, "protocol"),
        ({"protocol_hash": "mine"}, "protocol_hash is 'mine', expected a sha256"),
        ({"protocol_hash": "AB" * 32}, "expected a sha256"),
        ({"protocol_hash": "ab" * 32}, r"\(abababababab\), which no protocol here is: its hash"),
        ({"protocol": "mine"}, "which no protocol here is: there are aa-clean-v1, "),
        ({"references": {"v": "none"}}, r"references\.v is 'none', expected a sha256"),
        ({"references": {"../v": "ab" * 32}}, "a path"),
        ({"weights": {"lpips": "none"}}, r"weights\.lpips"),
        ({"weights": {"../lpips": "ab" * 32}}, "a path"),
        ({"overrides": ("x" * 3000,)}, "overrides\\[0\\] has 3000 characters"),
        ({"num_videos": 4}, "num_videos is 4, per_video has 3"),
        ({"num_frames": 10**30}, "num_frames is 1000000"),
        ({"created": "yesterday"}, "created is 'yesterday', expected an ISO 8601"),
        ({"metrics": {"ssim": MetricValue(1.2, None, None, None, 9, None)}}, "ssim is 1.2"),
        ({"metrics": {"psnr_overflow": MetricValue(20.0, None, None, None, 9, None)}}, "24 to 200"),
        ({"metrics": {"fvd": MetricValue(1e300, None, None, None, 9, None)}}, "fvd is 1e.300"),
        ({"metrics": {"odd": MetricValue(1e12, None, None, None, 9, None)}}, "odd is 1"),
        ({"metrics": {"ssim": MetricValue(0.5, 0.6, 0.4, None, 9, None)}}, "interval"),
        ({"metrics": {"ssim": MetricValue(0.5, 0.4, None, None, 9, None)}}, "interval"),
        ({"metrics": {"ssim": MetricValue(0.5, None, None, None, -1, None)}}, "ssim.n is -1"),
        ({"metrics": {"a/../b": MetricValue(0.5, None, None, None, 1, None)}}, "a path"),
        ({"metrics": {"ssim": MetricValue(None, None, None, "gone", 0, None)}}, "no metric has"),
        ({"per_video": {"../v": {"ssim": 0.5}}, "num_videos": 1}, "video '../v' is '../v'"),
        ({"per_video": {"v": {"ssim": -3.0}}, "num_videos": 1}, r"per_video\.v\.ssim is -3"),
        ({"packages": {"numpy": "2\u2028"}}, r"U\+2028"),
    ],
)
def test_an_implausible_or_hostile_field_is_refused(
    make_result: Make, write: Write, tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    refused(write(make_result(**change)), tmp_path, why)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", '"0.5"', "true", "[]"])
def test_a_value_that_is_no_finite_number_is_refused(
    make_result: Make, write: Write, tmp_path: Path, text: str
) -> None:
    folder = write(make_result())
    edit(folder, lambda row: row["metrics"]["ssim"].update(value="HERE"))
    path = folder / "result.json"
    path.write_text(path.read_text().replace('"HERE"', text))
    refused(folder, tmp_path, "metrics.ssim.value")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "[" * 100_000, '{"schema": 1}', "\ufeff{}", "\ud800"]
)
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "result"
    folder.mkdir()
    (folder / "result.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    refused(folder, tmp_path, "result.json")


def test_a_huge_integer_is_refused_and_not_converted_for_minutes(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    folder = write(make_result())
    path = folder / "result.json"
    path.write_text(path.read_text().replace('"num_frames": 72', '"num_frames": ' + "9" * 5000))
    refused(folder, tmp_path, "result.json")


def test_an_unknown_field_and_a_missing_one_are_refused(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    refused(edit(write(make_result()), lambda row: row.update(rank=1)), tmp_path, "rank")
    refused(edit(write(make_result()), lambda row: row.pop("machine")), tmp_path, "machine")


@pytest.mark.parametrize(
    "where", ["result.json", "extra.png", "media", "media/video_0.prediction.mp4"]
)
def test_a_symlink_anywhere_is_refused(
    make_result: Make, write: Write, tmp_path: Path, where: str
) -> None:
    folder = write(make_result())
    target = tmp_path / "secret"
    if where == "media":
        target.mkdir()
    elif where == "result.json":
        (folder / where).rename(target)
    else:
        target.write_bytes(MP4)
        (folder / where).parent.mkdir(exist_ok=True)
    (folder / where).symlink_to(target)
    refused(folder, tmp_path, "symlink|no result.json")


def test_a_linked_result_folder_and_a_pipe_are_refused(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    folder = write(make_result())
    (tmp_path / "link").symlink_to(folder)
    refused(tmp_path / "link", tmp_path, "not a folder")
    os.mkfifo(folder / "pipe")
    refused(folder, tmp_path, "symlink or device")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("video_0.mp4", MP4, "expected VIDEO.reference"),
        ("video_9.prediction.mp4", MP4, "scores no video 'video_9'"),
        ("..prediction.mp4", MP4, "expected VIDEO"),
        ("-x.prediction.mp4", MP4, "expected VIDEO"),
        ("video_0.prediction.html", b"<script>", "expected VIDEO"),
        ("video_0.prediction.mp4", b"<script>alert(1)</script>", "its content is not mp4"),
        ("video_0.prediction.png", b"\x89PNG\r\n\x1a\n", "only a reference may be"),
        ("video_0.reference.svg", b"<svg onload=alert(1)>", "expected VIDEO"),
        ('video_0" onerror="x.prediction.mp4', MP4, "expected VIDEO"),
    ],
)
def test_a_clip_that_is_not_one_is_refused(
    make_result: Make, write: Write, tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    folder = write(make_result())
    (folder / "media").mkdir()
    (folder / "media" / name).write_bytes(content)
    refused(folder, tmp_path, why)


def test_one_bad_result_among_good_ones_leaves_the_board_as_it_was(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    folder = write(make_result("good"))
    write(make_result(method="..")).rename(folder / "z")
    refused(folder, tmp_path, "a path")


def test_a_row_that_was_tampered_with_on_the_board_is_refused_by_name(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    board = tmp_path / "board"
    (added,) = add_results(write(make_result()), board)
    edit(board / added.row_id, lambda row: row.update(method="theirs"))
    with pytest.raises(BoardError, match=added.row_id):
        read_board(board)


def test_an_honest_result_round_trips_and_is_idempotent(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    result = make_result("ours", benchmark="tiktok")
    board = tmp_path / "board"
    folder = write(result)
    (folder / "media").mkdir()
    (folder / "media" / "video_1.prediction.mp4").write_bytes(MP4)
    (first,) = add_results(folder, board)
    (second,) = add_results(folder, board)
    assert (first.replaced, second.replaced) == (False, True)
    (row,) = read_board(board)
    assert row.method == "ours"
    assert row.cells["ssim"].value == result.metrics["ssim"].value
    assert (board / first.row_id / "media" / "video_1.prediction.mp4").read_bytes() == MP4
    assert [path.name for path in board.iterdir()] == [first.row_id]


def test_other_numbers_of_the_same_evaluation_need_replace(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    board = tmp_path / "board"
    add_results(write(make_result("ours")), board)
    folder = edit(write(make_result("ours")), lambda row: row["metrics"]["ssim"].update(n=1))
    with pytest.raises(SubmissionError, match="--replace"):
        add_results(folder, board)
    add_results(folder, board, replace=True)
    (row,) = read_board(board)
    assert row.method == "ours"


def test_a_result_may_name_an_override_for_each_of_many_videos(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    spoken = tuple(f"allow frame-count: 'video_{n}': 23 predicted frames, 24" for n in range(500))
    add_results(write(make_result(overrides=spoken)), tmp_path / "board")
    (row,) = read_board(tmp_path / "board")
    assert ("caution", "checks overridden") in row.badges


def test_a_folder_without_a_result_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", tmp_path, "holds no result.json: give a folder")
    refused(tmp_path / "absent", tmp_path, "not a folder")


@given(st.text(min_size=1, max_size=80))
def test_a_row_id_is_a_plain_file_name_whatever_the_method_is_called(method: str) -> None:
    nothing: tuple[dict[str, Any], ...] = ({}, {}, {}, {}, {})
    hashed = ("p", "1", "ab" * 32)
    result = Result(SCHEMA, method, "", None, *hashed, *nothing, 0, 0, {}, {}, (), "", "2025-01-01")
    assert row_id_of(result).isascii()
    assert row_id_of(result).replace("-", "").isalnum()
    assert len(row_id_of(result)) <= 80
