"""The commands of aa-curate for a corpus that exists: redecide, takedown, repack, verify."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from aa_curation.corpus.near_duplicates import bounds_of, separate
from aa_curation.corpus.purge import make_tombstone, purge, take_down
from aa_curation.corpus.verify import iter_problems, mend
from aa_curation.corpus.write_shards import CLIPS, FETCHED, pack, shard_plan
from aa_curation.crawl.store import Store
from aa_curation.errors import LedgerError
from aa_curation.ledger.ledger import Ledger, LedgerWriter, read_ledger
from aa_curation.ledger.records import Decision
from aa_datasets.command_line import counted


def redecide(out: Path, thresholds: Mapping[str, float], *, dry_run: bool) -> None:
    """Decide again with other thresholds, pack, and print what changed."""
    if dry_run:
        ledger = read_ledger(out)
        _check_measured(ledger, thresholds)
        _decide_again(ledger, lambda: ledger.add_thresholds(thresholds), ledger.add_decision)
        return
    with LedgerWriter.reopen(out) as writer:
        _check_measured(writer.ledger, thresholds)
        _decide_again(writer.ledger, lambda: writer.add_thresholds(thresholds), writer.add_decision)
        pack(writer, out)


def _check_measured(ledger: Ledger, thresholds: Mapping[str, float]) -> None:
    known = {check.reason for d in ledger.decisions.values() for check in d.checks}
    unknown = sorted(set(thresholds) - known)
    if unknown:
        raise LedgerError(
            f"nothing was measured under {', '.join(unknown)}: this corpus has "
            f"{', '.join(sorted(known)) or 'no checks yet'}"
        )


def _decide_again(
    ledger: Ledger, decide: Callable[[], None], add: Callable[[Decision], None]
) -> None:
    """Decide, keep recordings and splits apart, and print which clips went from where to where."""
    before = {c: (d.status, d.reason) for c, d in ledger.decisions.items()}
    decide()
    for row in separate(ledger, bounds_of(ledger)):
        add(row)
    after = {c: (d.status, d.reason) for c, d in ledger.decisions.items()}
    moves = Counter(
        (before[clip], after.get(clip)) for clip in before if before[clip] != after.get(clip)
    )
    for (old, new), count in sorted(moves.items(), key=str):
        words = " ".join(new).strip() if new else "undecided: `aa-curate run` curates them"
        print(f"{count:6d} {' '.join(old).strip()} -> {words}")
    print(ledger)


def takedown(out: Path, source_ids: Sequence[str], *, dry_run: bool) -> None:
    """Remove sources for good, or say what that would remove."""
    if dry_run:
        ledger = read_ledger(out)
        for source_id in source_ids:
            before = _clips_by_shard(ledger)
            ledger.add_takedown(make_tombstone(ledger, source_id))
            removed, touched = _difference(before, _clips_by_shard(ledger))
            print(f"{source_id}: {removed} would be removed for good, from {touched}")
        return
    with LedgerWriter.reopen(out) as writer:
        ledger = writer.ledger
        for source_id in source_ids:
            before = _clips_by_shard(ledger)
            take_down(writer, source_id)
            purge(ledger, out / CLIPS, Store(out / FETCHED))
            pack(writer, out)
            removed, touched = _difference(before, _clips_by_shard(ledger))
            print(f"{source_id}: {removed} removed; shards rewritten or deleted: {touched}")


def _clips_by_shard(ledger: Ledger) -> dict[str, set[str]]:
    plan = shard_plan(ledger)
    return {name: {decision.clip_id for decision in decisions} for name, decisions in plan.items()}


def _difference(before: dict[str, set[str]], after: dict[str, set[str]]) -> tuple[str, str]:
    """How many clips are gone, and which shards are not what they were."""
    touched = sorted(name for name in before if before[name] != after.get(name))
    removed = sum(map(len, before.values())) - sum(map(len, after.values()))
    return counted(removed, "clip"), ", ".join(touched) or "none"


def repack(out: Path, *, dry_run: bool) -> None:
    """Plan all shards as if the corpus had been made in one run, and print how many change."""
    ledger = read_ledger(out)
    before = _clips_by_shard(ledger)
    ledger.shard_of.clear()
    after = _clips_by_shard(ledger)
    if not dry_run:
        with LedgerWriter.reopen(out) as writer:
            writer.forget_shards()
            pack(writer, out)
    same = sum(after.get(name) == clips for name, clips in before.items())
    print(f"{counted(len(before), 'shard')} before, {len(after)} after; {same} stay as they are")


def verify(out: Path, *, decode: bool, mend_first: bool) -> int:
    """Print every problem of the corpus; returns 1 if there is one."""
    if mend_first:
        with LedgerWriter.reopen(out) as writer:
            mend(writer, out)
    ledger = read_ledger(out)
    problems = list(iter_problems(ledger, out, decode=decode))
    for problem in problems:
        print(problem, file=sys.stderr)
    accepted = sum(decision.status == "accepted" for decision in ledger.decisions.values())
    print(f"{counted(accepted, 'clip')}, {counted(len(problems), 'problem')}")
    return 1 if problems else 0
