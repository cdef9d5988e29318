"""Ledger: one line of JSON per survey and per clip, appended when it is finished.

A run that is killed loses at most what was in flight: whoever runs it again skips what the ledger
holds. The lines stand in the order in which work was finished; everything made from them sorts.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from aa_curation.errors import LedgerError
from aa_curation.ledger.records import CorpusHead, Decision, Fetch, Survey
from aa_curation.ledger.redecide import redecided
from aa_curation.ledger.takedown import Takedown, taken_down
from aa_curation.recipe_hash import iter_differences
from aa_datasets.atomic_file import sync_folder

LEDGER_NAME = "ledger.jsonl"


@dataclass(frozen=True)
class Ledger:
    """What is known of a corpus. Later lines replace earlier ones of the same source or clip.

    Attributes:
        head: what the corpus is made by.
        surveys: by source id.
        decisions: by clip id; those of the surveys are in it.
        fetches: by source id, of the sources that are URLs.
        thresholds: `{reason: threshold}` that replace the recipe's.
        takedowns: by source id.
    """

    head: CorpusHead
    surveys: dict[str, Survey] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    fetches: dict[str, Fetch] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    takedowns: dict[str, Takedown] = field(default_factory=dict)

    def add_survey(self, survey: Survey) -> None:
        """A new survey of a source puts an end to all that was decided on its clips."""
        before = self.surveys.get(survey.source_id)
        if before is not None:
            for clip_id in before.clip_ids:
                self.decisions.pop(clip_id, None)
        self.surveys[survey.source_id] = survey
        for decision in survey.decisions:
            self.decisions[decision.clip_id] = decision
        if any(takedown.holds(survey) for takedown in self.takedowns.values()):
            self._take_down(survey)

    def add_decision(self, decision: Decision) -> None:
        self.decisions[decision.clip_id] = decision
        self._forget_ahead(decision.source_id)

    def count_ahead(self, source_id: str) -> None:
        """Let count what was made in the survey of a source, of clips without a decision."""
        for row in self.surveys[source_id].ahead:
            self.decisions.setdefault(row.clip_id, row)
        self._forget_ahead(source_id)

    def _forget_ahead(self, source_id: str) -> None:
        survey = self.surveys.get(source_id)
        if survey is not None and survey.ahead:
            self.surveys[source_id] = replace(survey, ahead=())

    def add_thresholds(self, thresholds: Mapping[str, float]) -> None:
        """Decide again what checks decided. What now needs steps that never ran is undecided, or,
        where a source was rejected by its header alone, unknown: the next run sees to it."""
        self.thresholds.update(thresholds)
        for source_id in self.surveys:  # they were decided by the thresholds before
            self._forget_ahead(source_id)
        for clip_id, decision in list(self.decisions.items()):
            again = redecided(decision, thresholds)
            if again is not None:
                self.decisions[clip_id] = again
                continue
            del self.decisions[clip_id]
            survey = self.surveys[decision.source_id]
            if clip_id not in {planned.clip_id for planned in survey.planned}:
                del self.surveys[decision.source_id]

    def add_takedown(self, takedown: Takedown) -> None:
        """Reject every clip of the source, and of every other that is the same file."""
        self.takedowns[takedown.source_id] = takedown
        for survey in self.surveys.values():
            if takedown.holds(survey):
                self._take_down(survey)

    def _take_down(self, survey: Survey) -> None:
        for clip_id in survey.clip_ids:
            row = self.decisions.get(clip_id)
            self.decisions[clip_id] = taken_down(clip_id, survey.source_id, row)

    def add_fetch(self, fetch: Fetch) -> None:
        self.fetches[fetch.source_id] = fetch

    @property
    def planned_ids(self) -> list[str]:
        """All clips, sorted: those left in by the surveys and those that they rejected."""
        return sorted(clip_id for survey in self.surveys.values() for clip_id in survey.clip_ids)

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
                f"(undecided: {missing}, unplanned: {surplus}): run again, with every list of "
                "sources that this corpus was begun with"
            )


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
    if not lines:  # killed before the first line was whole
        raise LedgerError(f"{path} is empty: run the same `aa-curate run` again")
    try:
        rows = [json.loads(line) for line in lines]
        rows[0]["run"]["near_duplicates"]  # corpora without it would let near duplicates back in
        ledger = Ledger(CorpusHead(**rows[0]["run"]))
        for row in rows[1:]:
            if "survey" in row:
                ledger.add_survey(Survey.from_json(row["survey"]))
            elif "fetch" in row:
                ledger.add_fetch(Fetch.from_json(row["fetch"]))
            elif "thresholds" in row:
                ledger.add_thresholds(row["thresholds"])
            elif "ahead" in row:
                ledger.count_ahead(row["ahead"])
            elif "takedown" in row:
                ledger.add_takedown(Takedown(**row["takedown"]))
            else:
                ledger.add_decision(Decision.from_json(row["decision"]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise LedgerError(
            f"{path} is damaged ({error!r}): move the folder away and run again"
        ) from error
    return ledger


def refuse_another_recipe(
    known: CorpusHead, head: CorpusHead, folder: Path, older_sha256: str = ""
) -> None:
    """Refuse to continue a corpus with a recipe that would decide otherwise.

    Args:
        known: of the corpus in `folder`.
        head, older_sha256: of the recipe, and another hash by which `known` may name it.

    Raises:
        LedgerError: the recipes differ; the message says in what, where the ledger tells.
    """
    if known.recipe_sha256 in {head.recipe_sha256, older_sha256}:
        return
    differences = list(iter_differences(known.recipe, head.recipe))
    why = "; ".join(differences[:3]) + "; ..." * (len(differences) > 3)
    if known.recipe is None:
        why = "its ledger is of version 0.1 and does not say in what they differ"
    raise LedgerError(
        f"{folder} was made with recipe {known.recipe_name!r} ({known.recipe_sha256[:12]}), this "
        f"is {head.recipe_name!r} ({head.recipe_sha256[:12]}): {why}. Choose another --out, or "
        "continue with the recipe and the version of this toolkit that made it"
    )


class LedgerWriter:
    """Appends to the ledger of a corpus; only one at a time may.

    Args:
        folder: of the corpus; made if need be.
        head: of the recipe; a corpus is continued by the recipe that it was started with.
        older_sha256: another hash by which a ledger may name this recipe.

    Raises:
        LedgerError: another run is writing, or the corpus is of another recipe.
    """

    def __init__(self, folder: Path, head: CorpusHead, *, older_sha256: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / LEDGER_NAME).open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise LedgerError(
                f"another aa-curate run is writing to {folder}: wait for it"
            ) from None
        sync_folder(folder)  # a new ledger's name survives a power cut, as its lines do
        self._drop_unfinished_line(folder / LEDGER_NAME)
        if self._file.tell() == 0:
            self._append({"run": asdict(head)})
        try:
            self.ledger = read_ledger(folder)
            refuse_another_recipe(self.ledger.head, head, folder, older_sha256)
        except LedgerError:
            self._file.close()
            raise

    @classmethod
    def reopen(cls, folder: Path) -> LedgerWriter:
        """The ledger of a corpus that there is, for its own recipe."""
        return cls(folder, read_ledger(folder).head)

    def __enter__(self) -> LedgerWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def add_thresholds(self, thresholds: Mapping[str, float]) -> None:
        self._append({"thresholds": dict(thresholds)})
        self.ledger.add_thresholds(thresholds)

    def add_takedown(self, takedown: Takedown) -> None:
        self._append({"takedown": takedown.to_json()})
        self.ledger.add_takedown(takedown)

    def add_fetch(self, fetch: Fetch) -> None:
        self._append({"fetch": fetch.to_json()})
        self.ledger.add_fetch(fetch)

    def add_survey(self, survey: Survey) -> None:
        self._append({"survey": survey.to_json()})
        self.ledger.add_survey(survey)

    def add_decision(self, decision: Decision) -> None:
        self._append({"decision": decision.to_json()})
        self.ledger.add_decision(decision)

    def count_ahead(self, source_id: str) -> None:
        self._append({"ahead": source_id})
        self.ledger.count_ahead(source_id)

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
