"""result.json and its tables: what is read, what is refused, and the means that stand in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aa_eval.errors import ResultError
from aa_eval.result import SCHEMA, MetricValue, Result, mean_of_frames, read_result, write_result
from aa_eval.statistics import cluster_bootstrap


@pytest.fixture
def result() -> Result:
    return Result(
        SCHEMA, "ours", "measured", None, "p", "1", "ab" * 32,
        {"ssim": MetricValue(0.5, 0.4, 0.6, None, 3, "a note"),
         "fvd": MetricValue(None, None, None, "no weights", 0, None)},
        {"a": {"ssim": 0.4}, "b": {"ssim": None}}, {"a": "aa" * 32, "b": "bb" * 32}, {},
        {"a": ((0, 2), (4, 9))}, 2, 3, {}, {"numpy": "2"}, ("allow size: 'a'",), "machine",
        "2026-01-01T00:00:00+00:00",
        {"a": {"ssim": np.array([np.nan, 0.3, 0.5])}, "b": {"ssim": np.array([np.nan])}},
        {"a": (7, 8, 12), "b": (1,)},
    )  # fmt: skip


def test_a_result_comes_back_with_its_tables(result: Result, tmp_path: Path) -> None:
    write_result(tmp_path / "out", result)
    found = read_result(tmp_path / "out")
    assert found == result
    assert (found.folder, found.per_frame, found.frame_numbers) == (tmp_path / "out", {}, {})
    assert sorted(json.loads((tmp_path / "out/result.json").read_text())) == sorted(
        set(asdict(result)) - {"per_frame", "frame_numbers", "folder"}
    )
    for one in (result, found):
        frame = one.per_frame_frame()
        assert frame.video.tolist() == ["a", "a", "a", "b"]
        assert frame.frame.tolist() == [7, 8, 12, 1]
        assert frame.index.tolist() == [0, 1, 2, 3]
        np.testing.assert_array_equal(frame.ssim, [np.nan, 0.3, 0.5, np.nan])
        videos = one.per_video_frame()
        assert videos.video.tolist() == ["a", "b"]
        np.testing.assert_array_equal(videos.ssim, [0.4, np.nan])
    table = found.to_frame().set_index("metric")
    assert table.loc["ssim", ["method", "label", "protocol", "value", "ci_low", "ci_high", "n"]]\
        .tolist() == ["ours", "measured", "p", 0.5, 0.4, 0.6, 3]  # fmt: skip
    assert table.loc["fvd", "unavailable"] == "no weights"
    assert b"\r\n" in (tmp_path / "out/per_frame.csv").read_bytes()
    (tmp_path / "out/per_frame.csv").unlink()
    for lost in (read_result(tmp_path / "out"), replace(found, folder=None)):
        with pytest.raises(
            ResultError, match=r"'ours' under p: no values per frame: .*run aa-eval"
        ):
            lost.per_frame_frame()
    write_result(tmp_path / "none", replace(result, per_frame={}))
    assert not (tmp_path / "none/per_frame.csv").exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda r: r.update(schema=2), "schema is 2, this aa-eval reads 3"),
        (lambda r: r.update(num_videos=-1), "num_videos is -1, expected at least 0"),
        (lambda r: r.update(num_frames=-1), "num_frames is -1, expected at least 0"),
        (lambda r: r["metrics"]["ssim"].update(unavailable="x"), "must have a value or a reason"),
        (lambda r: r["metrics"]["fvd"].update(unavailable=None), "metrics.fvd must have a value o"),
        (lambda r: r["metrics"]["ssim"].update(n="3"), r"\$?.metrics.ssim.n"),
        (lambda r: r.update(trimmed={"a": []}), r"trimmed.a is \[\], expected \[\[first, end\]"),
        (lambda r: r.update(trimmed={"a": [[-1, 2]]}), r"trimmed.a is \[\[-1, 2\]\]"),
        (lambda r: r.update(trimmed={"a": [[2, 2]]}), r"trimmed.a is \[\[2, 2\]\]"),
        (lambda r: r.update(trimmed={"a": [[0, 2], [2, 3]]}), "ascending"),
        (lambda r: r.update(trimmed={"c": [[0, 2]]}), "trimmed.c: no reference of that name was"),
        (lambda r: r.update(rank=1), "not a result of aa-eval: .*rank"),
    ],
)
def test_what_aa_eval_does_not_write_is_refused(
    result: Result, tmp_path: Path, change: Callable[[dict[str, Any]], None], why: str
) -> None:
    write_result(tmp_path, result)
    row = json.loads((tmp_path / "result.json").read_text())
    change(row)
    (tmp_path / "result.json").write_text(json.dumps(row))
    with pytest.raises(ResultError, match=rf"result\.json: .*{why}"):
        read_result(tmp_path)


@pytest.mark.parametrize("place", ["value", "ci_low", "ci_high", "video"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_neither_written_nor_read(
    result: Result, tmp_path: Path, place: str, number: float
) -> None:
    write_result(tmp_path, result)
    row = json.loads((tmp_path / "result.json").read_text())
    of = row["per_video"]["a"] if place == "video" else row["metrics"]["ssim"]
    of["ssim" if place == "video" else place] = number
    (tmp_path / "result.json").write_text(json.dumps(row))
    where = "per_video.a.ssim" if place == "video" else f"metrics.ssim.{place}"
    with pytest.raises(ResultError, match=f"{where} is .*, expected a finite number"):
        read_result(tmp_path)
    metric = replace(result.metrics["ssim"], value=np.nan)
    with pytest.raises(ResultError, match="expected a finite number"):
        write_result(tmp_path / "new", replace(result, metrics={"ssim": metric}))
    assert not (tmp_path / "new/result.json").exists()


def test_files_that_are_no_results_are_refused(result: Result, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no such file: expected a folder that aa-eval --out"):
        read_result(tmp_path)
    write_result(tmp_path / "out", result)
    (tmp_path / "result.json").symlink_to(tmp_path / "out/result.json")
    with pytest.raises(ResultError, match="no such file"):
        read_result(tmp_path)
    os.truncate(tmp_path / "out/result.json", 64 * 2**20 + 1)  # sparse: takes no room
    with pytest.raises(ResultError, match="larger than 64 MiB: not written by aa-eval"):
        read_result(tmp_path / "out")
    (tmp_path / "out/result.json").write_text("{")
    with pytest.raises(ResultError, match=r"not JSON .*: run aa-eval again"):
        read_result(tmp_path / "out")


def test_frames_count_alike_or_videos_do() -> None:
    values = {
        "b": np.array([0.1, np.nan, 0.3, 0.5]), "a": np.array([0.9]), "none": np.array([np.inf]),
        "c": np.array([0.2, 0.2]),
    }  # fmt: skip
    means, counts = np.array([0.9, 0.3, 0.2]), np.array([1.0, 3.0, 2.0])
    frames, of_video = mean_of_frames(values, "frames")
    assert list(of_video) == ["a", "b", "c"]
    assert list(of_video.values()) == pytest.approx(means)
    assert frames.value == pytest.approx((0.9 + 0.9 + 0.4) / 6)
    assert (frames.ci_low, frames.ci_high) == cluster_bootstrap(means, counts)
    videos, _ = mean_of_frames(values, "videos")
    assert videos.value == pytest.approx((0.9 + 0.3 + 0.2) / 3)
    assert (videos.ci_low, videos.ci_high) == cluster_bootstrap(means, np.ones(3))
    assert frames.n == videos.n == 6
    assert mean_of_frames({"x": np.array([np.nan])}, "frames") == (
        MetricValue(None, None, None, "no frame could be scored", 0, None), {}
    )  # fmt: skip
    assert mean_of_frames({"x": np.array([0.1, 0.2])}, "videos")[0].ci_low is None


def test_a_script_that_averages_in_float32_rounds_so() -> None:
    values = {"x": np.array([0.1, 0.2, 0.4])}
    exact, _ = mean_of_frames(values, "frames")
    rounded, _ = mean_of_frames(values, "frames", in_float32=True)
    assert exact.value == np.mean([0.1, 0.2, 0.4])
    assert rounded.value == float(np.mean(np.float32([0.1, 0.2, 0.4])))
    assert rounded.value != exact.value
