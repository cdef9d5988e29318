"""Copy sources from object stores (s3://…) into the corpus's own store, as the crawl does."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import fsspec

from aa_curation.check import Drop
from aa_curation.crawl.crawler import Outcome
from aa_curation.crawl.policy import MAX_BYTES
from aa_curation.crawl.rate_limit import backoff_s
from aa_curation.crawl.store import Store
from aa_curation.errors import FetchOutageError, SourceError
from aa_curation.ledger.records import Fetched
from aa_curation.sources.list_formats import store_of
from aa_datasets.extras import how_to_install


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """How objects are copied.

    Attributes:
        max_bytes: of one object.
        attempts: for outages.
        backoff_s, backoff_at_most_s: of the wait between attempts, doubled each time, with jitter.
        at_once: objects copied in parallel, by each worker.
        give_up_after: this many objects of a bucket that failed in a row end its turn.
    """

    max_bytes: int = MAX_BYTES
    attempts: int = 4
    backoff_s: float = 1.0
    backoff_at_most_s: float = 60.0
    at_once: int = 16
    give_up_after: int = 20


Copy = Callable[[str, Store, CopyLimits, threading.Event], Outcome]


@contextmanager
def copying(
    urls: Sequence[str],
    store: Store,
    tell: Callable[[tuple[str, Outcome]], None],
    limits: CopyLimits | None = None,
    copy: Copy | None = None,
    workers: int = 1,
) -> Iterator[None]:
    """Copy objects in threads of their own; leaving the context ends them.

    Whatever a store's library raises, missing credentials included, is an outage of that object:
    the next run tries again.

    Args:
        urls: of objects.
        store: for the files.
        tell: called in the threads with each URL and its outcome (see `crawling`).
        limits: of time and size.
        copy: who copies, and with how many workers; None: this process.

    Raises:
        SourceError: the package that reads this kind of store is not installed.
    """
    limits = limits or CopyLimits()
    urls = list(dict.fromkeys(urls))
    for url in urls:
        try:
            fsspec.get_filesystem_class(store_of(url))
        except (ImportError, ValueError) as error:
            raise SourceError(f"{url} cannot be read: {error}: {how_to_install(url)}") from None
    failures: Counter[str] = Counter()  # in a row, by bucket
    stop = threading.Event()

    def one(url: str) -> None:
        bucket = "/".join(url.split("/")[:3])
        outcome: Outcome
        if failures[bucket] >= limits.give_up_after:
            outcome = FetchOutageError(
                f"not asked: {failures[bucket]} failures of {bucket} in a row"
            )
        else:
            try:
                outcome = (copy or copy_with_retries)(url, store, limits, stop)
            except Exception as error:  # noqa: BLE001  # the edge of the thread: a failed row
                outcome = FetchOutageError(f"{url}: {type(error).__name__}: {error}")
            failed = isinstance(outcome, Exception)
            failures[bucket] = failures[bucket] + 1 if failed else 0
        tell((url, outcome))

    with ThreadPoolExecutor(workers * limits.at_once, thread_name_prefix="copy") as pool:
        try:
            for url in urls:
                pool.submit(one, url)
            yield
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def copy_with_retries(url: str, store: Store, limits: CopyLimits, stop: threading.Event) -> Outcome:
    """Copy one object; `stop` ends the attempts."""
    attempt = 0
    while True:
        attempt += 1
        try:
            return _copy(url, store, limits.max_bytes)
        except FileNotFoundError:
            return Drop("no_object", detail=f"there is no {url}")
        # The libraries of stores have no error in common: boto's, Google's and Azure's differ.
        except Exception as error:  # noqa: BLE001  # the edge of the thread: a failed row
            trouble = FetchOutageError(f"{url}: {type(error).__name__}: {error}")
            store.partial(url).discard()
            # The libraries retry the network's own errors; credentials do not come back soon.
            may_pass = isinstance(error, OSError) and not isinstance(error, PermissionError)
            if not may_pass or attempt >= limits.attempts or stop.is_set():
                return trouble
        stop.wait(backoff_s(attempt, limits.backoff_s, limits.backoff_at_most_s, random.Random()))


def _copy(url: str, store: Store, max_bytes: int) -> Fetched | Drop:
    system, path = fsspec.core.url_to_fs(url)
    info = system.info(path)
    if info["type"] == "directory":
        return Drop("no_object", detail=f"{url} is a folder")
    size = info["size"]
    if size is not None and size > max_bytes:
        return Drop("too_large", size, max_bytes, f"{size} bytes")
    if size == 0:
        return Drop("empty_body", detail="0 bytes")
    partial = store.partial(url)
    partial.discard()
    system.get_file(path, str(partial.path))
    num_bytes = partial.path.stat().st_size
    if size is not None and num_bytes != size:
        raise OSError(f"it broke off at byte {num_bytes} of {size}")
    sha256, num_bytes = store.adopt(partial)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Fetched(url, url, sha256, num_bytes, "", "", "", now)
