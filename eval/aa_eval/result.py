"""Result: what one evaluation found, and the three files that hold it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import ResultError
from aa_eval.parse import parse
from aa_eval.statistics import cluster_bootstrap

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 3
RESULT_FILE, PER_VIDEO_FILE, PER_FRAME_FILE = "result.json", "per_video.csv", "per_frame.csv"
MAX_BYTES = 64 * 2**20  # a result of 10,000 videos is about 4 MB


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One metric of one method under one protocol.

    Attributes:
        value: None where the metric is unavailable.
        ci_low, ci_high: bounds of the 95 % interval over videos; None where there is none.
        unavailable: why the value is missing; None where it is there.
        n: how many frames (image metrics) or windows (FVD, KVD) the value rests on.
        note: what a reader must know about the value, e.g. "rank-deficient: N = 9 <= d = 400".
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    unavailable: str | None
    n: int
    note: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """What `evaluate` found for one method under one protocol.

    Attributes:
        schema: version of this record.
        method: name of the method, or of the trivial baseline.
        label: what the row is, e.g. "measured", "demo", "baseline".
        benchmark: "tiktok", "ubc", or None for a reference folder of the user's own.
        protocol, protocol_version, protocol_hash: the protocol, and the sha256 of its content.
        metrics: metric key ("ssim", "psnr_overflow", "lpips_alex", "fvd", ...) -> value.
        per_video: video id -> metric key -> mean over the video's frames (None: not scored).
        references: video id -> sha256 of the reference's size and pixels, frame by frame, as they
            were compared: two results with equal hashes were scored against the same frames.
        regions: region ("face") -> sha256 of its masks in all videos; its metrics stand under keys
            like "ssim@face".
        trimmed: video id -> spans (first, end) of the positions in the whole reference that were
            compared, the end not among them; only of videos of which frames were left out.
        num_videos, num_frames: how many were compared.
        weights: weight name -> sha256 of its content.
        packages: package -> version, of those that the numbers depend on.
        overrides: the checks that the user switched off, as given on the command line.
        machine: processor, cores and operating system; no host name.
        created: ISO 8601 date and time, UTC.
        per_frame: video id -> metric key -> float64 [T], NaN where a frame is not scored. Not in
            result.json; empty in a result that was read from a folder.
        frame_numbers: video id -> the reference's frame numbers, as long as those; likewise.
        folder: where the result was read from.
    """

    schema: int
    method: str
    label: str
    benchmark: str | None
    protocol: str
    protocol_version: str
    protocol_hash: str
    metrics: dict[str, MetricValue]
    per_video: dict[str, dict[str, float | None]]
    references: dict[str, str]
    regions: dict[str, str]
    trimmed: dict[str, tuple[tuple[int, int], ...]]
    num_videos: int
    num_frames: int
    weights: dict[str, str]
    packages: dict[str, str]
    overrides: tuple[str, ...]
    machine: str
    created: str
    per_frame: dict[str, dict[str, NDArray[np.float64]]] = field(
        default_factory=dict, compare=False, repr=False
    )
    frame_numbers: dict[str, tuple[int, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )
    folder: Path | None = field(default=None, compare=False, repr=False)

    def to_frame(self) -> pd.DataFrame:
        """One row for each metric.

        Columns: method, label, benchmark, protocol, metric, value, ci_low, ci_high, n,
        unavailable, note. `pandas.concat` of several results is the table of a paper, before
        `pivot(index="method", columns="metric", values="value")`.
        """
        import pandas as pd  # half a second: only where a frame is asked for

        row = {"method": self.method, "label": self.label, "benchmark": self.benchmark,
               "protocol": self.protocol}  # fmt: skip
        return pd.DataFrame(
            [row | {"metric": key} | asdict(metric) for key, metric in self.metrics.items()]
        )

    def per_video_frame(self) -> pd.DataFrame:
        """One row for each video: the mean over its frames; NaN where it was not scored."""
        import pandas as pd

        rows = pd.DataFrame(list(self.per_video.values()), index=list(self.per_video))
        return rows.astype(float).rename_axis("video").reset_index()

    def per_frame_frame(self) -> pd.DataFrame:
        """One row for each frame: video, its number, a column for each metric; NaN: not scored.

        Raises:
            ResultError: the result came from a folder without per_frame.csv.
        """
        import pandas as pd

        if self.per_frame:
            return pd.concat(
                pd.DataFrame({"video": video, "frame": self.frame_numbers[video], **values})
                for video, values in self.per_frame.items()
            ).reset_index(drop=True)
        if self.folder is None or not (self.folder / PER_FRAME_FILE).is_file():
            raise ResultError(
                f"'{self.method}' under {self.protocol}: no values per frame: "
                f"{PER_FRAME_FILE} is missing from its folder; run aa-eval again"
            )
        return pd.read_csv(self.folder / PER_FRAME_FILE, dtype={"video": str})


def mean_of_frames(
    values: Mapping[str, NDArray[np.float64]], over: str, in_float32: bool = False
) -> tuple[MetricValue, dict[str, float]]:
    """A metric from its values per frame, with its interval over videos, and each video's mean.

    Args:
        values: video -> [T]; what is not finite is not scored.
        over: "frames" or "videos", which count alike.
        in_float32: how the script that is reproduced averages.
    """
    scored = {video: of[np.isfinite(of)] for video, of in sorted(values.items())}
    scored = {video: of for video, of in scored.items() if len(of)}
    if not scored:
        return MetricValue(None, None, None, "no frame could be scored", 0, None), {}
    means = np.asarray([of.mean() for of in scored.values()])
    counts = np.asarray([len(of) for of in scored.values()], dtype=np.float64)
    by_frames = over == "frames"
    low, high = cluster_bootstrap(means, counts if by_frames else np.ones(len(means))) or (
        None,
        None,
    )
    averaged = np.concatenate(list(scored.values())) if by_frames else means
    mean = float(averaged.astype(np.float32 if in_float32 else np.float64).mean())
    found = MetricValue(mean, low, high, None, int(counts.sum()), None)
    return found, dict(zip(scored, means.tolist(), strict=True))


def region_key(key: str, region: str) -> str:
    """The key of a metric within a region: "ssim@face"."""
    return f"{key}@{region}"


def write_result(directory: Path | str, result: Result) -> None:
    """Write result.json, per_video.csv and per_frame.csv into `directory` (made if absent).

    per_frame.csv is left out where the result has no values per frame.

    Raises:
        ResultError: a number is not finite.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    row = {name: value for name, value in asdict(_stored(result)).items() if name in _STORED}
    _parse(json.loads(json.dumps(row)), directory / RESULT_FILE)
    text = json.dumps(row, indent=1, allow_nan=False, ensure_ascii=False)
    (directory / RESULT_FILE).write_text(text + "\n", encoding="utf-8")
    result.per_video_frame().to_csv(directory / PER_VIDEO_FILE, index=False, lineterminator="\r\n")
    if result.per_frame:
        result.per_frame_frame().to_csv(
            directory / PER_FRAME_FILE, index=False, lineterminator="\r\n"
        )


