"""Fetching: the sources that are URLs become files, recorded in the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from aa_curation.check import Drop
from aa_curation.corpus.object_store import copy_objects
from aa_curation.crawl.crawler import Outcome, crawl
from aa_curation.crawl.policy import FetchPolicy
from aa_curation.crawl.store import Store
from aa_curation.errors import SourceError
from aa_curation.ledger.ledger import Ledger, LedgerWriter
from aa_curation.ledger.records import Fetch, Fetched, Survey, failed, rejected
from aa_curation.sources.source_list import Source, is_web
from aa_datasets.progress import progress


def fetch_sources(
    writer: LedgerWriter, sources: Sequence[Source], policy: FetchPolicy | None, store: Store
) -> list[Source]:
    """Fetch what is not in the store yet; returns the sources that have a file to survey.

    A source without a licence is not fetched, and left to the survey to reject. One that cannot be
    fetched gets its rejected or failed row here, and is left out of what is returned.

    Raises:
        SourceError: something is to be fetched, and no policy says by whom.
    """
    todo: dict[str, list[Source]] = {}
    for source in sources:
        if source.url and source.licence and _to_fetch(writer.ledger, source, store):
            todo.setdefault(source.url, []).append(source)
    web = [url for url in todo if is_web(url)]
    if web and policy is None:
        raise SourceError(
            f"sources are to be fetched from the web ({len(web)}): give --contact with an e-mail "
            "or an URL at which the owners of the sites can reach you"
        )
    for url, outcome in progress(
        _outcomes(web, [url for url in todo if not is_web(url)], policy, store),
        desc="fetch",
        unit="file",
        total=len(todo),
        disable=not todo,
    ):
        for source in todo[url]:
            _record(writer, source, outcome)
    return [located for s in sources if (located := _located(writer.ledger, s, store)) is not None]


def _outcomes(
    web: list[str], objects: list[str], policy: FetchPolicy | None, store: Store
) -> Iterator[tuple[str, Outcome]]:
    yield from copy_objects(objects, store)
    if policy is not None and web:
        yield from crawl(web, policy, store)


def _to_fetch(ledger: Ledger, source: Source, store: Store) -> bool:
    """Never asked for, asked under another URL, gone from the store, or met an outage."""
    fetch = ledger.fetches.get(source.source_id)
    if fetch is None or fetch.url != source.url:
        return True
    if fetch.file is not None:
        return not store.path(fetch.file.sha256).is_file()
    survey = ledger.surveys.get(source.source_id)
    return survey is None or any(d.status == "failed" for d in survey.decisions)


def _located(ledger: Ledger, source: Source, store: Store) -> Source | None:
    if not source.url or not source.licence:
        return source
    fetch = ledger.fetches.get(source.source_id)
    if fetch is None or fetch.file is None:
        return None
    return replace(source, path=store.path(fetch.file.sha256))


def _record(writer: LedgerWriter, source: Source, outcome: Outcome) -> None:
    file = outcome if isinstance(outcome, Fetched) else None
    writer.add_fetch(Fetch(source.source_id, source.url, file))
    if isinstance(outcome, Fetched):
        return
    clip_id = f"{source.source_id}-0000"
    if isinstance(outcome, Drop):
        row = rejected(clip_id, source.source_id, "fetch", outcome)
    else:
        row = failed(clip_id, source.source_id, "fetch", outcome)
    writer.add_survey(Survey(source.source_id, "", "", 0, 0, (), (row,), source.row_sha256))
