"""Source lists: the rows of a csv, tsv, jsonl, parquet or txt, of a folder, or of either by URL.

Every form gives the same rows: cells by column name, as text. Public forms are read as they are
published: a txt with an URL a line (UBC fashion, HumanVid's Pexels lists), the metadata.csv of
TaiChi-HD and its kin (video_id, start, end, bbox, fps, width, height, partition), and tables with
a column `timestamp` of spans (Panda-70M), of which each span is a row.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet
from pyarrow.lib import ArrowException

from aa_curation.errors import SourceError
from aa_datasets.command_line import counted
from aa_datasets.extras import how_to_install

# The usual suffixes of the containers that `aa_datasets.video` opens.
VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts",
    ".m2t", ".mpg", ".mpeg", ".mpe", ".vob", ".flv", ".f4v", ".ogv", ".ogm", ".wmv", ".asf", ".gif",
})  # fmt: skip
# What a row or a list may be read from, apart from files and http. A chain ("simplecache::http://…")
# would bypass the limits of the crawl, so none is accepted.
STORES = frozenset(
    {"s3", "s3a", "gs", "gcs", "az", "abfs", "oci", "oss", "hdfs", "hf", "memory", "file"}
)
COLUMNS = frozenset({
    "location", "licence", "source_id", "owner", "consent", "uploader", "person", "synthetic",
    "split", "pose_file", "start_s", "end_s", "crop_x0", "crop_y0", "crop_x1", "crop_y1",
    "crop_of_width", "crop_of_height",
})  # fmt: skip
# Other names of a column, the first one present counts.
_ALIASES = {
    "location": ("url", "video_url", "video_path", "path", "file", "video"),
    "licence": ("license", "licence_name", "license_name", "licence_type", "license_type"),
    "start_s": ("start_time",),
    "end_s": ("end_time",),
    "timestamp": ("timestamps",),
}
_TAICHI = frozenset({"video_id", "start", "end", "bbox", "fps", "width", "height", "partition"})
_PUBLISHED_SPLITS = {"fashion_test.txt": "test"}
_DELIMITERS = (",", ";", "\t", "|")
_SEEN = 10_000  # texts of cells


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a list: cells by column, and where it stands, for messages."""

    cells: dict[str, str]
    where: str


@dataclass(frozen=True, slots=True)
class SourceList:
    """A list or folder as it was read.

    Attributes:
        rows: their cells have the names of `COLUMNS`.
        base: the folder, or the URL, that relative locations start from.
        notes: sentences on what was left out: columns, files, rows.
    """

    rows: list[Row]
    base: Path | str
    notes: tuple[str, ...] = ()


def store_of(location: str) -> str | None:
    """The protocol of an URL that fsspec reads; None for paths, http and everything else."""
    protocol = re.match(r"([a-z][a-z0-9]*)://", location)
    return protocol[1] if protocol and protocol[1] in STORES and "::" not in location else None


def read_rows(place: Path | str, videos: Path | None = None) -> SourceList:
    """Read a list, or look for videos in a folder.

    Args:
        place: a path, or an URL of one of `STORES`.
        videos: where the videos of a TaiChi list lie, `<video_id>.mp4`; None: next to the list.

    Raises:
        SourceError: it cannot be read, or its form is unknown.
    """
    if isinstance(place, str) and store_of(place) is None:
        if "://" in place:
            raise SourceError(
                f"{place}: a list is read from a path or from {', '.join(sorted(STORES))}"
            )
        place = Path(place)
    try:
        if isinstance(place, str):
            return _remote(place, videos)
        if place.is_dir():
            if not (place / "sources.csv").is_file():
                return _folder(place)
            place = place / "sources.csv"
        return _parse(place.name, str(place), place.read_bytes(), videos, place.parent)
    except (OSError, ImportError) as error:
        raise SourceError(f"cannot read the source list {place}: {error}") from error


def _folder(folder: Path) -> SourceList:
    """A row for each video below a folder. Linked folders are entered, each folder once."""
    found, unreadable = _files_below(folder)
    rows, others = _videos((file.relative_to(folder).as_posix(), str(file)) for file in found)
    return SourceList(rows, folder, (*unreadable, *_about_files(str(folder), others)))