def read_result(directory: Path | str) -> Result:
    """Read the result.json of `directory`; every field's type and finiteness is checked.

    Raises:
        ResultError: the file is absent, too large, not JSON, or a field is not as `Result` says.
    """
    directory = Path(directory)
    path = Path(directory) / RESULT_FILE
    if path.is_symlink() or not path.is_file():
        raise ResultError(f"{path}: no such file: expected a folder that aa-eval --out wrote")
    if path.stat().st_size > MAX_BYTES:
        raise ResultError(f"{path}: larger than {MAX_BYTES >> 20} MiB: not written by aa-eval")
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ResultError(f"{path}: not JSON ({error}): run aa-eval again") from error
    return replace(_parse(row, path), folder=path.parent)


_STORED = [
    stored.name for stored in fields(Result) if stored.compare
]  # what is not compared is not stored


def _stored(result: Result) -> Result:
    return replace(result, per_frame={}, frame_numbers={}, folder=None)


def _parse(row: Any, path: Path) -> Result:
    if isinstance(row, dict) and row.get("schema", SCHEMA) != SCHEMA:
        raise ResultError(f"{path}: schema is {row['schema']!r}, this aa-eval reads {SCHEMA}")
    where = ""
    try:
        for name, of_metric in _items(row, "metrics"):
            where = f"metrics.{name}."  # msgspec does not name the keys of a dictionary
            parse(of_metric, MetricValue)
        where = ""
        result = parse(row, Result)
    except ValueError as error:
        reason = str(error).replace("`$.", f"`{where}")
        raise ResultError(f"{path}: not a result of aa-eval: {reason}") from error
    for name, metric in result.metrics.items():
        if (metric.value is None) == (metric.unavailable is None):
            raise ResultError(f"{path}: metrics.{name} must have a value or a reason, not both")
    for where, value in _numbers(result):
        if not math.isfinite(value):
            raise ResultError(f"{path}: {where} is {value}, expected a finite number")
    for count in ("num_videos", "num_frames"):
        if row[count] < 0:
            raise ResultError(f"{path}: {count} is {row[count]}, expected at least 0")
    for video, spans in result.trimmed.items():
        ends = [end for span in spans for end in span]
        if not ends or ends[0] < 0 or any(b <= a for a, b in pairwise(ends)):
            raise ResultError(
                f"{path}: trimmed.{video} is {row['trimmed'][video]!r:.60}, expected "
                "[[first, end], ...], ascending"
            )
    if unknown := sorted(result.trimmed.keys() - result.references.keys()):
        raise ResultError(f"{path}: trimmed.{unknown[0]}: no reference of that name was scored")
    return result


def _items(row: Any, name: str) -> list[tuple[str, Any]]:
    found = row.get(name) if isinstance(row, dict) else None
    return list(found.items()) if isinstance(found, dict) else []


def _numbers(result: Result) -> Iterator[tuple[str, float]]:
    for name, metric in result.metrics.items():
        for key in ("value", "ci_low", "ci_high"):
            if (value := getattr(metric, key)) is not None:
                yield f"metrics.{name}.{key}", value
    for video, values in result.per_video.items():
        yield from ((f"per_video.{video}.{k}", v) for k, v in values.items() if v is not None)
