"""The commands of aa-curate on a corpus that exists."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from aa_curation.corpus.near_duplicates import bounds_of, separate
from aa_curation.corpus.purge import make_tombstone, purge, take_down
from aa_curation.corpus.verify import iter_problems, mend
from aa_curation.corpus.write_shards import FETCHED, pack, shard_plan
from aa_curation.crawl.store import Store
from aa_curation.errors import LedgerError
from aa_curation.ledger.file import LedgerWriter, read_ledger
from aa_curation.ledger.ledger import Ledger
from aa_curation.steps.pack_shard import CLIPS
from aa_datasets.command_line import counted


def redecide(out: Path, thresholds: Mapping[str, float], *, dry_run: bool) -> None:
    """Decide again with other thresholds, pack, and print what changed."""
    if dry_run:
        _decide_again(read_ledger(out).copied(), thresholds)
        return
    with LedgerWriter.reopen(out) as writer:
        _decide_again(writer.ledger, thresholds)
        pack(writer, out)


def _decide_again(ledger: Ledger, thresholds: Mapping[str, float]) -> None:
    """Decide, keep recordings and splits apart, and print which clips went from where to where."""
    known = ledger.reasons_of_checks()
    if unknown := sorted(set(thresholds) - known):
        raise LedgerError(
            f"nothing was measured under {', '.join(unknown)}: this corpus has "
            f"{', '.join(sorted(known)) or 'no checks yet'}"
        )
    ((before,),) = ledger.sql("SELECT coalesce(max(number), 0) FROM replaced")
    ledger.add_thresholds(thresholds)
    _keep_the_best(ledger)
    moves = Counter(
        {
            ((old, why), (new, new_why) if new else None): count
            for old, why, new, new_why, count in ledger.sql(_MOVES, before)
            if (old, why) != (new, new_why)
        }
    )
    for (was, now), count in sorted(moves.items(), key=str):
        words = " ".join(now).strip() if now else "undecided: `aa-curate run` curates them"
        print(f"{count:6d} {' '.join(was).strip()} -> {words}")
    print(ledger)


# From what a clip was before the first change after a number, to what it is.
_MOVES = """
SELECT was.status, was.reason, clips.status, clips.reason, count(*)
FROM (SELECT clip_id, status, reason, min(number) FROM replaced WHERE number > ? GROUP BY clip_id)
AS was LEFT JOIN clips USING (clip_id)
GROUP BY was.status, was.reason, clips.status, clips.reason
"""


def takedown(out: Path, source_ids: Sequence[str], *, dry_run: bool) -> None:
    """Remove sources for good, or say what that would remove."""
    if dry_run:
        ledger = read_ledger(out).copied()
        for source_id in source_ids:
            before = _clips_by_shard(ledger)
            ledger.add_takedown(make_tombstone(ledger, source_id))
            removed, touched = _difference(before, _clips_by_shard(ledger))
            print(f"{source_id}: {removed} would be removed for good, from {touched}")
        return
    with LedgerWriter.reopen(out) as writer:
        said = []
        for source_id in source_ids:
            before = _clips_by_shard(writer.ledger)
            take_down(writer, source_id)
            removed, touched = _difference(before, _clips_by_shard(writer.ledger))
            said.append(f"{source_id}: {removed} removed; shards rewritten or deleted: {touched}")
        purge(writer.ledger, out / CLIPS, Store(out / FETCHED))
        pack(writer, out)
        print("\n".join(said))


def _clips_by_shard(ledger: Ledger) -> dict[str, set[str]]:
    return {name: set(clip_ids) for name, clip_ids in shard_plan(ledger).items()}


def _difference(before: dict[str, set[str]], after: dict[str, set[str]]) -> tuple[str, str]:
    """How many clips are gone, and which shards are not what they were."""
    touched = sorted(name for name in before if before[name] != after.get(name))
    removed = sum(map(len, before.values())) - sum(map(len, after.values()))
    return counted(removed, "clip"), ", ".join(touched) or "none"


def repack(out: Path, *, dry_run: bool) -> None:
    """Plan all shards afresh, and print how many change."""
    ledger = read_ledger(out).copied()
    before = _clips_by_shard(ledger)
    ledger.forget_shards()
    _keep_the_best(ledger)
    after = _clips_by_shard(ledger)
    if not dry_run:
        with LedgerWriter.reopen(out) as writer:
            writer.ledger.forget_shards()
            _keep_the_best(writer.ledger)
            pack(writer, out)
    same = sum(after.get(name) == clips for name, clips in before.items())
    print(f"{counted(len(before), 'shard')} before, {len(after)} after; {same} stay as they are")


def _keep_the_best(ledger: Ledger) -> None:
    """Keep the best of each recording that a corpus of many runs has several times."""
    for row in separate(ledger, bounds_of(ledger)):
        ledger.add_decision(row)


def review(out: Path, sources: Mapping[str, Path], port: int) -> None:
    """Serve the page of a review until Ctrl-C."""
    from aa_curation.review.answers import Review
    from aa_curation.review.server import make_server

    with make_server(Review(out, sources), port) as server:
        print(f"http://127.0.0.1:{server.server_port} shows {out}; Ctrl-C ends it", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def verify(out: Path, *, decode: bool, mend_first: bool) -> int:
    """Print every problem of the corpus; returns 1 if there is one."""
    if mend_first:
        with LedgerWriter.reopen(out) as writer:
            mend(writer, out)
    ledger = read_ledger(out)
    problems = list(iter_problems(ledger, out, decode=decode))
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{counted(ledger.num_of('accepted'), 'clip')}, {counted(len(problems), 'problem')}")
    return 1 if problems else 0
