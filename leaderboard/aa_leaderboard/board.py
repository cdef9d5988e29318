"""The board: a folder with one folder per measured row, each holding its result.json and clips."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from aa_eval.result import RESULT_FILE, Result
from aa_leaderboard.errors import BoardError, SubmissionError
from aa_leaderboard.media import MEDIA_DIR
from aa_leaderboard.row import Row, row_of_result
from aa_leaderboard.submission import check_tree, read_submission


@dataclass(frozen=True, slots=True)
class Added:
    """A row that `add_results` put on the board; `replaced` when it took an older one's place."""

    row_id: str
    result: Result
    replaced: bool


def row_id_of(result: Result) -> str:
    """The folder name of a result's row: safe in every file system, one per way of measuring.

    Two results share it exactly when they claim the same method, label, benchmark, protocol
    content, videos and overrides.
    """
    identity = [
        result.method,
        result.label,
        result.benchmark,
        result.protocol_hash,
        sorted(result.per_video),
        sorted(result.overrides),
    ]
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]
    slug = re.sub(r"[^a-z0-9]+", "-", f"{result.method} {result.protocol}".lower()).strip("-")
    return f"{slug[:60].strip('-') or 'row'}-{digest}"


def find_results(directory: Path) -> tuple[tuple[Path, Result], ...]:
    """Every result in or below `directory` (protocols, baselines), checked as submissions.

    Raises:
        SubmissionError: there is none, or one of them is not acceptable.
    """
    check_tree(directory)
    folders = [path.parent for path in sorted(directory.rglob(RESULT_FILE))]
    if not folders:
        raise SubmissionError(
            f"{directory}: holds no {RESULT_FILE}: give a folder that `aa-eval ... --out` wrote"
        )
    return tuple((folder, read_submission(folder)) for folder in folders)


def add_results(directory: Path, board: Path, *, replace: bool = False) -> tuple[Added, ...]:
    """Copy the results of `directory`, and their clips, to `board`: all of them or none.

    Raises:
        SubmissionError: one of them is refused, or is already on the board with other content
            and `replace` is False. The board is then unchanged.
    """
    found: dict[str, tuple[Path, Result]] = {}
    for folder, result in find_results(directory):
        twin = found.setdefault(row_id_of(result), (folder, result))
        if twin[1] != result:
            raise SubmissionError(f"{folder} and {twin[0]} hold two results of one evaluation")
    board.mkdir(parents=True, exist_ok=True)
    for row_id, (folder, result) in found.items():
        if (board / row_id).exists() and not replace:
            old = (board / row_id / RESULT_FILE).read_bytes()
            if old != (folder / RESULT_FILE).read_bytes():
                raise SubmissionError(
                    f"{folder}: {result.method!r} under {result.protocol} is already on {board} "
                    "with other numbers: --replace overwrites it, another method name keeps both"
                )
    added = []
    with TemporaryDirectory(dir=board, prefix=".adding-") as scratch:
        for row_id, (folder, _) in found.items():
            _copy_row(folder, Path(scratch) / row_id)
        for row_id, (_, result) in found.items():
            target = board / row_id
            known = target.exists()
            if known:
                shutil.rmtree(target)
            (Path(scratch) / row_id).rename(target)
            added.append(Added(row_id, result, known))
    return tuple(added)


def _copy_row(folder: Path, target: Path) -> None:
    """Copy what the board keeps, and check the copy: what was read is what will be shown."""
    target.mkdir()
    shutil.copyfile(folder / RESULT_FILE, target / RESULT_FILE, follow_symlinks=False)
    if (folder / MEDIA_DIR).is_dir():
        shutil.copytree(folder / MEDIA_DIR, target / MEDIA_DIR, symlinks=True)
    check_tree(target)
    read_submission(target)


def read_board(board: Path) -> tuple[Row, ...]:
    """The measured rows of a board, by folder name; each is checked again as if it were new.

    Raises:
        BoardError: the folder is missing, or one of its rows is not acceptable.
    """
    if not board.is_dir():
        raise BoardError(f"{board}: no such board: make one with `aa-leaderboard add RESULT_DIR`")
    rows = []
    for folder in sorted(path for path in board.iterdir() if not path.name.startswith(".")):
        try:
            check_tree(folder)
            result = read_submission(folder)
        except SubmissionError as error:
            raise BoardError(f"{error} (a row of board {board}: mend or remove it)") from error
        if folder.name != row_id_of(result):
            raise BoardError(f"{folder}: expected the name {row_id_of(result)}: add it again")
        rows.append(row_of_result(folder.name, result))
    return tuple(rows)
