"""Result: what one evaluation found, and the three files that hold it."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from aa_eval.errors import ResultError

SCHEMA = 3
RESULT_FILE = "result.json"
MAX_BYTES = 64 * 2**20  # a result of 10,000 videos is about 4 MB


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One metric of one method under one protocol.

    Attributes:
        value: None where the metric is unavailable.
        ci_low, ci_high: bounds of the 95 % interval over videos; None where there is none.
        unavailable: why there is no value; None where there is one.
        n: how many frames (image metrics) or windows (FVD, KVD) the value rests on.
        note: what a reader must know beside the value, e.g. "rank-deficient: N = 9 <= d = 400".
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


def region_key(key: str, region: str) -> str:
    """The key of a metric within a region: "ssim@face"."""
    return f"{key}@{region}"


def write_result(directory: Path, result: Result) -> None:
    """Write result.json and per_video.csv into `directory` (made if absent).

    Raises:
        ResultError: a number is not finite.
    """
    directory.mkdir(parents=True, exist_ok=True)
    row = asdict(result)
    _parse(row, directory / RESULT_FILE)
    text = json.dumps(row, indent=1, allow_nan=False, ensure_ascii=False)
    (directory / RESULT_FILE).write_text(text + "\n", encoding="utf-8")
    keys = list(dict.fromkeys(key for values in result.per_video.values() for key in values))
    with (directory / "per_video.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["video", *keys])
        for video, values in result.per_video.items():
            table.writerow([video, *(values.get(key) for key in keys)])


def read_result(directory: Path) -> Result:
    """Read the result.json of `directory`; every field's type and finiteness is checked.

    Raises:
        ResultError: the file is absent, too large, not JSON, or a field is not as `Result` says.
    """
    path = directory / RESULT_FILE
    if path.is_symlink() or not path.is_file():
        raise ResultError(f"{path}: no such file: expected a folder that aa-eval --out wrote")
    if path.stat().st_size > MAX_BYTES:
        raise ResultError(f"{path}: larger than {MAX_BYTES >> 20} MiB: not written by aa-eval")
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ResultError(f"{path}: not JSON ({error}): run aa-eval again") from error
    return _parse(row, path)


def iter_results(directory: Path) -> Iterator[tuple[Path, Result]]:
    """Every result below `directory`, its folder first: protocols and baselines included."""
    for path in sorted(directory.rglob(RESULT_FILE), key=lambda p: (len(p.parts), p)):
        yield path.parent, read_result(path.parent)


_METRIC_FIELDS = {
    "value": (float, int, type(None)),
    "ci_low": (float, int, type(None)),
    "ci_high": (float, int, type(None)),
    "unavailable": (str, type(None)),
    "n": (int,),
    "note": (str, type(None)),
}
_RESULT_FIELDS = {
    "schema": (int,),
    "method": (str,),
    "label": (str,),
    "benchmark": (str, type(None)),
    "protocol": (str,),
    "protocol_version": (str,),
    "protocol_hash": (str,),
    "metrics": (dict,),
    "per_video": (dict,),
    "references": (dict,),
    "regions": (dict,),
    "trimmed": (dict,),
    "num_videos": (int,),
    "num_frames": (int,),
    "weights": (dict,),
    "packages": (dict,),
    "overrides": (list, tuple),
    "machine": (str,),
    "created": (str,),
}


def _parse(row: Any, path: Path) -> Result:
    _check_fields(row, _RESULT_FIELDS, path, "result")
    if row["schema"] != SCHEMA:
        raise ResultError(f"{path}: schema is {row['schema']}, this aa-eval reads {SCHEMA}")
    metrics = {}
    for name, metric in row["metrics"].items():
        _check_fields(metric, _METRIC_FIELDS, path, f"metrics.{name}")
        if (metric["value"] is None) == (metric["unavailable"] is None):
            raise ResultError(f"{path}: metrics.{name} must have a value or a reason, not both")
        metrics[name] = MetricValue(**metric)
    for video, values in row["per_video"].items():
        _check_fields(
            values, dict.fromkeys(values, (float, int, type(None))), path, f"per_video.{video}"
        )
    for field in ("weights", "packages", "references", "regions"):
        _check_fields(row[field], dict.fromkeys(row[field], (str,)), path, field)
    if not all(isinstance(item, str) for item in row["overrides"]):
        raise ResultError(f"{path}: overrides must be a list of strings")
    for field in ("num_videos", "num_frames"):
        if row[field] < 0:
            raise ResultError(f"{path}: {field} is {row[field]}, expected at least 0")
    trimmed = {video: _spans(spans, path, video) for video, spans in row["trimmed"].items()}
    if unknown := sorted(trimmed.keys() - row["references"].keys()):
        raise ResultError(f"{path}: trimmed.{unknown[0]}: no reference of that name was scored")
    overrides = tuple(row["overrides"])
    return Result(**{**row, "metrics": metrics, "trimmed": trimmed, "overrides": overrides})


def _spans(spans: Any, path: Path, video: str) -> tuple[tuple[int, int], ...]:
    """(first, end) of a trimmed video: ascending, apart, at least one frame."""
    flat: list[Any] = []
    if isinstance(spans, list | tuple):
        for span in spans:
            flat += span if isinstance(span, list | tuple) and len(span) == 2 else [None]
    if not flat or not all(type(end) is int for end in flat) or flat[0] < 0 or any(
        later <= earlier for earlier, later in pairwise(flat)
    ):  # fmt: skip
        raise ResultError(
            f"{path}: trimmed.{video} is {spans!r:.60}, expected [[first, end], ...], ascending"
        )
    return tuple(zip(flat[::2], flat[1::2], strict=True))


def _check_fields(row: Any, fields: dict[str, tuple[type, ...]], path: Path, where: str) -> None:
    if not isinstance(row, dict):
        raise ResultError(f"{path}: {where} is {type(row).__name__}, expected an object")
    if row.keys() != fields.keys():
        wrong = ", ".join(sorted(row.keys() ^ fields.keys()))
        raise ResultError(f"{path}: {where} lacks or does not know: {wrong}")
    for name, types in fields.items():
        value = row[name]
        if not isinstance(value, types) or isinstance(value, bool):
            wanted = " or ".join(t.__name__ for t in types)
            raise ResultError(
                f"{path}: {where}.{name} is {type(value).__name__}, expected {wanted}"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise ResultError(f"{path}: {where}.{name} is {value}, expected a finite number")
