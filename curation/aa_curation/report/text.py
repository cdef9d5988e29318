"""The ledger in words: the funnel, and why one clip is in or out."""

from __future__ import annotations

from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import Decision


def format_funnel(ledger: Ledger) -> str:
    """How many clips were planned, and what became of them, as lines of text."""
    funnel = ledger.funnel()
    totals = {
        status: sum(count for (its, _), count in funnel.items() if its == status)
        for status in ("accepted", "rejected", "failed")
    }
    planned = len(ledger.planned_ids)
    lines = [
        f"{planned:6d} planned  ({len(ledger.surveys)} sources, recipe {ledger.head.recipe_name})"
    ]
    for status, total in totals.items():
        lines.append(f"{total:6d} {status}")
        reasons = [(count, reason) for (its, reason), count in funnel.items() if its == status]
        for count, reason in sorted(reasons, key=lambda row: (-row[0], row[1])):
            if reason:
                lines.append(f"{count:13d} {reason}")
    undecided = planned - sum(totals.values())
    if undecided:
        lines.append(f"{undecided:6d} not yet decided: run the same command again")
    return "\n".join(lines)


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
        side = "at least" if check.low else "at most"
        lines.append(f"    {check.reason} {check.measured:.4g} ({side} {check.threshold:.4g})")
    if decision.clip:
        c = decision.clip
        lines.append(f"    {c.num_frames} frames of {c.size_hw[1]}x{c.size_hw[0]} at {c.fps:g} fps")
        lines.append(f"    {c.source}, {c.start_s:g}-{c.end_s:g} s; {c.licence}; {decision.owner}")
    return "\n".join(lines)
