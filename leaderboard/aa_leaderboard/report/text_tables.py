"""Markdown and LaTeX of the paper's Tables 1 to 3 and of every table of the board, by pandas."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aa_leaderboard.columns import BY_KEY, PAPER_KEYS, Column
from aa_leaderboard.paper_tables import PaperTable
from aa_leaderboard.row import Row
from aa_leaderboard.table import MARGIN, Table

if TYPE_CHECKING:
    import pandas as pd

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "_": r"\_", "%": r"\%", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip
_ARROWS = {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "": ""}
_HEADS = [BY_KEY[key] for key in PAPER_KEYS]


def escape_latex(text: str) -> str:
    """`text` as LaTeX prints it, none of its characters a command."""
    return re.sub(r'[\\{}$&#_%~^<>|"]', lambda match: _LATEX[match[0]], " ".join(text.split()))


def escape_markdown(text: str) -> str:
    """`text` so that Markdown and the HTML inside it show it as it is, on one line of a table."""
    one_line = " ".join(text.split())
    html_safe = one_line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", html_safe)


def paper_table_csv(table: PaperTable) -> str:
    """Method and the four columns, exactly as printed."""
    heads = ["Method", *(column.heading.rstrip("*") for column in _HEADS)]
    lines = [[method, *(cell.text for cell in cells)] for method, cells in table.lines]
    return str(_frame(heads, lines).to_csv(index=False, lineterminator="\n"))


def paper_table_markdown(table: PaperTable) -> str:
    """The paper's layout; best bold, second underlined."""
    heads = ["", *(f"{c.heading.rstrip('*')}{c.arrow}" for c in _HEADS)]
    lines = [
        [escape_markdown(method), *(_bold_markdown(cell.text, cell.place) for cell in cells)]
        for method, cells in table.lines
    ]
    title = f"**Table {table.number}.** {table.caption}"
    notes = "\n\n".join(escape_markdown(note) for note in table.notes)
    return f"{title}\n\n{_markdown(heads, lines)}\n\n{notes}\n"


def board_markdown(title: str, tables: Sequence[Table], paper: Sequence[PaperTable]) -> str:
    """The whole board: measured tables in the order given, the paper's three, the published."""
    parts = [
        f"# {escape_markdown(title)}",
        "Every table holds rows of one protocol on the same videos; rows of two tables are "
        "not ranked together.",
        "## Measured with aa-eval",
        *([_table_markdown(table) for table in tables if not table.is_published]
          or ["No row was measured yet."]),
        "## The tables of Animate Anyone (Hu et al. 2023)",
        *(paper_table_markdown(table) for table in paper),
        "## Published elsewhere, by protocol",
        *(_table_markdown(table) for table in tables if table.is_published),
    ]  # fmt: skip
    return "\n\n".join(part.strip() for part in parts) + "\n"


def paper_table_latex(table: PaperTable) -> str:
    """A `table` environment in the paper's layout; needs \\usepackage{booktabs}."""
    heads = ["", *(f"{c.heading.rstrip('*')} {_ARROWS[c.arrow]}" for c in _HEADS)]
    lines = [
        [escape_latex(method), *(c.text + (r"$^\dagger$" if c.true_psnr else "") for c in cells)]
        for method, cells in table.lines
    ]
    places = [[None, *(cell.place for cell in cells)] for _, cells in table.lines]
    dagger = any(cell.true_psnr for _, cells in table.lines for cell in cells)
    mark = r"$^\dagger$True PSNR. " if dagger else ""
    caption = mark + escape_latex(f"{table.caption}. {' '.join(table.notes)}")
    return _latex(heads, lines, places, caption, f"tab:animate-anyone-{table.number}")


