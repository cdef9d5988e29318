"""The ledger in words: what may be used, and why one clip is in or out."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aa_curation.check import Check
from aa_curation.errors import LedgerError
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import Decision
from aa_curation.report.measurements import MEANINGS

if TYPE_CHECKING:
    from aa_curation.sources.source_list import Source

_NAMES = 10_000  # that are compared with one that is unknown


def format_licences(ledger: Ledger) -> str:
    """Under which licence, owner and split how many clips and hours were accepted, as a table."""
    rows = ledger.sql(
        "SELECT licence, owner, split, count(*), round(sum(duration_s) / 3600, 3) FROM clips "
        "WHERE status = 'accepted' GROUP BY licence, owner, split ORDER BY count(*) DESC, 1, 2, 3"
    )
    import pandas

    table = pandas.DataFrame(rows, columns=["licence", "owner", "split", "clips", "hours"])
    return "no clip is accepted" if table.empty else str(table.to_string(index=False))


def write_csv(ledger: Ledger, path: Path) -> None:
    """Write a table: one row per clip, one column per measurement."""
    with path.open("w", newline="", encoding="utf-8") as file:
        for number, frame in enumerate(ledger.iter_frames()):
            frame.to_csv(file, index=False, header=number == 0)


def format_plan(sources: Sequence[Source]) -> str:
    """What lists of sources hold: by split, kind and licence, and the hosts to be asked."""
    rows = Counter(
        (s.split, "synthetic" if s.synthetic else "footage", s.licence or "NO LICENCE: rejected")
        for s in sources
    )
    lines = [
        f"{count:6d} sources  {split:8s} {kind:10s} {licence}"
        for (split, kind, licence), count in sorted(rows.items())
    ]
    urls = {s.url for s in sources if s.url and s.licence}
    hosts = Counter(str(urlsplit(url).hostname) for url in urls)
    lines += [f"{count:6d} URLs to fetch from {host}" for host, count in sorted(hosts.items())]
    return "\n".join(lines)


def find_decisions(ledger: Ledger, wanted: str, folder: Path) -> list[Decision]:
    """The decisions on a clip, on all clips of a source, or on those whose id begins so.

    Raises:
        LedgerError: there are none; the message suggests ids that are alike.
    """
    if found := ledger.find(wanted):
        return found
    ids = ledger.names_like(wanted, _NAMES)
    by_beginning = {name[: len(wanted)]: name for name in reversed(ids)}
    alike = [by_beginning[b] for b in difflib.get_close_matches(wanted, by_beginning, 3)]
    alike += [name for name in ids if wanted in name and name not in alike]
    raise LedgerError(
        f"no clip or source {wanted!r} is decided in {folder}: "
        + (f"did you mean {', '.join(alike[:3])}? " if alike else "")
        + f"`aa-curate report --clips --out {folder}` lists them"
    )


def _bound_of(check: Check) -> str:
    # A share is never below 0: such a bound, as an infinite one, drops nothing.
    is_share = MEANINGS.get(check.reason, "").startswith("share")
    if math.isinf(check.threshold) or (check.low and check.threshold == 0 and is_share):
        return "measured, never a reason to drop"
    return f"{'at least' if check.low else 'at most'} {check.threshold:.4g}"


def format_why(decision: Decision, *, short: bool = False) -> str:
    """One clip's decision; `short` gives one line."""
    line = f"{decision.clip_id}: {decision.status}"
    if decision.reason:
        line += f", {decision.reason}"
    if decision.measured is not None:
        bound = "" if decision.threshold is None else f", bound {decision.threshold:.4g}"
        line += f" (measured {decision.measured:.4g}{bound})"
    if short:
        return line
    lines = [line]
    lines += [f"    {text}" for text in decision.detail.rstrip().splitlines()]
    for check in decision.checks:
        broken, meaning = "" if check.passed else " <- not met", MEANINGS.get(check.reason)
        told = f"{check.reason} {check.measured:.4g} ({_bound_of(check)}){broken}"
        lines.append(f"    {told}: {meaning}" if meaning else f"    {told}")
    if decision.clip:
        c = decision.clip
        lines.append(f"    {c.num_frames} frames of {c.size_hw[1]}x{c.size_hw[0]} at {c.fps:g} fps")
        owner = decision.owner or "not stated"
        lines.append(
            f"    {c.source}, {c.start_s:.2f}-{c.end_s:.2f} s; licence {c.licence}; owner {owner}"
        )
    return "\n".join(lines)
