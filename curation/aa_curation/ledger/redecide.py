"""Redecide: other thresholds for a corpus, from what was measured, without decoding a frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from aa_curation.check import first_drop, with_thresholds
from aa_curation.errors import LedgerError
from aa_curation.ledger.checks import CheckPage, passes
from aa_curation.ledger.records import Decision

STANDS = "clip_id, status, stage, reason"


def redecided(decision: Decision, thresholds: Mapping[str, float]) -> Decision | None:
    """The decision as it would be with these thresholds; None if steps that never ran must tell.

    Only what checks decided is decided again: a damaged file, a duplicate or a missing licence stay
    what they are. A near duplicate, or a leak between splits, must pass its own checks before it
    may come back (`near_duplicates.separate` decides that). An accepted clip that is rejected here
    keeps its record, so that it can come back without being encoded again.

    Args:
        decision: of a clip, under any thresholds.
        thresholds: `{reason: threshold}` of the checks to change.
    """
    checks = with_thresholds(decision.checks, thresholds)
    by_a_check = decision.reason in {check.reason for check in checks}
    compared = decision.status == "rejected" and decision.stage == "dedup"
    if checks == decision.checks or not (decision.status == "accepted" or by_a_check or compared):
        return decision
    drop = first_drop(checks)
    if drop is not None:
        same = decision.reason == drop.reason
        return replace(
            decision,
            status="rejected",
            stage=decision.stage if same else "redecide",
            reason=drop.reason,
            measured=drop.measured,
            threshold=drop.threshold,
            detail="",
            checks=checks,
        )
    if compared:
        return replace(decision, checks=checks)
    if decision.clip is None:
        return None  # it was rejected before it was encoded
    if decision.status != "accepted":
        decision = decision.accepted("redecide")
    return replace(decision, checks=checks)


def may_change(pages: Iterable[CheckPage], thresholds: Mapping[str, float]) -> Iterator[str]:
    """The clips that other thresholds may decide otherwise.

    Args:
        pages: all checks under these thresholds, with the columns `STANDS` of their clips.
        thresholds: those that change.
    """
    for page in pages:
        (failed,) = np.nonzero(~passes(page.checks))
        rows, first = np.unique(page.row[failed], return_index=True)
        fails = np.full(len(page.clips), -1)  # the first check that does; -1: none
        fails[rows] = page.checks["reason"][failed[first]]
        codes = {reason: code for code, reason in page.reasons.items()}
        asked = [code for reason, code in codes.items() if reason in thresholds]
        for place in np.unique(page.row[np.isin(page.checks["reason"], asked)]).tolist():
            clip_id, status, stage, reason = page.clips[place]
            if status == "accepted" or (status == "rejected" and stage == "dedup"):
                changed = fails[place] >= 0
            else:  # also what no check decided: `redecided` leaves that as it is
                changed = reason in thresholds or fails[place] != codes.get(reason, -1)
            if changed:
                yield clip_id


def parse_setting(text: str) -> tuple[str, float]:
    """`"small_person=0.05"` as a reason and a threshold.

    Raises:
        LedgerError: it has another form.
    """
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise LedgerError(f"{text!r} is not NAME=VALUE, such as small_person=0.05")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise LedgerError(f"{value!r} in {text!r} is not a number") from None
