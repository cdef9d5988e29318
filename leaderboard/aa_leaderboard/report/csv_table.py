"""CSV: the whole board with full precision, and the paper's tables as printed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from aa_leaderboard.columns import columns_of
from aa_leaderboard.paper_tables import HEADINGS, PaperTable
from aa_leaderboard.row import Published, Row

_FIRST = ("kind", "label", "benchmark", "protocol", "protocol_hash", "method")
_LAST = ("num_videos", "num_frames", "paper", "table", "year", "source", "note")


def board_csv(rows: Sequence[Row]) -> str:
    """Every row, metrics in the papers' order; published values as printed, measured ones with
    all their digits and, where there is one, their interval."""
    columns = columns_of(key for row in rows for key in row.cells)
    fields = [name for c in columns for name in (c.key, f"{c.key}_ci_low", f"{c.key}_ci_high")]
    with_interval = {
        f"{key}_{end}"
        for row in rows
        for key, cell in row.cells.items()
        if cell.ci_low is not None
        for end in ("ci_low", "ci_high")
    }
    fields = [name for name in fields if not name.endswith(("_ci_low", "_ci_high"))
              or name in with_interval]  # fmt: skip
    records = [
        [*_first(row), *(_metric(row, name) for name in fields), *_last(row)] for row in rows
    ]
    return _csv([[*_FIRST, *fields, *_LAST], *records])


def paper_table_csv(table: PaperTable) -> str:
    """Method and the four columns, exactly as printed."""
    lines = [[method, *(cell.text for cell in cells)] for method, cells in table.lines]
    return _csv([["Method", *HEADINGS], *lines])


def _first(row: Row) -> list[str]:
    if isinstance(row.origin, Published):
        return ["published", "", row.benchmark, row.protocol, "", row.method]
    result = row.origin.result
    hash_ = result.protocol_hash
    return ["measured", result.label, row.benchmark, row.protocol, hash_, row.method]


def _last(row: Row) -> list[str]:
    if isinstance(row.origin, Published):
        origin = row.origin
        table = "" if origin.table is None else str(origin.table)
        return ["", "", origin.paper, table, str(origin.year), origin.source, origin.note]
    result = row.origin.result
    notes = [f"{k}: {c.note or c.unavailable}" for k, c in row.cells.items()
             if c.note or c.unavailable]  # fmt: skip
    notes += [f"overridden: {override}" for override in result.overrides]
    source = f"aa-eval, {result.created}"
    return [str(result.num_videos), str(result.num_frames), "", "", "", source, "; ".join(notes)]


def _metric(row: Row, name: str) -> str:
    for end in ("_ci_low", "_ci_high"):
        if name.endswith(end):
            cell = row.cells.get(name.removesuffix(end))
            bound = getattr(cell, end.removeprefix("_")) if cell else None
            return "" if bound is None else repr(float(bound))
    cell = row.cells.get(name)
    if cell is None or cell.value is None:
        return ""
    return cell.text if isinstance(row.origin, Published) else repr(float(cell.value))


def _csv(records: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_harmless(field) for field in record] for record in records)
    return text.getvalue()


def _harmless(field: str) -> str:
    """A text that a spreadsheet would run as a formula gets a quote before it; numbers do not."""
    if field[:1] not in {"=", "+", "-", "@"} or field == "-":
        return field
    try:
        float(field)
    except ValueError:
        return "'" + field
    return field
