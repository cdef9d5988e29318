"""CSV, Markdown and LaTeX of the paper's Tables 1 to 3 and of every table of the board."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
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
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "†": r"$^\dagger$",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """`text` as LaTeX prints it, none of its characters a command."""
    return re.sub(r'[\\{}$&#_%~^<>|"↑↓†]', lambda match: _LATEX[match[0]], " ".join(text.split()))


def escape_markdown(text: str) -> str:
    """`text` so that Markdown and the HTML inside it show it as it is, on one line of a table."""
    one_line = " ".join(text.split())
    html_safe = one_line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", html_safe)


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of texts, the first column a name; `places` has the place of each cell, 1 is best."""

    heads: Sequence[str]
    lines: Sequence[Sequence[str]]
    places: Sequence[Sequence[int | None]]

    def to_csv(self) -> str:
        return str(_frame(self.heads, self.lines).to_csv(index=False, lineterminator="\n"))

    def to_markdown(self) -> str:
        """Best bold, second underlined; numbers keep the digits they have: 0.640 is not 0.64."""
        marks = {1: "**{}**", 2: "<u>{}</u>"}
        lines = [
            [marks.get(place or 0, "{}").format(escape_markdown(text))
             for text, place in zip(line, places, strict=True)]
            for line, places in zip(self.lines, self.places, strict=True)
        ]  # fmt: skip
        align = ["left", *("right" for _ in self.heads[1:])]
        frame = _frame([escape_markdown(head) for head in self.heads], lines)
        return str(frame.to_markdown(index=False, disable_numparse=True, colalign=align))

    def to_latex(self, caption: str, label: str) -> str:
        """A `table` environment; needs \\usepackage{booktabs}."""
        marks = {1: "textbf:--rwrap;", 2: "underline:--rwrap;"}
        # Two columns may have one heading, and a Styler needs names that differ.
        names = [str(number) for number in range(len(self.heads))]
        marked = _frame(names, [[marks.get(p or 0, "") for p in line] for line in self.places])
        frame = _frame(names, [[escape_latex(text) for text in line] for line in self.lines])
        styler = frame.style.hide(axis="index").apply(lambda _: marked, axis=None)
        styler.relabel_index([escape_latex(head) for head in self.heads], axis="columns")
        return str(
            styler.to_latex(
                hrules=True, column_format="l" + "c" * (len(names) - 1), position="t",
                position_float="centering", caption=escape_latex(caption), label=label,
            )
        )  # fmt: skip


def paper_grid(table: PaperTable, *, arrows: bool = True) -> Grid:
    """Method and the paper's four columns, as printed; true PSNR among overflow values has a †."""
    columns = (BY_KEY[key] for key in PAPER_KEYS)
    heads = [f"{c.heading.rstrip('*')} {c.arrow}" if arrows else c.heading.rstrip("*")
             for c in columns]  # fmt: skip
    lines = [
        [method, *(cell.text + "†" * (arrows and cell.true_psnr) for cell in cells)]
        for method, cells in table.lines
    ]
    return Grid(
        ["Method", *heads], lines, [[None, *(c.place for c in cells)] for _, cells in table.lines]
    )


def paper_table_csv(table: PaperTable) -> str:
    """Method and the four columns, exactly as printed."""
    return paper_grid(table, arrows=False).to_csv()


def paper_table_markdown(table: PaperTable) -> str:
    """The paper's layout; best bold, second underlined."""
    title = f"**Table {table.number}.** {table.caption}"
    notes = "\n\n".join(escape_markdown(note) for note in table.notes)
    return f"{title}\n\n{paper_grid(table).to_markdown()}\n\n{notes}\n"


def paper_table_latex(table: PaperTable) -> str:
    """The paper's layout; needs \\usepackage{booktabs}."""
    caption = f"{table.caption}. {' '.join(table.notes)}"
    return paper_grid(table).to_latex(caption, f"tab:animate-anyone-{table.number}")


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


def board_latex(tables: Sequence[Table], paper: Sequence[PaperTable]) -> str:
    """The paper's tables and one table for each set of measured rows, as a fragment to input."""
    parts = ["% Needs \\usepackage{booktabs}. Rows of two tables are not ranked together."]
    parts += [paper_table_latex(table) for table in paper]
    for number, table in enumerate((t for t in tables if not t.is_published), 1):
        caption = f"{table.benchmark}, protocol {table.protocol}, measured with aa-eval."
        caption = f"{table.verdict()} {caption}".strip()
        parts.append(_grid(table).to_latex(caption, f"tab:measured-{number}"))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table_markdown(table: Table) -> str:
    parts = [f"### {escape_markdown(table.benchmark)}: {escape_markdown(table.protocol)}"]
    if verdict := table.verdict():
        parts.append(f"**{escape_markdown(verdict)}**")
    parts.append(_grid(table, with_source=True).to_markdown())
    if table.flags:
        parts.append(f"Columns that tell little here (a trivial baseline lies {MARGIN}):")
        told = (f"- {escape_markdown(flag.column.heading)}: {escape_markdown(flag.words)}"
                for flag in table.flags.values())  # fmt: skip
        parts.append("\n".join(told))
    return "\n\n".join(parts)


def _grid(table: Table, *, with_source: bool = False) -> Grid:
    """Every row with its marks, and every value with its interval."""
    columns = table.columns
    heads = ["Method", *(f"{c.heading} {c.arrow}".strip() for c in columns)]
    lines = [
        [f"{row.method} ({', '.join(words for _, words in row.badges)})",
         *(_text(row, column) for column in columns)]
        for row in table.rows
    ]  # fmt: skip
    by_column = [[None] * len(table.rows), *(table.places(c.key) for c in columns)]
    places = [list(line) for line in zip(*by_column, strict=True)]
    if with_source:
        heads.append("Source")
        lines = [[*line, row.source] for line, row in zip(lines, table.rows, strict=True)]
        places = [[*line, None] for line in places]
    return Grid(heads, lines, places)


def _text(row: Row, column: Column) -> str:
    cell = row.cells.get(column.key)
    if cell is None or cell.value is None:
        return "-" if cell is None else f"unavailable: {cell.unavailable}"
    if cell.ci_low is None or cell.ci_high is None:
        return cell.text
    return f"{cell.text} [{column.text_of(cell.ci_low)}, {column.text_of(cell.ci_high)}]"


def _frame(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> pd.DataFrame:
    import pandas as pd  # takes half a second

    return pd.DataFrame(lines, columns=list(heads), dtype=object)
