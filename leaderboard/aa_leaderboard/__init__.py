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

# Imported when first used: pandas, PyAV and the checks of weights take seconds.
_MODULE_OF = {
    "BoardError": "errors",
    "Cell": "row",
    "Column": "columns",
    "LeaderboardError": "errors",
    "Measured": "row",
    "NotComparableError": "errors",
    "PaperTable": "paper_tables",
    "Published": "row",
    "Row": "row",
    "Study": "study.make",
    "StudyError": "errors",
    "StudyOptions": "study.plan",
    "StudyReport": "study.votes",
    "SubmissionError": "errors",
    "Table": "table",
    "add_results": "board.store",
    "column_of": "columns",
    "make_study": "study.make",
    "paper_table": "paper_tables",
    "rank": "table",
    "read_board": "board.store",
    "read_published": "published",
    "read_rows": "report.write_site",
    "render": "report.write_site",
    "rows_frame": "report.frame",
    "study_report": "study.votes",
    "tables_of": "table",
    "why_not_comparable": "table",
}

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
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'aa_leaderboard' has no attribute {name!r}")
    return getattr(import_module(f"aa_leaderboard.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
