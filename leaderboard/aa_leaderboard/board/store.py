"""The board: a folder per measured row, with its result.json, its frames' values and its clips."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from aa_eval.result import RESULT_FILE, Result
from aa_leaderboard.board.frame_scores import PER_FRAME_FILE
from aa_leaderboard.board.media import MEDIA_DIR
from aa_leaderboard.board.validate import check_tree, read_submission
from aa_leaderboard.errors import BoardError, SubmissionError
from aa_leaderboard.row import Row, row_of_result


@dataclass(frozen=True, slots=True)
class Added:
    """A row that `add_results` put on the board; `replaced` when it took an older one's place."""

    row_id: str
    result: Result
    replaced: bool


def row_id_of(result: Result) -> str:
    """The folder name of a result's row: safe in every file system, one per way of measuring.

    Two results share it exactly when they claim the same method, label, benchmark, protocol
    content, videos, reference frames and overrides.
    """
    identity = [
        result.method,
        result.label,
        result.benchmark,
        result.protocol_hash,
        sorted(result.per_video),
        sorted(result.references.items()),
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


def add_results(
    directory: Path | str, board: Path | str, *, replace: bool = False
) -> tuple[Added, ...]:
    """Copy the results of `directory`, their frames' values and clips, to `board`: all or none.

    A row whose numbers are on the board already (the trivial baselines, which every method's
    folder carries) is renewed, and keeps the clips it had when the new folder brings none.

    Raises:
        SubmissionError: one of them is refused, or is already on the board with other numbers
            and `replace` is False. The board is then unchanged.
    """
    directory, board = Path(directory), Path(board)
    found: dict[str, tuple[Path, Result]] = {}
    for folder, result in find_results(directory):
        twin = found.setdefault(row_id_of(result), (folder, result))
        if twin[1] != result:
            raise SubmissionError(f"{folder} and {twin[0]} hold two results of one evaluation")
    board.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=board, prefix=".adding-") as scratch:
        for row_id, (folder, result) in found.items():
            _copy_row(folder, Path(scratch) / row_id)
            if (board / row_id).exists():
                _meet_old_row(board / row_id, Path(scratch) / row_id, result, folder, replace)
        replaced = _swap_in(Path(scratch), board, list(found))
    return tuple(Added(id_, result, id_ in replaced) for id_, (_, result) in found.items())


def _copy_row(folder: Path, target: Path) -> None:
    """Copy what the board keeps, and check the copy: what was read is what will be shown."""
    target.mkdir()
    for name in (RESULT_FILE, PER_FRAME_FILE):
        if (folder / name).exists():
            shutil.copyfile(folder / name, target / name, follow_symlinks=False)
    if (folder / MEDIA_DIR).is_dir():
        shutil.copytree(folder / MEDIA_DIR, target / MEDIA_DIR, symlinks=True)
    check_tree(target)
    read_submission(target)


def _meet_old_row(old: Path, new: Path, result: Result, folder: Path, replace: bool) -> None:
    """Carry over what the same evaluation's older row has and `new` lacks; refuse other numbers."""
    try:
        alike = _same_numbers(read_submission(old), result)
    except SubmissionError as error:
        if replace:
            return
        raise SubmissionError(f"{error} (a row of the board: --replace overwrites it)") from error
    if not alike and not replace:
        raise SubmissionError(
            f"{folder}: {result.method!r} under {result.protocol} is already on {old.parent} with "
            "other numbers: --replace overwrites it, another method name keeps both"
        )
    if alike and not (new / MEDIA_DIR).exists() and (old / MEDIA_DIR).exists():
        shutil.copytree(old / MEDIA_DIR, new / MEDIA_DIR, symlinks=True)
    if alike and not (new / PER_FRAME_FILE).exists() and (old / PER_FRAME_FILE).exists():
        shutil.copyfile(old / PER_FRAME_FILE, new / PER_FRAME_FILE)


def _same_numbers(a: Result, b: Result) -> bool:
    """Whether two results differ in nothing but what another processor rounds differently."""

    def alike(x: float | None, y: float | None) -> bool:
        if x is None or y is None:
            return x is y
        return math.isclose(x, y, rel_tol=1e-5, abs_tol=1e-9)

    def numbers(result: Result) -> dict[tuple[str, str], float | None]:
        found = {("", key): metric.value for key, metric in result.metrics.items()}
        found |= {("n", key): metric.n for key, metric in result.metrics.items()}
        for video, values in result.per_video.items():
            found |= {(f"video {video}", key): value for key, value in values.items()}
        return found

    ours, theirs = numbers(a), numbers(b)
    return ours.keys() == theirs.keys() and all(alike(ours[k], theirs[k]) for k in ours)


def _swap_in(scratch: Path, board: Path, row_ids: Sequence[str]) -> set[str]:
    """Rename the new rows to their places; after an error the old ones are back in theirs."""
    replaced: set[str] = set()
    done: list[str] = []
    try:
        for row_id in row_ids:
            if (board / row_id).exists():
                (board / row_id).rename(scratch / f"old-{row_id}")
                replaced.add(row_id)
            (scratch / row_id).rename(board / row_id)
            done.append(row_id)
    except OSError:
        for row_id in done:
            (board / row_id).rename(scratch / f"undone-{row_id}")
        for row_id in replaced:
            (scratch / f"old-{row_id}").rename(board / row_id)
        raise
    return replaced


def read_board(board: Path | str) -> tuple[Row, ...]:
    """The measured rows of a board, by folder name; each is checked again as if it were new.

    Args:
        board: a folder that `add_results` filled.

    Raises:
        BoardError: the folder is missing, or one of its rows is not acceptable.
    """
    board = Path(board)
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
        has_frames = (folder / PER_FRAME_FILE).exists()
        rows.append(row_of_result(folder.name, result, has_frames=has_frames))
    return tuple(rows)
