"""What the page shows of one table: marks, bars, numbered notes, and why it stands apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aa_eval.errors import counted
from aa_eval.protocol import list_protocols
from aa_leaderboard.columns import Column
from aa_leaderboard.published import published_protocols
from aa_leaderboard.row import Cell, Measured, Published, Row
from aa_leaderboard.table import Flag, Table, rank, why_not_comparable

MAX_OVERRIDES = 4  # told below the table; the others where the row's provenance is
MAX_WIDTH_PX = 1080  # of columns side by side, so that none is hidden at 1400 px


@dataclass(frozen=True, slots=True)
class CellView:
    """One table cell.

    Attributes:
        place: 1 is best; None where the cell has no place.
        won: best, and no trivial baseline is better: shown as a winner.
        bar: value, ci_low and ci_high on the column's scale, in percent; None where there is none.
        interval: "" where there is none.
    """

    cell: Cell | None
    place: int | None
    won: bool
    bar: tuple[float | None, ...]
    interval: str
    note_number: int | None


@dataclass(frozen=True, slots=True)
class RowView:
    """One table line; `kind` is what the page's filter calls it: published, measured, demo or
    baseline; `published` or `measured` holds the row's origin."""

    row: Row
    kind: str
    cells: tuple[CellView, ...]
    note_number: int | None
    published: Published | None
    measured: Measured | None


@dataclass(frozen=True, slots=True)
class TableView:
    """One section of the page.

    Attributes:
        parts: indices of the columns that stand side by side: the whole picture's, then each
            region's, at most MAX_WIDTH_PX wide.
        flags: columns in which a baseline keeps up.
        apart: why the rows are not ranked with those of the benchmark's other tables.
    """

    anchor: str
    name: str
    group: str
    table: Table
    columns: tuple[Column, ...]
    parts: tuple[tuple[int, ...], ...]
    rows: tuple[RowView, ...]
    notes: tuple[str, ...]
    about: str
    flags: tuple[Flag, ...]
    apart: tuple[str, ...]

    def verdict(self, part: Sequence[int]) -> str:
        """The first line of one part."""
        return self.table.verdict([self.columns[index].key for index in part])


def table_view(table: Table, number: int, tables: Sequence[Table]) -> TableView:
    """The section of `table`, the `number`-th of all `tables` (from 1)."""
    if not table.is_published:
        table = Table(table.benchmark, table.protocol, _best_first(table))
    columns = table.columns
    places = {column.key: table.places(column.key) for column in columns}
    scales = {column.key: _scale(table.rows, column.key) for column in columns}
    notes: list[str] = []
    rows = []
    for index, row in enumerate(table.rows):
        cells = tuple(
            _cell_view(row.cells.get(c.key), places[c.key][index], table, scales[c.key], c, notes)
            for c in columns
        )
        published = row.origin if isinstance(row.origin, Published) else None
        measured = row.origin if isinstance(row.origin, Measured) else None
        note = published.note if published else _override_note(measured)
        kinds = [kind for kind, _ in row.badges]
        kind = next((kind for kind in ("baseline", "demo") if kind in kinds), kinds[0])
        rows.append(RowView(row, kind, cells, _numbered(note, notes), published, measured))
    known = published_protocols().get(table.protocol) if table.is_published else None
    return TableView(
        anchor=f"table-{number}",
        name=f"{number}: {table.benchmark} · {table.protocol}",
        group=known.group if known else "",
        table=table,
        columns=columns,
        parts=_parts(columns),
        rows=tuple(rows),
        notes=tuple(notes),
        about=_about(table),
        flags=tuple(table.flags.values()),
        apart=_apart(table, tables),
    )


def _parts(columns: Sequence[Column]) -> tuple[tuple[int, ...], ...]:
    parts: list[list[int]] = []
    before, taken_px = "", 0
    for index, column in enumerate(columns):
        region = column.key.partition("@")[2]
        # of a heading with its arrow and mark, or an interval of two values, as page.css has them
        width_px = 15 + 9 * max(len(column.heading) + 5, 10)
        if not parts or before != region or taken_px + width_px > MAX_WIDTH_PX:
            parts.append([])
            taken_px = 0
        parts[-1].append(index)
        before, taken_px = region, taken_px + width_px
    return tuple(map(tuple, parts))


