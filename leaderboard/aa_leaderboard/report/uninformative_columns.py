"""Columns that tell nothing: those in which a trivial baseline keeps up with the methods."""

from __future__ import annotations

from dataclasses import dataclass

from aa_leaderboard.columns import Column
from aa_leaderboard.row import BASELINE_LABEL, Measured, Row
from aa_leaderboard.table import Table

# Baselines of `aa-eval` that are made from the true frames: marks of what a column overlooks.
_SEE_THE_ANSWER = frozenset({"previous-frame", "reversed", "blurred", "shifted-pixel"})
MARGIN = "inside the best method's 95 % interval over videos, or beyond it"


@dataclass(frozen=True, slots=True)
class Flag:
    """A column in which a trivial baseline stands too close to the best method.

    Attributes:
        key, heading: of the column.
        words: the baselines' values against the best method's.
        only_with_answer: only baselines that are made from the true frames keep up.
    """

    key: str
    heading: str
    words: str
    only_with_answer: bool


def is_baseline(row: Row) -> bool:
    """True for the trivial predictions that aa-eval makes itself (repeat, white, ...)."""
    return isinstance(row.origin, Measured) and row.origin.result.label == BASELINE_LABEL


def uninformative(table: Table, column: Column) -> Flag | None:
    """The flag of a column in which a baseline comes within the margin of the best method.

    The margin is the 95 % interval of the best method's value: a baseline inside it, or better
    than it, keeps up. Where there is no interval, it must be as good as the value itself.
    """
    sign = {"higher": 1.0, "lower": -1.0, None: 0.0}[column.better]
    scored = [
        (sign * cell.value, row)
        for row in table.rows
        if sign and (cell := row.cells.get(column.key)) is not None and cell.value is not None
    ]
    methods = [
        (value, row)
        for value, row in scored
        if not is_baseline(row) and row.cells[column.key].ranked
    ]
    if not methods:
        return None
    best, method = max(methods, key=lambda pair: pair[0])
    cell = method.cells[column.key]
    bound = cell.ci_low if column.better == "higher" else cell.ci_high
    margin = best if bound is None else sign * bound
    rivals = [(value, row) for value, row in scored if is_baseline(row) and value >= margin]
    if not rivals:
        return None
    rivals.sort(key=lambda pair: (pair[1].method in _SEE_THE_ANSWER, -pair[0]))
    names = ", ".join(f"{row.method} {row.cells[column.key].text}" for _, row in rivals)
    with_answer = all(row.method in _SEE_THE_ANSWER for _, row in rivals)
    return Flag(column.key, column.heading, f"{names} against {cell.text}", with_answer)