def _files_below(folder: Path) -> tuple[list[Path], list[str]]:
    """The files below a folder, sorted, and a sentence for each folder that cannot be read. Real
    folders come first, so that a link to one of them does not take its name."""
    files: list[Path] = []
    unreadable: list[str] = []
    entered: set[tuple[int, int]] = set()
    real, linked = [folder], list[Path]()
    while real or linked:
        place = real.pop() if real else linked.pop(0)
        try:
            stat = place.stat()
            if (stat.st_dev, stat.st_ino) in entered:
                continue
            entered.add((stat.st_dev, stat.st_ino))
            with os.scandir(place) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if not os.path.isdir(entry.path):  # noqa: PTH112  # False for a broken link
                        files.append(place / entry.name)
                    else:
                        (linked if entry.is_symlink() else real).append(place / entry.name)
        except OSError as error:
            unreadable.append(f"{place} cannot be read ({error.strerror}): nothing of it is taken")
    return sorted(files), unreadable


def _videos(found: Iterable[tuple[str, str]]) -> tuple[list[Row], list[str]]:
    """(location, where) of files: the rows of the videos, and the names that are left out."""
    rows, others = [], []
    for location, where in found:
        if Path(location).suffix.lower() in VIDEO_SUFFIXES and _is_text(location):
            rows.append(Row({"location": location}, where))
        else:
            others.append(location)
    return rows, others


def _is_text(name: str) -> bool:
    """Whether a name can be written into the ledger, which is UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _about_files(where: str, others: list[str]) -> Iterator[str]:
    for name in others:
        if not _is_text(name):
            shown = os.fsencode(name).decode("utf-8", "backslashreplace")
            yield f"{where}: the file name {shown} is not UTF-8: rename it, it is left out"
    suffixes = Counter(
        Path(name).suffix.lower() or "no suffix" for name in others if _is_text(name)
    )
    if suffixes:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(8))
        more = ", ..." if len(suffixes) > 8 else ""
        total = sum(suffixes.values())
        yield f"{where}: left out {counted(total, 'file')} without a video's suffix ({kinds}{more})"


def _remote(url: str, videos: Path | None) -> SourceList:
    try:
        system, path = fsspec.core.url_to_fs(url)
        names = sorted(system.find(path)) if system.isdir(path) else None
        content = b"" if names is not None else system.cat_file(path)
    except ImportError as error:
        raise SourceError(f"cannot read {url}: {error}: {how_to_install(url)}") from error
    # The libraries of stores have no error in common; for a user all of them mean this.
    except Exception as error:
        raise SourceError(f"cannot read {url}: {type(error).__name__}: {error}") from error
    if names is not None:
        found = ((system.unstrip_protocol(name), name) for name in names)
        rows, others = _videos(found)
        return SourceList(rows, url, tuple(_about_files(url, others)))
    base, _, name = url.rpartition("/")
    return _parse(name, url, content, videos, base)


def _parse(
    name: str, where: str, content: bytes, videos: Path | None, base: Path | str
) -> SourceList:
    suffix = Path(name).suffix.lower()
    reader = _READERS.get(suffix)
    if reader is None:
        raise SourceError(
            f"{where} has an unknown form: expected {', '.join(_READERS)}, or a folder"
        )
    try:
        seen: dict[str, str] = {}
        rows = [Row(_cells(c, seen), f"{where}, line {line}") for line, c in reader(content)]
    except (UnicodeDecodeError, csv.Error, ValueError, ArrowException) as error:
        raise SourceError(f"cannot read the source list {where}: {error}") from error
    if rows and rows[0].cells.keys() >= _TAICHI:
        return SourceList([replace(row, cells=_taichi(row, videos)) for row in rows], base)
    rows, notes = _named(rows, where)
    if suffix == ".txt":
        split = _PUBLISHED_SPLITS.get(name, "train")
        rows = [replace(row, cells={**row.cells, "split": split}) for row in rows]
    return SourceList(rows, base, notes)


def _cells(cells: dict[str, Any], seen: dict[str, str]) -> dict[str, str]:
    """The cells of a row as text; what many rows say is held once, in `seen`."""

    def text(value: object) -> str:
        if value is None or value != value:  # NaN, as data frames store a missing cell
            return ""
        found = str(value).lower() if isinstance(value, bool) else str(value).strip()
        return seen.setdefault(found, found) if len(seen) < _SEEN else seen.get(found, found)

    return {_column(name): text(value) for name, value in cells.items() if name.strip()}


@cache
def _column(name: str) -> str:
    """A column's name as it is usually written: "Start S" is start_s."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _named(rows: list[Row], where: str) -> tuple[list[Row], tuple[str, ...]]:
    """Rows whose cells have our names, with a row for each span of a `timestamp`; takes `rows` out
    of their list."""
    present = dict.fromkeys(name for row in rows for name in row.cells)
    ours = {name: name for name in present if name in COLUMNS}
    for column, aliases in _ALIASES.items():
        names = [name for name in (column, *aliases) if name in present]
        if names:
            ours[names[0]] = column
        if column == "licence":
            _assert_one_licence(rows, names)
    if rows and "location" not in ours.values():
        expected = ", ".join(("location", *_ALIASES["location"]))
        raise SourceError(
            f"{where} has none of the columns {expected}: it has {', '.join(present)}"
        )
    if "start_s" in ours.values() or not any(_spans(_timestamp(row, ours)) for row in rows):
        ours = {name: column for name, column in ours.items() if column != "timestamp"}
    found: list[Row] = []
    without = 0
    rows.reverse()
    while rows:  # these give way to the others
        row = rows.pop()
        cells = {column: row.cells.get(name, "") for name, column in ours.items()}
        if "timestamp" not in cells:
            found.append(Row(cells, row.where))
            continue
        spans = _spans(cells.pop("timestamp"))
        if spans is None:
            raise SourceError(f"{row.where}: {_timestamp(row, ours)[:60]!r} holds no spans of time")
        without += not spans
        for number, (start_s, end_s) in enumerate(spans):
            part = {**cells, "start_s": f"{start_s:.6f}", "end_s": f"{end_s:.6f}"}
            if cells.get("source_id"):
                part["source_id"] = f"{cells['source_id']}_{number:03d}"
            found.append(Row(part, row.where))
    notes = []
    ignored = [name for name in present if name not in ours]
    if ignored:
        notes.append(f"{where}: ignored columns: {', '.join(ignored)}")
    if without:
        notes.append(f"{where}: left out {without} rows whose timestamp names no span")
    return found, tuple(notes)


