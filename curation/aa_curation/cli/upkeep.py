"""The commands of aa-curate for a corpus that exists: redecide, takedown, verify."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from aa_curation.corpus.near_duplicates import bounds_of, separate
from aa_curation.corpus.purge import make_tombstone, purge, take_down
from aa_curation.corpus.verify import iter_problems, mend
from aa_curation.corpus.write_shards import CLIPS, FETCHED, pack, shard_plan
from aa_curation.crawl.store import Store
from aa_curation.errors import LedgerError
from aa_curation.ledger.ledger import Ledger, LedgerWriter, read_ledger
from aa_curation.ledger.records import Decision
from aa_curation.ledger.redecide import parse_setting
from aa_curation.report.text import format_funnel


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands; each takes --out."""
    redecide = commands.add_parser(
        "redecide", help="change thresholds, from what was measured, without decoding"
    )
    redecide.add_argument(
        "--set",
        action="append",
        required=True,
        dest="settings",
        type=_setting,
        metavar="NAME=VALUE",
        help="the threshold of a check by its reason, as `aa-curate why` shows it",
    )
    redecide.set_defaults(command=_redecide)
    takedown = commands.add_parser(
        "takedown", help="remove a source from every shard; it cannot come back"
    )
    takedown.add_argument("--source", required=True, action="append", metavar="ID")
    takedown.set_defaults(command=_takedown)
    verify = commands.add_parser("verify", help="whether the corpus is what its ledger says")
    verify.add_argument(
        "--decode", action="store_true", help="also decode the last frame of every clip"
    )
    verify.add_argument(
        "--mend", action="store_true", help="write damaged shards anew, from the files in clips/"
    )
    verify.set_defaults(command=_verify)
    for command in (redecide, takedown):
        command.add_argument(
            "--dry-run", action="store_true", help="say what would change, and change nothing"
        )
    for command in (redecide, takedown, verify):
        command.add_argument(
            "--out",
            type=Path,
            default=Path("corpus"),
            metavar="DIR",
            help="folder of the corpus (default: corpus)",
        )


def _setting(text: str) -> tuple[str, float]:
    try:
        return parse_setting(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _redecide(arguments: argparse.Namespace) -> int:
    thresholds = dict(arguments.settings)
    if arguments.dry_run:
        ledger = read_ledger(arguments.out)
        _check_measured(ledger, thresholds)
        _decide_again(ledger, lambda: ledger.add_thresholds(thresholds), ledger.add_decision)
        return 0
    with LedgerWriter.reopen(arguments.out) as writer:
        _check_measured(writer.ledger, thresholds)
        _decide_again(writer.ledger, lambda: writer.add_thresholds(thresholds), writer.add_decision)
        pack(writer.ledger, arguments.out, writer.ledger.head.clips_per_shard)
    return 0


def _check_measured(ledger: Ledger, thresholds: Mapping[str, float]) -> None:
    known = Counter(c.reason for d in ledger.decisions.values() for c in d.checks)
    unknown = sorted(set(thresholds) - set(known))
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
        words = " ".join(new).strip() if new else "undecided: `aa-curate run` goes on with them"
        print(f"{count:6d} {' '.join(old).strip()} -> {words}")
    print(format_funnel(ledger))


def _takedown(arguments: argparse.Namespace) -> int:
    if arguments.dry_run:
        ledger = read_ledger(arguments.out)
        for source_id in arguments.source:
            before = _clips_by_shard(ledger)
            ledger.add_takedown(make_tombstone(ledger, source_id))
            removed, touched = _difference(before, _clips_by_shard(ledger))
            print(f"{source_id}: {removed} clips would be removed for good, from {touched}")
        return 0
    with LedgerWriter.reopen(arguments.out) as writer:
        ledger = writer.ledger
        for source_id in arguments.source:
            before = _clips_by_shard(ledger)
            take_down(writer, source_id)
            purge(ledger, arguments.out / CLIPS, Store(arguments.out / FETCHED))
            pack(ledger, arguments.out, ledger.head.clips_per_shard)
            removed, touched = _difference(before, _clips_by_shard(ledger))
            print(
                f"{source_id}: {removed} clips removed; shards written anew or deleted: {touched}"
            )
    return 0


def _clips_by_shard(ledger: Ledger) -> dict[str, set[str]]:
    plan = shard_plan(ledger, ledger.head.clips_per_shard)
    return {name: {decision.clip_id for decision in decisions} for name, decisions in plan.items()}


def _difference(before: dict[str, set[str]], after: dict[str, set[str]]) -> tuple[int, str]:
    """How many clips are gone, and which shards are not what they were."""
    touched = sorted(name for name in before if before[name] != after.get(name))
    removed = sum(map(len, before.values())) - sum(map(len, after.values()))
    return removed, ", ".join(touched) or "none"


def _verify(arguments: argparse.Namespace) -> int:
    if arguments.mend:
        with LedgerWriter.reopen(arguments.out) as writer:
            mend(writer.ledger, arguments.out)
    ledger = read_ledger(arguments.out)
    problems = list(iter_problems(ledger, arguments.out, decode=arguments.decode))
    for problem in problems:
        print(problem, file=sys.stderr)
    accepted = sum(decision.status == "accepted" for decision in ledger.decisions.values())
    print(f"{accepted} clips, {len(problems)} problems")
    return 1 if problems else 0
