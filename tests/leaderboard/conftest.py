"""Results as aa-eval writes them, for the board's tests."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from aa_eval.protocol import read_protocol
from aa_eval.result import SCHEMA, MetricValue, Result, write_result
from aa_eval.statistics import cluster_bootstrap
from aa_eval.weights.weight_files import WEIGHTS

MakeResult = Callable[..., Result]
WriteClip = Callable[..., Path]


def mean_over_videos(per_video: dict[str, dict[str, float]], key: str, n: int) -> MetricValue:
    """A metric as aa-eval computes it from means of videos."""
    means = np.asarray([per_video[video][key] for video in sorted(per_video)])
    low, high = cluster_bootstrap(means, np.ones(len(means))) or (None, None)
    return MetricValue(float(means.mean()), low, high, None, n, None)


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
        per_video = {
            f"video_{n}": {key: value * (0.9 + 0.1 * n) for key, value in means.items()}
            for n in range(3)
        }
        given: dict[str, Any] = {
            "schema": SCHEMA,
            "method": method,
            "label": "demo",
            "benchmark": None,
            "protocol": "aa-clean-v1",
            "protocol_version": "1",
            "protocol_hash": read_protocol("aa-clean-v1").hash,
            "metrics": {key: mean_over_videos(per_video, key, 69) for key in means},
            "per_video": per_video,
            "references": {f"video_{n}": f"{n}0" * 32 for n in range(3)},
            "regions": {},
            "trimmed": {},
            "num_videos": 3,
            "num_frames": 72,
            "weights": {"lpips-alex": WEIGHTS["lpips-alex"].sha256},
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


@pytest.fixture
def write_with_frames(write: Callable[[Result], Path]) -> Callable[[Result], Path]:
    """As `write`, with a per_frame.csv that agrees: 24 frames a video, numbered from 10, of which
    aa-clean-v1 scores all but the first."""

    def write_one(result: Result) -> Path:
        draw = random.Random(result.method)
        frames = 24
        lines = []
        of_frames: dict[str, dict[str, NDArray[np.float64]]] = {}
        for video, means in result.per_video.items():
            of_frames[video] = {}
            for key, mean in means.items():
                assert mean is not None
                noise = np.array([draw.uniform(-0.03, 0.03) * mean for _ in range(frames - 1)])
                of_frames[video][key] = np.array([np.nan, *(mean + noise - noise.mean())])
            for t in range(frames):
                values = ["" if t == 0 else repr(float(of_frames[video][k][t])) for k in means]
                lines.append([video, str(10 + t), *values])
        per_video = {
            video: {key: float(np.nanmean(values)) for key, values in of.items()}
            for video, of in of_frames.items()
        }
        scored = {key: mean_over_videos(per_video, key, 69) for key in result.metrics}
        folder = write(replace(result, metrics=scored, per_video=per_video))
        with (folder / "per_frame.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["video", "frame", *result.metrics], *lines])
        return folder

    return write_one


def write_h264(path: Path, frames: NDArray[np.uint8], fps: int = 24) -> Path:
    """Encode uint8 [T, H, W, 3]; every frame can be sought alone."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"g": "1"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def write_clip() -> WriteClip:
    """Write frames to a path as h264."""
    return write_h264


@pytest.fixture(scope="session")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a clip of three frames of 16 x 16 pixels."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_h264(path, np.full((3, 16, 16, 3), 90, np.uint8)).read_bytes()
