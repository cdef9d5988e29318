"""Removal: what a takedown does to files, and to the sources of later runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aa_curation.crawl.store import Store
from aa_curation.errors import LedgerError
from aa_curation.ledger.file import LedgerWriter, read_ledger
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.takedown import Takedown, barred
from aa_curation.sources.source_list import Source


def make_tombstone(ledger: Ledger, source_id: str) -> Takedown:
    """What bars a source from now on; the one that is there, if there is one.

    Raises:
        LedgerError: the corpus knows no such source.
    """
    survey, fetch = ledger.surveys.get(source_id), ledger.fetches.get(source_id)
    if survey is None and fetch is None:
        raise LedgerError(
            f"no source {source_id!r} in this corpus: `aa-curate report` names the clips, and "
            "clips.csv the source of each"
        )
    return ledger.takedowns.get(source_id) or Takedown(
        source_id=source_id,
        url=fetch.url if fetch else "",
        source_sha256=survey.source_sha256 if survey else "",
        packets_sha256=survey.packets_sha256 if survey else "",
        file_sha256=fetch.file.sha256 if fetch and fetch.file else "",
    )


def take_down(writer: LedgerWriter, source_id: str) -> Takedown:
    """Write the tombstone of a source; its files go with `purge`, its clips with `pack`.

    Raises:
        LedgerError: the corpus knows no such source.
    """
    tombstone = make_tombstone(writer.ledger, source_id)
    if source_id not in writer.ledger.takedowns:
        writer.add_takedown(tombstone)
    return tombstone


def purge(ledger: Ledger, clips_folder: Path, store: Store) -> None:
    """Delete the clips and the fetched files of all that is taken down; repeatable.

    A takedown that was killed between its line and this is finished by the next run.
    """
    held = {survey.source_id for survey in ledger.surveys_of(ledger.takedowns.values())}
    if held:
        for path in clips_folder.iterdir():
            # Also clips of an earlier survey of the source, which no decision names any more.
            # Or half of one: ".<clip_id>.mp4.<pid>.tmp".
            if path.name.lstrip(".").partition(".")[0].rpartition("-")[0] in held:
                path.unlink()
    urls = {tombstone.url for tombstone in ledger.takedowns.values()}
    hashes = {tombstone.file_sha256 for tombstone in ledger.takedowns.values()}
    for source_id in held:  # under whatever name and URL the same file was fetched
        fetch = ledger.fetches.get(source_id)
        if fetch is not None:
            urls.add(fetch.url)
            hashes.add(fetch.file.sha256 if fetch.file else "")
    for sha256 in hashes - {""}:
        store.path(sha256).unlink(missing_ok=True)
    for url in urls - {""}:
        store.partial(url).discard()


def without_barred(writer: LedgerWriter, sources: Sequence[Source]) -> list[Source]:
    """The sources that no tombstone names; the others are rejected without a look at them.

    Nor is an URL asked again whose file turned out to be one that was taken down.
    """
    kept, tombstones = [], writer.ledger.tombstones
    held = {s.source_id for s in writer.ledger.surveys_of(writer.ledger.takedowns.values())}
    for source in sources:
        if tombstones.bar(source.source_id, source.url):
            if source.source_id not in writer.ledger.surveys:
                writer.add_survey(barred(source.source_id))
        elif not (source.url and source.source_id in held):
            kept.append(source)
    return kept


def adopt_takedowns(writer: LedgerWriter, folder: Path) -> int:
    """Let the tombstones of another corpus hold here, too; returns how many are new.

    They bar an URL and a content, not an id: that names another source here. With "@" in it, it is
    the id of no source here.

    Raises:
        LedgerError: `folder` holds no corpus.
    """
    other, new = read_ledger(folder), 0
    for tombstone in other.takedowns.values():
        name = f"{tombstone.source_id}@{other.head.recipe_sha256[:12]}"
        if name not in writer.ledger.takedowns:
            writer.add_takedown(replace(tombstone, source_id=name))
            new += 1
    return new
