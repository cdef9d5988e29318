"""Results as aa-eval writes them, for the board's tests."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aa_eval.protocol import read_protocol
from aa_eval.result import SCHEMA, MetricValue, Result, write_result

MakeResult = Callable[..., Result]


def metric_value(value: float | None, **fields: Any) -> MetricValue:
    """A metric with an interval of 5 % around it, or an unavailable one."""
    unavailable = None if value is not None else "weights of 'i3d' are absent"
    width = None if value is None else abs(value) * 0.05
    given: dict[str, Any] = {
        "value": value,
        "ci_low": None if value is None or width is None else value - width,
        "ci_high": None if value is None or width is None else value + width,
        "unavailable": unavailable,
        "n": 240,
        "note": None,
    }
    return MetricValue(**{**given, **fields})


@pytest.fixture
def make_result() -> MakeResult:
    """A plausible Result over three videos; any field may be replaced by keyword."""

    def make(method: str = "ours", **fields: Any) -> Result:
        draw = random.Random(method)
        means = {
            "ssim": draw.uniform(0.4, 0.8),
            "psnr": draw.uniform(14, 22),
            "psnr_overflow": draw.uniform(28, 36),
            "lpips_alex": draw.uniform(0.1, 0.5),
        }
        given: dict[str, Any] = {
            "schema": SCHEMA,
            "method": method,
            "label": "demo",
            "benchmark": None,
            "protocol": "aa-clean-v1",
            "protocol_version": "1",
            "protocol_hash": read_protocol("aa-clean-v1").hash,
            "metrics": {key: metric_value(value) for key, value in means.items()},
            "per_video": {
                f"video_{n}": {key: value * (0.9 + 0.1 * n) for key, value in means.items()}
                for n in range(3)
            },
            "references": {f"video_{n}": f"{n}0" * 32 for n in range(3)},
            "regions": {},
            "trimmed": {},
            "num_videos": 3,
            "num_frames": 72,
            "weights": {"lpips_alex": "cd" * 32},
            "packages": {"numpy": "2.0"},
            "overrides": (),
            "machine": "2 cores, Linux",
            "created": "2025-01-02T03:04:05+00:00",
        }
        metrics_of_video = fields.get("metrics", given["metrics"]).keys()
        given["per_video"] = {
            video: {key: value for key, value in values.items() if key in metrics_of_video}
            for video, values in given["per_video"].items()
        }
        return Result(**{**given, **fields})

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Result], Path]:
    """Write a result into a fresh folder, as `aa-eval --out` does, and name the folder."""
    counter = iter(range(1000))

    def write_one(result: Result) -> Path:
        folder = tmp_path / f"result_{next(counter)}"
        write_result(folder, result)
        return folder

    return write_one
