"""Exact duplicates: the same video under two source ids, perhaps in another container."""

from __future__ import annotations

from collections.abc import Mapping

from aa_curation.check import Drop
from aa_curation.corpus.pending import NOT_LISTED
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import Decision, PlannedClip, rejected
from aa_curation.ledger.takedown import REASON as TAKEN_DOWN
from aa_curation.sources.source_list import Source


def reject_duplicates(
    ledger: Ledger, sources: Mapping[str, Source], *, through_block: int
) -> list[Decision]:
    """The rows of clips of duplicates. A source is one if its bytes are another's, or its packets,
    which is the same video in another container.

    Of the same part of the same video, one of a held-out split stays before any for training, then
    the source of the earlier block, then the one whose id sorts first: the outcome does not depend
    on who was surveyed first.

    Args:
        ledger: of the corpus.
        sources: that are listed, by their ids.
        through_block: look at the sources of this block and those before it only.
    """
    kept: dict[object, str] = {}
    rows = []

    def still_in(source: Source) -> list[PlannedClip]:
        """What its survey left in. Not what is decided of its content afterwards, which is decided
        of its twin's, too, and may not be yet."""
        survey = ledger.surveys.get(source.source_id)
        clips = survey.planned if survey else ()
        found = ((clip, ledger.decisions.get(clip.clip_id)) for clip in clips)
        return [clip for clip, row in found if row is None or not _is_out(row)]

    twins = {
        source_id
        for column in ("source_sha256", "packets_sha256")
        for (source_id,) in ledger.sql(
            f"SELECT source_id FROM surveys WHERE {column} IN (SELECT {column} FROM surveys "
            f"WHERE {column} != '' GROUP BY {column} HAVING count(*) > 1)"
        )
        if source_id in sources
    }
    ranks = {name: (sources[name].split == "train", ledger.block_of(name), name) for name in twins}
    for name in sorted(twins, key=lambda name: ranks[name]):
        source, (_, block, _) = sources[name], ranks[name]
        if block > through_block or not (clips := still_in(source)):
            continue
        survey = ledger.surveys[name]
        part = (source.span_s, source.crop_px)
        same = {"bytes": survey.source_sha256, "packets": survey.packets_sha256}
        found = {what: kept.get((what, sha256, part)) for what, sha256 in same.items()}
        twin = next(((what, first) for what, first in found.items() if first), None)
        if twin is None:
            kept.update({(what, sha, part): name for what, sha in same.items() if sha})
            continue
        drop = Drop("duplicate", detail=f"the same {twin[0]} as source {twin[1]}")
        rows += [rejected(c.clip_id, name, "survey", drop, c.checks) for c in clips]
    return rows


def _is_out(row: Decision) -> bool:
    early = row.stage in {"plan", "fetch", "survey"} or row.reason in {NOT_LISTED, TAKEN_DOWN}
    return row.status == "rejected" and early
