"""Sources in an object store: copied into the corpus's own store, as the crawl's files are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import fsspec

from aa_curation.check import Drop
from aa_curation.crawl.crawler import Outcome
from aa_curation.crawl.store import Store
from aa_curation.errors import FetchOutageError, SourceError
from aa_curation.ledger.records import Fetched

_CHUNK_BYTES = 1 << 20


def copy_objects(
    urls: Sequence[str], store: Store, max_bytes: int
) -> Iterator[tuple[str, Outcome]]:
    """Copy objects one after the other; yield each with its outcome (see `crawl`).

    Raises:
        SourceError: the package that reads this kind of store is not installed.
    """
    for url in dict.fromkeys(urls):
        try:
            yield url, _copy(url, store, max_bytes)
        except ImportError as error:
            raise SourceError(f"{url} cannot be read: {error}") from None
        except FileNotFoundError:
            yield url, Drop("no_object", detail=f"there is no {url}")
        except OSError as error:
            yield url, FetchOutageError(f"{url}: {error}")


def _copy(url: str, store: Store, max_bytes: int) -> Fetched | Drop:
    partial = store.partial(url)
    size = 0
    with fsspec.open(url, "rb") as source, partial.begin("") as file:
        while chunk := source.read(_CHUNK_BYTES):
            size += len(chunk)
            if size > max_bytes:
                partial.discard()
                return Drop("too_large", size, max_bytes, f"over {size} bytes")
            file.write(chunk)
    if size == 0:
        partial.discard()
        return Drop("empty_body", detail="0 bytes")
    sha256, num_bytes = store.adopt(partial)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Fetched(url, url, sha256, num_bytes, "", "", "", now)
