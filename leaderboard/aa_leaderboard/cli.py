"""aa-leaderboard: add measured results to a board, render it, print the paper's tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from aa_eval.errors import EvalError
from aa_leaderboard.board.make_clips import make_clips
from aa_leaderboard.board.store import add_results, find_results, read_board
from aa_leaderboard.board.validate import read_submission
from aa_leaderboard.errors import LeaderboardError
from aa_leaderboard.paper_tables import CAPTIONS, paper_table
from aa_leaderboard.published import read_published
from aa_leaderboard.report.csv_table import board_csv, paper_table_csv
from aa_leaderboard.report.html_page import write_page
from aa_leaderboard.report.latex import board_latex, paper_table_latex
from aa_leaderboard.report.markdown import board_markdown, paper_table_markdown
from aa_leaderboard.row import Row
from aa_leaderboard.table import tables_of

DEFAULT_BOARD = Path("board")
DEFAULT_TITLE = "Human image animation, measured"
PAPER_FORMATS = {"md": paper_table_markdown, "csv": paper_table_csv, "tex": paper_table_latex}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 on success, 2 with one line on stderr on what the user can mend."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "add":
            _add(options.result_dir, options.board, options.replace, options.dry_run)
        elif options.command == "render":
            _render(options.out, options.board, options.format, options.title)
        elif options.command == "clips":
            _clips(options.result_dir, options.predictions, options.references, options.videos)
        else:
            table = paper_table(options.number, _measured_rows(options.board))
            print(PAPER_FORMATS[options.format](table).rstrip("\n"))
    except (LeaderboardError, EvalError, OSError) as error:
        print(f"aa-leaderboard: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("aa-leaderboard: stopped: run the same command again", file=sys.stderr)
        return 130
    return 0


def _add(result_dir: Path, board: Path, replace: bool, dry_run: bool) -> None:
    if dry_run:
        for folder, result in find_results(result_dir):
            print(f"acceptable: {result.method} under {result.protocol} ({folder})")
        return
    for added in add_results(result_dir, board, replace=replace):
        verb = "replaced" if added.replaced else "added"
        result = added.result
        print(f"{verb}: {result.method} under {result.protocol} ({board / added.row_id})")


def _clips(result_dir: Path, predictions: Path, references: Path, count: int) -> None:
    result = read_submission(result_dir)
    for video in make_clips(result_dir, result, predictions, references, count):
        print(f"clips: {video} ({result_dir})")


def _measured_rows(board: Path | None) -> tuple[Row, ...]:
    return read_board(board) if board is not None else ()


def _render(out: Path, board: Path | None, format_: str, title: str) -> None:
    if board is None and DEFAULT_BOARD.is_dir():
        board = DEFAULT_BOARD
    measured = _measured_rows(board)
    rows = (*measured, *read_published())
    tables = tables_of(rows)
    paper = [paper_table(number) for number in CAPTIONS]
    texts = {
        "csv": board_csv(rows),
        "md": board_markdown(title, tables, paper),
        "tex": board_latex(tables, paper),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        if format_ in {"all", name}:
            (out / f"leaderboard.{name}").write_text(text, encoding="utf-8")
            print(out / f"leaderboard.{name}")
    if format_ in {"all", "html"}:
        write_page(rows, board, title, out)
        print(out / "index.html")
    where = board if board is not None else "no board given"
    print(f"{len(measured)} measured rows ({where}), {len(rows) - len(measured)} published rows")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aa-leaderboard",
        description="Published and measured results side by side, ranked only where they may be.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    add = commands.add_parser("add", help="check a result of aa-eval and put it on a board")
    add.add_argument("result_dir", type=Path, metavar="RESULT_DIR", help="what aa-eval --out wrote")
    add.add_argument(
        "--board", type=Path, default=DEFAULT_BOARD, help="folder of rows (default: %(default)s)"
    )
    add.add_argument("--replace", action="store_true", help="overwrite an older row")
    add.add_argument("--dry-run", action="store_true", help="check only, change nothing")

    clips = commands.add_parser("clips", help="write the clips that the page plays into a result")
    clips.add_argument("result_dir", type=Path, metavar="RESULT_DIR")
    clips.add_argument("predictions", type=Path, metavar="PREDICTIONS", help="what was scored")
    clips.add_argument("references", type=Path, metavar="REFERENCES")
    clips.add_argument("--videos", type=int, default=6, help="how many (default: %(default)s)")

    render = commands.add_parser("render", help="write the page, CSV, Markdown and LaTeX")
    render.add_argument("--out", type=Path, required=True, help="folder to write to")
    render.add_argument(
        "--board",
        type=Path,
        help=f"folder of rows (default: {DEFAULT_BOARD} when there is one; else published only)",
    )
    render.add_argument(
        "--format", choices=["all", "csv", "md", "tex", "html"], default="all", help="what to write"
    )
    render.add_argument("--title", default=DEFAULT_TITLE, help="heading of the page")

    table = commands.add_parser("table", help="print Table 1, 2 or 3 of the paper")
    table.add_argument(
        "number", type=int, choices=sorted(CAPTIONS), help="1: UBC, 2: TikTok, 3: ablation"
    )
    table.add_argument("--format", choices=sorted(PAPER_FORMATS), default="md", help="default: md")
    table.add_argument(
        "--board", type=Path, help="its rows that were scored as this table was stand beneath it"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
