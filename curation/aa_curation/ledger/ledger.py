"""Ledger: a row per survey and per clip, kept in one SQLite file.

A run that is killed loses at most what was in flight, and the rows of the last moment: the next run
skips what the ledger holds. What was decided before is kept, too, in the table `replaced`.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec
import numpy as np
from numpy.typing import NDArray

from aa_curation.errors import LedgerError
from aa_curation.ledger.lines import LINES_NAME, read_head, replay
from aa_curation.ledger.records import CorpusHead, Decision, Fetch, Survey
from aa_curation.ledger.redecide import redecided
from aa_curation.ledger.tables import (
    DECISION,
    VERSION,
    CheckPage,
    Codes,
    Rows,
    complete_for_reading,
    join_checks,
    new_tables,
    passes,
    read_decision,
    upgrade,
    write_decision,
)
from aa_curation.ledger.takedown import Takedown, Tombstones, taken_down
from aa_curation.recipe_hash import iter_differences
from aa_datasets.atomic_file import sync_folder

if TYPE_CHECKING:
    from pandas import DataFrame

LEDGER_NAME = "ledger.sqlite"
_LOCK_NAME = ".ledger.lock"
_FRAME_COLUMNS = (
    *("clip_id", "source_id", "status", "stage", "reason", "measured", "threshold", "detail"),
    *("seconds", "owner", "consent", "uploader", "person"),
)
_CLIP_COLUMNS = (
    *("licence", "split", "duration_s", "source", "start_s", "end_s", "fps", "num_frames"),
    *("synthetic", "pose_from", "text_px", "height", "width"),
)
_CHECKED_AT_ONCE = 20_000  # clips
_COMMIT_SHARE = 0.05  # of the time, at most, that goes into commits while rows are added
_CACHE_KIB = 128 << 10

_T = TypeVar("_T")


class Ledger:
    """What is known of a corpus. Later rows replace earlier ones of the same source or clip.

    The mappings read from the file what they are asked for; iterating holds a page of rows.

    Args:
        head: what the corpus is made by.
        db: its tables; None makes empty ones, in a temporary file.

    Attributes:
        surveys: by source id.
        decisions: by clip id; those of the surveys are in it.
        fetches: by source id, of the sources that are URLs.
        shard_of: clip id -> name of its shard, for every clip that was ever packed: see `pack`.
        thresholds: `{reason: threshold}` that replace the recipe's.
        takedowns: by source id.
        tombstones: the same, to ask whether a source or a survey is one of them.
    """

    def __init__(self, head: CorpusHead, db: sqlite3.Connection | None = None) -> None:
        self.head = head
        if db is None:
            db = new_tables("")
            db.execute("INSERT INTO head VALUES (?)", (_to_json(head),))
        complete_for_reading(db)
        self._db = db
        self._codes = Codes(db)
        self.thresholds: dict[str, float] = {}
        self.takedowns: dict[str, Takedown] = {}
        self.tombstones = Tombstones()
        for kind, content in db.execute("SELECT kind, content FROM events ORDER BY number"):
            row = json.loads(content)
            if kind == "thresholds":
                self.thresholds.update(row)
            elif kind == "takedown":
                self._bar(msgspec.convert(row, Takedown))
        self.surveys: Rows[Survey] = Rows(
            db, "surveys", "source_id", "content", lambda row: _from_json(row[0], Survey)
        )
        self.fetches: Rows[Fetch] = Rows(
            db, "fetches", "source_id", "content", lambda row: _from_json(row[0], Fetch)
        )
        self.shard_of: Rows[str] = Rows(db, "shard_of", "clip_id", "shard", lambda row: row[0])
        self.decisions: Rows[Decision] = Rows(
            db,
            "clips",
            "clip_id",
            DECISION,
            lambda row: read_decision(row, self._codes, self.thresholds),
        )

    def __eq__(self, other: object) -> bool:
        """Whether two ledgers tell the same of every source and clip."""
        if not isinstance(other, Ledger):
            return NotImplemented
        names = ("head", "thresholds", "takedowns", "surveys", "decisions", "fetches", "shard_of")
        return all(getattr(self, name) == getattr(other, name) for name in names)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def sql(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """Rows of a query, such as `SELECT status, count(*) FROM clips GROUP BY status`."""
        return self._db.execute(query, values)

    def copied(self) -> Ledger:
        """The same in a temporary file, which may be changed."""
        db = sqlite3.connect("")
        self._db.commit()  # of a ledger of lines, which was just read: the copy would wait for ever
        self._db.backup(db)
        return Ledger(self.head, db)

    def add_survey(self, survey: Survey) -> None:
        """A new survey of a source puts an end to all that was decided on its clips."""
        source_id = survey.source_id
        self._forget(source_id)
        self._db.execute(
            "INSERT INTO surveys VALUES (?, ?, ?, ?)",
            (source_id, survey.source_sha256, survey.packets_sha256, _to_json(survey)),
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO planned VALUES (?, ?)",
            [(clip_id, source_id) for clip_id in survey.clip_ids],
        )
        for decision in survey.decisions:
            self.add_decision(decision)
        if self.tombstones.hold(survey):
            self._take_down(survey)

    def _forget(self, source_id: str) -> None:
        """A survey and all that was decided after it."""
        for (clip_id,) in self._db.execute(
            "SELECT clip_id FROM planned WHERE source_id = ?", (source_id,)
        ).fetchall():
            self._db.execute("DELETE FROM clips WHERE clip_id = ?", (clip_id,))
        self._db.execute("DELETE FROM planned WHERE source_id = ?", (source_id,))
        self._db.execute("DELETE FROM surveys WHERE source_id = ?", (source_id,))

    def add_decision(self, decision: Decision) -> None:
        write_decision(self._db, decision, self._codes)

    def add_thresholds(self, thresholds: Mapping[str, float]) -> None:
        """Decide again what checks decided. What now needs steps that never ran is undecided, or,
        where a source was rejected by its header alone, unknown: the next run sees to it."""
        for clip_id in self._changed_by(thresholds):
            decision = self.decisions[clip_id]
            again = redecided(decision, thresholds)
            if again is not None:
                self.add_decision(again)
                continue
            survey = self.surveys[decision.source_id]
            self._db.execute("DELETE FROM clips WHERE clip_id = ?", (clip_id,))
            if clip_id not in {planned.clip_id for planned in survey.planned}:
                self._forget(decision.source_id)
        # The others' checks keep their bounds in the file; these replace them when it is read.
        self._event("thresholds", dict(thresholds))
        self.thresholds.update(thresholds)

    def _changed_by(self, thresholds: Mapping[str, float]) -> list[str]:
        """The clips that other thresholds may decide otherwise: by column, a page at a time."""
        codes = self._codes.known()
        bounds = {codes[r]: b for r, b in {**self.thresholds, **thresholds}.items() if r in codes}
        asked = [codes[reason] for reason in thresholds if reason in codes]
        found: list[str] = []
        cursor = self._db.execute(
            "SELECT clip_id, status, stage, reason, checks FROM clips WHERE checks IS NOT NULL"
        )
        while rows := cursor.fetchmany(_CHECKED_AT_ONCE):
            verdicts, touched = _verdicts([row[4] for row in rows], bounds, asked)
            for place in np.flatnonzero(touched).tolist():
                clip_id, status, stage, reason, _ = rows[place]
                verdict = verdicts[place]
                if status == "accepted" or (status == "rejected" and stage == "dedup"):
                    changed = verdict >= 0
                else:  # also what no check decided: `redecided` leaves that as it is
                    changed = reason in thresholds or verdict != codes.get(reason, -1)
                if changed:
                    found.append(clip_id)
        return found

    def add_takedown(self, takedown: Takedown) -> None:
        """Reject every clip of the source, and of every other that is the same file."""
        if self.takedowns.get(takedown.source_id) != takedown:
            self._event("takedown", msgspec.to_builtins(takedown))
        self._bar(takedown)
        for survey in self.surveys_of([takedown]):
            self._take_down(survey)

    def _bar(self, takedown: Takedown) -> None:
        self.takedowns[takedown.source_id] = takedown
        self.tombstones.add(takedown)

    def surveys_of(self, takedowns: Iterable[Takedown]) -> list[Survey]:
        """The surveys of what was taken down, under whatever id it came."""
        found: dict[str, Survey] = {}
        for t in takedowns:
            for column, value in (
                ("source_id", t.source_id),
                ("source_sha256", t.source_sha256),
                ("source_sha256", t.file_sha256),
                ("packets_sha256", t.packets_sha256),
            ):
                query = f"SELECT source_id, content FROM surveys WHERE {column} = ?"
                for source_id, content in self._db.execute(query, (value,)) if value else ():
                    found[source_id] = _from_json(content, Survey)
        return list(found.values())

    def _take_down(self, survey: Survey) -> None:
        for clip_id in survey.clip_ids:
            row = self.decisions.get(clip_id)
            self.add_decision(taken_down(clip_id, survey.source_id, row))

    def add_fetch(self, fetch: Fetch) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO fetches VALUES (?, ?)", (fetch.source_id, _to_json(fetch))
        )

    def add_shards(self, shards: Mapping[str, Sequence[str]]) -> None:
        """Put clips into shards: `{name: ids}`."""
        for name, clip_ids in shards.items():
            self._db.executemany(
                "INSERT OR REPLACE INTO shard_of VALUES (?, ?)", [(c, name) for c in clip_ids]
            )

    def forget_shards(self) -> None:
        """Plan all shards afresh: see `repack`."""
        self._event("repack", {})
        self._db.execute("DELETE FROM shard_of")
        self._db.execute("DELETE FROM blocks WHERE number IN (SELECT number FROM closed_blocks)")

    def alike(self, bounds: str) -> list[tuple[str, str, float]] | None:
        """Clips that are one recording, as far as they were searched by these bounds; None where
        none was."""
        if self._db.execute("SELECT 1 FROM alike_by WHERE bounds = ?", (bounds,)).fetchone():
            return list(self._db.execute("SELECT first, second, distance FROM alike"))
        return None

    def unsearched(self, condition: str) -> set[str]:
        """Clips with a signature that were not searched for near duplicates yet, of those for which
        a condition holds."""
        return set(
            self._ids(
                "SELECT clip_id FROM unsearched JOIN clips USING (clip_id) "
                f"WHERE signature IS NOT NULL AND {condition}"
            )
        )

    def keep_alike(
        self,
        bounds: str,
        pairs: Iterable[tuple[str, str, float]],
        searched: Iterable[str],
        *,
        afresh: bool,
    ) -> None:
        """Keep what `alike` gives, unless this ledger may only be read.

        Args:
            bounds: of the search.
            pairs: that were found, first < second.
            searched: the clips of which all pairs are among them.
            afresh: forget what was found before.
        """
        if self._db.execute("PRAGMA query_only").fetchone() == (1,):
            return
        if afresh:
            self._db.execute("DELETE FROM alike")
            self._db.execute("DELETE FROM alike_by")
            self._db.execute("INSERT INTO alike_by VALUES (?)", (bounds,))
            self._db.execute(
                "INSERT OR IGNORE INTO unsearched "
                "SELECT clip_id FROM clips WHERE signature IS NOT NULL"
            )
        ids = [(clip_id,) for clip_id in searched]
        for statement in (
            "DELETE FROM alike WHERE first = ?",
            "DELETE FROM alike WHERE second = ?",
            "DELETE FROM unsearched WHERE clip_id = ?",
        ):
            self._db.executemany(statement, ids)
        self._db.executemany("INSERT OR REPLACE INTO alike VALUES (?, ?, ?)", pairs)

    def add_blocks(self, blocks: Mapping[int, Iterable[str]]) -> None:
        """Put sources into blocks: `{number: ids}`. See `aa_curation.executors.stream`."""
        for number, source_ids in blocks.items():
            self._db.executemany(
                "INSERT OR REPLACE INTO blocks VALUES (?, ?)", [(s, number) for s in source_ids]
            )

    def close_block(self, number: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO closed_blocks VALUES (?)", (number,))

    def open_blocks(self) -> dict[str, int]:
        """The block of each source whose block is not closed."""
        return dict(
            self._db.execute(
                "SELECT source_id, number FROM blocks WHERE number NOT IN "
                "(SELECT number FROM closed_blocks)"
            )
        )

    def last_block(self) -> int:
        """The highest number of a block; -1 if there was none."""
        return self._count(
            "SELECT coalesce(max(number), -1) FROM "
            "(SELECT number FROM blocks UNION ALL SELECT number FROM closed_blocks)"
        )

    def block_of(self, source_id: str) -> int:
        """The block of a source; -1 where it was there before blocks were."""
        query = "SELECT number FROM blocks WHERE source_id = ?"
        found: tuple[int] | None = self._db.execute(query, (source_id,)).fetchone()
        return -1 if found is None else found[0]

    def packed(self, shard: str) -> tuple[int, str] | None:
        """Bytes of a shard, and the hash of the clips that it was packed from; None if unknown."""
        query = "SELECT num_bytes, clips_sha256 FROM packed WHERE shard = ?"
        found: tuple[int, str] | None = self._db.execute(query, (shard,)).fetchone()
        return found

    def add_packed(self, shard: str, num_bytes: int, clips_sha256: str) -> None:
        row = (shard, num_bytes, clips_sha256)
        self._db.execute("INSERT OR REPLACE INTO packed VALUES (?, ?, ?)", row)

    def _event(self, kind: str, content: object) -> None:
        row = (kind, json.dumps(content, sort_keys=True))
        self._db.execute("INSERT INTO events (kind, content) VALUES (?, ?)", row)

    @property
    def num_planned(self) -> int:
        """How many clips there are: those left in by the surveys and those that they rejected."""
        return self._count("SELECT count(*) FROM planned")

    def undecided_ids(self, at_most: int = -1) -> list[str]:
        """Planned clips without a decision, sorted."""
        return self._ids(
            "SELECT clip_id FROM planned WHERE NOT EXISTS "
            "(SELECT 1 FROM clips WHERE clips.clip_id = planned.clip_id) ORDER BY clip_id LIMIT ?",
            at_most,
        )

    def ids_of(self, status: str) -> list[str]:
        """The ids of all accepted, rejected or failed clips, sorted."""
        return self._ids("SELECT clip_id FROM clips WHERE status = ? ORDER BY clip_id", status)

    def reasons_of_checks(self) -> set[str]:
        """The reasons of all checks that ever ran."""
        return set(self._codes.known())

    def status_of(self, clip_id: str) -> tuple[str, str] | None:
        """Status and reason of a clip, which is quicker than its row; None if undecided."""
        query = "SELECT status, reason FROM clips WHERE clip_id = ?"
        found: tuple[str, str] | None = self._db.execute(query, (clip_id,)).fetchone()
        return found

    def find(self, wanted: str) -> list[Decision]:
        """The decisions on a clip, on all clips of a source, or on those whose id begins so."""
        for condition, values in (
            ("clip_id = ? OR source_id = ?", (wanted, wanted)),
            ("clip_id >= ? AND clip_id < ?", (wanted, wanted + "\U0010ffff")),
        ):
            ids = self._ids(f"SELECT clip_id FROM clips WHERE {condition} ORDER BY 1", *values)
            if ids:
                return [self.decisions[clip_id] for clip_id in ids]
        return []

    def names_like(self, wanted: str, at_most: int) -> list[str]:
        """Ids of clips and sources, sorted: those that hold a text or begin as it does come before
        others, where there are too many."""
        beginning = wanted[: max(1, len(wanted) // 2)]
        alike = "instr({0}, ?) OR substr({0}, 1, ?) = ?"
        values = (wanted, len(beginning), beginning, at_most)
        names = set[str]()
        for name in ("clip_id", "source_id"):
            select = f"SELECT DISTINCT {name} FROM clips"
            names |= set(self._ids(f"{select} WHERE {alike.format(name)} LIMIT ?", *values))
            names |= set(self._ids(f"{select} LIMIT ?", at_most))
        return sorted(names)

    def _ids(self, query: str, *values: object) -> list[str]:
        return [clip_id for (clip_id,) in self._db.execute(query, values)]

    def _count(self, query: str) -> int:
        (count,) = self._db.execute(query).fetchone()
        return int(count)

    def funnel(self) -> Counter[tuple[str, str]]:
        """How many clips have each (status, reason)."""
        query = "SELECT status, reason, count(*) FROM clips GROUP BY status, reason"
        return Counter({(status, reason): n for status, reason, n in self._db.execute(query)})

    def num_of(self, status: str) -> int:
        """How many clips are accepted, rejected or failed."""
        return sum(count for (its, _), count in self.funnel().items() if its == status)

    def __str__(self) -> str:
        """The funnel: how many clips were planned, accepted, and rejected or failed by reason."""
        counts = self.funnel()
        planned, sources = self.num_planned, len(self.surveys)
        made_by = f"({sources} source{'s' * (sources != 1)}, recipe {self.head.recipe_name})"
        lines = [f"{planned:6d} planned  {made_by}"]
        for status in ("accepted", "rejected", "failed"):
            reasons = [(count, reason) for (its, reason), count in counts.items() if its == status]
            lines.append(f"{sum(count for count, _ in reasons):6d} {status}")
            for count, reason in sorted(reasons, key=lambda row: (-row[0], row[1])):
                if reason:
                    lines.append(f"{count:13d} {reason}")
        undecided = planned - counts.total()
        if undecided:
            lines.append(f"{undecided:6d} not yet decided: run the same command again")
        return "\n".join(lines)

    def check_pages(self) -> Iterator[CheckPage]:
        """All checks, some clips at a time, sorted by their ids."""
        reasons = {code: reason for reason, code in self._codes.known().items()}
        bounds = {c: self.thresholds[r] for c, r in reasons.items() if r in self.thresholds}
        cursor = self._db.execute(
            "SELECT clip_id, status, owner, checks FROM clips WHERE checks IS NOT NULL ORDER BY 1"
        )
        while rows := cursor.fetchmany(_CHECKED_AT_ONCE):
            row, checks = join_checks([packed for *_, packed in rows], bounds)
            yield CheckPage(
                [(i, status, owner) for i, status, owner, _ in rows], row, checks, reasons
            )

    def to_frame(self, columns: Sequence[str] | None = None) -> DataFrame:
        """One row per decided clip, sorted by its id, as a pandas frame.

        Columns: those of `Decision` without files and signatures, those of an accepted clip's
        `Clip`, its `duration_s`, and one `check.NAME` for each measurement, by the reason of its
        filter. All of a million clips with 20 checks take 2 GB; name the columns that you need.

            frame = read_ledger("corpus").to_frame()
            frame.groupby("reason").size()
            frame["check.small_person"].describe()

        Args:
            columns: only these.

        Raises:
            LedgerError: a column that there is not.
        """
        import pandas

        frames = list(self.iter_frames(columns))
        return pandas.concat(frames, ignore_index=True)

    def iter_frames(self, columns: Sequence[str] | None = None) -> Iterator[DataFrame]:
        """The rows of `to_frame`, some thousands at a time; one frame at least."""
        import pandas

        checks = [f"check.{reason}" for reason in sorted(self._codes.known(), key=self._codes.code)]
        every = [*_FRAME_COLUMNS, *_CLIP_COLUMNS, *checks]
        if unknown := [name for name in columns or () if name not in every]:
            raise LedgerError(f"no column {unknown[0]!r}: there are {', '.join(every)}")
        rows: list[dict[str, object]] = []
        for place, decision in enumerate(self.decisions.values()):
            if place and place % _CHECKED_AT_ONCE == 0:
                yield pandas.DataFrame(rows, columns=list(columns or every))
                rows = []
            rows.append(_frame_row(decision))
        yield pandas.DataFrame(rows, columns=list(columns or every))

    def assert_complete(self) -> None:
        """Every planned clip has exactly one decision, and nothing else has.

        Raises:
            LedgerError: it does not add up.
        """
        surplus = self._ids(
            "SELECT clip_id FROM clips WHERE NOT EXISTS "
            "(SELECT 1 FROM planned WHERE planned.clip_id = clips.clip_id) LIMIT 3"
        )
        if surplus:
            raise LedgerError(f"decided, but never planned: {surplus}: report this")
        planned = self.num_planned
        missing = planned - len(self.decisions)
        if missing:
            first = self.undecided_ids(3)
            raise LedgerError(
                f"{missing} of {planned} planned clips are not decided yet "
                f"({', '.join(first)}{', ...' * (missing > 3)}): run the same command "
                "again, with every list of sources that this corpus was started with. Sources that "
                "are gone from the lists are ended by `aa-curate run --drop-missing`, or for good "
                "by `aa-curate takedown --source ID`"
            )

    def commit(self) -> None:
        """Have all that was added on the disk."""
        self._db.commit()

    def close(self) -> None:
        self._db.close()


def _frame_row(decision: Decision) -> dict[str, object]:
    row = {name: getattr(decision, name) for name in _FRAME_COLUMNS}
    clip = decision.clip
    if clip is not None:
        row |= clip.to_json() | {"height": clip.size_hw[0], "width": clip.size_hw[1]}
        row["duration_s"] = clip.num_frames / clip.fps
    return row | {f"check.{check.reason}": check.measured for check in decision.checks}


def _verdicts(
    packed: list[bytes], bounds: Mapping[int, float], asked: Sequence[int]
) -> tuple[list[int], NDArray[np.bool_]]:
    """Of rows of checks, with other bounds: the code of the first that fails, -1 if all pass; and
    whether one of those asked for is among them."""
    row, checks = join_checks(packed, bounds)
    passed = passes(checks)
    (failed,) = np.nonzero(~passed)
    rows, first = np.unique(row[failed], return_index=True)
    verdicts = np.full(len(packed), -1)
    verdicts[rows] = checks["reason"][failed[first]]
    touched = np.zeros(len(packed), np.bool_)
    touched[row[np.isin(checks["reason"], asked)]] = True
    return verdicts.tolist(), touched


def _to_json(content: object) -> str:
    # By json, since msgspec writes an infinite bound as null.
    return json.dumps(msgspec.to_builtins(content), sort_keys=True)


def _from_json(content: str, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError:  # Infinity and NaN are not JSON for msgspec
        return msgspec.convert(json.loads(content), kind)


def read_ledger(folder: Path | str) -> Ledger:
    """Read the ledger of a corpus.

    Raises:
        LedgerError: none there, or a file that is not ours.
    """
    path = Path(folder) / LEDGER_NAME
    if path.is_file():
        ledger = _open(path)
        ledger.sql("PRAGMA query_only = ON")
        return ledger
    lines = path.with_name(LINES_NAME)
    if not lines.is_file():
        raise LedgerError(f"no ledger in {folder}: give the --out of an `aa-curate run`")
    ledger = Ledger(read_head(lines))
    replay(lines, ledger)
    return ledger


def has_ledger(folder: Path) -> bool:
    """Whether a corpus was started in a folder."""
    return (folder / LEDGER_NAME).is_file() or (folder / LINES_NAME).is_file()


def _open(path: Path, *, to_write: bool = False) -> Ledger:
    try:
        # For writing, if that is allowed: what a killed run left half written is rolled back.
        db = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=60)
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise LedgerError(f"{path} was written by a newer version of this toolkit: update it")
        if to_write:
            upgrade(db)
        (head,) = db.execute("SELECT content FROM head").fetchone()
        return Ledger(msgspec.convert(json.loads(head), CorpusHead), db)
    except (sqlite3.DatabaseError, msgspec.ValidationError, ValueError, TypeError) as error:
        raise LedgerError(
            f"{path} is damaged ({error!r}): move the folder away and run again"
        ) from error


def refuse_another_recipe(known: CorpusHead, head: CorpusHead, folder: Path) -> None:
    """Refuse to continue a corpus with a recipe that would decide otherwise.

    Args:
        known: of the corpus in `folder`.
        head: of the recipe.

    Raises:
        LedgerError: the recipes differ; the message says in what, where the ledger tells.
    """
    if known.recipe_sha256 == head.recipe_sha256:
        return
    differences = list(iter_differences(known.recipe, head.recipe))
    why = "; ".join(differences[:3]) + " and more" * (len(differences) > 3)
    if known.recipe is None:
        why = "version 0.1 made it, whose clips this version would decide or store otherwise"
    raise LedgerError(
        f"{folder} was made with recipe {known.recipe_name!r} ({known.recipe_sha256[:12]}), this "
        f"is {head.recipe_name!r} ({head.recipe_sha256[:12]}): {why}. Choose another --out, or "
        "continue with the recipe and the version of this toolkit that made it"
    )


class LedgerWriter:
    """Adds to the ledger of a corpus; only one at a time may.

    Rows are committed as they come, where they are seconds apart; where there are thousands a
    second, as often as leaves the disk time for them. `commit` and the end of the block commit all.

    Args:
        folder: of the corpus; made if need be. A ledger of lines, of an earlier version, is taken
            over, and kept as ledger.jsonl.old.
        head: of the recipe; a corpus is continued by the recipe that it was started with.

    Raises:
        LedgerError: another run is writing, or the corpus is of another recipe.
    """

    def __init__(self, folder: Path, head: CorpusHead) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path, lines = folder / LEDGER_NAME, folder / LINES_NAME
        self._lock = (folder / _LOCK_NAME).open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise LedgerError(
                f"another aa-curate run is writing to {folder}: wait for it"
            ) from None
        try:
            known = read_head(lines) if lines.is_file() and not path.is_file() else None
            if known is not None:
                refuse_another_recipe(known, head, folder)
            if not path.is_file():
                _make(path, lines if known else None, known or head)
            if lines.is_file():  # taken over: an earlier version would continue it
                lines.replace(lines.with_suffix(".jsonl.old"))
            self.ledger = _open(path, to_write=True)
            refuse_another_recipe(self.ledger.head, head, folder)
        except LedgerError:
            self._lock.close()
            raise
        self._committed_s, self._commit_took_s = time.monotonic(), 0.0

    @classmethod
    def reopen(cls, folder: Path) -> LedgerWriter:
        """The ledger of a corpus that there is, for its own recipe."""
        return cls(folder, _head_of(folder))

    def __enter__(self) -> LedgerWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.ledger.commit()  # what is done stays done, whatever ended the run
        finally:
            self._lock.close()

    def commit(self) -> None:
        start_s = time.monotonic()
        self.ledger.commit()
        self._committed_s = time.monotonic()
        self._commit_took_s = self._committed_s - start_s

    def _added(self) -> None:
        if time.monotonic() - self._committed_s >= self._commit_took_s / _COMMIT_SHARE:
            self.commit()

    def add_thresholds(self, thresholds: Mapping[str, float]) -> None:
        self.ledger.add_thresholds(thresholds)

    def add_takedown(self, takedown: Takedown) -> None:
        self.ledger.add_takedown(takedown)
        self.commit()  # before any file goes

    def add_fetch(self, fetch: Fetch) -> None:
        self.ledger.add_fetch(fetch)
        self._added()

    def add_survey(self, survey: Survey) -> None:
        self.ledger.add_survey(survey)
        self._added()

    def add_decision(self, decision: Decision) -> None:
        self.ledger.add_decision(decision)
        self._added()


def _make(path: Path, lines: Path | None, head: CorpusHead) -> None:
    """The file of a new ledger, whole or not at all; of an earlier version's lines, if given."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    ledger = Ledger(head, new_tables(str(temporary)))
    ledger.sql("INSERT INTO head VALUES (?)", _to_json(head))
    if lines is not None:
        replay(lines, ledger)
    ledger.commit()
    ledger.close()
    temporary.replace(path)
    sync_folder(path.parent)


def _head_of(folder: Path) -> CorpusHead:
    if not (folder / LEDGER_NAME).is_file() and (folder / LINES_NAME).is_file():
        return read_head(folder / LINES_NAME)
    return read_ledger(folder).head
