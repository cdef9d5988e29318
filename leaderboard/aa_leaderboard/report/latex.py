"""LaTeX: the paper's Tables 1 to 3 (booktabs), and the measured rows in the same form."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aa_leaderboard.columns import BY_KEY, PAPER_KEYS
from aa_leaderboard.paper_tables import PaperTable
from aa_leaderboard.table import Table, rank

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "_": r"\_", "%": r"\%", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip
_ARROWS = {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "": ""}


def escape(text: str) -> str:
    """`text` as LaTeX prints it, no character of it a command."""
    return re.sub(r'[\\{}$&#_%~^<>|"]', lambda match: _SPECIAL[match[0]], " ".join(text.split()))


def paper_table_latex(table: PaperTable) -> str:
    """A `table` environment in the paper's layout; needs \\usepackage{booktabs}."""
    columns = [BY_KEY[key] for key in PAPER_KEYS]
    head = ["", *(f"{c.heading.rstrip('*')} {_ARROWS[c.arrow]}" for c in columns)]
    lines = [
        [
            escape(method),
            *(_marked(c.text, c.place) + (r"$^\dagger$" if c.true_psnr else "") for c in cells),
        ]
        for method, cells in table.lines
    ]
    caption = f"{table.caption}. {' '.join(table.notes)}"
    dagger = any(cell.true_psnr for _, cells in table.lines for cell in cells)
    mark = r"$^\dagger$True PSNR. " if dagger else ""
    return _table(head, lines, mark + escape(caption), f"tab:animate-anyone-{table.number}")


def board_latex(tables: Sequence[Table], paper: Sequence[PaperTable]) -> str:
    """The paper's tables and one table for each set of measured rows, as a fragment to input."""
    parts = ["% Needs \\usepackage{booktabs}. Rows of two tables are not ranked together."]
    parts += [paper_table_latex(table) for table in paper]
    measured = [table for table in tables if not table.is_published]
    parts += [_table_latex(table, f"tab:measured-{n}") for n, table in enumerate(measured, 1)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table_latex(table: Table, label: str) -> str:
    columns = table.columns
    places = {column.key: rank(table.rows, column.key) for column in columns}
    head = ["", *(f"{escape(c.heading)} {_ARROWS[c.arrow]}".strip() for c in columns)]
    lines = []
    for index, row in enumerate(table.rows):
        name = f"{row.method} ({', '.join(words for _, words in row.badges)})"
        cells = [
            _marked(row.cells[c.key].text, places[c.key][index])
            if c.key in row.cells and row.cells[c.key].text
            else "-"
            for c in columns
        ]
        lines.append([escape(name), *cells])
    caption = f"{table.benchmark}, protocol {table.protocol}, measured with aa-eval."
    return _table(head, lines, escape(caption), label)


def _marked(text: str, place: int | None) -> str:
    if place == 1:
        return rf"\textbf{{{text}}}"
    return rf"\underline{{{text}}}" if place == 2 else text


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], caption: str, label: str) -> str:
    body = "\n".join(f"    {' & '.join(line)} \\\\" for line in lines)
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"  \centering",
            rf"  \begin{{tabular}}{{l{'c' * (len(head) - 1)}}}",
            r"    \toprule",
            f"    {' & '.join(head)} \\\\",
            r"    \midrule",
            body,
            r"    \bottomrule",
            r"  \end{tabular}",
            rf"  \caption{{{caption}}}",
            rf"  \label{{{label}}}",
            r"\end{table}",
        ]
    )
