"""Crawl: fetch many URLs, from many hosts at once, from each host one URL after the other."""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from aa_curation.check import Drop
from aa_curation.crawl.fetch import Fetcher
from aa_curation.crawl.http_get import parse_url
from aa_curation.crawl.policy import FetchPolicy
from aa_curation.crawl.store import Store
from aa_curation.errors import FetchOutageError, FetchRefusedError
from aa_curation.ledger.records import Fetched

Outcome = Fetched | Drop | Exception


def crawl(urls: Sequence[str], policy: FetchPolicy, store: Store) -> Iterator[tuple[str, Outcome]]:
    """Fetch URLs; yield each with its outcome, as they finish.

    An outcome is a file, the reason for its refusal, or an exception: a FetchOutageError, or a bug.
    Closing the generator stops its threads at their next chunk.
    """
    by_host: dict[str, list[tuple[str, str]]] = {}
    for url in dict.fromkeys(urls):
        host, origin = _host_and_origin(url)
        by_host.setdefault(host, []).append((url, origin))
    fetcher = Fetcher(policy, store)
    done: queue.SimpleQueue[tuple[str, Outcome]] = queue.SimpleQueue()

    def one_host(of_host: list[tuple[str, str]]) -> None:
        outages: Counter[str] = Counter()  # in a row, by origin: one port may be down alone
        for url, origin in of_host:
            outcome: Outcome
            if outages[origin] >= policy.give_up_host_after:
                outcome = FetchOutageError(
                    f"not asked: {outages[origin]} outages of {origin} in a row"
                )
            else:
                try:
                    outcome = fetcher.fetch(url)
                    # Each slow answer costs as long as an outage.
                    slow = isinstance(outcome, Drop) and outcome.reason == "too_slow"
                    outages[origin] = outages[origin] + 1 if slow else 0
                except FetchOutageError as error:
                    outcome = error
                    outages[origin] += error.of_host
                except Exception as error:  # noqa: BLE001  # the edge of the thread: a failed row
                    outcome = error
            done.put((url, outcome))

    with ThreadPoolExecutor(policy.hosts_at_once, thread_name_prefix="crawl") as pool:
        try:
            for of_host in by_host.values():
                pool.submit(one_host, of_host)
            for _ in range(sum(len(of_host) for of_host in by_host.values())):
                yield done.get()
        finally:
            fetcher.stop.set()
            pool.shutdown(cancel_futures=True)


def _host_and_origin(url: str) -> tuple[str, str]:
    try:
        parts = parse_url(url)
    except FetchRefusedError:
        return "", ""  # refused again, for its reason, when it is fetched
    return parts.host, parts.origin
