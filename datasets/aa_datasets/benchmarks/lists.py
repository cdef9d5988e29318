"""Which videos a benchmark's splits hold, and the published lists, known by their sha256.

UBC fashion's lists are read from the user's copy; the sha256 of a file says which list it is, and
an altered list is no list. Of TikTok the training folders are a range in DisCo's code, and the ten
test ids are a third party's list (see `eval/aa_eval/benchmarks/tiktok.toml`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

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


def listed_videos(name: str, splits: Iterable[str], lists: Sequence[Path]) -> list[ListedVideo]:
    """The videos of these splits of benchmark `name`, in the lists' order.

    Raises:
        SplitError: a list is none of the published ones, or a split's list is not given.
    """
    published = tomllib.loads(
        (files("aa_datasets") / "published_lists" / f"{name}.toml").read_text(encoding="utf-8")
    )
    if name == "tiktok":
        if lists:
            raise SplitError("tiktok takes no --list: its splits are numbers, not a file")
        first, last = published["train"]["first"], published["train"]["last"]
        ids = {
            "train": [f"{number:05d}" for number in range(first, last + 1)],
            "test": list(read_test_ids(name)),
        }
        return [ListedVideo(i, split, f"tiktok/{i}") for split in splits for i in ids[split]]
    given = {_sha256(path): path for path in lists}
    expected = {split: published[split] for split in SPLITS}
    unknown = [path for sha256, path in given.items() if not _is_one_of(sha256, expected)]
    if unknown:
        facts = "; ".join(f"{row['file']} {row['sha256']}" for row in expected.values())
        raise SplitError(
            f"{unknown[0]} is none of the published lists of {name}, or was altered: its sha256 is "
            f"{_sha256(unknown[0])}, expected {facts}; get {published['get']}"
        )
    videos = []
    for split in splits:
        row = expected[split]
        if row["sha256"] not in given:
            raise SplitError(
                f"the {split} split of {name} stands in {row['file']} (sha256 {row['sha256']}): "
                f"get {published['get']}, and give it with --list"
            )
        urls = given[row["sha256"]].read_text(encoding="utf-8").split()
        videos += [ListedVideo(url.rsplit("/", 1)[-1][: -len(".mp4")], split, url) for url in urls]
    return videos


def _is_one_of(sha256: str, expected: dict[str, dict[str, str]]) -> bool:
    return any(row["sha256"] == sha256 for row in expected.values())


def _sha256(path: Path) -> str:
    try:
        return sha256_of_file(path)
    except OSError as error:
        raise SplitError(f"cannot read the list {path}: {error.strerror}") from error
