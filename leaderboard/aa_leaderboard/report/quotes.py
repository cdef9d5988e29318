"""Who quotes whom: which paper prints another paper's numbers, and which changed on the way.

A row counts as quoted from the earliest paper whose row of the same method agrees with it in the
most values. That is inferred from the digits, as tables rarely tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Literal

from aa_leaderboard.columns import Column, columns_of
from aa_leaderboard.row import Published, Row

Change = Literal["", "rounded", "cut", "more digits", "changed"]
# Values of one method that must agree before a paper counts as quoting another protocol's table.
_AGREEING_ELSEWHERE = 3


@dataclass(frozen=True, slots=True)
class Quote:
    """Rows of `paper` whose values stand in `quoted`, an earlier one.

    Attributes:
        methods: whose rows they are.
        num_equal: values that are equal, up to the digits that are printed.
        changes: values that differ, such as "TPSMM FVD: 306.1, then 306.17 (cut)".
    """

    paper: str
    quoted: str
    methods: tuple[str, ...]
    num_equal: int
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Printing:
    """A method under one protocol in every source that prints it, the earliest first.

    Attributes:
        lines: source, and by column the text and how it differs from the first one printed.
    """

    protocol: str
    method: str
    columns: tuple[Column, ...]
    lines: tuple[tuple[str, tuple[tuple[str, Change], ...]], ...]

    @property
    def has_changes(self) -> bool:
        return any(change == "changed" for _, cells in self.lines for _, change in cells)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Papers by date, and arcs (from, to, how many values agree, whether one changed)."""

    papers: tuple[str, ...]
    arcs: tuple[tuple[int, int, int, bool], ...]


def difference(earlier: str, later: str) -> Change:
    """How a later printing of a number differs: "" equal, fewer digits rounded or cut, changed.

    >>> difference("306.17", "306.1"), difference("0.261", "0.26"), difference("148.3", "168.3")
    ('cut', 'rounded', 'changed')
    >>> difference("306.1", "306.17")
    'more digits'
    """
    a, b = Decimal(earlier), Decimal(later)
    if a == b:
        return ""
    long, short = sorted((a, b), key=lambda number: int(number.as_tuple().exponent))
    rounded, cut = (long.quantize(short, how) == short for how in (ROUND_HALF_UP, ROUND_DOWN))
    if long is b and (rounded or cut):
        return "more digits"
    return "rounded" if rounded else "cut" if cut else "changed"


def quotes(rows: Iterable[Row]) -> list[Quote]:
    """Every pair of papers of which the later prints values of the earlier, by date."""
    found: dict[tuple[str, str], tuple[list[str], list[str], list[str]]] = {}
    for of_method in _by_method(rows, lambda row: row.benchmark):
        in_papers = [row for row in of_method if _paper(row)]
        for index, row in enumerate(in_papers):
            earlier = [
                (len(agreeing), r)
                for r in in_papers[:index]
                if _paper(r) != _paper(row)
                and len(agreeing := _agreeing(r, row))
                >= (1 if r.protocol == row.protocol else _AGREEING_ELSEWHERE)
            ]
            if not earlier:
                continue
            source = max(earlier, key=lambda pair: pair[0])[1]
            methods, equal, changes = found.setdefault((_paper(row), _paper(source)), ([], [], []))
            methods.append(row.method)
            equal += _agreeing(source, row)
            for column in columns_of(source.cells.keys() & row.cells.keys()):
                a, b = source.cells[column.key].text, row.cells[column.key].text
                if kind := difference(a, b):
                    changes.append(f"{row.method} {column.heading}: {a}, then {b} ({kind})")
    return [
        Quote(paper, quoted, tuple(dict.fromkeys(methods)), len(equal), tuple(changes))
        for (paper, quoted), (methods, equal, changes) in sorted(
            found.items(), key=lambda item: (_date(item[0][0]), _date(item[0][1]), item[0])
        )
    ]


def printings(rows: Iterable[Row]) -> list[Printing]:
    """Every method that two sources or more print under one protocol; changed values first."""
    found = []
    for of_method in _by_method(rows, lambda row: row.protocol):
        if len({row.source for row in of_method}) < 2:
            continue
        columns = columns_of(key for row in of_method for key in row.cells)
        first: dict[str, str] = {}
        lines = []
        for row in of_method:
            cells: list[tuple[str, Change]] = []
            for column in columns:
                text = row.cells[column.key].text if column.key in row.cells else ""
                change = difference(first.setdefault(column.key, text), text) if text else ""
                cells.append((text, change))
            lines.append((row.source, tuple(cells)))
        found.append(Printing(of_method[0].protocol, of_method[0].method, columns, tuple(lines)))
    return sorted(found, key=lambda printing: not printing.has_changes)


def timeline(found: Sequence[Quote]) -> Timeline:
    """The papers of all quotes by date, with their arcs."""
    papers = sorted({name for q in found for name in (q.paper, q.quoted)}, key=_date)
    arcs = (
        (papers.index(q.paper), papers.index(q.quoted), q.num_equal,
         any(change.endswith("(changed)") for change in q.changes))
        for q in found
    )  # fmt: skip
    return Timeline(tuple(papers), tuple(arcs))


def _by_method(rows: Iterable[Row], also_by: Callable[[Row], str]) -> list[list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.is_published:
            groups.setdefault((row.method, also_by(row)), []).append(row)
    return [sorted(group, key=lambda row: _date(_paper(row))) for group in groups.values()]


def _paper(row: Row) -> str:
    assert isinstance(row.origin, Published)
    return row.origin.paper


def _agreeing(a: Row, b: Row) -> list[str]:
    return [
        key
        for key in a.cells.keys() & b.cells.keys()
        if difference(a.cells[key].text, b.cells[key].text) != "changed"
    ]


def _date(paper: str) -> float:
    """Years; by the arXiv number where the name holds one, else the end of the year it names."""
    if match := re.search(r"arXiv (\d\d)(\d\d)\.", paper):
        return 2000 + int(match[1]) + int(match[2]) / 12
    match = re.search(r"\b(20\d\d)\b", paper)
    return int(match[1]) + 0.99 if match else 2099
