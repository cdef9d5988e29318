"""Objects that are copied from a store of fsspec in which much goes wrong."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from aa_curation.check import Drop
from aa_curation.corpus.object_store import CopyLimits, copying
from aa_curation.crawl.crawler import Outcome
from aa_curation.crawl.store import Store
from aa_curation.errors import FetchOutageError, SourceError
from aa_curation.ledger.file import LedgerWriter
from aa_curation.ledger.records import CorpusHead, Fetched
from aa_curation.sources.source_list import Source, read_sources

LIMITS = CopyLimits(backoff_s=0.01, at_once=4, give_up_after=5)


class NoCredentialsError(Exception):
    """As boto's: not an OSError."""


class TroubledFileSystem(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """fsspec's store in memory, by oss://, which fails by the names of its objects."""

    protocol = "oss"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    asked: ClassVar[Counter[str]] = Counter()
    at_once: ClassVar[list[int]] = [0, 0]  # now, and at most
    lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.replace("oss://", "memory://")))

    def get_file(self, path: str, local: str, **keywords: Any) -> None:
        with self.lock:
            self.asked[path] += 1
            count = self.asked[path]
            self.at_once[0] += 1
            self.at_once[1] = max(self.at_once)
        try:
            time.sleep(0.05)
            if "locked" in path:
                raise PermissionError("Access Denied")
            if "nobody" in path:
                raise NoCredentialsError("Unable to locate credentials")
            if "down" in path or ("busy" in path and count < 3):
                raise OSError("Please reduce your request rate.")
            super().get_file(path, local, **keywords)
            if "short" in path and count < 2:
                Path(local).write_bytes(Path(local).read_bytes()[:10])
        finally:
            with self.lock:
                self.at_once[0] -= 1

    def find(self, path: str, **keywords: Any) -> Any:
        if "nobody" in path:
            raise NoCredentialsError("Unable to locate credentials")
        return super().find(path, **keywords)


Fetch = Callable[..., list[Source]]


@pytest.fixture
def bucket() -> Iterator[TroubledFileSystem]:
    fsspec.register_implementation("oss", TroubledFileSystem, clobber=True)
    system = TroubledFileSystem(skip_instance_cache=True)
    TroubledFileSystem.store.clear()
    TroubledFileSystem.asked.clear()
    TroubledFileSystem.at_once[:] = [0, 0]
    yield system
    fsspec.register_implementation("oss", "ossfs.OSSFileSystem", clobber=True)


def _copied(store: Store, *names: str, limits: CopyLimits = LIMITS) -> dict[str, Any]:
    urls = [f"oss://bucket/{name}" for name in names]
    done: queue.SimpleQueue[tuple[str, Outcome]] = queue.SimpleQueue()
    with copying(urls, store, done.put, limits):
        found = dict(done.get(timeout=60) for _ in urls)
    return {url.rpartition("/")[2]: outcome for url, outcome in found.items()}


def test_objects_are_copied_in_parallel_and_each_gets_its_outcome(
    bucket: TroubledFileSystem, tmp_path: Path
) -> None:
    names = [f"{number}.mp4" for number in range(8)]
    for name in (*names, "busy.mp4", "short.mp4", "locked.mp4", "down.mp4"):
        bucket.pipe(f"/bucket/{name}", f"content of {name}".encode())
    bucket.pipe("/bucket/empty.mp4", b"")
    bucket.pipe("/bucket/large.mp4", bytes(100))
    bucket.pipe("/bucket/folder.mp4/object", b"content")
    store = Store(tmp_path)
    limits = CopyLimits(max_bytes=50, backoff_s=0.01, at_once=4)
    troubled = ("busy.mp4", "short.mp4", "locked.mp4", "down.mp4", "empty.mp4", "large.mp4")
    found = _copied(store, *names, *troubled, "gone.mp4", "folder.mp4", limits=limits)
    for name in (*names, "busy.mp4", "short.mp4"):
        assert isinstance(found[name], Fetched), found[name]
        assert store.path(found[name].sha256).read_bytes() == f"content of {name}".encode()
    assert {n: found[n].reason for n in found if isinstance(found[n], Drop)} == {
        "empty.mp4": "empty_body", "large.mp4": "too_large", "gone.mp4": "no_object",
        "folder.mp4": "no_object",
    }  # fmt: skip
    assert isinstance(found["down.mp4"], FetchOutageError)
    assert isinstance(found["locked.mp4"], FetchOutageError)
    asked = {path.rpartition("/")[2]: count for path, count in bucket.asked.items()}
    assert (asked["busy.mp4"], asked["short.mp4"], asked["down.mp4"]) == (3, 2, 4)
    assert asked["locked.mp4"] == 1, "credentials do not come back in a second"
    assert bucket.at_once[1] == 4
    assert list((tmp_path / "partial").iterdir()) == []


def test_an_error_of_the_own_disk_is_told_for_its_object(
    bucket: TroubledFileSystem, tmp_path: Path
) -> None:
    bucket.pipe("/bucket/a.mp4", b"content")
    store, folder = Store(tmp_path), tmp_path / "partial"
    folder.rmdir()
    folder.touch()  # a file in the place of the folder of unfinished ones
    found = _copied(store, "a.mp4")["a.mp4"]
    assert isinstance(found, FetchOutageError)
    assert "partial" in str(found)


def test_a_bucket_that_fails_again_and_again_is_given_up(
    bucket: TroubledFileSystem, tmp_path: Path
) -> None:
    names = [f"down{number}.mp4" for number in range(20)]
    for name in names:
        bucket.pipe(f"/bucket/{name}", b"video")
    limits = CopyLimits(attempts=1, at_once=1, give_up_after=5)
    found = _copied(Store(tmp_path), *names, limits=limits)
    assert all(isinstance(outcome, FetchOutageError) for outcome in found.values())
    assert len(bucket.asked) == 5
    assert "not asked: 5 failures of oss://bucket in a row" in str(found["down19.mp4"])


def test_missing_credentials_are_failed_rows_that_the_next_run_tries_again(
    bucket: TroubledFileSystem, tmp_path: Path, fetch: Fetch
) -> None:
    for name in ("nobody.mp4", "good.mp4"):
        bucket.pipe(f"/bucket/{name}", b"video")
    (tmp_path / "list.csv").write_text(
        "source_id,url,licence\na,oss://bucket/nobody.mp4,MIT\nb,oss://bucket/good.mp4,MIT\n"
    )
    sources, store = read_sources([tmp_path / "list.csv"]), Store(tmp_path / "store")
    with LedgerWriter(tmp_path / "corpus", CorpusHead("demo", "0" * 64)) as writer:
        assert [source.source_id for source in fetch(writer, sources, None, store)] == ["b"]
        (row,) = writer.ledger.decisions.values()
        assert (row.status, row.stage, row.reason) == ("failed", "fetch", "FetchOutageError")
        assert "NoCredentialsError: Unable to locate credentials" in row.detail
        fetch(writer, sources, None, store)
    assert bucket.asked["/bucket/nobody.mp4"] == 2
    assert bucket.asked["/bucket/good.mp4"] == 1


def test_a_list_in_a_store_without_credentials_is_one_line(bucket: TroubledFileSystem) -> None:
    bucket.pipe("/bucket/nobody/a.mp4", b"video")
    with pytest.raises(SourceError, match="cannot read oss://bucket/nobody: NoCredentialsError"):
        read_sources(["oss://bucket/nobody"], licence="MIT")


def test_a_store_whose_package_is_missing_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(SourceError, match="cannot be read: Install adlfs"),
        copying(["abfs://bucket/a.mp4"], Store(tmp_path), print),
    ):
        pass
