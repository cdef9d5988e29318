"""The file of a ledger: read by anyone, written by one run at a time."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import msgspec

from aa_curation.errors import LedgerError
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.lines import LINES_NAME, read_head, replay
from aa_curation.ledger.records import CorpusHead, Decision, Fetch, Survey, from_json
from aa_curation.ledger.schema import VERSION, new_tables, upgrade
from aa_curation.ledger.takedown import Takedown
from aa_curation.recipe_hash import iter_differences
from aa_datasets.atomic_file import sync_folder

LEDGER_NAME = "ledger.sqlite"
_LOCK_NAME = ".ledger.lock"
_COMMIT_SHARE = 0.05  # of the time, at most, that goes into commits while rows are added
_CACHE_KIB = 128 << 10


def read_ledger(folder: Path | str) -> Ledger:
    """Read the ledger of a corpus.

    Raises:
        LedgerError: none there, or a file that is not ours.
    """
    path = Path(folder) / LEDGER_NAME
    if path.is_file():
        ledger = _open(path)
        ledger.sql("PRAGMA query_only = ON")
        return ledger
    lines = path.with_name(LINES_NAME)
    if not lines.is_file():
        raise LedgerError(f"no ledger in {folder}: give the --out of an `aa-curate run`")
    ledger = Ledger(read_head(lines))
    replay(lines, ledger)
    return ledger


def has_ledger(folder: Path) -> bool:
    """Whether a corpus was started in a folder."""
    return (folder / LEDGER_NAME).is_file() or (folder / LINES_NAME).is_file()


def _open(path: Path, *, to_write: bool = False) -> Ledger:
    try:
        # For writing, if that is allowed: what a killed run left half written is rolled back.
        db = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=60)
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise LedgerError(f"{path} was written by a newer version of this toolkit: update it")
        if to_write:
            upgrade(db)
        (head,) = db.execute("SELECT content FROM head").fetchone()
        return Ledger(from_json(head, CorpusHead), db)
    except (sqlite3.DatabaseError, msgspec.ValidationError, ValueError, TypeError) as error:
        raise LedgerError(
            f"{path} is damaged ({error!r}): move the folder away and run again"
        ) from error


def refuse_another_recipe(known: CorpusHead, head: CorpusHead, folder: Path) -> None:
    """Refuse to continue a corpus with a recipe that would decide otherwise.

    Args:
        known: of the corpus in `folder`.
        head: of the recipe.

    Raises:
        LedgerError: the recipes differ; the message says in what, where the ledger tells.
    """
    if known.recipe_sha256 == head.recipe_sha256:
        return
    differences = list(iter_differences(known.recipe, head.recipe))
    why = "; ".join(differences[:3]) + " and more" * (len(differences) > 3)
    if known.recipe is None:
        why = "version 0.1 made it, whose clips this version would decide or store otherwise"
    raise LedgerError(
        f"{folder} was made with recipe {known.recipe_name!r} ({known.recipe_sha256[:12]}), this "
        f"is {head.recipe_name!r} ({head.recipe_sha256[:12]}): {why}. Choose another --out, or "
        "continue with the recipe and the version of this toolkit that made it"
    )


class LedgerWriter:
    """Adds to the ledger of a corpus; only one at a time may.

    Rows are committed as they come, where they are seconds apart; where there are thousands a
    second, as often as leaves the disk time for them. `commit` and the end of the block commit all.

    Args:
        folder: of the corpus; made if need be. A ledger of lines, of an earlier version, is taken
            over, and kept as ledger.jsonl.old.
        head: of the recipe; a corpus is continued by the recipe that it was started with.

    Raises:
        LedgerError: another run is writing, or the corpus is of another recipe.
    """

    def __init__(self, folder: Path, head: CorpusHead) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path, lines = folder / LEDGER_NAME, folder / LINES_NAME
        self._lock = (folder / _LOCK_NAME).open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise LedgerError(
                f"another aa-curate run is writing to {folder}: wait for it"
            ) from None
        try:
            known = read_head(lines) if lines.is_file() and not path.is_file() else None
            if known is not None:
                refuse_another_recipe(known, head, folder)
            if not path.is_file():
                _make(path, lines if known else None, known or head)
            if lines.is_file():  # taken over: an earlier version would continue it
                lines.replace(lines.with_suffix(".jsonl.old"))
            self.ledger = _open(path, to_write=True)
            refuse_another_recipe(self.ledger.head, head, folder)
        except LedgerError:
            self._lock.close()
            raise
        self._committed_s, self._commit_took_s = time.monotonic(), 0.0

    @classmethod
    def reopen(cls, folder: Path) -> LedgerWriter:
        """The ledger of a corpus that there is, for its own recipe."""
        return cls(folder, _head_of(folder))

    def __enter__(self) -> LedgerWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.ledger.commit()  # what is done stays done, whatever ended the run
        finally:
            self._lock.close()

    def commit(self) -> None:
        start_s = time.monotonic()
        self.ledger.commit()
        self._committed_s = time.monotonic()
        self._commit_took_s = self._committed_s - start_s

    def _added(self) -> None:
        if time.monotonic() - self._committed_s >= self._commit_took_s / _COMMIT_SHARE:
            self.commit()

    def add_thresholds(self, thresholds: Mapping[str, float]) -> None:
        self.ledger.add_thresholds(thresholds)

    def add_takedown(self, takedown: Takedown) -> None:
        self.ledger.add_takedown(takedown)
        self.commit()  # before any file goes

    def add_fetch(self, fetch: Fetch) -> None:
        self.ledger.add_fetch(fetch)
        self._added()

    def add_survey(self, survey: Survey) -> None:
        self.ledger.add_survey(survey)
        self._added()

    def add_decision(self, decision: Decision) -> None:
        self.ledger.add_decision(decision)
        self._added()


def _make(path: Path, lines: Path | None, head: CorpusHead) -> None:
    """The file of a new ledger, whole or not at all; of an earlier version's lines, if given."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    ledger = Ledger(head, new_tables(str(temporary), head))
    if lines is not None:
        replay(lines, ledger)
    ledger.commit()
    ledger.close()
    temporary.replace(path)
    sync_folder(path.parent)


def _head_of(folder: Path) -> CorpusHead:
    if not (folder / LEDGER_NAME).is_file() and (folder / LINES_NAME).is_file():
        return read_head(folder / LINES_NAME)
    return read_ledger(folder).head
