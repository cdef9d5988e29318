"""Removal: what a takedown does to files, and to the sources of later runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aa_curation.crawl.store import Store
from aa_curation.errors import LedgerError
from aa_curation.ledger import Ledger, LedgerWriter
from aa_curation.sources import Source
from aa_curation.takedown import REASON, Takedown, barred


def take_down(writer: LedgerWriter, source_id: str) -> Takedown:
    """Write the tombstone of a source; its files go with `purge`, its clips with `pack`.

    Raises:
        LedgerError: the corpus knows no such source.
    """
    ledger = writer.ledger
    survey, fetch = ledger.surveys.get(source_id), ledger.fetches.get(source_id)
    if survey is None and fetch is None:
        raise LedgerError(
            f"no source {source_id!r} in this corpus: `aa-curate report` names the clips, and "
            "clips.csv the source of each"
        )
    known = ledger.takedowns.get(source_id)
    if known is not None:
        return known
    tombstone = Takedown(
        source_id=source_id,
        url=fetch.url if fetch else "",
        source_sha256=survey.source_sha256 if survey else "",
        packets_sha256=survey.packets_sha256 if survey else "",
        file_sha256=fetch.file.sha256 if fetch and fetch.file else "",
    )
    writer.add_takedown(tombstone)
    return tombstone


def purge(ledger: Ledger, clips_folder: Path, store: Store) -> None:
    """Delete the clips and the fetched files of all that is taken down; what is gone stays so.

    A takedown that was killed between its line and this is finished by whoever runs next.
    """
    for decision in ledger.decisions.values():
        if decision.reason == REASON:
            for kind in ("mp4", "pose.npz"):
                (clips_folder / f"{decision.clip_id}.{kind}").unlink(missing_ok=True)
    for tombstone in ledger.takedowns.values():
        if tombstone.file_sha256:
            store.path(tombstone.file_sha256).unlink(missing_ok=True)
        if tombstone.url:
            store.partial(tombstone.url).discard()


def without_barred(writer: LedgerWriter, sources: Sequence[Source]) -> list[Source]:
    """The sources that no tombstone names; the others are rejected without a look at them."""
    kept = []
    for source in sources:
        tombstones = writer.ledger.takedowns.values()
        if not any(tombstone.bars(source.source_id, source.url) for tombstone in tombstones):
            kept.append(source)
        elif source.source_id not in writer.ledger.surveys:
            writer.add_survey(barred(source.source_id))
    return kept
