"""Which shards a path means: a tar, or a corpus with all of its tars."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aa_datasets.errors import ShardError


def find_shards(paths: Iterable[Path]) -> list[Path]:
    """The .tar files that are named, or lie in a named corpus of `aa-curate run` or folder; sorted.

    Raises:
        ShardError: a folder holds none.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        folder = path / "shards" if (path / "shards").is_dir() else path
        inside = [tar for tar in folder.glob("*.tar") if not tar.name.startswith(".")]
        if not inside:
            raise ShardError(
                f"{path} holds no .tar: give shards, or the --out of a finished `aa-curate run`"
            )
        found += inside
    return sorted(found)
