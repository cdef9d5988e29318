"""Shards on web servers and in object stores, read through a cache of bounded size.

A shard is fetched whole when its first clip is wanted, once for all processes of the machine, and
compared with the sha256 of its record. Those that were not used for longest make room for others.
"""

from __future__ import annotations

import fcntl
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from aa_datasets.atomic_file import replace_file, replacing, sha256_of_file
from aa_datasets.errors import ShardError
from aa_datasets.extras import how_to_install

_AT_ONCE = 16  # records that are fetched in parallel
_CHUNK_BYTES = 1 << 20


def is_remote(path: str | Path) -> bool:
    """Whether shards lie on a server: `https://...`, `s3://...` and what else fsspec reads."""
    return isinstance(path, str) and "://" in path


class _Head(msgspec.Struct):
    sha256: str
    num_bytes: int


@dataclass
class RemoteShards:
    """Shards on servers, and their copies in a cache.

    Attributes:
        folder: of the cache; processes and runs may share it. A shard lies at
            `<sha256>/<name>.tar`, with its record.
        max_bytes: of all shards in it; one shard is kept whatever its size.
        url_of: address of each shard by its place in the cache.
    """

    folder: Path
    max_bytes: int
    url_of: dict[Path, str] = field(default_factory=dict)

    def open(self, urls: Sequence[str]) -> list[Path]:
        """Fetch the records of shards; returns the places where they will lie, in their order.

        Args:
            urls: of .tar files, or of folders of them.

        Raises:
            ShardError: a server does not answer, or has no such shard.
        """
        tars = list(itertools.chain(*map(_tars_at, urls)))
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="records") as pool:
            records = list(pool.map(lambda url: _read(f"{url.removesuffix('.tar')}.json"), tars))
        places = []
        for url, content in zip(tars, records, strict=True):
            try:
                head = msgspec.json.decode(content, type=_Head)
            except msgspec.DecodeError as error:
                raise ShardError(f"{url}: its .json is not a shard record: {error}") from error
            place = self.folder / head.sha256 / Path(urlsplit(url).path).name
            record = place.with_suffix(".json")
            if not record.is_file() or record.read_bytes() != content:
                record.parent.mkdir(parents=True, exist_ok=True)
                replace_file(record, content)
            self.url_of[place] = url
            places.append(place)
        return places

    @contextmanager
    def local(self, place: Path) -> Iterator[Path]:
        """Have a shard on the local disk while the block runs.

        Raises:
            ShardError: it cannot be fetched, or is not what its record says.
        """
        if place not in self.url_of:
            yield place
            return
        with place.with_suffix(".lock").open("a+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not place.is_file():
                self._make_room(msgspec.json.decode(
                    place.with_suffix(".json").read_bytes(), type=_Head
                ).num_bytes)  # fmt: skip
                self._fetch(place)
            os.utime(place)
            fcntl.flock(lock, fcntl.LOCK_SH)  # readers side by side; nothing removes it meanwhile
            yield place

    def _fetch(self, place: Path) -> None:
        url, record = self.url_of[place], place.with_suffix(".json")
        head = msgspec.json.decode(record.read_bytes(), type=_Head)
        system, path = _system(url)
        try:
            with system.open(path, "rb") as source, replacing(place) as target:
                while chunk := source.read(_CHUNK_BYTES):
                    target.write(chunk)
                target.flush()
                if (found := sha256_of_file(Path(target.name))) != head.sha256:
                    raise ShardError(
                        f"{url} is altered: its record says sha256 {head.sha256[:12]}…, found "
                        f"{found[:12]}…: copy or build it again"
                    )
        except OSError as error:
            raise ShardError(f"{url} cannot be read: {error}: try again") from error

    def _make_room(self, num_bytes: int) -> None:
        """Remove what was not used for longest, and is not read now."""
        held = []
        for tar in self.folder.glob("*/*.tar"):
            try:
                stat = tar.stat()
            except FileNotFoundError:  # another process made room
                continue
            held.append((stat.st_mtime_ns, stat.st_size, tar))
        total = num_bytes + sum(size for _, size, _ in held)
        for _, size, tar in sorted(held):
            if total <= self.max_bytes:
                return
            with tar.with_suffix(".lock").open("a+b") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue
                tar.unlink(missing_ok=True)
                total -= size


def _tars_at(url: str) -> list[str]:
    if urlsplit(url).path.endswith(".tar"):
        return [url]
    system, path = _system(url)
    try:
        for folder in (f"{path.rstrip('/')}/shards", path.rstrip("/")):
            if system.isdir(folder) or not folder.endswith("/shards"):
                names = [str(name) for name in system.ls(f"{folder}/", detail=False)]
                if found := sorted(name for name in names if name.endswith(".tar")):
                    return [str(system.unstrip_protocol(name)) for name in found]
    except OSError as error:
        raise ShardError(f"{url} cannot be listed: {error}: name its .tar files") from error
    raise ShardError(f"{url} lists no .tar: name the .tar files, if the server lists no folders")


def _read(url: str) -> bytes:
    system, path = _system(url)
    try:
        return bytes(system.cat_file(path))
    except FileNotFoundError as error:
        raise ShardError(f"there is no {url}: it was not finished, or not copied") from error
    except OSError as error:
        raise ShardError(f"{url} cannot be read: {error}: try again") from error


def _system(url: str) -> tuple[Any, str]:
    try:
        import fsspec

        return fsspec.core.url_to_fs(url)  # type: ignore[no-any-return]
    except ImportError as error:
        raise ShardError(f"{url} cannot be read: {error}: {how_to_install(url)}") from error
