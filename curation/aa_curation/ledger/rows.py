"""Tables as mappings, and how a decision is written and read."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence, ValuesView
from typing import Any, Generic, TypeVar

import msgspec

from aa_curation.ledger.checks import Codes, pack_checks, unpack_checks
from aa_curation.ledger.records import Decision
from aa_datasets.clip import Clip

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
        checks=unpack_checks(checks, codes, thresholds),
    )


def _real(value: float | None) -> object:
    """SQLite takes NaN for NULL."""
    return "nan" if value is not None and math.isnan(value) else value


def _bytes(signature: str) -> object:
    try:
        return bytes.fromhex(signature) or None
    except ValueError:
        return signature  # of another version: `Signature.from_text` says so
