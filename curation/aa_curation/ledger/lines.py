"""Ledgers of earlier versions: a file of lines, one of JSON for each survey and decision."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from aa_curation.errors import LedgerError
from aa_curation.ledger.records import CorpusHead, Decision, Fetch, Survey
from aa_curation.ledger.takedown import Takedown

if TYPE_CHECKING:
    from aa_curation.ledger.ledger import Ledger

LINES_NAME = "ledger.jsonl"
SHARDS = "shards"


def read_head(path: Path) -> CorpusHead:
    """What the corpus is made by.

    Raises:
        LedgerError: as `replay`.
    """
    try:
        row = next(_rows(path))["run"]
        row["near_duplicates"]  # corpora without it would let near duplicates back in
        return msgspec.convert(row, CorpusHead)
    except StopIteration:  # killed before the first line was whole
        raise LedgerError(f"{path} is empty: run the same `aa-curate run` again") from None
    except (msgspec.ValidationError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error


def replay(path: Path, ledger: Ledger) -> None:
    """Add all that the lines tell to an empty ledger, one line at a time.

    A last line without its end was being written when the run was killed: it is left out.

    Raises:
        LedgerError: a line that is not ours.
    """
    made_in_survey: dict[str, tuple[Decision, ...]] = {}
    try:
        rows = _rows(path)
        next(rows)
        for row in rows:
            _add(ledger, row, made_in_survey)
        ledger.add_shards(_shards_on_disk(path.parent / SHARDS))
    except (msgspec.ValidationError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> LedgerError:
    return LedgerError(f"{path} is damaged ({error!r}): move the folder away and run again")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


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
    elif kind == "ahead":
        for decision in made_in_survey.get(content, ()):
            if decision.clip_id not in ledger.decisions:
                ledger.add_decision(decision)
    else:
        raise KeyError(kind)


def _shards_on_disk(folder: Path) -> dict[str, list[str]]:
    """What is in which shard, by the shards' records: the lines do not tell."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        if path.with_suffix(".tar").exists():
            entries = json.loads(path.read_bytes())["clips"]
            found[f"{path.stem}.tar"] = [entry["clip"]["clip_id"] for entry in entries]
    return found
