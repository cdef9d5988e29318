"""Numbers that contradict each other are refused, wherever one of them was changed."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from aa_eval.features import networks
from aa_eval.protocol import list_protocols, read_protocol
from aa_eval.result import MetricValue, Result, mean_of_frames, write_result
from aa_eval.scoring.metric_runner import Measures
from aa_eval.weights.weight_files import WEIGHTS
from aa_leaderboard.board.cross_check import _num_windows, _weight_of
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


def test_the_refusal_names_what_is_stated_and_what_the_frames_give(
    make_result: Make, write_with_frames: Write, tmp_path: Path
) -> None:
    result = make_result()
    folder = write_with_frames(result)
    edit_json(folder, lambda row: row["per_video"]["video_1"].update(ssim=0.125))
    true = str(result.per_video["video_1"]["ssim"])[:6]
    refused(folder, tmp_path / "board", f"video_1.ssim is 0.125, per_frame.csv gives {true}")


def test_the_frames_of_another_method_are_refused(
    make_result: Make, write_with_frames: Write, tmp_path: Path
) -> None:
    mine, theirs = (write_with_frames(make_result(name)) for name in ("mine", "theirs"))
    (mine / "per_frame.csv").write_bytes((theirs / "per_frame.csv").read_bytes())
    refused(mine, tmp_path / "board", "per_frame.csv gives")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda line: [*line[:3], *line[2:5]] if line[0] == "video" else line, "its first line"),
        (lambda line: [*line[:5], "vibes"] if line[0] == "video" else line, "'vibes'"),
        (lambda line: line[:4] if line[0] == "video" else line, "Expected 4 fields .* saw 6"),
        (lambda line: [*line, "1"] if line[1] == "12" else line, "Expected 6 fields .* saw 7"),
        (lambda line: line[:4] if line[1] == "12" else line, "per_frame.csv gives"),
        (lambda line: ["../v", *line[1:]] if line[1] == "12" else line, "'../v', a video that"),
        (lambda line: [line[0], "x", *line[2:]] if line[1] == "12" else line, "expected a number"),
        (lambda line: [*line[:2], "nan", *line[3:]] if line[1] == "12" else line, "ssim is nan"),
        (lambda line: [*line[:2], "1e400", *line[3:]] if line[1] == "12" else line, "is 1e400"),
        (
            lambda line: [line[0], "9" * 5000, *line[2:]] if line[1] == "12" else line,
            "frame is '999",
        ),
        (lambda line: ["a" * 200_000, *line[1:]] if line[1] == "12" else line, "a video that"),
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
            "metrics.ssim is 0.5, per_video gives 0.4379",
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
    # Two frames of one video and one of another: the two means differ.
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
    for value, end in ((0.61, "0.6"), (0.29, "0.3")):
        outside = {"ssim": MetricValue(value, None, None, None, 3, None)}
        write_result(tmp_path / "out", replace(result, metrics=outside))
        refused(tmp_path / "out", tmp_path / "other", f"ssim is {value}, per_video gives {end}")
    write_result(tmp_path / "out", result)
    add_results(tmp_path / "out", tmp_path / "other")


def edited(folder: Path, key: str, **fields: Any) -> Path:
    edit_json(folder, lambda row: row["metrics"][key].update(fields))
    return folder


def with_fvd(make_result: Make, value: float = 3.2, n: int = 9, **fields: Any) -> Result:
    """Three videos of 24 frames, an FVD under the clean protocol: windows of 16, one a video."""
    result = make_result(weights=make_result().weights | {"i3d-k400": WEIGHTS["i3d-k400"].sha256})
    fvd = MetricValue(value, None, None, None, n, None)
    return replace(result, metrics=result.metrics | {"fvd": replace(fvd, **fields)})


@pytest.mark.parametrize("bound", ["ci_low", "ci_high"])
@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_an_edited_interval_is_refused_with_and_without_the_values_per_frame(
    make_result: Make, write_with_frames: Write, tmp_path: Path, bound: str, factor: float
) -> None:
    for remove in (False, True):
        folder = write_with_frames(make_result())
        edit_json(
            folder,
            lambda r: r["metrics"]["psnr"].update({bound: r["metrics"]["psnr"][bound] * factor}),
        )
        if remove:
            (folder / "per_frame.csv").unlink()
            (folder / "per_video.csv").unlink()
        source = "per_video" if remove else "per_frame.csv"
        refused(folder, tmp_path / "board", f"metrics.psnr.{bound} is .*, {source} gives")


def test_an_interval_that_was_taken_away_is_refused_where_the_frames_tell_it(
    make_result: Make, write_with_frames: Write, tmp_path: Path
) -> None:
    folder = edited(write_with_frames(make_result()), "ssim", ci_low=None, ci_high=None)
    refused(folder, tmp_path / "board", "metrics.ssim.ci_low is None, per_frame.csv gives")


def test_without_values_per_frame_a_row_is_marked(
    make_result: Make, write_with_frames: Write, tmp_path: Path
) -> None:
    folder = write_with_frames(make_result("with"))
    add_results(folder, tmp_path / "board")
    folder = write_with_frames(make_result("without"))
    (folder / "per_frame.csv").unlink()
    add_results(folder, tmp_path / "board")
    marked = {r.method: ("caution", "no values per frame") in r.badges
              for r in read_board(tmp_path / "board")}  # fmt: skip
    assert marked == {"with": False, "without": True}


@pytest.mark.parametrize("n", [2, 4, 5000])
def test_windows_that_the_frames_do_not_have_are_refused(
    make_result: Make, write_with_frames: Write, tmp_path: Path, n: int
) -> None:
    folder = write_with_frames(make_result())
    result = with_fvd(make_result, n=n)
    fvd = asdict(result.metrics["fvd"])
    edit_json(
        folder, lambda row: (row["metrics"].update(fvd=fvd), row.update(weights=result.weights))
    )
    refused(folder, tmp_path / "board", f"metrics.fvd.n is {n}, per_frame.csv has 3 windows")
    edited(folder, "fvd", n=3)
    add_results(folder, tmp_path / "board")
    (row,) = read_board(tmp_path / "board")
    assert not row.cells["fvd"].ranked, "three windows in 400 dimensions"


def test_an_fvd_of_six_frames_a_video_is_refused_and_a_gap_ends_a_window(
    make_result: Make, write_with_frames: Write, tmp_path: Path
) -> None:
    for gap_at, windows in ((6, 0), (15, 0), (16, 3), (17, 3)):
        folder = write_with_frames(make_result())
        fvd, weights = (
            asdict(with_fvd(make_result, n=3).metrics["fvd"]),
            with_fvd(make_result).weights,
        )
        edit_json(
            folder,
            lambda r, fvd=fvd, weights=weights: (
                r["metrics"].update(fvd=fvd),
                r.update(weights=weights),
            ),
        )
        for line in range(1, 73):
            t = (line - 1) % 24
            if t >= gap_at:  # the numbers go up by two: no two of them are consecutive
                edit_cell(folder / "per_frame.csv", line, 1, lambda _, t=t: str(100 + 2 * t))
        if windows:
            add_results(folder, tmp_path / "honest", replace=True)
        else:
            refused(folder, tmp_path / "board", "metrics.fvd.n is 3, per_frame.csv has 0 windows")


def test_without_frames_no_more_windows_are_believed_than_one_long_video_has(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    refused(
        write(with_fvd(make_result, n=5)), tmp_path / "board", "for 72 frames at most 4 windows"
    )
    add_results(write(with_fvd(make_result, n=4)), tmp_path / "board")
    (row,) = read_board(tmp_path / "board")
    assert not row.cells["fvd"].ranked


@pytest.mark.parametrize(
    ("low", "high", "fits"),
    [(2.2, 4.2, True), (0.0, 9.0, True), (2.2, 4.3, False), (0.0, 5.0, False), (3.3, 4.0, False)],
)
def test_an_interval_of_fvd_lies_around_its_value_cut_at_0(
    make_result: Make, write: Write, tmp_path: Path, low: float, high: float, fits: bool
) -> None:
    folder = write(with_fvd(make_result, n=4, ci_low=low, ci_high=high))
    if fits:
        add_results(folder, tmp_path / "board")
    else:
        refused(folder, tmp_path / "board", "is not the middle of")


@pytest.mark.parametrize(
    ("line", "words"),
    [("extra,1,2,3,4\r\n", "'extra', a video that"), ("", "per_video.csv has None as video_2")],
)
def test_a_table_of_videos_with_one_too_many_or_too_few_is_refused(
    make_result: Make, write_with_frames: Write, tmp_path: Path, line: str, words: str
) -> None:
    folder = write_with_frames(make_result())
    lines = (folder / "per_video.csv").read_text().splitlines(keepends=True)
    kept = [*lines, line] if line else lines[:-1]
    (folder / "per_video.csv").write_text("".join(kept))
    refused(folder, tmp_path / "board", words)


@pytest.mark.parametrize(
    ("name", "exact", "at_most"),
    [
        ("aa-clean-v2", 3, 4),  # windows of 16 that do not overlap: one in each of 24 frames
        ("tiktok-disco-2023", 27, 57),  # of 16 at stride 1: 9 in each
        ("tiktok-onetoall-2025", 3, 3),  # each video whole
        ("tiktok-humanvid-2024", 45, 63),  # 10, 11, ... 24 frames of each
        ("fvd-styleganv", 3, 3),  # one a video and draw
    ],
)
def test_windows_are_counted_by_each_protocols_own_rule(
    make_result: Make, name: str, exact: int, at_most: int
) -> None:
    protocol = read_protocol(name)
    lines = [(f"video_{v}", t) for v in range(3) for t in range(24)]
    frames = pd.DataFrame(lines, columns=["video", "frame"])
    result = make_result(num_frames=72)
    assert _num_windows(result, protocol, frames) == (exact, True)
    assert _num_windows(result, protocol, None) == (at_most, False)
    assert _num_windows(result, read_protocol("aa-temporal-v1"), frames) == (72, False)


def test_the_board_asks_for_the_weights_that_aa_eval_states(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    protocols = [read_protocol(name) for name in list_protocols()]
    asked = {(metric, protocol): _weight_of(metric, protocol)
             for protocol in protocols for metric in protocol.metrics}  # fmt: skip
    there = Path("weight"), "ab" * 32  # as if all were here, also those that no package ships
    monkeypatch.setattr(networks, "verify_own_weight", lambda _: there)
    measures = Measures(protocols, "cpu")
    for (metric, protocol), weight in asked.items():
        alone = replace(protocol, metrics=(metric,))
        stated = measures.weights_of(alone).keys()
        assert (weight in stated) if weight else not stated, (protocol.name, metric.key)
    assert len(set(asked.values()) - {None}) == 10  # two of LPIPS, six networks of videos, two own


def test_a_value_of_a_video_of_a_metric_that_is_unavailable_is_refused(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    result = make_result()
    gone = MetricValue(None, None, None, "no weights", 0, None)
    folder = write(replace(result, metrics=result.metrics | {"lpips_alex": gone}))
    refused(folder, tmp_path / "board", "metrics.lpips_alex is unavailable, but per_video has val")
    none = {video: {**of, "lpips_alex": None} for video, of in result.per_video.items()}
    fields = {"metrics": result.metrics | {"lpips_alex": gone}, "per_video": none}
    add_results(write(replace(result, **fields)), tmp_path / "board")


def test_frames_that_were_left_out_are_taken_where_that_was_allowed(
    make_result: Make, write: Write, tmp_path: Path
) -> None:
    said = ("allow frame-count: 'video_0': 24 predicted frames, 33",)
    trimmed = {"video_0": ((0, 9),)}
    add_results(write(make_result(trimmed=trimmed, overrides=said)), tmp_path / "board")


def test_keypoints_are_averaged_over_videos_whatever_the_protocol_does(
    make_result: Make, tmp_path: Path
) -> None:
    """Two frames of one video and one of another, under a protocol whose frames count alike."""
    protocol = read_protocol("tiktok-disco-2023")
    result = make_result(
        protocol=protocol.name,
        protocol_hash=protocol.hash,
        metrics={"pck": MetricValue(0.45, None, None, None, 3, None)},
        per_video={"a": {"pck": 0.6}, "b": {"pck": 0.3}},
        references={"a": "a0" * 32, "b": "b0" * 32},
        num_videos=2,
        num_frames=3,
    )
    found, *_ = mean_of_frames({"a": np.array([0.5, 0.7]), "b": np.array([0.3])}, "videos", False)
    result = replace(result, metrics={"pck": found})
    write_result(tmp_path / "out", result)
    table = "video,frame,pck\r\na,0,0.5\r\na,1,0.7\r\nb,0,0.3\r\n"
    (tmp_path / "out" / "per_frame.csv").write_text(table)
    add_results(tmp_path / "out", tmp_path / "board")
    over_frames = {"pck": replace(found, value=0.5, ci_low=None, ci_high=None)}
    write_result(tmp_path / "out", replace(result, metrics=over_frames))
    refused(tmp_path / "out", tmp_path / "other", r"pck is 0.5, per_frame.csv gives 0.44")


def test_a_metric_of_which_neither_frames_nor_videos_have_a_value_is_refused(
    make_result: Make, write_with_frames: Write, tmp_path: Path
) -> None:
    for remove, where in ((False, "per_frame.csv has no column"), (True, "per_video has no value")):
        folder = write_with_frames(make_result())
        value = asdict(MetricValue(0.5, None, None, None, 69, None))
        edit_json(folder, lambda r, value=value: r["metrics"].update({"ssim@face": value}))
        if remove:
            (folder / "per_frame.csv").unlink()
            (folder / "per_video.csv").unlink()
        refused(folder, tmp_path / "board", f"metrics.ssim@face is 0.5, but {where} of it")


@pytest.mark.parametrize(
    ("low", "high", "fits"), [(2.2, 9.0, True), (3.0, 3.3, True), (3.3, 4.0, False),
                              (2.0, 3.1, False)]
)  # fmt: skip
def test_a_mean_over_windows_lies_anywhere_in_its_interval(
    make_result: Make, write: Write, tmp_path: Path, low: float, high: float, fits: bool
) -> None:
    """FID of each video: the interval is a bootstrap's, which need not be symmetric."""
    protocol = read_protocol("fid-onetoall-2025")
    (metric,) = protocol.metrics
    assert metric.kind == "frechet_of_each_video"
    result = make_result(
        protocol=protocol.name,
        protocol_version=protocol.version,
        protocol_hash=protocol.hash,
        metrics={metric.key: MetricValue(3.2, low, high, None, 3, None)},
        weights={"inception-2015": "ab" * 32},
    )
    folder = write(result)
    if fits:
        add_results(folder, tmp_path / "board")
    else:
        refused(folder, tmp_path / "board", "is not the middle of")


def test_a_number_may_differ_by_a_millionth_and_no_more(
    make_result: Make, write_with_frames: Write, tmp_path: Path
) -> None:
    for factor, fits in ((1 + 9e-7, True), (1 + 1.2e-6, False)):
        folder = write_with_frames(make_result())
        (folder / "per_video.csv").unlink()
        edit_json(
            folder,
            lambda row, factor=factor: row["metrics"]["psnr"].update(
                value=row["metrics"]["psnr"]["value"] * factor
            ),
        )
        if fits:
            add_results(folder, tmp_path / "honest")
        else:
            refused(folder, tmp_path / "board", "metrics.psnr is")
