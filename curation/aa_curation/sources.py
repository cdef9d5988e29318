"""Sources: the videos that a corpus is made from, each with its licence and owner.

A source list is a csv with these columns (the first three are required; others are kept out):

    source_id   unique, of [0-9a-z_-]
    location    a path (relative to the csv), or package:NAME==VERSION/PATH/IN/WHEEL
    licence     SPDX identifier, or the words of the source; empty: the row is rejected
    owner       who holds the rights
    synthetic   true for rendered characters
    split       train (default), test, ...
    pose_file   an exact pose beside the video (npz); only renderers have one
    start_s, end_s, crop_x0, crop_y0, crop_x1, crop_y1
                a part of the video in time and in pixels of the frame (as TaiChi-HD lists them)
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aa_curation.errors import SourceError
from aa_curation.installed_package import installed_file

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"})
_PACKAGE = re.compile(r"package:(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^/]+)/(?P<path>.+)")
_REQUIRED = ("source_id", "location", "licence")


@dataclass(frozen=True, slots=True)
class Source:
    """One row of a source list.

    Attributes:
        source_id, location, licence, owner, synthetic, split: see the module's text.
        path: where the file lies on this machine.
        pose_path: where its exact pose lies, if it has one.
        span_s: (start, end) in seconds; None takes the whole video.
        crop_px: (x0, y0, x1, y1) in pixels of the frame as displayed; None takes all of it.
    """

    source_id: str
    location: str
    licence: str
    owner: str
    synthetic: bool
    split: str
    path: Path
    pose_path: Path | None = None
    span_s: tuple[float, float] | None = None
    crop_px: tuple[int, int, int, int] | None = None


def read_sources(paths: Iterable[Path]) -> list[Source]:
    """The sources of some lists (a csv, or a folder that holds `sources.csv`), sorted by id.

    Raises:
        SourceError: a list is missing or malformed, an id is used twice, or a package that a
            location names is not installed.
    """
    sources: dict[str, Source] = {}
    for path in paths:
        for source in _read_list(path):
            if source.source_id in sources:
                raise SourceError(
                    f"{path}: source_id {source.source_id!r} is used twice: ids must be unique "
                    "over all --sources"
                )
            sources[source.source_id] = source
    if not sources:
        raise SourceError("the source lists name no video: nothing to do")
    return [sources[source_id] for source_id in sorted(sources)]


def _read_list(path: Path) -> list[Source]:
    if path.is_dir():
        if not (path / "sources.csv").is_file():
            videos = sum(file.suffix.lower() in VIDEO_SUFFIXES for file in path.iterdir())
            raise SourceError(
                f"{path} holds {videos} videos but no sources.csv: write one with a row per video "
                f"(columns {', '.join(_REQUIRED)}; a licence is needed for each)"
            )
        path = path / "sources.csv"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _REQUIRED if name not in (reader.fieldnames or ())]
            if missing:
                raise SourceError(f"{path} lacks the column {', '.join(missing)}")
            return [_parse(row, f"{path}, line {reader.line_num}", path.parent) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"cannot read the source list {path}: {error}") from error


def _parse(row: dict[str, str | None], where: str, folder: Path) -> Source:
    cells = {name: (value or "").strip() for name, value in row.items() if name}
    source_id = cells["source_id"]
    if not re.fullmatch(r"[0-9a-z_-]+", source_id):
        raise SourceError(f"{where}: source_id {source_id!r} must be of a-z, 0-9, _ and -")
    pose_file = cells.get("pose_file", "")
    start_s, end_s = _numbers(cells, ("start_s", "end_s"), where) or (None, None)
    crop = _numbers(cells, ("crop_x0", "crop_y0", "crop_x1", "crop_y1"), where)
    if pose_file and (crop or start_s is not None):
        raise SourceError(f"{where}: a row with pose_file takes no start_s, end_s or crop")
    if crop and not (0 <= crop[0] < crop[2] and 0 <= crop[1] < crop[3]):
        raise SourceError(f"{where}: the crop {crop} is empty: expected x0 < x1 and y0 < y1")
    if start_s is not None and end_s is not None and not 0 <= start_s < end_s:
        raise SourceError(f"{where}: the span {start_s:g} to {end_s:g} s is empty")
    synthetic = cells.get("synthetic", "").lower()
    if synthetic not in {"", "true", "false", "1", "0"}:
        raise SourceError(f"{where}: synthetic is {synthetic!r}, expected true or false")
    return Source(
        source_id=source_id,
        location=cells["location"],
        licence=cells["licence"],
        owner=cells.get("owner", ""),
        synthetic=synthetic in {"true", "1"},
        split=cells.get("split") or "train",
        path=_locate(cells["location"], where, folder),
        pose_path=folder / pose_file if pose_file else None,
        span_s=None if start_s is None or end_s is None else (start_s, end_s),
        crop_px=(int(crop[0]), int(crop[1]), int(crop[2]), int(crop[3])) if crop else None,
    )


def _numbers(cells: dict[str, str], names: tuple[str, ...], where: str) -> tuple[float, ...] | None:
    given = [cells.get(name, "") for name in names]
    if not any(given):
        return None
    try:
        return tuple(float(cell) for cell in given)
    except ValueError:
        raise SourceError(
            f"{where}: {', '.join(names)} must all be numbers, found {given}"
        ) from None


def _locate(location: str, where: str, folder: Path) -> Path:
    if not location:
        raise SourceError(f"{where}: the location is empty")
    if package := _PACKAGE.fullmatch(location):
        return installed_file(package["name"], package["version"], package["path"])
    if re.match(r"[a-z][a-z0-9+.-]+:", location):
        raise SourceError(
            f"{where}: cannot fetch {location!r}: give a path, or "
            "package:NAME==VERSION/PATH for a file inside an installed package"
        )
    return (folder / location).resolve()
