"""Tables of rows that may be compared, ranks within them, and what trivial baselines say."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from aa_eval.comparison import why_not_comparable as why_results_not_comparable
from aa_eval.names import CROSS_PROTOCOL, POSE_BETTER, REPEATED, STATIC_OF
from aa_leaderboard.columns import Column, column_of, columns_of
from aa_leaderboard.errors import NotComparableError
from aa_leaderboard.row import Measured, Row

# Baselines of `aa-eval` that are made from the true frames: they show what a column overlooks.
SEE_THE_ANSWER = frozenset({"previous-frame", "reversed", "blurred", "shifted-pixel"})
_STILL = (REPEATED, STATIC_OF)  # how the names of baselines that hold still begin
MARGIN = "inside the best method's 95 % interval over videos, or beyond it"


@dataclass(frozen=True, slots=True)
class Flag:
    """A column in which a trivial baseline comes too close to the best method, or beats it.

    Attributes:
        column: that column.
        words: the baselines' values against the best method's.
        only_with_answer: only baselines that are made from the true frames keep up.
        beaten_by: baselines better than every method, the best first.
        still_is_perfect: without true videos a still picture is perfect by definition in all but
            the pose: read it with that.
    """

    column: Column
    words: str
    only_with_answer: bool
    beaten_by: tuple[str, ...]
    still_is_perfect: bool

    @property
    def beaten_blindly(self) -> bool:
        """Whether a baseline is better than every method that has no reason of its own to be."""
        return any(
            name not in SEE_THE_ANSWER and not (name.startswith(_STILL) and self.still_is_perfect)
            for name in self.beaten_by
        )


@dataclass(frozen=True)
class Table:
    """Rows that were measured, or claim to have been measured, in one and the same way."""

    benchmark: str
    protocol: str
    rows: tuple[Row, ...]

    @property
    def is_published(self) -> bool:
        return self.rows[0].is_published

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns in which at least one row has a value, then those with reasons for none."""
        columns = columns_of(key for row in self.rows for key in row.cells)
        cells = [row.cells for row in self.rows]
        filled = {key for of in cells for key, cell in of.items() if cell.value is not None}
        return tuple(sorted(columns, key=lambda column: column.key not in filled))

    @cached_property
    def flags(self) -> dict[str, Flag]:
        """Metric key -> flag, of the columns in which a trivial baseline keeps up."""
        return {c.key: flag for c in self.columns if (flag := _flag(self, c)) is not None}

    def places(self, key: str) -> list[int | None]:
        """`rank` of each row; no places where a baseline that knows nothing beats every method."""
        if key in self.flags and self.flags[key].beaten_blindly:
            return [None] * len(self.rows)
        return rank(self.rows, key)

    def is_won(self, key: str) -> bool:
        """Whether the best value may be shown as a winner: no trivial baseline is better."""
        return not (key in self.flags and self.flags[key].beaten_by)

    def verdict(self, keys: Collection[str] | None = None) -> str:
        """The table's first line: in which columns a trivial baseline beats every method.

        Args:
            keys: of the columns to speak of; None: all.
        """
        flags = [f for key, f in self.flags.items() if keys is None or key in keys]
        blind = [flag for flag in flags if flag.beaten_blindly]
        other = [flag for flag in flags if flag.beaten_by and not flag.beaten_blindly]
        still = [flag for flag in other if flag.beaten_by[0].startswith(_STILL)]
        seeing = [flag for flag in other if flag not in still]
        marked = "so the best is marked, but not as a winner"
        sentences = []
        for beaten, so in (
            (blind, "nothing is marked best there"),
            (seeing, f"it is made from the true frames, {marked}"),
            (
                still,
                f"a still picture is perfect there by definition, {marked}: read with the pose",
            ),
        ):
            if beaten:
                names = dict.fromkeys(flag.beaten_by[0] for flag in beaten)
                where = ", ".join(flag.column.heading for flag in beaten)
                sentences.append(
                    f"A trivial baseline ({', '.join(names)}) is better than every method in "
                    f"{where}: {so}."
                )
        return " ".join(sentences)


