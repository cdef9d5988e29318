"""What the board refuses: malformed, implausible and hostile result folders."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aa_eval.result import SCHEMA, MetricValue, Result
from aa_eval.videos.benchmark import read_benchmark
from aa_leaderboard.board.store import add_results, read_board, row_id_of
from aa_leaderboard.board.validate import check_result
from aa_leaderboard.columns import COLUMNS
from aa_leaderboard.errors import BoardError, SubmissionError

Write = Callable[[Result], Path]
Make = Callable[..., Result]


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
        ({"method": "ours "}, "method is 'ours ': expected single spaces, and none at its ends"),
        ({"method": " ours"}, "none at its ends"),
        ({"method": "our\u00a0s"}, "expected single spaces"),
        ({"method": "our  s"}, "expected single spaces"),
        ({"method": "ou\u200brs"}, r"hidden character U\+200B"),
        ({"method": "ou\u00adrs"}, r"hidden character U\+00AD"),
        ({"method": "ou\ufeffrs"}, r"hidden character U\+FEFF"),
        ({"method": "ou\u3164rs"}, r"hidden character U\+3164"),
        ({"method": "ours\ufe0f"}, r"hidden character U\+FE0F"),
        ({"method": "our\ue000s"}, r"hidden character U\+E000"),
        ({"method": "cafe\u0301"}, "not in Unicode's form NFC"),
        ({"label": "published"}, "label is 'published': expected a word of your own"),
        ({"label": "Published"}, "expected a word of your own"),
        ({"label": "\uff50ublished"}, "expected a word of your own"),
        ({"label": "publ\u0456shed"}, "label has the word .*: write it in one alphabet"),
        ({"method": "my \u043eurs"}, r"method has the word '\\u043eurs', in which letters stand"),
        ({"method": "\uff4furs"}, "write it in one alphabet"),
        ({"method": "\U0001d428urs"}, "write it in one alphabet"),
        ({"protocol_version": "99"}, "protocol_version is '99', aa-clean-v1 has '1'"),
        ({"label": "trivial baseline"}, "expected a word of your own"),
        ({"label": "demo "}, "expected a word of your own"),
        ({"method": "m" * 121}, "121 characters"),
        ({"label": "l" * 121}, "label has 121 characters, expected at most 120"),
        ({"method": "ours\u202eexe"}, r"hidden character U\+202E"),
        ({"method": "ours\x00"}, r"hidden character U\+0000"),
        ({"label": "de\x1bmo"}, r"label holds the hidden character U\+001B"),
        ({"benchmark": "../tiktok"}, "benchmark"),
        ({"benchmark": "mine"}, "benchmark is 'mine', expected one of .*tiktok, ubc, .*or null"),
        ({"benchmark": "tiktok"}, "0 of the 10 test videos of tiktok and 3 others, and no over"),
        ({"protocol": "a/../b"}, "protocol"),
        ({"protocol_hash": "mine"}, "protocol_hash is 'mine', expected a sha256"),
        ({"protocol_hash": "AB" * 32}, "expected a sha256"),
        (
            {"protocol_hash": "ab" * 32},
            r"\(abababababab\), which is not a protocol of this version: its",
        ),
        ({"protocol": "mine"}, "which is not a protocol of this version: there are aa-clean-v1, "),
        ({"references": {"v": "none"}}, r"references\.v is 'none', expected a sha256"),
        ({"references": {"../v": "ab" * 32}}, "a path"),
        ({"weights": {"lpips": "none"}}, r"weights\.lpips"),
        ({"weights": {"../lpips": "ab" * 32}}, "a path"),
        ({"overrides": ("x" * 3000,)}, "overrides\\[0\\] has 3000 characters"),
        ({"num_videos": 4}, "num_videos is 4, per_video has 3"),
        ({"num_frames": 10**30}, "num_frames is 1000000"),
        ({"created": "yesterday"}, "created is 'yesterday', expected an ISO 8601"),
        ({"created": "2025-01-02T03:04:05"}, "expected a time zone"),
        ({"created": "2999-01-01T00:00:00+00:00"}, "no day to come"),
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


@pytest.mark.parametrize(
    "method",
    ["\u03b2-VAE", "X\u00b2", "Caf\u00e9", "\u821e\u8e48 v2", "\u0422\u0430\u043d\u0435\u0446"],
)
def test_names_in_any_alphabet_are_taken(make_result: Make, method: str) -> None:
    check_result(make_result(method=method), "here")


# What a metric can be, by its definition or by what is still believed of a method.
POSSIBLE = {
    (-1, 1): "ssim csim ssim_differences",
    (0, 1): "pck missing_rate warp_error warp_error_own pape",
    (0, 2): "picd",  # of two unit vectors: 1 - cosine
    (0, 180): "limb_angle",  # degrees
    (24, 200): "psnr_overflow",  # 8 bits: never below 24.17 dB
    (-50, 200): "psnr psnr_unknown",
    (0, 20): "lpips lpips_alex lpips_vgg tlpips identity_lpips photo_lpips",
    (0, 1e7): "fvd fid fid_vid cd_fvd fvmd jedi",
    (-1e7, 1e7): "kvd",  # unbiased
    (0, 255): "l1 flicker flicker_own identity_limbs photo_colour",  # levels
    (0, 510): "dtssd",  # of a difference of differences
    (0, 1e5): "akd tof",  # pixels
    (-1e9, 1e9): "a_metric_of_somebody",
}


@pytest.mark.parametrize(("low", "high"), POSSIBLE)
def test_the_ends_of_what_is_possible_are_taken_and_what_lies_beyond_is_not(
    make_result: Make, low: float, high: float
) -> None:
    for key in POSSIBLE[low, high].split():
        for value, beyond in ((low, low - 0.001 * abs(high)), (high, high * 1.001)):
            metric = MetricValue(value, None, None, None, 9, None)
            check_result(make_result(metrics={key: metric}, per_video={}), "here")
            wrong = make_result(metrics={key: replace(metric, value=beyond)}, per_video={})
            with pytest.raises(SubmissionError, match=f"{key} is .*, expected "):
                check_result(wrong, "here")


def test_every_column_is_in_the_list_of_what_is_possible() -> None:
    listed = {key for group in POSSIBLE.values() for key in group.split()}
    assert listed == {column.key for column in COLUMNS} | {"a_metric_of_somebody"}


def test_texts_and_counts_reach_their_bounds_and_no_further(make_result: Make) -> None:
    def check(**change: Any) -> None:
        check_result(make_result(**change), "here")

    check(method="m" * 120, label="l" * 120, machine="m" * 2000, overrides=("o" * 2000,))
    check(num_frames=10**9, per_video={}, num_videos=0)
    many = {f"v{n}": {"ssim": 0.5} for n in range(20_001)}
    for change, why in (
        ({"machine": "m" * 2001}, "machine has 2001 characters, expected at most 2000"),
        ({"packages": {"p": "m" * 2000}}, "package 'p' has 2001 characters"),
        ({"num_frames": 10**9 + 1}, "num_frames is 1000000001, expected 0 to 1000000000"),
        ({"num_frames": -1}, "num_frames is -1, expected 0"),
        ({"per_video": many, "num_videos": 20_001}, "more than 20000 videos or 100 metrics"),
        ({"overrides": ("o",) * 20_001}, "20001 overrides, expected at most 20000"),
        ({"metrics": {f"m{n}": make_result().metrics["ssim"] for n in range(101)},
          "per_video": {}}, "or 100 metrics"),
    ):  # fmt: skip
        with pytest.raises(SubmissionError, match=why):
            check(**change)
    del many["v7"]
    check(per_video=many, num_videos=20_000, overrides=("o",) * 20_000)
    metrics = {f"m{n}": make_result().metrics["ssim"] for n in range(100)}
    check(metrics=metrics, per_video={})


@pytest.mark.parametrize("character", "\u180b\u180f\ufe00\ufe0f\U000e0100\U000e01ef\u2028\u2029"
                         "\u034f\u115f\u1160\u17b4\u17b5\u2800\uffa0\U000f0000\n")  # fmt: skip
def test_what_prints_nothing_is_refused_to_the_ends_of_its_ranges(
    make_result: Make, character: str
) -> None:
    point = f"U.{ord(character):04X}"
    with pytest.raises(SubmissionError, match=f"machine holds the hidden character {point}: rem"):
        check_result(make_result(machine=f"a{character}b"), "here")
    with pytest.raises(SubmissionError, match=f"hidden character {point}"):  # before what is cut
        check_result(make_result(label="l" * 119 + character), "here")


@pytest.mark.parametrize("character", "\u180a\u1810\ufdf2\ufe10\u3163舞é†\u2801")
def test_letters_of_every_script_are_taken(make_result: Make, character: str) -> None:
    check_result(make_result(machine=f"a{character}b", method=f"m{character}"), "here")


@pytest.mark.parametrize(
    "mark",
    ["published", "Publishing house", "second-hand", "told in an  issue", "sources conflict",
     "checks overridden", "trivial baseline", "no values per frame"],
)  # fmt: skip
def test_no_label_passes_as_a_mark_of_the_board(make_result: Make, mark: str) -> None:
    with pytest.raises(SubmissionError, match="the board sets its marks itself"):
        check_result(make_result(label=mark), "here")
    check_result(make_result(label="measured by us"), "here")


def test_a_result_is_of_today_or_before_give_or_take_a_time_zone(make_result: Make) -> None:
    now = datetime.now(UTC)
    check_result(make_result(created=(now + timedelta(hours=23)).isoformat()), "here")
    check_result(make_result(created="2025-01-02T03:04:05+14:00"), "here")
    with pytest.raises(SubmissionError, match="no day to come"):
        check_result(make_result(created=(now + timedelta(hours=25)).isoformat()), "here")


def test_other_videos_than_the_benchmarks_are_taken_where_that_is_said(make_result: Make) -> None:
    split = read_benchmark("tiktok").video_ids
    whole = {video: {"ssim": 0.5} for video in split}
    fields: dict[str, Any] = {"benchmark": "tiktok", "metrics": {
        "ssim": MetricValue(0.5, None, None, None, 9, None)}}  # fmt: skip
    check_result(make_result(per_video=whole, num_videos=len(whole), **fields), "here")
    part = {**dict(list(whole.items())[:3]), "mine": {"ssim": 0.5}}
    fields |= {"per_video": part, "num_videos": 4}
    with pytest.raises(SubmissionError, match="has 3 of the 10 test videos of tiktok and 1 others"):
        check_result(make_result(**fields), "here")
    for said in ("allow test-split: 3 of 10", "allow missing-videos: 7"):
        check_result(make_result(overrides=("allow size: v", said), **fields), "here")
    with pytest.raises(SubmissionError, match="no override says so"):
        check_result(make_result(overrides=("allow size: v",), **fields), "here")


def test_both_ends_of_an_interval_are_held_to_what_is_possible(make_result: Make) -> None:
    for low, high in ((-1.1, 0.6), (0.4, 1.1)):
        metrics = {"ssim": MetricValue(0.5, low, high, None, 9, None)}
        with pytest.raises(SubmissionError, match="expected -1 to 1"):
            check_result(make_result(metrics=metrics, per_video={}), "here")
    point = {"ssim": MetricValue(0.5, 0.5, 0.5, None, 9, None)}
    check_result(make_result(metrics=point, per_video={}), "here")
    for ends in ((None, 0.6), (0.4, None)):
        half = {"ssim": MetricValue(0.5, *ends, None, 9, None)}
        with pytest.raises(SubmissionError, match="is not a low and a high bound"):
            check_result(make_result(metrics=half, per_video={}), "here")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"protocol": ""}, "protocol is empty"),
        ({"protocol_version": " "}, "protocol_version is empty"),
        ({"weights": {"": "ab" * 32}}, "weight '' is empty"),
        ({"regions": {"..": "ab" * 32}}, r"region '..' is '..', a path"),
        ({"regions": {"face": "none"}}, r"regions\.face is 'none', expected a sha256"),
        ({"per_video": {"v": {"a b ": 1.0}}, "num_videos": 1}, "metric 'a b ' is 'a b '"),
        ({"benchmark": " tiktok"}, "benchmark is ' tiktok': expected single spaces"),
        ({"metrics": {"ssim": MetricValue(0.5, None, None, None, 9, "n" * 2001)}}, "ssim.note has"),
        (
            {"metrics": {"ssim": MetricValue(None, None, None, "n" * 2001, 9, None)}},
            "ssim.unavailable has 2001",
        ),
    ],
)
def test_every_name_and_every_text_is_looked_at(
    make_result: Make, change: dict[str, Any], why: str
) -> None:
    with pytest.raises(SubmissionError, match=why):
        check_result(make_result(**change), "here")


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
    make_result: Make, write: Write, tmp_path: Path, mp4: bytes, where: str
) -> None:
    folder = write(make_result())
    target = tmp_path / "secret"
    if where == "media":
        target.mkdir()
    elif where == "result.json":
        (folder / where).rename(target)
    else:
        target.write_bytes(mp4)
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
        ("video_0.mp4", None, "expected VIDEO.reference"),
        ("video_9.prediction.mp4", None, "scores no video 'video_9'"),
        ("..prediction.mp4", None, "expected VIDEO"),
        ("-x.prediction.mp4", None, "expected VIDEO"),
        ("video_0.prediction.html", b"<script>", "expected VIDEO"),
        ("video_0.prediction.mp4", b"<script>alert(1)</script>", "its content is not mp4"),
        ("video_0.prediction.png", b"\x89PNG\r\n\x1a\n", "only a reference may be"),
        ("video_0.reference.png", b"\x89PNG\r\n\x1a\n<script>", "not a picture"),
        ("video_0.reference.svg", b"<svg onload=alert(1)>", "expected VIDEO"),
        ('video_0" onerror="x.prediction.mp4', None, "expected VIDEO"),
    ],
)
def test_a_clip_that_is_not_one_is_refused(
    make_result: Make,
    write: Write,
    tmp_path: Path,
    mp4: bytes,
    name: str,
    content: bytes | None,
    why: str,
) -> None:
    folder = write(make_result())
    (folder / "media").mkdir()
    (folder / "media" / name).write_bytes(mp4 if content is None else content)
    refused(folder, tmp_path, why)


def test_a_clip_that_no_browser_plays_or_that_is_cut_off_is_refused(
    make_result: Make, write: Write, tmp_path: Path, mp4: bytes
) -> None:
    folder = write(make_result())
    (folder / "media").mkdir()
    path = folder / "media" / "video_0.prediction.mp4"
    path.write_bytes(mp4[:200])
    refused(folder, tmp_path, "cannot be opened as mp4 .*: make it with `aa-leaderboard clips`")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width = stream.height = 16
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    refused(folder, tmp_path, "holds mpeg4, expected h264")


def test_the_baselines_of_a_second_method_are_no_obstacle(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    board = tmp_path / "board"
    for n, method in enumerate(("ours", "theirs")):
        folder = write(make_result(method))
        created = f"2025-01-0{n + 1}T00:00:00+00:00"
        white = write(make_result("white", label="baseline", created=created))
        white.rename(folder / "baselines")
        add_results(folder, board)
    assert sorted(row.method for row in read_board(board)) == ["ours", "theirs", "white"]


def test_only_trivial_baselines_are_labelled_so(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    """A strong method under that label would take the marks from all others."""
    with pytest.raises(SubmissionError, match="'ours' is not a trivial baseline"):
        add_results(write(make_result("ours", label="Baseline")), tmp_path / "board")


def test_the_same_baseline_on_other_references_is_a_row_of_its_own(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    board = tmp_path / "board"
    mine = make_result("white", label="baseline")
    others = dict.fromkeys(mine.references, "f" * 64)
    values = {"ssim": MetricValue(0.5, None, None, None, 9, None)}
    theirs = replace(mine, references=others, metrics=values,
                     per_video={video: {"ssim": 0.5} for video in mine.per_video})  # fmt: skip
    add_results(write(mine), board)
    add_results(write(theirs), board)
    assert len(read_board(board)) == 2


def test_clips_and_frames_of_a_row_survive_the_same_evaluation_without_them(
    make_result: Make,
    write: Write,
    write_with_frames: Write,
    tmp_path: Path,
    mp4: bytes,
) -> None:
    board = tmp_path / "board"
    folder = write_with_frames(make_result())
    (folder / "media").mkdir()
    (folder / "media" / "video_1.prediction.mp4").write_bytes(mp4)
    (first,) = add_results(folder, board)
    shutil.rmtree(folder / "media")
    (folder / "per_frame.csv").unlink()
    add_results(folder, board)
    row = board / first.row_id
    assert (row / "media" / "video_1.prediction.mp4").read_bytes() == mp4
    assert (row / "per_frame.csv").is_file()
    # Other predictions: their numbers are others, and the old clips do not show them.
    (folder / "per_video.csv").unlink()
    edit(folder, lambda r: r["metrics"]["ssim"].update(n=1))
    add_results(folder, board, replace=True)
    assert sorted(path.name for path in row.iterdir()) == ["result.json"]


def test_an_error_half_way_puts_the_old_rows_back(
    make_result: Make, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = tmp_path / "board"

    def folder_of(n: int) -> Path:
        folder = write(make_result("ours"))
        write(make_result("theirs")).rename(folder / "second")
        for path in (folder, folder / "second"):
            edit(path, lambda row: row["metrics"]["ssim"].update(n=n))
        return folder

    add_results(folder_of(1), board)
    before = {path.name: (path / "result.json").read_bytes() for path in board.iterdir()}
    rename, calls = Path.rename, iter(range(100))

    def failing(self: Path, target: Path) -> Path:
        if next(calls) == 3:
            raise OSError("disk full")
        return rename(self, target)

    new = folder_of(2)
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="disk full"):
        add_results(new, board, replace=True)
    assert {p.name: (p / "result.json").read_bytes() for p in board.iterdir()} == before


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
    make_result: Make, write: Write, tmp_path: Path, mp4: bytes
) -> None:
    result = make_result("ours")
    board = tmp_path / "board"
    folder = write(result)
    (folder / "media").mkdir()
    (folder / "media" / "video_1.prediction.mp4").write_bytes(mp4)
    (first,) = add_results(folder, board)
    (second,) = add_results(folder, board)
    assert (first.replaced, second.replaced) == (False, True)
    (row,) = read_board(board)
    assert row.method == "ours"
    assert row.cells["ssim"].value == result.metrics["ssim"].value
    assert (board / first.row_id / "media" / "video_1.prediction.mp4").read_bytes() == mp4
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


@pytest.mark.parametrize(
    ("limit", "value", "why"),
    [
        ("frame_scores.MAX_BYTES", 10, "larger than 0 MiB: not written by aa-eval"),
        ("media.MAX_FILES", 0, "1 files, expected at most 0"),
        ("media.MAX_FILE_BYTES", 10, "larger than 0 MiB: encode it smaller"),
        ("media.MAX_SIDE_PX", 8, "16x16 px, .* expected sides up to 8 px"),
        ("validate.MAX_FILES", 2, "more than 2 files"),
        ("validate.MAX_VIDEOS", 2, "more than 2 videos"),
        ("validate.MAX_METRICS", 3, "or 3 metrics"),
        ("validate.MAX_COUNT", 71, "num_frames is 72, expected 0 to 71"),
    ],
)
def test_what_is_larger_than_a_result_ever_is_is_refused(
    make_result: Make,
    write_with_frames: Write,
    tmp_path: Path,
    mp4: bytes,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: int,
    why: str,
) -> None:
    folder = write_with_frames(make_result())
    (folder / "media").mkdir()
    (folder / "media" / "video_0.prediction.mp4").write_bytes(mp4)
    module, name = limit.split(".")
    monkeypatch.setattr(import_module(f"aa_leaderboard.board.{module}"), name, value)
    refused(folder, tmp_path, why)
