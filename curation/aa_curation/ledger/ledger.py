"""Ledger: a row per survey and per clip, kept in one SQLite file.

A run that is killed loses at most what was in flight, and the rows of the last moment: the next run
skips what the ledger holds. What was decided before is kept, too, in the table `replaced`.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from aa_curation.errors import LedgerError
from aa_curation.ledger.checks import CheckPage, Codes, check_pages
from aa_curation.ledger.frame import iter_frames
from aa_curation.ledger.records import CorpusHead, Decision, Fetch, Survey, from_json, to_json
from aa_curation.ledger.redecide import STANDS, may_change, redecided
from aa_curation.ledger.rows import DECISION, Rows, read_decision, write_decision
from aa_curation.ledger.schema import complete_for_reading, new_tables
from aa_curation.ledger.takedown import Takedown, Tombstones, taken_down

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
            db = new_tables("", head)
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
            db, "surveys", "source_id", "content", lambda row: from_json(row[0], Survey)
        )
        self.fetches: Rows[Fetch] = Rows(
            db, "fetches", "source_id", "content", lambda row: from_json(row[0], Fetch)
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
            (source_id, survey.source_sha256, survey.packets_sha256, to_json(survey)),
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
        for statement in (
            "DELETE FROM clips WHERE clip_id IN (SELECT clip_id FROM planned WHERE source_id = ?)",
            "DELETE FROM planned WHERE source_id = ?",
            "DELETE FROM surveys WHERE source_id = ?",
        ):
            self._db.execute(statement, (source_id,))

    def add_decision(self, decision: Decision) -> None:
        write_decision(self._db, decision, self._codes)

    def add_thresholds(self, thresholds: Mapping[str, float]) -> None:
        """Decide again what checks decided. What now needs steps that never ran is undecided, or,
        where a source was rejected by its header alone, unknown: the next run sees to it."""
        bounds = {**self.thresholds, **thresholds}
        pages = check_pages(self._db, self._codes, bounds, STANDS, "rowid")
        for clip_id in list(may_change(pages, thresholds)):
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
        query = (
            "SELECT source_id, content FROM surveys WHERE source_id = ? "
            "OR (source_sha256 != '' AND source_sha256 IN (?, ?)) "
            "OR (packets_sha256 != '' AND packets_sha256 = ?)"
        )
        found: dict[str, Survey] = {}
        for t in takedowns:
            values = (t.source_id, t.source_sha256, t.file_sha256, t.packets_sha256)
            for source_id, content in self._db.execute(query, values):
                found[source_id] = from_json(content, Survey)
        return list(found.values())

    def _take_down(self, survey: Survey) -> None:
        for clip_id in survey.clip_ids:
            row = self.decisions.get(clip_id)
            self.add_decision(taken_down(clip_id, survey.source_id, row))

    def add_fetch(self, fetch: Fetch) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO fetches VALUES (?, ?)", (fetch.source_id, to_json(fetch))
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
        """All checks, with id, status and owner of their clips, sorted by the ids."""
        columns = "clip_id, status, owner"
        return check_pages(self._db, self._codes, self.thresholds, columns, "clip_id")

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

        return pandas.concat(list(self.iter_frames(columns)), ignore_index=True)

    def iter_frames(self, columns: Sequence[str] | None = None) -> Iterator[DataFrame]:
        """The rows of `to_frame`, some thousands at a time; one frame at least."""
        reasons = sorted(self._codes.known(), key=self._codes.code)
        return iter_frames(self.decisions.values(), reasons, columns)

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
