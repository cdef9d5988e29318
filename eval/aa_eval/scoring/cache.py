"""Cache: arrays on disk, keyed by the content of the videos and all that decided the numbers."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aa_eval.provenance import package_versions
from aa_eval.videos.shards import open_member
from aa_eval.videos.source import VideoSource


def source_hash(package: Path) -> str:
    """sha256 of the names and contents of every Python module of `package`, sub-packages included.

    A number that other code computed is not a number of this code.
    """
    whole = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{path.relative_to(package).as_posix()} {content}\n".encode())
    return whole.hexdigest()


def default_cache() -> Path:
    """$XDG_CACHE_HOME/aa-eval, or ~/.cache/aa-eval."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "aa-eval"


MAX_FEATURE_BYTES = 8 * 2**30
# coarser than the clock of any file system in use (FAT counts in 2 s)
_SETTLED_S = 2.0
_log = logging.getLogger("aa_eval")
_PACKAGE = Path(__file__).parents[1]  # aa_eval


class Cache:
    """Values computed before: a killed run resumes, a second method finds the references.

    A file appears under its name whole or not at all, so that several processes may share a
    folder. This package's source, package versions and the kind of device are part of every key.

    Args:
        folder: made if absent; may be deleted at any time.
        device: "cpu" or "cuda...".
        verify: hash every video again, rather than trust its size, time of change and inode.
        max_feature_bytes: how much the features of references may take in all; they are many.
    """

    def __init__(
        self,
        folder: Path,
        device: str = "cpu",
        verify: bool = False,
        max_feature_bytes: int = MAX_FEATURE_BYTES,
    ) -> None:
        self.folder = folder
        self.verify = verify
        self._max_feature_bytes = max_feature_bytes
        self._feature_bytes: int | None = None  # counted when first needed
        self._computed_by = [source_hash(_PACKAGE), package_versions(), device.split(":")[0]]
        folder.mkdir(parents=True, exist_ok=True)

    def digest(self, source: VideoSource) -> str:
        """sha256 of the content of a video's files, in order, and of how many frames are read.

        It is remembered by the files' paths, sizes, times (of content and of status, which no
        program can set) and inodes, unless a file changed so lately that a further change might
        leave the same times.
        """
        stats = [file.stat() for file in source.files]
        seen = [
            [str(file.absolute()), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino]
            for file, s in zip(source.files, stats, strict=True)
        ]
        member = source.member
        span = [member.offset_bytes, member.size_bytes] if member else None
        read = [source.limit, source.step, source.held]
        note = self._path("digests", [seen, *read, span], ".txt")
        if not self.verify and note.is_file():
            return note.read_text(encoding="ascii")
        whole = hashlib.sha256(f"{source.is_video_file} {read}".encode())
        for file in source.files:
            with open_member(file, member) if member else file.open("rb") as content:
                whole.update(hashlib.file_digest(content, "sha256").digest())
        newest_s = max(max(s.st_mtime, s.st_ctime) for s in stats)
        if time.time() - newest_s > _SETTLED_S:
            self._write(note, whole.hexdigest().encode("ascii"))
        return whole.hexdigest()

    def get(self, key: Any) -> NDArray[np.generic] | None:
        """The array that was put under `key` (anything that JSON can hold), or None."""
        return self._load(self._path("arrays", [self._computed_by, key], ".npy"))

    def put(self, key: Any, array: NDArray[np.generic]) -> None:
        """Keep `array` under `key`."""
        self._save(self._path("arrays", [self._computed_by, key], ".npy"), array)

    def get_features(self, key: Any) -> NDArray[np.generic] | None:
        """The features that were put under `key`, or None."""
        return self._load(self._path("features", [self._computed_by, key], ".npy"))

    def put_features(self, key: Any, array: NDArray[np.generic]) -> None:
        """Keep features under `key`, while there is room for them; the end of it is logged once."""
        if self._feature_bytes is None:
            there = (self.folder / "features").glob("*/*.npy")
            self._feature_bytes = sum(file.stat().st_size for file in there)
        fits = self._feature_bytes + array.nbytes <= self._max_feature_bytes
        if not fits and self._feature_bytes < self._max_feature_bytes:
            _log.warning(
                "%s has reached %g GiB: features of further frames are not kept; delete it to "
                "make room",
                self.folder / "features",
                self._max_feature_bytes / 2**30,
            )
            self._feature_bytes = self._max_feature_bytes
        if fits:
            self._save(self._path("features", [self._computed_by, key], ".npy"), array)
            self._feature_bytes += array.nbytes

    def _load(self, path: Path) -> NDArray[np.generic] | None:
        if not path.is_file():
            return None
        try:
            with path.open("rb") as file:
                array: NDArray[np.generic] = np.load(file, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            _log.warning("%s is damaged (%s): it is computed again", path, error)
            return None
        return array

    def _save(self, path: Path, array: NDArray[np.generic]) -> None:
        content = io.BytesIO()
        np.save(content, array, allow_pickle=False)
        self._write(path, content.getvalue())

    def _path(self, kind: str, key: Any, suffix: str) -> Path:
        text = json.dumps(key, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()
        return self.folder / kind / name[:2] / (name + suffix)

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        Path(file.name).replace(path)
