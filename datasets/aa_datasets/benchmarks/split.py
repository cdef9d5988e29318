"""Test videos of public benchmarks, by id: never trained on, and animated for a table.

A clip of a corpus is of a test video if the video's id stands, as a word of its own, in the clip's
source, source_id or clip_id; case and the kind of dash do not count, since ids of clips have
neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files

from aa_datasets.clip import Clip
from aa_datasets.errors import SplitError

TEST_SPLITS = ("tiktok", "ubc")


def read_test_ids(name: str) -> tuple[str, ...]:
    """Ids of the test videos of benchmark `name`, as its table scores them (Sec. 4.3)."""
    text = (files("aa_datasets") / "test_splits" / f"{name}.txt").read_text(encoding="utf-8")
    return tuple(text.split())


def benchmark_id_of(clip: Clip, test_ids: Iterable[str]) -> str | None:
    """Which test video the clip is of, or None."""
    places = [_plain(text) for text in (clip.source, clip.source_id, clip.clip_id)]
    for test_id in test_ids:
        word = re.compile(rf"(?<![0-9a-z]){re.escape(_plain(test_id))}(?![0-9a-z])")
        if any(word.search(place) for place in places):
            return test_id
    return None


def refuse_test_clips(name: str, clips: Iterable[Clip]) -> int:
    """Refuse clips of the benchmark's test split; returns the number of clips.

    Raises:
        SplitError: a clip is of a test video, or is marked as of another split than "train".
    """
    test_ids = read_test_ids(name)
    leaks, count = [], 0
    for clip in clips:
        count += 1
        test_id = benchmark_id_of(clip, test_ids)
        if test_id is not None:
            leaks.append(f"{clip.clip_id} is of test video {test_id}")
        elif clip.split != "train":
            leaks.append(f"{clip.clip_id} is of split {clip.split!r}")
    if leaks:
        shown = "; ".join(leaks[:5]) + (f"; and {len(leaks) - 5} more" if leaks[5:] else "")
        raise SplitError(
            f"training for {name} takes its train split only, and the shards hold more: {shown}; "
            "give shards without them"
        )
    return count


def match_test_videos(name: str, clips: Iterable[Clip]) -> dict[str, str]:
    """clip_id -> id of the test video, for the clips that are of one.

    Raises:
        SplitError: a test video has no clip, or several; all are named.
    """
    test_ids = read_test_ids(name)
    found: dict[str, list[str]] = {test_id: [] for test_id in test_ids}
    for clip in clips:
        test_id = benchmark_id_of(clip, test_ids)
        if test_id is not None:
            found[test_id].append(clip.clip_id)
    absent = [test_id for test_id, ids in found.items() if not ids]
    if absent:
        raise SplitError(
            f"{len(absent)} of the {len(test_ids)} test videos of {name} are in none of the "
            f"shards: {', '.join(absent[:5])}{', ...' if absent[5:] else ''}; curate them"
        )
    cut = [f"{test_id} ({', '.join(ids)})" for test_id, ids in found.items() if len(ids) > 1]
    if cut:
        raise SplitError(
            f"test videos of {name} that were cut into several clips: {'; '.join(cut[:5])}; "
            "curate them whole: the references are"
        )
    return {ids[0]: test_id for test_id, ids in found.items()}


def _plain(text: str) -> str:
    return re.sub(r"[-_ .]+", "-", text.lower())
