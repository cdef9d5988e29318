"""Columns that tell nothing: those in which a trivial baseline keeps up with the methods."""

from __future__ import annotations

from aa_leaderboard.columns import Column
from aa_leaderboard.row import BASELINE_LABEL, Measured, Row
from aa_leaderboard.table import Table


def is_baseline(row: Row) -> bool:
    """True for the trivial predictions that aa-eval makes itself (repeat, white, ...)."""
    return isinstance(row.origin, Measured) and row.origin.result.label == BASELINE_LABEL


def uninformative(table: Table, column: Column) -> str | None:
    """The sentence that flags the column, or None.

    The margin: a baseline's value inside the 95 % interval of the table's best method, or
    better than that; without an interval, as good as the best method's value.
    """
    sign = {"higher": 1.0, "lower": -1.0, None: 0.0}[column.better]
    scored = [
        (sign * cell.value, row)
        for row in table.rows
        if sign and (cell := row.cells.get(column.key)) is not None and cell.value is not None
    ]
    methods = [(value, row) for value, row in scored if not is_baseline(row)]
    baselines = [(value, row) for value, row in scored if is_baseline(row)]
    if not methods or not baselines:
        return None
    best, method = max(methods, key=lambda pair: pair[0])
    rival, baseline = max(baselines, key=lambda pair: pair[0])
    cell = method.cells[column.key]
    bound = cell.ci_low if column.better == "higher" else cell.ci_high
    margin = best if bound is None else sign * bound
    if rival < margin:
        return None
    return (
        f"{column.heading} tells little here: the trivial baseline {baseline.method!r} "
        f"({baseline.cells[column.key].text}) keeps up with the best method, "
        f"{method.method!r} ({cell.text})"
    )
