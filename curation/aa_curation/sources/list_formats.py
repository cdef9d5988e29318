"""Source lists: the rows of a csv, tsv, jsonl, parquet or txt, of a folder, or of either by URL.

Every form gives the same rows: cells by column name, as text. Two public forms are read as they are
published: a txt with an URL a line (UBC fashion, HumanVid's Pexels lists), and the metadata.csv of
TaiChi-HD and its kin (video_id, start, end, bbox, fps, width, height, partition).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet
from pyarrow.lib import ArrowException

from aa_curation.errors import SourceError

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"})
# What a row or a list may be read from, beside files and http. A chain ("simplecache::http://…")
# would get round the manners of the crawl, so there is none.
STORES = frozenset(
    {"s3", "s3a", "gs", "gcs", "az", "abfs", "oci", "oss", "hdfs", "hf", "memory", "file"}
)
_TAICHI = frozenset({"video_id", "start", "end", "bbox", "fps", "width", "height", "partition"})
_PUBLISHED_SPLITS = {"fashion_test.txt": "test"}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a list: cells by column, and where it stands, for messages."""

    cells: dict[str, str]
    where: str


def store_of(location: str) -> str | None:
    """The protocol of an URL that fsspec reads; None for paths, http and everything else."""
    protocol = re.match(r"([a-z][a-z0-9]*)://", location)
    return protocol[1] if protocol and protocol[1] in STORES and "::" not in location else None


def read_rows(place: Path | str, videos: Path | None = None) -> tuple[list[Row], Path | str]:
    """The rows of a list or of a folder of videos, and the folder that their paths start from.

    Args:
        place: a path, or an URL of one of `STORES`.
        videos: where the videos of a TaiChi list lie, `<video_id>.mp4`; None: beside the list.

    Raises:
        SourceError: it cannot be read, or is of no known form.
    """
    if isinstance(place, str) and store_of(place) is None:
        if "://" in place:
            raise SourceError(
                f"{place}: a list is read from a path or from {', '.join(sorted(STORES))}"
            )
        place = Path(place)
    try:
        if isinstance(place, Path):
            if place.is_dir():
                place, found = _folder(place)
                if found is not None:
                    return found, place
            name, content, base = place.name, place.read_bytes(), place.parent
            return _parse(name, str(place), content, videos), base
        return _remote(place, videos)
    except (OSError, ImportError) as error:
        raise SourceError(f"cannot read the source list {place}: {error}") from error


def _folder(folder: Path) -> tuple[Path, list[Row] | None]:
    """Its sources.csv, or a row for each video below it."""
    if (folder / "sources.csv").is_file():
        return folder / "sources.csv", None
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in VIDEO_SUFFIXES)
    rows = [Row({"location": f.relative_to(folder).as_posix()}, str(f)) for f in files]
    return folder, rows


def _remote(url: str, videos: Path | None) -> tuple[list[Row], str]:
    system, path = fsspec.core.url_to_fs(url)
    if system.isdir(path):
        found = sorted(system.find(path))
        rows = [
            Row({"location": system.unstrip_protocol(name)}, name)
            for name in found
            if Path(name).suffix.lower() in VIDEO_SUFFIXES
        ]
        return rows, url
    base, _, name = url.rpartition("/")
    return _parse(name, url, system.cat_file(path), videos), base


def _parse(name: str, where: str, content: bytes, videos: Path | None) -> list[Row]:
    suffix = Path(name).suffix.lower()
    reader = _READERS.get(suffix)
    if reader is None:
        raise SourceError(
            f"{where} is of no known form: expected {', '.join(_READERS)}, or a folder"
        )
    try:
        rows = [Row(_cells(cells), f"{where}, line {line}") for line, cells in reader(content)]
    except (UnicodeDecodeError, csv.Error, ValueError, ArrowException) as error:
        raise SourceError(f"cannot read the source list {where}: {error}") from error
    if rows and rows[0].cells.keys() >= _TAICHI:
        return [Row(_taichi(row, videos), row.where) for row in rows]
    if rows and "location" not in rows[0].cells and "url" in rows[0].cells:
        rows = [Row({**row.cells, "location": row.cells.get("url", "")}, row.where) for row in rows]
    if suffix == ".txt":
        split = _PUBLISHED_SPLITS.get(name, "train")
        return [Row({**row.cells, "split": split}, row.where) for row in rows]
    return rows


def _cells(cells: dict[str, Any]) -> dict[str, str]:
    def text(value: object) -> str:
        if value is None or value != value:  # NaN, as data frames store a missing cell
            return ""
        return str(value).lower() if isinstance(value, bool) else str(value).strip()

    return {name: text(value) for name, value in cells.items() if name}


def _csv(content: bytes, delimiter: str = ",") -> Iterator[tuple[int, dict[str, Any]]]:
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    reader = csv.DictReader(text, delimiter=delimiter)
    if reader.fieldnames is None:
        raise ValueError("it is empty: expected a line with the columns' names")
    for cells in reader:
        yield reader.line_num, cells


def _tsv(content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    return _csv(content, "\t")


def _jsonl(content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(content):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is no JSON object: {line[:60]}")
            yield number, row


def _lines(content: bytes) -> Iterator[tuple[int, str]]:
    """Numbered from 1. `str.splitlines` would also cut at U+2028, which JSON allows in a string."""
    yield from enumerate(re.split(r"\r\n|\n|\r", content.decode("utf-8-sig")), 1)


def _parquet(content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
    yield from enumerate(table.to_pylist(), 1)


def _txt(content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(content):
        if (url := line.strip()) and not url.startswith("#"):
            yield number, {"location": url}


_READERS: dict[str, Callable[[bytes], Iterator[tuple[int, dict[str, Any]]]]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
    ".txt": _txt,
}


def _taichi(row: Row, videos: Path | None) -> dict[str, str]:
    """`start` and `end` count frames at `fps`; `bbox` is left-top-right-bottom in a frame of
    `width` x `height`, which need not be the size of the user's copy."""
    cells = row.cells
    try:
        fps = float(cells["fps"])
        start_s, end_s = float(cells["start"]) / fps, float(cells["end"]) / fps
        x0, y0, x1, y1 = (int(side) for side in cells["bbox"].split("-"))
    except (ValueError, ZeroDivisionError) as error:
        raise SourceError(f"{row.where} is no row of a TaiChi-HD list: {error}") from None
    # A part of a video that was listed twice: "<id>#<number>".
    file = f"{cells['video_id'].split('#')[0]}.mp4"
    return {
        "location": str(videos.resolve() / file) if videos else file,
        "licence": cells.get("licence", ""),
        "owner": cells.get("owner", ""),
        "person": cells.get("person_id", ""),
        "split": cells["partition"],
        "start_s": f"{start_s:.6f}",
        "end_s": f"{end_s:.6f}",
        "crop_x0": str(x0),
        "crop_y0": str(y0),
        "crop_x1": str(x1),
        "crop_y1": str(y1),
        "crop_of_width": cells["width"],
        "crop_of_height": cells["height"],
    }
