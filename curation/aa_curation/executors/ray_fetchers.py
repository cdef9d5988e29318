"""Fetching on a cluster: each host is the matter of one process, which keeps its pace.

The driver keeps the queues, and decides as ever (see `aa_curation.crawl.crawler`): only a request,
with its body, is another process's. Which one a hash of the host tells, so that two never ask one
host, redirects included. Bodies go to the store, which all nodes share.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from aa_curation.corpus.object_store import CopyLimits, copy_with_retries
from aa_curation.crawl.crawler import Outcome
from aa_curation.crawl.fetch import Fetcher
from aa_curation.crawl.http_get import Url
from aa_curation.crawl.policy import FetchPolicy
from aa_curation.crawl.store import Partial, Store
from aa_curation.errors import CurationError, FetchOutageError, WorkerDiedError
from aa_curation.ledger.records import Fetched

ATTEMPTS = 2  # a task is given up after its second crashed worker
_CALLS_AT_ONCE = 64  # of one process; most wait for the network


class FetchWorker:
    """One of the processes.

    Args:
        store_folder: where bodies go.
        policy: of the crawl; None where there are only objects.
        alone_s: how long hosts are to be left alone yet: see `Fetcher`.
    """

    def __init__(
        self, store_folder: Path, policy: FetchPolicy | None, alone_s: Mapping[str, float]
    ) -> None:
        self._store = Store(store_folder)
        now_s = time.monotonic()
        until_s = {host: now_s + left_s for host, left_s in alone_s.items()}
        self._fetcher = Fetcher(policy, self._store, alone=until_s) if policy else None

    def ask(self, text: str, url: Url) -> tuple[Fetched | str | Exception, float]:
        """See `Fetcher.ask`. Gives an error as it is, and how long the host is to be left alone."""
        assert self._fetcher is not None
        answer: Fetched | str | Exception
        try:
            answer = self._fetcher.ask(text, url, self._store.partial(text))
        except Exception as error:  # noqa: BLE001  # the edge of the process: the driver raises it
            answer = error
        return answer, self._fetcher.left_s(url.host)

    def copy(self, url: str, limits: CopyLimits) -> Outcome:
        """See `copy_with_retries`; the driver ends the process, and not this one by one."""
        return copy_with_retries(url, self._store, limits, threading.Event())


class RayFetchers:
    """See `Fetchers`. A process that dies is replaced, and what it was doing is done again: the
    second time that this happens to a request, its source is a failed row.

    Args:
        count: of processes, spread over the nodes.
        store: shared by them.
    """

    def __init__(self, count: int, store: Store) -> None:
        self.count = count
        self._folder = store.folder
        self._make = ray.remote(FetchWorker).options(
            num_cpus=0, scheduling_strategy="SPREAD", max_concurrency=_CALLS_AT_ONCE
        )
        self._policy: FetchPolicy | None = None
        self._actors: dict[int, Any] = {}
        self._lock = threading.Lock()
        self.closed = threading.Event()
        self.free_s: dict[str, float] = {}  # monotonic seconds, by host: when it may be asked

    def fetcher(self, policy: FetchPolicy, store: Store) -> Fetcher:
        """See `Fetchers`."""
        self._policy = policy
        return _Fetcher(policy, store, self)

    def copy(self, url: str, store: Store, limits: CopyLimits, stop: threading.Event) -> Outcome:
        """See `Fetchers`."""
        try:
            outcome: Outcome = self.call(url, "copy", url, limits)
        except CurationError as error:  # its process died
            return error
        return outcome

    def call(self, key: str, method: str, *arguments: object) -> Any:
        """Call a method of the process that a host belongs to.

        Raises:
            WorkerDiedError: it died each time.
            FetchOutageError: this was closed.
        """
        number = _owner(key, self.count)
        for left in reversed(range(ATTEMPTS)):
            actor = self._actor(number)
            try:
                return ray.get(getattr(actor, method).remote(*arguments))
            except RayTaskError as error:
                raise error.cause from None
            except RayError as error:
                if self.closed.is_set():
                    raise FetchOutageError("the crawl was stopped") from None
                self._bury(number, actor)
                if not left:
                    raise WorkerDiedError(
                        f"killed its fetcher {ATTEMPTS} times; the last time: {in_short(error)}"
                    ) from None
        raise AssertionError

    def _actor(self, number: int) -> Any:
        with self._lock:
            if self.closed.is_set():
                raise FetchOutageError("the crawl was stopped")
            if number not in self._actors:
                self._actors[number] = self._make.remote(self._folder, self._policy, {})
            return self._actors[number]

    def _bury(self, number: int, actor: Any) -> None:
        """Replace a dead process, unless another thread did. The new one leaves hosts alone as long
        as the dead one would have, and those that it was asking for an interval."""
        with self._lock:
            if self.closed.is_set() or self._actors[number] is not actor:
                return
            ray.kill(actor)  # it may be alive where only its answer was lost
            now_s = time.monotonic()
            alone_s = {
                host: free_s - now_s
                for host, free_s in self.free_s.copy().items()
                if free_s > now_s and _owner(host, self.count) == number
            }
            if self._policy is not None:
                alone_s[""] = 1 / self._policy.requests_per_s
            self._actors[number] = self._make.remote(self._folder, self._policy, alone_s)

    def close(self) -> None:
        """See `Fetchers`."""
        with self._lock:
            self.closed.set()
            for actor in self._actors.values():
                ray.kill(actor)


class _Fetcher(Fetcher):
    """A fetcher of whose requests each is made by the process of its host."""

    def __init__(self, policy: FetchPolicy, store: Store, fetchers: RayFetchers) -> None:
        super().__init__(policy, store)
        self.hosts_at_once = policy.hosts_at_once * fetchers.count
        self._fetchers = fetchers

    def ask(self, text: str, url: Url, partial: Partial) -> Fetched | str:
        answer, left_s = self._fetchers.call(url.host, "ask", text, url)
        self._fetchers.free_s[url.host] = time.monotonic() + left_s
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    def left_s(self, host: str) -> float:
        return self._fetchers.free_s.get(host, 0.0) - time.monotonic()


def _owner(host: str, count: int) -> int:
    """The same in every process: Python's own `hash` of a text is not."""
    return int.from_bytes(hashlib.sha256(host.encode()).digest()[:8], "big") % count


def in_short(error: BaseException) -> str:
    """The kind of a death, and the line that says most of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Of a constructor's traceback the last line names the error, of a death the first.
    said = next((line for line in reversed(lines) if "Error:" in line), lines[0] if lines else "")
    return f"{type(error).__name__}: {said}"
