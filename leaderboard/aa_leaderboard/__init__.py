"""Published and measured results of human image animation, side by side, ranked where they may be.

>>> import aa_leaderboard as aa
>>> rows = aa.read_rows()  # the published ones; read_rows("board") puts yours before them
>>> frame = aa.rows_frame(rows)  # pandas, one line a row
>>> frame[frame.protocol == "tiktok-disco"].nsmallest(1, "fvd").method.item()
'PoseAnything'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aa_leaderboard.board.store import add_results, read_board
    from aa_leaderboard.columns import Column, column_of
    from aa_leaderboard.errors import (
        BoardError,
        LeaderboardError,
        NotComparableError,
        StudyError,
        SubmissionError,
    )
    from aa_leaderboard.paper_tables import PaperTable, paper_table
    from aa_leaderboard.published import read_published
    from aa_leaderboard.report.frame import rows_frame
    from aa_leaderboard.report.write_site import read_rows, render
    from aa_leaderboard.row import Cell, Measured, Published, Row
    from aa_leaderboard.study.make import Study, make_study
    from aa_leaderboard.study.plan import StudyOptions
    from aa_leaderboard.study.votes import StudyReport, study_report
    from aa_leaderboard.table import Table, rank, tables_of, why_not_comparable

# Public name -> the module that holds it; imported when first asked for, since pandas, PyAV and
# the networks' checks take seconds.
_HOMES = {
    "board.store": ("add_results", "read_board"),
    "columns": ("Column", "column_of"),
    "errors": (
        "BoardError",
        "LeaderboardError",
        "NotComparableError",
        "StudyError",
        "SubmissionError",
    ),
    "paper_tables": ("PaperTable", "paper_table"),
    "published": ("read_published",),
    "report.frame": ("rows_frame",),
    "report.write_site": ("read_rows", "render"),
    "row": ("Cell", "Measured", "Published", "Row"),
    "study.make": ("Study", "make_study"),
    "study.plan": ("StudyOptions",),
    "study.votes": ("StudyReport", "study_report"),
    "table": ("Table", "rank", "tables_of", "why_not_comparable"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BoardError",
    "Cell",
    "Column",
    "LeaderboardError",
    "Measured",
    "NotComparableError",
    "PaperTable",
    "Published",
    "Row",
    "Study",
    "StudyError",
    "StudyOptions",
    "StudyReport",
    "SubmissionError",
    "Table",
    "add_results",
    "column_of",
    "make_study",
    "paper_table",
    "rank",
    "read_board",
    "read_published",
    "read_rows",
    "render",
    "rows_frame",
    "study_report",
    "tables_of",
    "why_not_comparable",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f"aa_leaderboard.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'aa_leaderboard' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
