"""Ledger: one line of JSON per survey and per clip, appended when it is finished.

A run that is killed loses at most what was in flight: the next run skips what the ledger
holds. The lines stand in the order in which work was finished; everything made from them sorts.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from aa_curation.errors import LedgerError
from aa_curation.ledger.records import CorpusHead, Decision, Fetch, Survey
from aa_curation.ledger.redecide import redecided
from aa_curation.ledger.takedown import Takedown, taken_down
from aa_curation.recipe_hash import iter_differences
from aa_datasets.atomic_file import sync_folder

if TYPE_CHECKING:
    from pandas import DataFrame

LEDGER_NAME = "ledger.jsonl"
SHARDS = "shards"
_FRAME_COLUMNS = (
    *("clip_id", "source_id", "status", "stage", "reason", "measured", "threshold", "detail"),
    *("seconds", "owner", "consent", "uploader", "person"),
)


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
        shard_of: clip id -> name of its shard, for every clip that was ever packed: see `pack`.
    """

    head: CorpusHead
    surveys: dict[str, Survey] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    fetches: dict[str, Fetch] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    takedowns: dict[str, Takedown] = field(default_factory=dict)
    shard_of: dict[str, str] = field(default_factory=dict)

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

    def add_thresholds(self, thresholds: Mapping[str, float]) -> None:
        """Decide again what checks decided. What now needs steps that never ran is undecided, or,
        where a source was rejected by its header alone, unknown: the next run sees to it."""
        self.thresholds.update(thresholds)
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

    def add_shards(self, shards: Mapping[str, Sequence[str]]) -> None:
        """Put clips into shards: `{name: ids}`."""
        self.shard_of.update((clip_id, name) for name, ids in shards.items() for clip_id in ids)

    @property
    def planned_ids(self) -> list[str]:
        """All clips, sorted: those left in by the surveys and those that they rejected."""
        return sorted(clip_id for survey in self.surveys.values() for clip_id in survey.clip_ids)

    def funnel(self) -> Counter[tuple[str, str]]:
        """How many clips have each (status, reason)."""
        return Counter((d.status, d.reason) for d in self.decisions.values())

    def __str__(self) -> str:
        """The funnel: how many clips were planned, accepted, and rejected or failed by reason."""
        counts = self.funnel()
        planned, sources = len(self.planned_ids), len(self.surveys)
        made_by = f"({sources} source{'s' * (sources != 1)}, recipe {self.head.recipe_name})"
        lines = [f"{planned:6d} planned  {made_by}"]
        for status in ("accepted", "rejected", "failed"):
            reasons = [(count, reason) for (its, reason), count in counts.items() if its == status]
            lines.append(f"{sum(count for count, _ in reasons):6d} {status}")
            for count, reason in sorted(reasons, key=lambda row: (-row[0], row[1])):
                if reason:
                    lines.append(f"{count:13d} {reason}")
        undecided = planned - len(self.decisions)
        if undecided:
            lines.append(f"{undecided:6d} not yet decided: run the same command again")
        return "\n".join(lines)

    def to_frame(self) -> DataFrame:
        """One row per decided clip, sorted by its id, as a pandas frame.

        Columns: those of `Decision` without files and signatures, those of an accepted clip's
        `Clip`, its `duration_s`, and one `check.NAME` for each measurement, by the reason of its
        filter.

            frame = read_ledger("corpus").to_frame()
            frame.groupby("reason").size()
            frame["check.small_person"].describe()
        """
        import pandas

        rows = []
        for clip_id in sorted(self.decisions):
            decision = self.decisions[clip_id]
            row = {name: getattr(decision, name) for name in _FRAME_COLUMNS}
            clip = decision.clip
            if clip is not None:
                row |= clip.to_json() | {"height": clip.size_hw[0], "width": clip.size_hw[1]}
                row["duration_s"] = clip.num_frames / clip.fps
                del row["size_hw"]
            row |= {f"check.{check.reason}": check.measured for check in decision.checks}
            rows.append(row)
        columns = [*_FRAME_COLUMNS, "licence", "split", "duration_s"]
        frame = pandas.DataFrame(rows)
        return frame.reindex(columns=[*columns, *(c for c in frame.columns if c not in columns)])

    def assert_complete(self) -> None:
        """Every planned clip has exactly one decision, and nothing else has.

        Raises:
            LedgerError: it does not add up.
        """
        planned = set(self.planned_ids)
        missing, surplus = sorted(planned - set(self.decisions)), set(self.decisions) - planned
        if surplus:
            raise LedgerError(f"decided, but never planned: {sorted(surplus)[:3]}: report this")
        if missing:
            raise LedgerError(
                f"{len(missing)} of {len(planned)} planned clips are not decided yet "
                f"({', '.join(missing[:3])}{', ...' * (len(missing) > 3)}): run the same command "
                "again, with every list of sources that this corpus was started with. Sources that "
                "are gone from the lists are ended by `aa-curate run --drop-missing`, or for good "
                "by `aa-curate takedown --source ID`"
            )


