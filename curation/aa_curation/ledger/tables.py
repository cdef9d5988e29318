"""The tables of a ledger in SQLite, and how a decision lies in one.

A corpus of a million clips is one file that answers by column: a funnel is a count over an index, a
clip a look at one row, another threshold a pass over the column of checks. Every change is a
transaction, so that a kill or a power cut leaves the state before it or after it.
"""

from __future__ import annotations

import json
import math
import sqlite3
import struct
from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence, ValuesView
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from aa_curation.check import Check, with_thresholds
from aa_curation.ledger.records import Decision
from aa_datasets.clip import Clip

VERSION = 2
_SCHEMA = """
CREATE TABLE head (content TEXT NOT NULL);
CREATE TABLE events (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, content TEXT NOT NULL);
CREATE TABLE fetches (source_id TEXT PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE surveys (
  source_id TEXT PRIMARY KEY, source_sha256 TEXT NOT NULL, packets_sha256 TEXT NOT NULL,
  content TEXT NOT NULL
);
CREATE INDEX surveys_by_source ON surveys (source_sha256);
CREATE INDEX surveys_by_packets ON surveys (packets_sha256);
CREATE TABLE planned (clip_id TEXT PRIMARY KEY, source_id TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX planned_by_source ON planned (source_id);
CREATE TABLE reasons (code INTEGER PRIMARY KEY, reason TEXT NOT NULL UNIQUE);
CREATE TABLE clips (
  clip_id TEXT PRIMARY KEY, source_id TEXT NOT NULL,
  status TEXT NOT NULL, stage TEXT NOT NULL, reason TEXT NOT NULL, measured REAL, threshold REAL,
  detail TEXT NOT NULL, seconds REAL NOT NULL,
  owner TEXT NOT NULL, consent TEXT NOT NULL, uploader TEXT NOT NULL, person TEXT NOT NULL,
  split TEXT, licence TEXT, duration_s REAL,
  mp4_sha256 TEXT NOT NULL, pose_sha256 TEXT NOT NULL, clip TEXT, signature BLOB, checks BLOB
);
CREATE INDEX clips_by_reason ON clips (status, reason);
CREATE INDEX clips_by_source ON clips (source_id);
CREATE TABLE replaced (
  number INTEGER PRIMARY KEY, clip_id TEXT, status TEXT, stage TEXT, reason TEXT, measured REAL,
  threshold REAL
);
CREATE TRIGGER clips_updated BEFORE UPDATE ON clips BEGIN
  INSERT INTO replaced (clip_id, status, stage, reason, measured, threshold)
  VALUES (old.clip_id, old.status, old.stage, old.reason, old.measured, old.threshold);
END;
CREATE TRIGGER clips_deleted BEFORE DELETE ON clips BEGIN
  INSERT INTO replaced (clip_id, status, stage, reason, measured, threshold)
  VALUES (old.clip_id, old.status, old.stage, old.reason, old.measured, old.threshold);
END;
CREATE TABLE shard_of (clip_id TEXT PRIMARY KEY, shard TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE packed (
  shard TEXT PRIMARY KEY, num_bytes INTEGER NOT NULL, clips_sha256 TEXT NOT NULL
) WITHOUT ROWID;
"""
# Accepted, or only out because of another clip.
IN_QUESTION = (
    "signature IS NOT NULL AND (status = 'accepted' OR reason IN ('near_duplicate', 'split_leak'))"
)
# Of version 2: the blocks of a run, and near duplicates that are searched for new clips alone.
_NEW_IN_2 = f"""
CREATE INDEX clips_in_question ON clips (source_id, split, uploader, person) WHERE {IN_QUESTION};
CREATE TABLE blocks (source_id TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE closed_blocks (number INTEGER PRIMARY KEY);
CREATE TABLE alike (
  first TEXT NOT NULL, second TEXT NOT NULL, distance REAL NOT NULL, PRIMARY KEY (first, second)
) WITHOUT ROWID;
CREATE INDEX alike_by_second ON alike (second);
CREATE TABLE alike_by (bounds TEXT NOT NULL);
CREATE TABLE unsearched (clip_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TRIGGER signature_added AFTER INSERT ON clips WHEN new.signature IS NOT NULL BEGIN
  INSERT OR IGNORE INTO unsearched VALUES (new.clip_id);
END;
CREATE TRIGGER signature_changed AFTER UPDATE OF signature ON clips
WHEN new.signature IS NOT old.signature BEGIN
  INSERT OR IGNORE INTO unsearched VALUES (new.clip_id);
END;
"""
_UPGRADE_1 = """
DROP TABLE alike; DROP TABLE alike_by; DROP TRIGGER signature_added; DROP TRIGGER signature_changed;
"""
# What a file of version 1 that may only be read lacks.
_FOR_READING_1 = """
CREATE TEMP TABLE blocks (source_id TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TEMP TABLE closed_blocks (number INTEGER PRIMARY KEY);
CREATE TEMP TABLE unsearched (clip_id TEXT PRIMARY KEY) WITHOUT ROWID;
"""
CHECK = np.dtype([("reason", "<u2"), ("low", "?"), ("measured", "<f8"), ("threshold", "<f8")])