def _cell_view(
    cell: Cell | None,
    place: int | None,
    table: Table,
    scale: tuple[float, float] | None,
    column: Column,
    notes: list[str],
) -> CellView:
    if cell is None:
        return CellView(None, None, False, (None,) * 3, "", None)
    left, extent = scale or (0.0, 1.0)
    ends = (cell.value, cell.ci_low, cell.ci_high) if scale else (None,) * 3
    bar = tuple(None if end is None else round(100 * (end - left) / extent, 2) for end in ends)
    interval = ""
    if cell.ci_low is not None and cell.ci_high is not None:
        interval = f"{column.text_of(cell.ci_low)} to {column.text_of(cell.ci_high)}"
    note = "; ".join(text for text in (cell.unavailable, cell.note) if text)
    number = _numbered(f"{column.heading}: {note}" if note else "", notes)
    won = place == 1 and table.is_won(column.key)
    return CellView(cell, place, won, bar, interval, number)


def _scale(rows: Sequence[Row], key: str) -> tuple[float, float] | None:
    """(left end, extent) of a column's bars, a little wider than its values and intervals."""
    cells = [row.cells[key] for row in rows if key in row.cells]
    ends = [v for c in cells for v in (c.value, c.ci_low, c.ci_high) if v is not None]
    if len(ends) < 2 or max(ends) == min(ends):
        return None
    margin = 0.04 * (max(ends) - min(ends))
    return min(ends) - margin, max(ends) - min(ends) + 2 * margin


def _numbered(note: str, notes: list[str]) -> int | None:
    """The note's number below the table; equal notes share one."""
    if not note:
        return None
    if note not in notes:
        notes.append(note)
    return notes.index(note) + 1


def _override_note(measured: Measured | None) -> str:
    overrides = measured.result.overrides if measured else ()
    if not overrides:
        return ""
    shown = "; ".join(overrides[:MAX_OVERRIDES])
    more = len(overrides) - MAX_OVERRIDES
    rest = f"; and {more} more, all of them under provenance" if more > 0 else ""
    return f"checks overridden on the command line: {shown}{rest}"


def _best_first(table: Table) -> tuple[Row, ...]:
    """Rows in the order of LPIPS, or of the first metric that the table can rank."""
    keys = [column.key for column in table.columns]
    preferred = [k for k in ("lpips_alex", "lpips_vgg") if k in keys] + keys
    for key in preferred:
        places = rank(table.rows, key)
        if any(places):
            order = sorted(range(len(places)), key=lambda i: (places[i] is None, places[i] or 0))
            return tuple(table.rows[i] for i in order)
    return table.rows


def _about(table: Table) -> str:
    origin = table.rows[0].origin
    if isinstance(origin, Published):
        known = published_protocols().get(table.protocol)
        if known is None:
            return ""
        again = f"; aa-eval --protocol {known.recompute_with} scores as it does"
        return known.about + (again if known.recompute_with in list_protocols() else "")
    result = origin.result
    return (
        f"protocol {result.protocol} version {result.protocol_version}, content hash "
        f"{result.protocol_hash[:12]}; {counted(result.num_videos, 'video')}, "
        f"{counted(result.num_frames, 'frame')}"
    )


def _apart(table: Table, tables: Sequence[Table]) -> tuple[str, ...]:
    """Why the rows are not ranked with those of the benchmark's other tables."""
    reasons = []
    for other in tables:
        if other.benchmark == table.benchmark:
            reason = why_not_comparable(table.rows[0], other.rows[0])
            if reason is not None:
                reasons.append(f"{other.protocol} ({counted(len(other.rows), 'row')}): {reason}")
    return tuple(reasons)
