"""Markdown: the paper's tables and one table for every set of comparable rows."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aa_leaderboard.columns import BY_KEY, PAPER_KEYS, column_of
from aa_leaderboard.paper_tables import PaperTable
from aa_leaderboard.report.uninformative_columns import MARGIN, uninformative
from aa_leaderboard.row import Row
from aa_leaderboard.table import Table, rank


def escape(text: str) -> str:
    """`text` so that Markdown and the HTML inside it show it as it is, on one line of a table."""
    one_line = " ".join(text.split())
    html_safe = one_line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", html_safe)


def paper_table_markdown(table: PaperTable) -> str:
    """The paper's layout; best bold, second underlined."""
    head = ["", *(f"{BY_KEY[key].heading.rstrip('*')}{BY_KEY[key].arrow}" for key in PAPER_KEYS)]
    lines = [
        [escape(method), *(_marked(cell.text, cell.place) for cell in cells)]
        for method, cells in table.lines
    ]
    title = f"**Table {table.number}.** {table.caption}"
    notes = "\n\n".join(escape(note) for note in table.notes)
    return f"{title}\n\n{_table(head, lines)}\n\n{notes}\n"


def board_markdown(title: str, tables: Sequence[Table], paper: Sequence[PaperTable]) -> str:
    """The whole board, measured tables first (in the order given), the paper's three between."""
    measured = [table for table in tables if not table.is_published]
    published = [table for table in tables if table.is_published]
    parts = [f"# {escape(title)}"]
    parts.append(
        "Every table holds rows of one protocol on the same videos; rows of two tables are "
        "not ranked together."
    )
    parts.append("## Measured with aa-eval")
    parts += [_table_markdown(table) for table in measured] or ["No measured row yet."]
    parts.append("## The tables of Animate Anyone (Hu et al. 2023)")
    parts += [paper_table_markdown(table) for table in paper]
    parts.append("## Published elsewhere, by protocol")
    parts += [_table_markdown(table) for table in published]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table_markdown(table: Table) -> str:
    columns = table.columns
    places = {column.key: rank(table.rows, column.key) for column in columns}
    head = ["Method", *(f"{escape(c.heading)}{c.arrow}" for c in columns), "Row", "Source"]
    lines = []
    for index, row in enumerate(table.rows):
        cells = [_cell(row, column.key, places[column.key][index]) for column in columns]
        badges = ", ".join(escape(words) for _, words in row.badges)
        lines.append([escape(row.method), *cells, badges, escape(row.source)])
    flags = [flag for column in columns if (flag := uninformative(table, column))]
    told = [f"- {escape(flag.heading)}: {escape(flag.words)}" for flag in flags]
    weak = [f"Columns that tell little here (a trivial baseline lies {MARGIN}):", "\n".join(told)]
    parts = [f"### {escape(table.benchmark)}: {escape(table.protocol)}", _table(head, lines)]
    return "\n\n".join(parts + (weak if told else []))


def _cell(row: Row, key: str, place: int | None) -> str:
    cell = row.cells.get(key)
    if cell is None:
        return ""
    if cell.value is None:
        return f"unavailable: {escape(cell.unavailable or '')}"
    interval = ""
    if cell.ci_low is not None and cell.ci_high is not None:
        ends = [column_of(key).text_of(value) for value in (cell.ci_low, cell.ci_high)]
        interval = f" [{ends[0]}, {ends[1]}]"
    return _marked(cell.text, place) + interval


def _marked(text: str, place: int | None) -> str:
    if place == 1:
        return f"**{text}**"
    return f"<u>{text}</u>" if place == 2 else text


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = [":---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))