def read_ledger(folder: Path | str) -> Ledger:
    """Read the ledger of a corpus.

    A last line without its end was being written when the run was killed: it is left out.

    Raises:
        LedgerError: none there, or a line that is not ours.
    """
    path = Path(folder) / LEDGER_NAME
    try:
        *lines, _unfinished = path.read_bytes().split(b"\n")
    except OSError:
        raise LedgerError(f"no ledger in {folder}: give the --out of an `aa-curate run`") from None
    if not lines:  # killed before the first line was whole
        raise LedgerError(f"{path} is empty: run the same `aa-curate run` again")
    try:
        rows = [json.loads(line) for line in lines]
        rows[0]["run"]["near_duplicates"]  # corpora without it would let near duplicates back in
        ledger = Ledger(msgspec.convert(rows[0]["run"], CorpusHead))
        made_in_survey: dict[str, tuple[Decision, ...]] = {}
        for row in rows[1:]:
            _add(ledger, row, made_in_survey)
        if not any(row.keys() & {"shards", "repack"} for row in rows):
            ledger.add_shards(shards_on_disk(Path(folder) / SHARDS))
    except (msgspec.ValidationError, ValueError, KeyError, TypeError, IndexError) as error:
        raise LedgerError(
            f"{path} is damaged ({error!r}): move the folder away and run again"
        ) from error
    return ledger


def _add(
    ledger: Ledger, row: dict[str, Any], made_in_survey: dict[str, tuple[Decision, ...]]
) -> None:
    """Add one row. Version 0.1 made some clips in the decode of their survey: these decisions stand
    in the survey's row, and count from a row {"ahead": source_id} on."""
    ((kind, content),) = row.items()
    if kind == "survey":
        ledger.add_survey(msgspec.convert(content, Survey))
        made = msgspec.convert(content.get("ahead", ()), tuple[Decision, ...])
        made_in_survey[content["source_id"]] = made
    elif kind == "decision":
        ledger.add_decision(msgspec.convert(content, Decision))
    elif kind == "fetch":
        ledger.add_fetch(msgspec.convert(content, Fetch))
    elif kind == "thresholds":
        ledger.add_thresholds(msgspec.convert(content, dict[str, float]))
        made_in_survey.clear()
    elif kind == "takedown":
        ledger.add_takedown(msgspec.convert(content, Takedown))
    elif kind == "shards":
        ledger.add_shards(content)
    elif kind == "repack":
        ledger.shard_of.clear()
    elif kind == "ahead":
        for decision in made_in_survey.get(content, ()):
            ledger.decisions.setdefault(decision.clip_id, decision)
    else:
        raise KeyError(kind)


def shards_on_disk(folder: Path) -> dict[str, list[str]]:
    """What is in which shard, by the shards' records: earlier versions did not write it down."""
    return {
        f"{path.stem}.tar": [
            entry["clip"]["clip_id"] for entry in json.loads(path.read_bytes())["clips"]
        ]
        for path in sorted(folder.glob("*.json"))
        if path.with_suffix(".tar").exists()
    }


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
    why = "; ".join(differences[:3]) + "; ..." * (len(differences) > 3)
    if known.recipe is None:
        why = "version 0.1 made it, whose clips this version would decide or store otherwise"
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

    Raises:
        LedgerError: another run is writing, or the corpus is of another recipe.
    """

    def __init__(self, folder: Path, head: CorpusHead) -> None:
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
            self._append("run", head)
        try:
            self.ledger = read_ledger(folder)
            refuse_another_recipe(self.ledger.head, head, folder)
            if self.ledger.shard_of and b'\n{"shards"' not in (folder / LEDGER_NAME).read_bytes():
                self.add_shards(shards_on_disk(folder / SHARDS))
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
        self._append("thresholds", dict(thresholds))
        self.ledger.add_thresholds(thresholds)

    def add_takedown(self, takedown: Takedown) -> None:
        self._append("takedown", takedown)
        self.ledger.add_takedown(takedown)

    def add_fetch(self, fetch: Fetch) -> None:
        self._append("fetch", fetch)
        self.ledger.add_fetch(fetch)

    def add_shards(self, shards: Mapping[str, Sequence[str]]) -> None:
        self._append("shards", shards)
        self.ledger.add_shards(shards)

    def forget_shards(self) -> None:
        self._append("repack", {})
        self.ledger.shard_of.clear()

    def add_survey(self, survey: Survey) -> None:
        self._append("survey", survey)
        self.ledger.add_survey(survey)

    def add_decision(self, decision: Decision) -> None:
        self._append("decision", decision)
        self.ledger.add_decision(decision)

    def _append(self, kind: str, content: object) -> None:
        # By json, since msgspec writes an infinite bound as null.
        row = json.dumps({kind: msgspec.to_builtins(content)}, sort_keys=True)
        self._file.write(row.encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _drop_unfinished_line(self, path: Path) -> None:
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)
