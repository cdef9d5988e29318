"""aa-leaderboard: put results on a board, render it, print the paper's tables, make a study."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from aa_eval.cli.app import PositiveInt, make_app, run_app
from aa_eval.errors import EvalError, counted
from aa_leaderboard.errors import LeaderboardError
from aa_leaderboard.study.plan import StudyOptions

# What needs pandas, PyAV or Jinja is imported inside the commands: `--help` takes 0.2 s.

DEFAULT_BOARD = Path("board")

app = make_app(
    "aa-leaderboard",
    "Put published and measured results side by side, ranked only where they may be; and ask "
    "people which of two methods is better.",
    example="aa-leaderboard render --board board --out site",
)
study = App(
    name="study",
    help="Make a blinded study of pairs of videos, and evaluate its votes.",
    help_epilogue="Example: `aa-leaderboard study make ours theirs --out study`",
)
app.command(study)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class AddOptions:
    board: Path = DEFAULT_BOARD
    """Folder of rows."""
    replace: Annotated[bool, Parameter(negative=())] = False
    """Overwrite an older row of the same evaluation."""
    dry_run: Annotated[bool, Parameter(negative=())] = False
    """Check only, change nothing."""


@app.command(help_epilogue="Example: `aa-leaderboard add results/my-method --dry-run`")
def add(result_dir: Path, /, *, options: AddOptions = AddOptions()) -> None:
    """Check the results below RESULT_DIR and put them on a board.

    Args:
        result_dir: What `aa-eval --out` wrote.
    """
    from aa_leaderboard.board.store import add_results, find_results

    if options.dry_run:
        for folder, result in find_results(result_dir):
            print(f"acceptable: {result.method} under {result.protocol} ({folder})")
        return
    for added in add_results(result_dir, options.board, replace=options.replace):
        verb = "replaced" if added.replaced else "added"
        where = options.board / added.row_id
        print(f"{verb}: {added.result.method} under {added.result.protocol} ({where})")


@app.command(help_epilogue="Example: `aa-leaderboard clips results/mine PREDICTIONS REFERENCES`")
def clips(
    result_dir: Path, predictions: Path, references: Path, /, *, videos: PositiveInt = 6
) -> None:
    """Write the clips that the page plays into RESULT_DIR/media.

    Args:
        result_dir: What `aa-eval --out` wrote.
        predictions: The folder that was scored.
        references: The folder it was scored against.
        videos: How many.
    """
    from aa_leaderboard.board.make_clips import make_clips
    from aa_leaderboard.board.validate import read_submission

    result = read_submission(result_dir)
    for video in make_clips(result_dir, result, predictions, references, videos):
        print(f"clips: {video} ({result_dir})")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    out: Path
    """Folder to write to."""
    board: Path | None = None
    """Folder of rows; without it ./board where there is one, else the published rows alone."""
    format: Literal["all", "csv", "md", "tex", "html"] = "all"
    """What to write."""
    title: str = "Human image animation, measured"
    """Heading of the page."""


@app.command(help_epilogue="Example: `aa-leaderboard render --board board --out site`")
def render(*, options: RenderOptions) -> None:
    """Write the page with its clips, and CSV, Markdown and LaTeX tables of the same rows."""
    from aa_leaderboard.report.write_site import FORMATS, read_rows
    from aa_leaderboard.report.write_site import render as write

    board = options.board
    if board is None and DEFAULT_BOARD.is_dir():
        board = DEFAULT_BOARD
    formats = FORMATS if options.format == "all" else (options.format,)
    for path in write(options.out, board, formats=formats, title=options.title):
        print(path)
    rows = read_rows(board)
    published = sum(row.is_published for row in rows)
    where = board if board is not None else "no board given"
    measured = counted(len(rows) - published, "measured row")
    baselines = counted(sum(row.is_baseline for row in rows), "trivial baseline")
    print(f"{measured} ({where}), among them {baselines}; {published} published rows")


@app.command(help_epilogue="Example: `aa-leaderboard table 2 --board board --format tex`")
def table(
    number: Literal[1, 2, 3],
    /,
    *,
    format: Literal["md", "csv", "tex"] = "md",  # noqa: A002 - the option's name
    board: Path | None = None,
) -> None:
    """Print Table 1 (UBC), 2 (TikTok) or 3 (ablation) of "Animate Anyone".

    Args:
        number: Of the table.
        format: Markdown, CSV or LaTeX.
        board: Its rows that were scored as the table was follow the printed ones.
    """
    from aa_leaderboard.board.store import read_board
    from aa_leaderboard.paper_tables import SCORED_AS, paper_table
    from aa_leaderboard.report import text_tables

    formats = {
        "md": text_tables.paper_table_markdown,
        "csv": text_tables.paper_table_csv,
        "tex": text_tables.paper_table_latex,
    }
    rows = () if board is None else read_board(board)
    made = paper_table(number, rows)
    print(formats[format](made).rstrip("\n"))
    if left := len(rows) - made.num_measured:
        protocol, benchmark = SCORED_AS[number]
        print(
            f"not shown: {counted(left, 'row')} of {board}; table {number} takes those of protocol "
            f"{protocol} on benchmark {benchmark}",
            file=sys.stderr,
        )


@study.command(help_epilogue="Example: `aa-leaderboard study make ours theirs --out study`")
def make(*methods: Path, options: StudyOptions) -> None:
    """Write one offline page on which people compare methods, blinded, two videos at a time.

    Args:
        methods: Two or more folders of predictions; a folder's name is its method's.
    """
    from aa_leaderboard.study.make import make_study

    made = make_study(methods, options)
    print(
        f"{made.page}: {counted(made.num_trials, 'pair')}; send it to the raters, it needs no "
        "network"
    )
    if made.left_out:
        print(f"left out, as not every folder has them: {', '.join(made.left_out)}")
    print(f"{made.key}: which method is which; keep it, and collect the votes in the same folder")


@study.command(help_epilogue="Example: `aa-leaderboard study report study/votes-*.csv`")
def report(
    *votes: Path,
    key: Path | None = None,
    keep_inattentive: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Print Bradley-Terry scores with intervals, ties, and how far raters agree.

    Args:
        votes: CSV files that raters sent, or folders of them.
        key: key.json of the study; without it the one in or above the first votes' folder.
        keep_inattentive: Count raters who failed an attention check, too.
    """
    from aa_leaderboard.study.votes import study_report

    print(study_report(votes, key, keep_inattentive=keep_inattentive).to_markdown())


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; 0 on success, 2 with one line on stderr on what the user can mend."""
    return run_app(
        app,
        argv,
        errors=(LeaderboardError, EvalError),
        when_stopped="nothing was changed halfway: run the same command again",
    )


if __name__ == "__main__":
    sys.exit(main())
