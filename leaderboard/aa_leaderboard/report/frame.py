"""Rows as one pandas frame, and that frame as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aa_leaderboard.columns import columns_of
from aa_leaderboard.published import read_published
from aa_leaderboard.row import Published, Row

if TYPE_CHECKING:
    import pandas as pd

_BEFORE = ("kind", "label", "benchmark", "protocol", "protocol_hash", "method", "marks")
_AFTER = ("num_videos", "num_frames", "paper", "table", "year", "source", "note")
_ENDS = ("ci_low", "ci_high")


def rows_frame(rows: Sequence[Row] | None = None, *, as_printed: bool = False) -> pd.DataFrame:
    """One line a row, in the rows' order: what it is, every metric, where it comes from.

    >>> frame = rows_frame()
    >>> frame[(frame.protocol == "tiktok-disco") & (frame.year == 2023)].fvd.min()
    np.float64(171.9)

    Args:
        rows: None: the published ones. `aa_leaderboard.read_rows("board")` gives all.
        as_printed: leave published values the strings that their sources print, "0.640".

    Returns:
        Metrics as float64 columns in the papers' order, NaN where there is none, with
        `<metric>_ci_low` and `_ci_high` (95 % over videos) where a row has them; the other columns
        hold strings, "" where they say nothing, but `year`, `num_videos`, `num_frames` (Int64).
    """
    import pandas as pd  # takes half a second: `import aa_leaderboard` stays light

    rows = read_published() if rows is None else rows
    keys = [column.key for column in columns_of(key for row in rows for key in row.cells)]
    frame = pd.DataFrame([_record(row, as_printed) for row in rows])
    metrics = [
        name
        for key in keys
        for name in (key, *(f"{key}_{end}" for end in _ENDS))
        if name == key or name in frame
    ]
    frame = frame.reindex(columns=[*_BEFORE, *metrics, *_AFTER])
    whole = dict.fromkeys(("year", "num_videos", "num_frames"), "Int64")
    return frame.astype(whole if as_printed else whole | dict.fromkeys(metrics, "float64"))


def board_csv(rows: Sequence[Row]) -> str:
    """Every row: published values as printed, measured ones with all their digits."""
    frame = rows_frame(rows, as_printed=True)
    return str(frame.map(_harmless).to_csv(index=False, lineterminator="\n"))


def _record(row: Row, as_printed: bool) -> dict[str, Any]:
    record: dict[str, Any] = {
        "kind": "published" if row.is_published else "measured",
        "benchmark": row.benchmark,
        "protocol": row.protocol,
        "method": row.method,
        "marks": "; ".join(words for _, words in row.badges[1:]),
        "source": row.source,
    }
    for key, cell in row.cells.items():
        if cell.value is not None:
            record[key] = cell.text if as_printed and row.is_published else float(cell.value)
        for end in _ENDS:
            if (bound := getattr(cell, end)) is not None:
                record[f"{key}_{end}"] = float(bound)
    if isinstance(row.origin, Published):
        origin = row.origin
        table = "" if origin.table is None else str(origin.table)
        given = {"paper": origin.paper, "table": table, "year": origin.year, "note": origin.note}
        return record | {"label": "", "protocol_hash": "", **given}
    result = row.origin.result
    notes = [f"{k}: {c.note or c.unavailable}" for k, c in row.cells.items()
             if c.note or c.unavailable]  # fmt: skip
    notes += [f"overridden: {override}" for override in result.overrides]
    return record | {
        "label": result.label,
        "protocol_hash": result.protocol_hash,
        "num_videos": result.num_videos,
        "num_frames": result.num_frames,
        "paper": "",
        "table": "",
        "note": "; ".join(notes),
    }


def _harmless(value: Any) -> Any:
    """A text that a spreadsheet would run as a formula gets a quote before it; numbers do not."""
    if not isinstance(value, str) or value[:1] not in {"=", "+", "-", "@"} or value == "-":
        return value
    try:
        float(value)
    except ValueError:
        return "'" + value
    return value
