"""The checks of clips: a column of bytes, 19 for each check, read for many clips at once."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aa_curation.check import Check, with_thresholds

CHECK = np.dtype([("reason", "<u2"), ("low", "?"), ("measured", "<f8"), ("threshold", "<f8")])
_CLIPS_AT_ONCE = 20_000


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


def pack_checks(checks: Sequence[Check], codes: Codes) -> bytes | None:
    """Checks as bytes of the dtype `CHECK`; None for none."""
    if not checks:
        return None
    flat: list[Any] = []
    for check in checks:
        flat += (codes.code(check.reason), check.low, check.measured, check.threshold)
    return struct.pack("<" + "H?dd" * len(checks), *flat)


def unpack_checks(
    packed: bytes | None, codes: Codes, thresholds: Mapping[str, float]
) -> tuple[Check, ...]:
    """What `pack_checks` packed, with the bounds that hold now."""
    rows = struct.iter_unpack("<H?dd", packed or b"")
    checks = (Check(codes.reason(code), found, bound, low) for code, low, found, bound in rows)
    return with_thresholds(tuple(checks), thresholds) if thresholds else tuple(checks)


class CheckPage(NamedTuple):
    """The checks of some clips.

    Attributes:
        clips: of each the columns that were asked for.
        row: int64 [N], the place in `clips` of each check's clip.
        checks: [N] of dtype `CHECK`, with the bounds that hold now.
        reasons: by their codes.
    """

    clips: list[tuple[str, ...]]
    row: NDArray[np.int64]
    checks: NDArray[np.void]
    reasons: Mapping[int, str]


def passes(checks: NDArray[np.void]) -> NDArray[np.bool_]:
    """Whether each check of dtype `CHECK` passed."""
    measured, bound = checks["measured"], checks["threshold"]
    return np.where(checks["low"], measured >= bound, measured <= bound)


def check_pages(
    db: sqlite3.Connection,
    codes: Codes,
    thresholds: Mapping[str, float],
    columns: str,
    order: str,
) -> Iterator[CheckPage]:
    """All checks, some thousands of clips at a time.

    Args:
        db: the tables.
        codes: of the checks' reasons.
        thresholds: that replace those of the checks, by reason.
        columns: of each clip, that are read with them.
        order: of the clips: a column.
    """
    reasons = {code: reason for reason, code in codes.known().items()}
    cursor = db.execute(
        f"SELECT {columns}, checks FROM clips WHERE checks IS NOT NULL ORDER BY {order}"
    )
    while rows := cursor.fetchmany(_CLIPS_AT_ONCE):
        packed = [row[-1] for row in rows]
        checks = np.frombuffer(b"".join(packed), CHECK).copy()
        row = np.repeat(np.arange(len(rows)), [len(each) // CHECK.itemsize for each in packed])
        for code, reason in reasons.items():
            if reason in thresholds:
                checks["threshold"][checks["reason"] == code] = thresholds[reason]
        yield CheckPage([each[:-1] for each in rows], row, checks, reasons)
