"""Comparing results: what may stand in one ranking, and what is refused with the reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aa_eval.comparison import compare, why_not_comparable
from aa_eval.errors import ResultError
from aa_eval.protocol import read_protocol
from aa_eval.result import SCHEMA, MetricValue, Result, mean_of_frames, read_result, write_result
from aa_eval.verify import require_own_numbers


def result(method: str, value: float) -> Result:
    return Result(
        schema=SCHEMA, method=method, label="measured", benchmark=None, protocol="p",
        protocol_version="1", protocol_hash="0" * 64,
        metrics={"ssim": MetricValue(value, None, None, None, 4, None)},
        per_video={"a": {"ssim": value}, "b": {"ssim": value}},
        references={"a": "1" * 64, "b": "2" * 64}, regions={"face": "3" * 64}, trimmed={},
        num_videos=2, num_frames=4, weights={"lpips-vgg": "4" * 64}, packages={},
        overrides=("allow fps: 'a' has 25 fps, its reference 30",), machine="a machine",
        created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


A, B = result("A", 0.9), result("B", 0.8)


def test_results_of_one_protocol_over_the_same_frames_are_comparable() -> None:
    assert why_not_comparable(A, B) is None
    later = replace(B, created="2027-01-01T00:00:00+00:00", machine="another", label="demo")
    assert why_not_comparable(A, later) is None
    (difference,) = compare(A, B)
    assert difference.difference == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"protocol_hash": "f" * 64}, "other protocol: p (hash 000000000000) against p (hash fff"),
        ({"per_video": {"a": {}, "c": {}}}, "other videos: 2 against 2, e.g. 'b' is in one only"),
        ({"num_frames": 5}, "other frames: 4 against 5"),
        ({"references": {"a": "1" * 64, "b": "9" * 64}}, "other reference frames of 'b'"),
        ({"regions": {"face": "9" * 64}}, "other masks of region 'face'"),
        ({"weights": {"lpips-vgg": "9" * 64}}, "other weights of 'lpips-vgg'"),
        ({"overrides": ()}, "checks were switched off for one only: allow fps: 'a' has 25 fps"),
        ({"overrides": (*A.overrides, "allow size: x")}, "for one only: allow size: x"),
    ],
)
def test_what_was_measured_otherwise_is_refused_by_name(
    change: dict[str, object], reason: str
) -> None:
    other = replace(B, **change)  # type: ignore[arg-type]
    for a, b in ((A, other), (other, A)):
        with pytest.raises(ResultError, match="cannot be compared"):
            compare(a, b)
    assert reason in str(why_not_comparable(A, other))


def test_a_result_that_its_frames_do_not_give_is_refused(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    frames = {video: {"ssim": draw.uniform(0.4, 0.9, 5)} for video in "abc"}
    metric, means = mean_of_frames({video: of["ssim"] for video, of in frames.items()}, "videos")
    written = replace(
        A,
        protocol="aa-clean-v2",
        protocol_hash=read_protocol("aa-clean-v2").hash,
        metrics={"ssim": metric},
        per_video={video: {"ssim": mean} for video, mean in means.items()},
        per_frame=frames,
        frame_numbers={video: tuple(range(5)) for video in "abc"},
    )
    write_result(tmp_path, written)
    require_own_numbers(read_result(tmp_path))
    true = (tmp_path / "result.json").read_text()

    def edited(*places: str, value: float) -> Result:
        row = json.loads(true)
        inner = row
        for place in places[:-1]:
            inner = inner[place]
        inner[places[-1]] = value
        (tmp_path / "result.json").write_text(json.dumps(row))
        return read_result(tmp_path)

    for places in (
        ("metrics", "ssim", "value"), ("metrics", "ssim", "ci_low"), ("metrics", "ssim", "ci_high"),
        ("per_video", "b", "ssim"),
    ):  # fmt: skip
        with pytest.raises(ResultError, match=rf"{r'.'.join(places)} is 0.99, per_frame.csv gives"):
            require_own_numbers(edited(*places, value=0.99))
    (tmp_path / "per_frame.csv").unlink()
    require_own_numbers(read_result(tmp_path))  # nothing is there to hold it to
