"""Comparing results: what may stand in one ranking, and what is refused with the reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aa_eval.comparison import compare, why_not_comparable
from aa_eval.errors import ResultError
from aa_eval.result import SCHEMA, MetricValue, Result


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
