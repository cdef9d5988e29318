"""Exact duplicates: the same video under two source ids, perhaps in another container."""

from __future__ import annotations

from collections.abc import Sequence

from aa_curation.check import Drop
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import Decision, PlannedClip, rejected
from aa_curation.sources.source_list import Source


def reject_duplicates(ledger: Ledger, sources: Sequence[Source]) -> list[Decision]:
    """The rows of clips of duplicates. A source is one if its bytes are another's, or its packets,
    which is the same video in another container.

    Of the same part of the same video, one of a held-out split stays before any for training, then
    the source that was decided on by an earlier run, then the one whose id sorts first: the outcome
    does not depend on who was surveyed first.
    """
    kept: dict[object, str] = {}
    rows = []

    def still_in(source: Source) -> list[PlannedClip]:
        """Its clips that nothing has rejected yet."""
        survey = ledger.surveys.get(source.source_id)
        return [
            clip
            for clip in (survey.planned if survey else ())
            if (ledger.status_of(clip.clip_id) or ("", ""))[0] != "rejected"
        ]

    def rank(source: Source) -> tuple[bool, bool, str]:
        decided = any(clip.clip_id in ledger.decisions for clip in still_in(source))
        return source.split == "train", not decided, source.source_id

    twins = {
        source_id
        for column in ("source_sha256", "packets_sha256")
        for (source_id,) in ledger.sql(
            f"SELECT source_id FROM surveys WHERE {column} IN (SELECT {column} FROM surveys "
            f"WHERE {column} != '' GROUP BY {column} HAVING count(*) > 1)"
        )
    }
    for source in sorted((s for s in sources if s.source_id in twins), key=rank):
        clips = still_in(source)
        if not clips:
            continue
        survey = ledger.surveys[source.source_id]
        part = (source.span_s, source.crop_px)
        same = {"bytes": survey.source_sha256, "packets": survey.packets_sha256}
        found = {what: kept.get((what, sha256, part)) for what, sha256 in same.items()}
        twin = next(((what, first) for what, first in found.items() if first), None)
        if twin is None:
            kept.update({(what, sha, part): source.source_id for what, sha in same.items() if sha})
            continue
        drop = Drop("duplicate", detail=f"the same {twin[0]} as source {twin[1]}")
        rows += [rejected(c.clip_id, c.source_id, "survey", drop, c.checks) for c in clips]
    return rows