def why_not_comparable(a: Row, b: Row) -> str | None:
    """Say why the two rows share no ranking; None where they may."""
    if a.is_published != b.is_published:
        return "one is printed in a paper, the other was measured here"
    if a.benchmark != b.benchmark:
        return f"other videos: benchmark {a.benchmark} against {b.benchmark}"
    if isinstance(a.origin, Measured) and isinstance(b.origin, Measured):
        return why_results_not_comparable(a.origin.result, b.origin.result)
    if a.protocol == b.protocol:
        return None
    return f"other protocol: {a.protocol} against {b.protocol}"


def tables_of(rows: Sequence[Row]) -> tuple[Table, ...]:
    """The fewest tables in which every two rows may be compared, in order of first appearance.

    A row joins the first table with all of whose rows it may be compared.
    """
    gathered: list[list[Row]] = []
    for row in rows:
        for members in gathered:
            if all(why_not_comparable(row, member) is None for member in members):
                members.append(row)
                break
        else:
            gathered.append([row])
    return tuple(Table(m[0].benchmark, m[0].protocol, tuple(m)) for m in gathered)


def rank(rows: Sequence[Row], key: str) -> list[int | None]:
    """The rank of each row in one metric: 1 is best, equal values share a rank, the next
    different value is one lower (1, 1, 2).

    None for a row without a value, with a value that is never ranked, and for every row when
    the board does not know which direction wins. Values are compared unrounded.

    Raises:
        NotComparableError: two of the rows were measured differently.
    """
    for row in rows[1:]:
        reason = why_not_comparable(rows[0], row)
        if reason is not None:
            raise NotComparableError(
                f"{rows[0].method!r} and {row.method!r} are not ranked together: {reason}. "
                "Score both with one protocol on the same videos, or show two tables."
            )
    better = column_of(key).better
    values = [_ranked_value(row, key) if better else None for row in rows]
    order = sorted({value for value in values if value is not None}, reverse=better == "higher")
    places = {value: place for place, value in enumerate(order, start=1)}
    return [None if value is None else places[value] for value in values]


def _ranked_value(row: Row, key: str) -> float | None:
    cell = row.cells.get(key)
    return cell.value if cell is not None and cell.ranked else None


def _flag(table: Table, column: Column) -> Flag | None:
    """The flag of a column in which a baseline comes within the margin of the best method.

    The margin is the 95 % interval of the best method's value: a baseline inside it, or better
    than it, keeps up. Without an interval, it must be as good as the value itself.
    """
    if column.better is None:
        return None
    sign = 1.0 if column.better == "higher" else -1.0
    scored = [
        (sign * cell.value, row)
        for row in table.rows
        if (cell := row.cells.get(column.key)) is not None and cell.value is not None
    ]
    methods = [pair for pair in scored if pair[1].cells[column.key].ranked]
    if not methods:
        return None
    best, method = max(methods, key=lambda pair: pair[0])
    cell = method.cells[column.key]
    bound = cell.ci_low if column.better == "higher" else cell.ci_high
    margin = best if bound is None else sign * bound
    rivals = [(value, row) for value, row in scored if row.is_baseline and value >= margin]
    if not rivals:
        return None
    rivals.sort(key=lambda pair: (pair[1].method in SEE_THE_ANSWER, -pair[0]))
    names = ", ".join(f"{row.method} {row.cells[column.key].text}" for _, row in rivals)
    return Flag(
        column,
        words=f"{names} against {cell.text}",
        only_with_answer=all(row.method in SEE_THE_ANSWER for _, row in rivals),
        beaten_by=tuple(row.method for value, row in rivals if value > best),
        still_is_perfect=table.protocol == CROSS_PROTOCOL and column.key not in POSE_BETTER,
    )
