"""Store: fetched files named by the sha256 of their content, and partial downloads."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aa_datasets.atomic_file import sha256_of_file, sync_folder


class Store:
    """A folder of files named by their content: `ab/abcd…`. A file in it is complete.

    Args:
        folder: created where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._partial = self.folder / "partial"
        self._partial.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """The path of a file with this content, whether it exists or not."""
        return self.folder / sha256[:2] / sha256

    def partial(self, url: str) -> Partial:
        """The partial download of an URL."""
        name = hashlib.sha256(url.encode()).hexdigest()[:32]
        return Partial(self._partial / f"{name}.part", self._partial / f"{name}.json")

    def adopt(self, partial: Partial) -> tuple[str, int]:
        """Move a complete download to its place; returns its sha256 and size in bytes."""
        with partial.path.open("rb") as file:
            os.fsync(file.fileno())
        sha256 = sha256_of_file(partial.path)
        num_bytes = partial.path.stat().st_size
        path = self.path(sha256)
        path.parent.mkdir(exist_ok=True)
        if path.exists():
            partial.path.unlink()
        else:
            partial.path.replace(path)
            sync_folder(path.parent)
        partial.discard()
        return sha256, num_bytes


@dataclass(frozen=True, slots=True)
class Partial:
    """The beginning of a body, and the validator that says of which version of it."""

    path: Path
    validator_path: Path

    def resume_from(self) -> tuple[int, str]:
        """(number of bytes, validator of their version); (0, "") if it cannot be resumed."""
        try:
            validator = str(json.loads(self.validator_path.read_text())["validator"])
            num_bytes = self.path.stat().st_size
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""
        return (num_bytes, validator) if validator and num_bytes else (0, "")

    def begin(self, validator: str) -> BinaryIO:
        """Open an empty file for a new body."""
        self.discard()
        self.validator_path.write_text(json.dumps({"validator": validator}))
        return self.path.open("wb", buffering=0)

    def append(self) -> BinaryIO:
        return self.path.open("ab", buffering=0)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.validator_path.unlink(missing_ok=True)
