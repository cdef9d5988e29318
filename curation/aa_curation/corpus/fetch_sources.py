"""Fetching: the sources that are URLs become files, recorded in the ledger."""

from __future__ import annotations

import queue
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from threading import Event
from typing import Protocol

from aa_curation.check import Drop
from aa_curation.corpus.object_store import CopyLimits, copying
from aa_curation.crawl.crawler import Outcome, crawling
from aa_curation.crawl.fetch import Fetcher
from aa_curation.crawl.policy import FetchPolicy
from aa_curation.crawl.store import Store
from aa_curation.errors import SourceError
from aa_curation.ledger.file import LedgerWriter
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import Fetch, Fetched, Survey, failed, rejected
from aa_curation.sources.source_list import Source, is_web


class Fetchers(Protocol):
    """Processes that fetch, on other machines perhaps. Each host is one's, who keeps its pace.

    Attributes:
        count: how many.
    """

    count: int

    def fetcher(self, policy: FetchPolicy, store: Store) -> Fetcher:
        """One of whose requests each is made by the process of its host."""
        ...

    def copy(self, url: str, store: Store, limits: CopyLimits, stop: Event) -> Outcome:
        """See `copy_with_retries`."""
        ...

    def close(self) -> None:
        """End them, and calls that wait for them."""
        ...


class Fetches:
    """The fetching of sources, in the background; `with` starts and ends it.

    A source that cannot be fetched gets its rejected or failed row.

    Args:
        writer: of the ledger.
        sources: to be fetched, as `to_fetch` tells.
        policy: of the crawl.
        store: for the files.

    Attributes:
        waiting: URLs that are not fetched yet.
        fetchers: who fetches; None, as it is at first: this process.

    Raises:
        SourceError: something is to be fetched from the web, and no policy says by whom.
    """

    def __init__(
        self,
        writer: LedgerWriter,
        sources: Iterable[Source],
        policy: FetchPolicy | None,
        store: Store,
    ) -> None:
        self.waiting: dict[str, list[Source]] = {}
        for source in sources:
            self.waiting.setdefault(source.url, []).append(source)
        web = [url for url in self.waiting if is_web(url)]
        if web and policy is None:
            raise SourceError(
                f"sources are to be fetched from the web ({len(web)}): give --contact with an "
                "e-mail or an URL at which the owners of the sites can reach you"
            )
        self._writer, self._policy, self._store = writer, policy, store
        self._done: queue.SimpleQueue[tuple[str, Outcome]] = queue.SimpleQueue()
        self._running = ExitStack()
        self.fetchers: Fetchers | None = None

    def __enter__(self) -> Fetches:
        objects = [url for url in self.waiting if not is_web(url)]
        web = [url for url in self.waiting if is_web(url)]
        store, tell, them = self._store, self._done.put, self.fetchers
        if objects:
            copies = (None, them.copy, them.count) if them else ()
            self._running.enter_context(copying(objects, store, tell, *copies))
        if web and self._policy is not None:
            fetcher = them.fetcher(self._policy, store) if them else None
            self._running.enter_context(crawling(web, self._policy, store, tell, fetcher))
        return self

    def __exit__(self, *error: object) -> None:
        if self.fetchers is not None:
            self.fetchers.close()
        self._running.close()

    def poll(self, timeout_s: float) -> list[str]:
        """The ids of sources that were fetched, or refused, since the last call.

        Args:
            timeout_s: to wait for the first, if there are any to come.
        """
        found: list[str] = []
        while self.waiting:
            try:
                url, outcome = self._done.get(timeout=0.0 if found else timeout_s)
            except queue.Empty:
                break
            for source in self.waiting.pop(url):
                _record(self._writer, source, outcome)
                found.append(source.source_id)
        return found


def to_fetch(ledger: Ledger, source: Source, store: Store) -> bool:
    """Whether a source is an URL that was never asked for, was asked under another URL, is gone
    from the store, or met an outage. One without a licence is not fetched; the survey rejects
    it."""
    return bool(source.url and source.licence) and _is_missing(ledger, source, store)


def _is_missing(ledger: Ledger, source: Source, store: Store) -> bool:
    fetch = ledger.fetches.get(source.source_id)
    if fetch is None or fetch.url != source.url:
        return True
    if fetch.file is not None:
        return not store.path(fetch.file.sha256).is_file()
    survey = ledger.surveys.get(source.source_id)
    return survey is None or any(d.status == "failed" for d in survey.decisions)


def located(ledger: Ledger, source: Source, store: Store) -> Source | None:
    """The source with its file; None where it could not be fetched."""
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
