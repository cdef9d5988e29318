"""Ledger: one line of JSON per survey and per clip, appended when it is finished.

A run that is killed loses at most what was in flight: whoever runs it again skips what the ledger
holds. The lines stand in the order in which work was finished; everything made from them sorts.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from aa_curation.decision import Decision, Survey
from aa_curation.errors import LedgerError

LEDGER_NAME = "ledger.jsonl"


@dataclass(frozen=True)
class Ledger:
    """What is known of a corpus. Later lines replace earlier ones of the same source or clip.

    Attributes:
        recipe_name, recipe_sha256: of the recipe that the corpus is made by.
        surveys: by source id.
        decisions: by clip id; those of the surveys are in it.
    """

    recipe_name: str
    recipe_sha256: str
    surveys: dict[str, Survey] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)

    def add_survey(self, survey: Survey) -> None:
        """A new survey of a source puts an end to all that was decided on its clips."""
        before = self.surveys.get(survey.source_id)
        if before is not None:
            for clip_id in _clip_ids(before):
                self.decisions.pop(clip_id, None)
        self.surveys[survey.source_id] = survey
        for decision in survey.decisions:
            self.decisions[decision.clip_id] = decision

    def add_decision(self, decision: Decision) -> None:
        self.decisions[decision.clip_id] = decision

    @property
    def planned_ids(self) -> list[str]:
        """All clips, sorted: those left in by the surveys and those that they rejected."""
        return sorted(clip_id for survey in self.surveys.values() for clip_id in _clip_ids(survey))

    def funnel(self) -> Counter[tuple[str, str]]:
        """How many clips have each (status, reason)."""
        return Counter((d.status, d.reason) for d in self.decisions.values())

    def assert_complete(self) -> None:
        """Every planned clip has exactly one decision, and nothing else has.

        Raises:
            LedgerError: it does not add up.
        """
        planned, decided = self.planned_ids, sorted(self.decisions)
        if planned != decided:
            missing = sorted(set(planned) - set(decided))[:3]
            surplus = sorted(set(decided) - set(planned))[:3]
            raise LedgerError(
                f"the ledger does not add up: {len(planned)} clips planned, {len(decided)} decided "
                f"(undecided: {missing}, unplanned: {surplus}): run the same command again"
            )


def _clip_ids(survey: Survey) -> list[str]:
    return [c.clip_id for c in survey.planned] + [d.clip_id for d in survey.decisions]


def read_ledger(folder: Path) -> Ledger:
    """Read the ledger of a corpus.

    A last line without its end was being written when the run was killed: it is left out.

    Raises:
        LedgerError: none there, or a line that is not ours.
    """
    path = folder / LEDGER_NAME
    try:
        *lines, _unfinished = path.read_bytes().split(b"\n")
    except OSError:
        raise LedgerError(f"no ledger in {folder}: give the --out of an `aa-curate run`") from None
    try:
        rows = [json.loads(line) for line in lines]
        head = rows[0]["run"]
        ledger = Ledger(head["recipe_name"], head["recipe_sha256"])
        for row in rows[1:]:
            if "survey" in row:
                ledger.add_survey(Survey.from_json(row["survey"]))
            else:
                ledger.add_decision(Decision.from_json(row["decision"]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise LedgerError(
            f"{path} is damaged ({error!r}): move the folder away and run again"
        ) from error
    return ledger


class LedgerWriter:
    """Appends to the ledger of a corpus; only one at a time may.

    Args:
        folder: of the corpus; made if need be.
        recipe_name, recipe_sha256: of the run; a corpus holds to the recipe that began it.

    Raises:
        LedgerError: another run is writing, or another recipe began this corpus.
    """

    def __init__(self, folder: Path, recipe_name: str, recipe_sha256: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / LEDGER_NAME).open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise LedgerError(
                f"another aa-curate run is writing to {folder}: wait for it"
            ) from None
        self._drop_unfinished_line(folder / LEDGER_NAME)
        if self._file.tell() == 0:
            self._append({"run": {"recipe_name": recipe_name, "recipe_sha256": recipe_sha256}})
        self.ledger = read_ledger(folder)
        if self.ledger.recipe_sha256 != recipe_sha256:
            self._file.close()
            raise LedgerError(
                f"{folder} was begun with recipe {self.ledger.recipe_name!r} "
                f"({self.ledger.recipe_sha256[:12]}), this is {recipe_name!r} "
                f"({recipe_sha256[:12]}): choose another --out"
            )

    def __enter__(self) -> LedgerWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def add_survey(self, survey: Survey) -> None:
        self._append({"survey": survey.to_json()})
        self.ledger.add_survey(survey)

    def add_decision(self, decision: Decision) -> None:
        self._append({"decision": decision.to_json()})
        self.ledger.add_decision(decision)

    def _append(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps(row, sort_keys=True).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _drop_unfinished_line(self, path: Path) -> None:
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)