def board_latex(tables: Sequence[Table], paper: Sequence[PaperTable]) -> str:
    """The paper's tables and one table for each set of measured rows, as a fragment to input."""
    parts = ["% Needs \\usepackage{booktabs}. Rows of two tables are not ranked together."]
    parts += [paper_table_latex(table) for table in paper]
    measured = [table for table in tables if not table.is_published]
    parts += [_table_latex(table, f"tab:measured-{n}") for n, table in enumerate(measured, 1)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table_markdown(table: Table) -> str:
    places = {column.key: table.places(column.key) for column in table.columns}
    heads = ["Method", *(f"{escape_markdown(c.heading)}{c.arrow}" for c in table.columns),
             "Row", "Source"]  # fmt: skip
    lines = [
        [
            escape_markdown(row.method),
            *(_cell_markdown(row, c, places[c.key][index]) for c in table.columns),
            ", ".join(escape_markdown(words) for _, words in row.badges),
            escape_markdown(row.source),
        ]
        for index, row in enumerate(table.rows)
    ]
    parts = [f"### {escape_markdown(table.benchmark)}: {escape_markdown(table.protocol)}"]
    if verdict := table.verdict():
        parts.append(f"**{escape_markdown(verdict)}**")
    parts.append(_markdown(heads, lines))
    if table.flags:
        parts.append(f"Columns that tell little here (a trivial baseline lies {MARGIN}):")
        told = (f"- {escape_markdown(flag.column.heading)}: {escape_markdown(flag.words)}"
                for flag in table.flags.values())  # fmt: skip
        parts.append("\n".join(told))
    return "\n\n".join(parts)


def _cell_markdown(row: Row, column: Column, place: int | None) -> str:
    cell = row.cells.get(column.key)
    if cell is None:
        return ""
    if cell.value is None:
        return f"unavailable: {escape_markdown(cell.unavailable or '')}"
    interval = ""
    if cell.ci_low is not None and cell.ci_high is not None:
        interval = f" [{column.text_of(cell.ci_low)}, {column.text_of(cell.ci_high)}]"
    return _bold_markdown(cell.text, place) + interval


def _bold_markdown(text: str, place: int | None) -> str:
    if place == 1:
        return f"**{text}**"
    return f"<u>{text}</u>" if place == 2 else text


def _table_latex(table: Table, label: str) -> str:
    heads = ["", *(f"{escape_latex(c.heading)} {_ARROWS[c.arrow]}".strip() for c in table.columns)]
    lines = [
        [
            escape_latex(f"{row.method} ({', '.join(words for _, words in row.badges)})"),
            *(row.cells[c.key].text or "-" if c.key in row.cells else "-" for c in table.columns),
        ]
        for row in table.rows
    ]
    by_column = [[None] * len(table.rows), *(table.places(c.key) for c in table.columns)]
    places = [list(line) for line in zip(*by_column, strict=True)]
    caption = f"{table.benchmark}, protocol {table.protocol}, measured with aa-eval."
    if verdict := table.verdict():
        caption = f"{verdict} {caption}"
    return _latex(heads, lines, places, escape_latex(caption), label)


def _frame(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> pd.DataFrame:
    import pandas as pd  # takes half a second

    return pd.DataFrame(lines, columns=list(heads), dtype=object)


def _markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    align = ["left", *("right" for _ in heads[1:])]
    frame = _frame(heads, lines)
    # Numbers are texts with the digits that were printed: 0.640 is not 0.64.
    return str(frame.to_markdown(index=False, disable_numparse=True, colalign=align))


def _latex(
    heads: Sequence[str],
    lines: Sequence[Sequence[str]],
    places: Sequence[Sequence[int | None]],
    caption: str,
    label: str,
) -> str:
    marks = {1: "textbf:--rwrap;", 2: "underline:--rwrap;"}
    # Two columns may have one heading, and a Styler needs names that differ.
    frame = _frame([str(number) for number in range(len(heads))], lines)
    style = [[marks.get(place or 0, "") for place in line] for line in places]
    styler = frame.style.hide(axis="index").apply(
        lambda _: _frame(list(frame.columns), style), axis=None
    )
    styler.relabel_index(list(heads), axis="columns")
    return str(
        styler.to_latex(
            hrules=True,
            column_format="l" + "c" * (len(heads) - 1),
            position="t",
            position_float="centering",
            caption=caption,
            label=label,
        )
    )