def _assert_one_licence(rows: list[Row], names: list[str]) -> None:
    for row in rows:
        stated = {row.cells.get(name, "") for name in names} - {""}
        if len(stated) > 1:
            raise SourceError(
                f"{row.where}: the columns {', '.join(names)} state different licences "
                f"({', '.join(sorted(stated))}): leave one of them"
            )


def _timestamp(row: Row, ours: dict[str, str]) -> str:
    return next((row.cells.get(name, "") for name, c in ours.items() if c == "timestamp"), "")


def _spans(cell: str) -> list[tuple[float, float]] | None:
    """The spans of a cell such as `[['0:00:01', '0:00:05.5'], [7, 9]]`, in seconds; one pair alone
    is one span. None where it is something else, a date for example."""
    if not cell:
        return []
    try:
        value = ast.literal_eval(cell)
        if len(value) == 2 and not isinstance(value[0], list | tuple):
            value = [value]
        return [(seconds(str(start)), seconds(str(end))) for start, end in value]
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def seconds(text: str) -> float:
    """Seconds of a number or a time such as 1:02:03.5. Raises ValueError for anything else."""
    parts = text.split(":")
    if len(parts) > 3:
        raise ValueError(f"{text!r} is not a time")
    return sum(float(part) * 60.0**place for place, part in enumerate(reversed(parts)))


def _csv(content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    text = content.decode("utf-8-sig")
    delimiter = _delimiter(text)
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    first = 1
    try:
        if reader.fieldnames is None:
            raise ValueError("it is empty: expected a line with the columns' names")
        first = reader.line_num + 1
        for cells in reader:
            if None in cells:
                raise ValueError(
                    f"line {reader.line_num} has {len(cells) - 1 + len(cells[None])} cells, "
                    f"expected {len(reader.fieldnames)}: quote text that holds {delimiter!r}"
                )
            yield reader.line_num, cells
            first = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"the row that starts in line {first}: {error}") from None


def _delimiter(text: str) -> str:
    """The usual delimiter by which the first line names most columns that are known."""
    known = COLUMNS | _TAICHI | _ALIASES.keys() | {a for names in _ALIASES.values() for a in names}
    line = next(iter(re.split(r"\r\n|\n|\r", text, maxsplit=1)))

    def count(delimiter: str) -> int:
        names = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
        return len(known & {_column(name) for name in names})

    return max(_DELIMITERS, key=count)  # the first of the best


def _jsonl(content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(content):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not a JSON object: {line[:60]}")
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
    ".tsv": _csv,
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
        raise SourceError(f"{row.where} is not a row of a TaiChi-HD list: {error}") from None
    # A part of a video that was listed twice: "<id>#<number>".
    file = f"{cells['video_id'].split('#')[0]}.mp4"
    return {
        "location": str(videos.resolve() / file) if videos else file,
        "licence": cells.get("licence") or cells.get("license", ""),
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
