"""Which videos a benchmark's splits hold, and the published lists, known by their sha256.

UBC fashion's lists are read from the user's copy; a file's sha256 says which list it is, and an
altered list is refused. Of TikTok the training folders are a range in DisCo's code, and the ten
test ids are a third party's list (see `eval/aa_eval/benchmarks/tiktok.toml`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import msgspec

from aa_datasets.atomic_file import sha256_of_file
from aa_datasets.benchmarks.split import read_test_ids
from aa_datasets.errors import SplitError

SPLITS = ("train", "test")


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """A video of a benchmark: its id, its split, and where it came from (an URL, if listed so)."""

    video_id: str
    split: str
    source: str


@dataclass(frozen=True, slots=True)
class _Split:
    """A split in `published_lists/*.toml`: a list known by its sha256, or a range of ids."""

    source: str
    file: str = ""
    sha256: str = ""
    videos: int = 0
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True)
class _Published:
    get: str
    train: _Split
    test: _Split | None = None


def listed_videos(name: str, splits: Iterable[str], lists: Sequence[Path]) -> list[ListedVideo]:
    """List the videos of these splits of benchmark `name`, in the lists' order.

    Raises:
        SplitError: a list is not one of the published ones, or the list of a split is missing.
    """
    path = files("aa_datasets") / "published_lists" / f"{name}.toml"
    published = msgspec.toml.decode(path.read_bytes(), type=_Published)
    if published.test is None:
        if lists:
            raise SplitError(f"{name} takes no --list: its splits are numbers, not a file")
        numbers = range(published.train.first, published.train.last + 1)
        ids = {"train": [f"{n:05d}" for n in numbers], "test": list(read_test_ids(name))}
        return [ListedVideo(i, split, f"{name}/{i}") for split in splits for i in ids[split]]
    expected = {"train": published.train, "test": published.test}
    given = {_sha256(path): path for path in lists}
    for sha256, list_path in given.items():
        if sha256 not in {row.sha256 for row in expected.values()}:
            facts = "; ".join(f"{row.file} {row.sha256}" for row in expected.values())
            raise SplitError(
                f"{list_path} is not one of the published lists of {name}, or was altered: its "
                f"sha256 is {sha256}, expected {facts}; get {published.get}"
            )
    videos = []
    for split in splits:
        row = expected[split]
        if row.sha256 not in given:
            raise SplitError(
                f"the {split} split of {name} is listed in {row.file} (sha256 {row.sha256}): "
                f"get {published.get}, and give it with --list"
            )
        urls = given[row.sha256].read_text(encoding="utf-8").split()
        videos += [ListedVideo(url.rsplit("/", 1)[-1][: -len(".mp4")], split, url) for url in urls]
    return videos


def _sha256(path: Path) -> str:
    try:
        return sha256_of_file(path)
    except OSError as error:
        raise SplitError(f"cannot read the list {path}: {error.strerror}") from error
