"""Exact duplicates: the same file under two source ids. Near ones take more than a hash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aa_curation.decision import Survey, rejected
from aa_curation.drop import Drop
from aa_curation.ledger import Ledger
from aa_curation.sources import Source


def reject_duplicates(ledger: Ledger, sources: Sequence[Source]) -> list[Survey]:
    """Surveys that replace those of duplicates: each of their clips is rejected.

    Of the same part of the same file, the one that was decided on by an earlier run stays, else
    the one whose id sorts first: the outcome does not depend on who was surveyed first.
    """
    kept: dict[object, str] = {}
    replacements = []

    def decided_first(source: Source) -> tuple[bool, str]:
        planned = ledger.surveys[source.source_id].planned
        return not any(c.clip_id in ledger.decisions for c in planned), source.source_id

    for source in sorted(sources, key=decided_first):
        survey = ledger.surveys[source.source_id]
        if not survey.planned:
            continue
        content = (survey.source_sha256, source.span_s, source.crop_px)
        first = kept.setdefault(content, source.source_id)
        if first != source.source_id:
            drop = Drop("duplicate", detail=f"the same bytes as source {first}")
            rows = (
                rejected(c.clip_id, c.source_id, "survey", drop, c.measurements)
                for c in survey.planned
            )
            replacements.append(replace(survey, planned=(), decisions=(*survey.decisions, *rows)))
    return replacements
