"""The commands of aa-curate for a corpus that exists: redecide, takedown, verify."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from aa_curation.crawl.store import Store
from aa_curation.errors import LedgerError
from aa_curation.ledger import LedgerWriter, read_ledger
from aa_curation.pack import CLIPS, FETCHED, pack, shard_plan
from aa_curation.redecide import parse_setting
from aa_curation.removal import purge, take_down
from aa_curation.report import format_funnel
from aa_curation.verify import iter_problems


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
    verify.set_defaults(command=_verify)
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
    with LedgerWriter.reopen(arguments.out) as writer:
        ledger = writer.ledger
        known = Counter(c.reason for d in ledger.decisions.values() for c in d.checks)
        unknown = sorted(set(thresholds) - set(known))
        if unknown:
            raise LedgerError(
                f"nothing was measured under {', '.join(unknown)}: this corpus has "
                f"{', '.join(sorted(known)) or 'no checks yet'}"
            )
        before = {c: (d.status, d.reason) for c, d in ledger.decisions.items()}
        writer.add_thresholds(thresholds)
        pack(ledger, arguments.out, ledger.clips_per_shard)
        after = {c: (d.status, d.reason) for c, d in ledger.decisions.items()}
        moves = Counter(
            (before[clip], after.get(clip)) for clip in before if before[clip] != after.get(clip)
        )
        for (old, new), count in sorted(moves.items(), key=str):
            words = " ".join(new).strip() if new else "undecided: `aa-curate run` goes on with them"
            print(f"{count:6d} {' '.join(old).strip()} -> {words}")
        print(format_funnel(ledger))
    return 0


def _takedown(arguments: argparse.Namespace) -> int:
    with LedgerWriter.reopen(arguments.out) as writer:
        ledger = writer.ledger
        for source_id in arguments.source:
            before = _clips_by_shard(writer)
            take_down(writer, source_id)
            purge(ledger, arguments.out / CLIPS, Store(arguments.out / FETCHED))
            pack(ledger, arguments.out, ledger.clips_per_shard)
            after = _clips_by_shard(writer)
            touched = sorted(name for name in before if before[name] != after.get(name))
            removed = sum(map(len, before.values())) - sum(map(len, after.values()))
            print(
                f"{source_id}: {removed} clips removed; shards written anew or deleted: "
                f"{', '.join(touched) or 'none'}"
            )
    return 0


def _clips_by_shard(writer: LedgerWriter) -> dict[str, set[str]]:
    plan = shard_plan(writer.ledger, writer.ledger.clips_per_shard)
    return {name: {decision.clip_id for decision in decisions} for name, decisions in plan.items()}


def _verify(arguments: argparse.Namespace) -> int:
    ledger = read_ledger(arguments.out)
    problems = list(iter_problems(ledger, arguments.out, decode=arguments.decode))
    for problem in problems:
        print(problem, file=sys.stderr)
    accepted = sum(decision.status == "accepted" for decision in ledger.decisions.values())
    print(f"{accepted} clips, {len(problems)} problems")
    return 1 if problems else 0