class CheckPage(NamedTuple):
    """The checks of some clips.

    Attributes:
        clips: id, status and owner of each.
        row: int64 [N], the place in `clips` of each check's clip.
        checks: [N] of dtype `CHECK`, with the bounds that hold now.
        reasons: by their codes.
    """

    clips: list[tuple[str, str, str]]
    row: NDArray[np.int64]
    checks: NDArray[np.void]
    reasons: Mapping[int, str]


def join_checks(
    packed: Sequence[bytes], bounds: Mapping[int, float]
) -> tuple[NDArray[np.int64], NDArray[np.void]]:
    """Of rows of checks: the number of each check's row, and all checks with other bounds."""
    checks = np.frombuffer(b"".join(packed), CHECK).copy()
    row = np.repeat(np.arange(len(packed)), [len(each) // CHECK.itemsize for each in packed])
    for code, value in bounds.items():
        checks["threshold"][checks["reason"] == code] = value
    return row, checks


def passes(checks: NDArray[np.void]) -> NDArray[np.bool_]:
    """Whether each check of dtype `CHECK` passed."""
    measured, bound = checks["measured"], checks["threshold"]
    return np.where(checks["low"], measured >= bound, measured <= bound)


_PLAIN = (
    *("clip_id", "source_id", "status", "stage", "reason", "measured", "threshold", "detail"),
    *("seconds", "owner", "consent", "uploader", "person", "mp4_sha256", "pose_sha256"),
)
DECISION = ", ".join((*_PLAIN, "clip", "signature", "checks"))
_COLUMNS = (*_PLAIN, "clip", "signature", "checks", "split", "licence", "duration_s")
_WRITE = (
    f"INSERT INTO clips ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "
    "ON CONFLICT (clip_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])
)
_PAGE = 2000  # rows at a time

T = TypeVar("T")


def new_tables(path: str) -> sqlite3.Connection:
    """Make the tables of an empty ledger; at "" they lie in a temporary file."""
    db = sqlite3.connect(path, timeout=60)
    db.executescript(f"PRAGMA user_version = {VERSION}; BEGIN; {_SCHEMA} {_NEW_IN_2} COMMIT;")
    return db


def upgrade(db: sqlite3.Connection) -> None:
    """Bring a file of version 1 to this one: near duplicates are searched once more."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 1:
        script = f"BEGIN; {_UPGRADE_1} {_NEW_IN_2} PRAGMA user_version = {VERSION}; COMMIT;"
        db.executescript(script)


def complete_for_reading(db: sqlite3.Connection) -> None:
    """Give a file of version 1 the tables that it lacks, empty and outside of it."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'blocks'").fetchone():
        db.executescript(_FOR_READING_1)


class Codes:
    """Numbers for the reasons of checks, so that a check takes 19 bytes."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._reasons: dict[int, str] = {}
        self._codes: dict[str, int] = {}

    def code(self, reason: str) -> int:
        if reason not in self._codes:
            self._db.execute("INSERT OR IGNORE INTO reasons (reason) VALUES (?)", (reason,))
            self._read()
        return self._codes[reason]

    def known(self) -> dict[str, int]:
        """Those of every check that was ever stored."""
        self._read()
        return dict(self._codes)

    def reason(self, code: int) -> str:
        if code not in self._reasons:
            self._read()
        return self._reasons[code]

    def _read(self) -> None:
        self._reasons = dict(self._db.execute("SELECT code, reason FROM reasons"))
        self._codes = {reason: code for code, reason in self._reasons.items()}


class Rows(Mapping[str, T], Generic[T]):
    """A table as a mapping from its key, in the order of the keys; holds a page of rows at most."""

    def __init__(
        self,
        db: sqlite3.Connection,
        table: str,
        key: str,
        columns: str,
        decode: Callable[[Sequence[Any]], T],
    ) -> None:
        self._db, self._table, self._key = db, table, key
        self._columns, self._decode = columns, decode
        self._select = f"SELECT {key}, {columns} FROM {table}"

    def __getitem__(self, key: str) -> T:
        row = self._db.execute(f"{self._select} WHERE {self._key} = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return self._decode(row[1:])

    def __contains__(self, key: object) -> bool:
        query = f"SELECT 1 FROM {self._table} WHERE {self._key} = ?"
        return self._db.execute(query, (key,)).fetchone() is not None

    def __len__(self) -> int:
        (count,) = self._db.execute(f"SELECT count(*) FROM {self._table}").fetchone()
        return int(count)

    def __iter__(self) -> Iterator[str]:
        return (row[0] for row in self._pages(f"SELECT {self._key} FROM {self._table}"))

    def where(self, condition: str, *values: object) -> Iterator[T]:
        """The rows for which a condition in SQL holds. The table may be changed meanwhile."""
        query = f"SELECT {self._key} FROM {self._table} WHERE {condition} ORDER BY 1"
        keys = [key for (key,) in self._db.execute(query, values)]
        return self.of(keys)

    def of(self, keys: Sequence[str]) -> Iterator[T]:
        """The rows of some keys, which are sorted."""
        return (self._decode(row) for row in self.columns(keys, self._columns))

    def columns(self, keys: Sequence[str], columns: str) -> Iterator[Sequence[Any]]:
        """Columns, or expressions of SQL, of the rows of some keys, which are sorted."""
        for first in range(0, len(keys), _PAGE):
            some = keys[first : first + _PAGE]
            which = f"WHERE {self._key} IN ({', '.join('?' * len(some))}) ORDER BY {self._key}"
            query = f"SELECT {columns} FROM {self._table} {which}"
            yield from self._db.execute(query, some).fetchall()

    def values(self) -> ValuesView[T]:
        return _Values(self)

    def items(self) -> ItemsView[str, T]:
        return _Items(self)

    def pairs(self) -> Iterator[tuple[str, T]]:
        """Keys and rows."""
        return ((row[0], self._decode(row[1:])) for row in self._pages(self._select))

    def _pages(self, select: str) -> Iterator[Sequence[Any]]:
        after = ""
        query = f"{select} WHERE {self._key} > ? ORDER BY {self._key} LIMIT {_PAGE}"
        while rows := self._db.execute(query, (after,)).fetchall():
            yield from rows
            after = rows[-1][0]


class _Values(ValuesView[T]):
    _mapping: Rows[T]

    def __iter__(self) -> Iterator[T]:
        return (row for _, row in self._mapping.pairs())


class _Items(ItemsView[str, T]):
    _mapping: Rows[T]

    def __iter__(self) -> Iterator[tuple[str, T]]:
        return self._mapping.pairs()


def write_decision(db: sqlite3.Connection, decision: Decision, codes: Codes) -> None:
    """Insert or replace a clip's row."""
    d, clip = decision, decision.clip
    text = None if clip is None else json.dumps(clip.to_json(), sort_keys=True)
    plain = {name: getattr(d, name) for name in _PLAIN}
    plain |= {"measured": _real(d.measured), "threshold": _real(d.threshold)}
    of_clip = (clip.split, clip.licence, clip.num_frames / clip.fps) if clip else (None,) * 3
    packed = pack_checks(d.checks, codes)
    db.execute(_WRITE, (*plain.values(), text, _bytes(d.signature), packed, *of_clip))


def read_decision(row: Sequence[Any], codes: Codes, thresholds: Mapping[str, float]) -> Decision:
    """A row of the columns `DECISION`; its checks have the bounds that hold now."""
    *plain, clip, signature, checks = row
    fields = dict(zip(_PLAIN, plain, strict=True))
    for name in ("measured", "threshold"):
        fields[name] = None if fields[name] is None else float(fields[name])
    return Decision(
        **fields,
        clip=None if clip is None else msgspec.json.decode(clip, type=Clip),
        signature=signature.hex() if isinstance(signature, bytes) else signature or "",
        checks=_unpack_checks(checks, codes, thresholds),
    )


def _real(value: float | None) -> object:
    """SQLite takes NaN for NULL."""
    return "nan" if value is not None and math.isnan(value) else value


def _bytes(signature: str) -> object:
    try:
        return bytes.fromhex(signature) or None
    except ValueError:
        return signature  # of another version: `Signature.from_text` says so


def pack_checks(checks: Sequence[Check], codes: Codes) -> bytes | None:
    """Checks as bytes of the dtype `CHECK`."""
    if not checks:
        return None
    flat: list[Any] = []
    for check in checks:
        flat += (codes.code(check.reason), check.low, check.measured, check.threshold)
    return struct.pack("<" + "H?dd" * len(checks), *flat)


def _unpack_checks(
    packed: bytes | None, codes: Codes, thresholds: Mapping[str, float]
) -> tuple[Check, ...]:
    rows = struct.iter_unpack("<H?dd", packed or b"")
    checks = (Check(codes.reason(code), found, bound, low) for code, low, found, bound in rows)
    return with_thresholds(tuple(checks), thresholds) if thresholds else tuple(checks)
