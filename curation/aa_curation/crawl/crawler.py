"""Crawl: fetch many URLs, from many hosts at once, from each host one URL after the other."""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from aa_curation.check import Drop
from aa_curation.crawl.fetch import Attempts, Fetcher, TryAgainError
from aa_curation.crawl.http_get import parse_url
from aa_curation.crawl.policy import FetchPolicy
from aa_curation.crawl.store import Store
from aa_curation.errors import FetchOutageError, FetchRefusedError
from aa_curation.ledger.records import Fetched

Outcome = Fetched | Drop | Exception


@contextmanager
def crawling(
    urls: Sequence[str],
    policy: FetchPolicy,
    store: Store,
    tell: Callable[[tuple[str, Outcome]], None],
    fetcher: Fetcher | None = None,
) -> Iterator[None]:
    """Fetch URLs in threads of their own; leaving the context ends them at their next chunk.

    Each host has a queue, in the order of the URLs, and hosts take turns: while one is to be left
    alone, for its pace or as it asked, no thread waits for it.

    Args:
        urls: of http and https.
        policy: rates and limits.
        store: for the files.
        tell: called in the threads with each URL and its outcome: a file, the reason for its
            refusal, or an exception, which is a FetchOutageError or a bug.
        fetcher: who asks the hosts; None: this process.
    """
    fetcher = fetcher or Fetcher(policy, store)
    turns = _Turns(urls, fetcher)

    def work() -> None:
        while (turn := turns.take()) is not None:
            try:
                outcome = turns.outcome(turn)
            except TryAgainError as error:
                turns.put_back(turn, error.wait_s)
                continue
            tell((turn.url, outcome))
            turns.end(turn)

    threads = min(fetcher.hosts_at_once, turns.num_hosts)
    with ThreadPoolExecutor(max(1, threads), thread_name_prefix="crawl") as pool:
        try:
            for _ in range(threads):
                pool.submit(work)
            yield
        finally:
            fetcher.close()
            turns.stop()


@dataclass(slots=True)
class _Turn:
    """One URL's; `attempts` are there once it was asked for."""

    host: str
    url: str
    origin: str
    attempts: Attempts | None = None


class _Turns:
    """Queues of URLs by host, and which host may be asked first. A host has one thread at a time.

    Attributes:
        num_hosts: of all URLs.
    """

    def __init__(self, urls: Sequence[str], fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._queues: dict[str, deque[_Turn]] = {}
        for url in dict.fromkeys(urls):
            host, origin = _host_and_origin(url)
            self._queues.setdefault(host, deque()).append(_Turn(host, url, origin))
        self.num_hosts = len(self._queues)
        self._outages: Counter[str] = Counter()  # in a row, by origin: one port may be down alone
        self._changed = threading.Condition()
        # When a host may be asked, whose turn it was first, and the host; without those at work.
        self._free = [(0.0, number, host) for number, host in enumerate(self._queues)]
        self._number = len(self._free)

    def take(self) -> _Turn | None:
        """The next one, once its host may be asked; None when nothing is left."""
        with self._changed:
            while self._queues:
                wait_s = self._free[0][0] - time.monotonic() if self._free else None
                if wait_s is not None and wait_s <= 0:
                    _, _, host = heapq.heappop(self._free)
                    return self._queues[host].popleft()
                self._changed.wait(wait_s)
            return None

    def outcome(self, turn: _Turn) -> Outcome:
        """Ask once. Raises TryAgainError where its host is to be asked again later."""
        in_a_row = self._outages[turn.origin]
        if turn.attempts is None and in_a_row >= self._fetcher.policy.give_up_host_after:
            return FetchOutageError(f"not asked: {in_a_row} outages of {turn.origin} in a row")
        turn.attempts = turn.attempts or Attempts(self._fetcher, turn.url)
        try:
            outcome = turn.attempts.next()
        except TryAgainError:
            raise
        except FetchOutageError as error:
            self._outages[turn.origin] += error.of_host
            return error
        except Exception as error:  # noqa: BLE001  # the edge of the thread: a failed row
            return error
        # Each slow answer costs as long as an outage.
        slow = isinstance(outcome, Drop) and outcome.reason == "too_slow"
        self._outages[turn.origin] = in_a_row + 1 if slow else 0
        return outcome

    def put_back(self, turn: _Turn, wait_s: float) -> None:
        """Leave its host alone for so long, then ask again."""
        with self._changed:
            if turn.host in self._queues:
                self._queues[turn.host].appendleft(turn)
                self._let(turn.host, wait_s)

    def end(self, turn: _Turn) -> None:
        with self._changed:
            if self._queues.get(turn.host):
                self._let(turn.host, 0.0)
            else:
                self._queues.pop(turn.host, None)
                self._changed.notify_all()

    def _let(self, host: str, wait_s: float) -> None:
        at_s = time.monotonic() + max(wait_s, self._fetcher.wait_s(host))
        self._number += 1
        heapq.heappush(self._free, (at_s, self._number, host))
        self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._queues.clear()
            self._free.clear()
            self._changed.notify_all()


def _host_and_origin(url: str) -> tuple[str, str]:
    try:
        parts = parse_url(url)
    except FetchRefusedError:
        return "", ""  # refused again, for its reason, when it is fetched
    return parts.host, parts.origin
