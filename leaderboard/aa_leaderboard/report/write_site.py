"""Write the whole board: the page, and CSV, Markdown and LaTeX tables of the same rows."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from aa_leaderboard.board.store import read_board
from aa_leaderboard.paper_tables import CAPTIONS, paper_table
from aa_leaderboard.published import read_published
from aa_leaderboard.report.frame import board_csv
from aa_leaderboard.report.html_page import SOURCES_PAGE, write_page
from aa_leaderboard.report.text_tables import board_latex, board_markdown
from aa_leaderboard.row import Row
from aa_leaderboard.table import tables_of

FORMATS = ("csv", "md", "tex", "html")
DEFAULT_TITLE = "Human image animation, measured"


def read_rows(board: Path | str | None = None) -> tuple[Row, ...]:
    """The measured rows of a board folder, if one is given, then the published rows.

    Raises:
        BoardError: the folder is missing, or one of its rows is not acceptable.
    """
    measured = () if board is None else read_board(Path(board))
    return (*measured, *read_published())


def render(
    out: Path | str,
    board: Path | str | None = None,
    *,
    formats: Collection[str] = FORMATS,
    title: str = DEFAULT_TITLE,
) -> list[Path]:
    """Write leaderboard.csv, .md, .tex and index.html with its clips into folder `out`.

    Args:
        board: folder that `add_results` filled; None shows the published rows alone.
        formats: which of `FORMATS`.

    Returns:
        The files, the pages last: index.html and sources.html; clips lie in out/media.

    Raises:
        BoardError: the board is missing, or one of its rows is not acceptable.
    """
    out, board = Path(out), None if board is None else Path(board)
    rows = read_rows(board)
    tables = tables_of(rows)
    paper = [paper_table(number) for number in CAPTIONS]
    texts: dict[str, Callable[[], str]] = {
        "csv": lambda: board_csv(rows),
        "md": lambda: board_markdown(title, tables, paper),
        "tex": lambda: board_latex(tables, paper),
    }
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for name, make in texts.items():
        if name in formats:
            written.append(out / f"leaderboard.{name}")
            written[-1].write_text(make(), encoding="utf-8")
    if "html" in formats:
        write_page(rows, board, title, out)
        written += [out / "index.html", out / SOURCES_PAGE]
    return written
