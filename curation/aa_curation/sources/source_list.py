"""Sources: the videos that a corpus is made from, each with its licence and owner.

A source list has these columns, in any case and with any delimiter of `,`, `;`, tab and `|`. Only
location and licence are required; columns that are not listed here are ignored, and named.

    location    (or url, path, video, ...) a path (relative to the list), an http(s) URL, an URL of
                an object store (s3://…), or package:NAME==VERSION/PATH/IN/WHEEL
    licence     (or license) SPDX identifier, or the words of the source; empty: the row is rejected
    source_id   unique, of [0-9a-z_-]; made from location, span and crop where there is none
    owner       who holds the rights
    consent     on what grounds the people in it may be used, in the list's own words
    uploader, person
                clips of one uploader or one person never cross a split
    synthetic   true for rendered characters
    split       train (default), test, ...
    pose_file   the exact pose of the video (npz), which only renderers know
    start_s, end_s, crop_x0, crop_y0, crop_x1, crop_y1
                a part of the video in time (seconds, or h:m:s) and in pixels of the frame
    timestamp   in place of start_s and end_s: spans such as [['0:00:01', '0:00:05.5'], ...], each
                of which is a source (as Panda-70M lists them)
    crop_of_width, crop_of_height
                the size of the frame that the crop is given in, where it is another
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from aa_curation.crawl.http_get import parse_url
from aa_curation.errors import FetchRefusedError, SourceError
from aa_curation.models.installed_file import installed_file
from aa_curation.sources.list_formats import Row, read_rows, seconds, store_of

_PACKAGE = re.compile(r"package:(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^/]+)/(?P<path>.+)")
_NOT_FETCHED = Path("not-fetched")
_SPAN = ("start_s", "end_s")
_CROP = ("crop_x0", "crop_y0", "crop_x1", "crop_y1")
_CROP_OF = ("crop_of_width", "crop_of_height")


@dataclass(frozen=True, slots=True)
class Source:
    """One row of a source list.

    Attributes:
        source_id, location, licence, owner, synthetic, split: see the module's text.
        path: where the file lies on this machine; of an URL only once it is fetched.
        pose_path: where its exact pose lies, if it has one.
        url: the location if it is to be fetched, else "".
        span_s: (start, end) in seconds; None takes the whole video.
        crop_px: (x0, y0, x1, y1) in pixels of the frame as displayed; None takes all of it.
        crop_of_wh: the width and height of the frame that `crop_px` means; None: the video's.
        consent, uploader, person: see the module's text.
    """

    source_id: str
    location: str
    licence: str
    owner: str
    synthetic: bool
    split: str
    path: Path
    pose_path: Path | None = None
    url: str = ""
    span_s: tuple[float, float] | None = None
    crop_px: tuple[int, int, int, int] | None = None
    crop_of_wh: tuple[int, int] | None = None
    consent: str = ""
    uploader: str = ""
    person: str = ""

    @property
    def row_sha256(self) -> str:
        """Hash of what the list says of it, wherever the file lies."""
        said = replace(self, path=Path(), pose_path=Path() if self.pose_path else None)
        return hashlib.sha256(repr(said).encode()).hexdigest()


def _warn(note: str) -> None:
    warnings.warn(note, RuntimeWarning, stacklevel=3)


def read_sources(
    places: Iterable[Path | str],
    *,
    licence: str = "",
    videos: Path | str | None = None,
    tell: Callable[[str], None] = _warn,
) -> list[Source]:
    """Read lists and folders of videos; returns their sources, sorted by id.

    Args:
        places: lists (csv, tsv, jsonl, parquet, txt), folders that hold a `sources.csv`, folders of
            videos; as paths or as URLs of an object store.
        licence: of the rows that state none ("unknown" takes them and says so).
        videos: where the videos of a TaiChi list lie.
        tell: gets a sentence for whatever is left out: columns that are not read, files that are
            not videos, rows that are listed twice. The default warns.

    Raises:
        SourceError: a list is missing or malformed, an id is used twice, or a package that a
            location names is not installed.
    """
    sources: dict[str, Source] = {}
    repeated = 0
    places = list(places)
    for place in places:
        found = read_rows(place, None if videos is None else Path(videos))
        for note in found.notes:
            tell(note)
        if not licence:
            _ask_for_licences(place, found.rows)
        found.rows.reverse()
        while found.rows:  # of a list of millions, rows and sources are not held at once
            row = found.rows.pop()
            source = _parse(row, found.base, licence)
            if sources.get(source.source_id) == source:
                repeated += 1
                continue
            if source.source_id in sources:
                raise SourceError(
                    f"{row.where}: source_id {source.source_id!r} is used twice: ids must be "
                    "unique over all --sources"
                )
            sources[source.source_id] = source
    if not sources:
        looked = ", ".join(map(str, places)) or "no list"
        raise SourceError(
            f"no video is named by --sources {looked}: give a folder that holds videos (mp4, mov, "
            "mkv, webm, ...) or a list with a row for each"
        )
    if repeated:
        tell(f"{repeated} rows of the lists are repeated: each counts once")
    return [sources[source_id] for source_id in sorted(sources)]


def _ask_for_licences(place: Path | str, rows: list[Row]) -> None:
    """Refuse a list without any licence; single rows without one are rejected by the survey."""
    if rows and not any("licence" in row.cells for row in rows):
        raise SourceError(
            f"{place} lacks the column licence ({len(rows)} videos): write a sources.csv with a "
            "licence for each, or give --licence for all (`--licence unknown` accepts them as they "
            "are)"
        )


def _parse(row: Row, base: Path | str, licence: str) -> Source:
    cells, where = row.cells, row.where
    location = cells.get("location", "")
    pose_file = cells.get("pose_file", "")
    span = _numbers(cells, _SPAN, where)
    crop = _numbers(cells, _CROP, where)
    crop_of = _numbers(cells, _CROP_OF, where)
    if pose_file and (crop or span):
        raise SourceError(f"{where}: a row with pose_file takes no start_s, end_s or crop")
    if crop and not (0 <= crop[0] < crop[2] and 0 <= crop[1] < crop[3]):
        raise SourceError(f"{where}: the crop {crop} is empty: expected x0 < x1 and y0 < y1")
    if crop_of and (not crop or min(crop_of) < 1):
        raise SourceError(f"{where}: crop_of_width and crop_of_height go with a crop")
    if span and not 0 <= span[0] < span[1]:
        raise SourceError(f"{where}: the span {span[0]:g} to {span[1]:g} s is empty")
    synthetic = cells.get("synthetic", "").lower()
    if synthetic not in {"", "true", "false", "1", "0"}:
        raise SourceError(f"{where}: synthetic is {synthetic!r}, expected true or false")
    source_id = cells.get("source_id") or _make_id(location, (span, crop))
    if not re.fullmatch(r"[0-9a-z_-]+", source_id):
        raise SourceError(f"{where}: source_id {source_id!r} must be of a-z, 0-9, _ and -")
    path, url = _locate(location, where, base)
    return Source(
        source_id=source_id,
        location=url or location,
        licence=sys.intern(cells.get("licence") or licence),
        owner=sys.intern(cells.get("owner", "")),
        synthetic=synthetic in {"true", "1"},
        split=sys.intern(cells.get("split") or "train"),
        path=path,
        pose_path=Path(base) / pose_file if pose_file else None,
        url=url,
        span_s=(span[0], span[1]) if span else None,
        crop_px=(int(crop[0]), int(crop[1]), int(crop[2]), int(crop[3])) if crop else None,
        crop_of_wh=(int(crop_of[0]), int(crop_of[1])) if crop_of else None,
        consent=sys.intern(cells.get("consent", "")),
        uploader=sys.intern(cells.get("uploader", "")),
        person=sys.intern(cells.get("person", "")),
    )


def _make_id(location: str, part: object) -> str:
    """An id from what the row means, not from its place in the list: rows may come and go."""
    stem = re.sub(r"[^0-9a-z]+", "_", Path(location).stem.lower()).strip("_")[:24]
    return f"{stem or 'video'}-{hashlib.sha256(f'{location} {part}'.encode()).hexdigest()[:12]}"


def _numbers(cells: dict[str, str], names: tuple[str, ...], where: str) -> tuple[float, ...] | None:
    given = [cells.get(name, "") for name in names]
    if not any(given):
        return None
    try:
        numbers = tuple(seconds(cell) for cell in given)
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError
        return numbers
    except ValueError:
        raise SourceError(
            f"{where}: {', '.join(names)} must all be numbers, found {given}"
        ) from None


def is_web(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _locate(location: str, where: str, base: Path | str) -> tuple[Path, str]:
    """Where the file lies, and the URL to fetch it from ("" for a file of this machine)."""
    if not location or "\0" in location:
        raise SourceError(f"{where}: the location {location!r} is empty or holds a NUL")
    if package := _PACKAGE.fullmatch(location):
        return installed_file(package["name"], package["version"], package["path"]), ""
    if is_web(location):
        try:
            parse_url(location)
        except FetchRefusedError as error:
            raise SourceError(f"{where}: {error}") from None
        return _NOT_FETCHED, location
    if store_of(location):
        return _NOT_FETCHED, location
    if re.match(r"[a-z][a-z0-9+.-]+:", location):
        raise SourceError(
            f"{where}: cannot fetch {location!r}: give a path, an http(s) URL, an URL of an object "
            "store, or package:NAME==VERSION/PATH for a file inside an installed package"
        )
    if isinstance(base, str):
        return _NOT_FETCHED, f"{base}/{location}"
    # Path.resolve raises where links lead back to themselves, realpath does not.
    return Path(os.path.realpath(base / location)), ""
