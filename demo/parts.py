"""Cuts real clips into what a network is fine-tuned on and what it is judged on, later in time.

usage: python demo/parts.py OUT SHARD...

OUT/first.tar gets the first 60 % of each clip of camera footage, OUT/rest.tar what follows, in
windows that are clips of their own. Curation keeps clips of one source in one split; here to cross
them is the question: how well does a network that has seen a person animate the rest of the clip?
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cyclopts
import numpy as np
from numpy.typing import NDArray

from aa_datasets.shards import ShardSample, find_shards, read_shards, write_shard
from aa_datasets.video.canonical import encode_canonical, read_canonical

_FIRST, _WINDOW_S = 0.6, 0.66


def main(out: Path, *shards: Path) -> None:
    """Write OUT/first.tar and OUT/rest.tar."""
    real = [s for s in read_shards(find_shards(shards)) if not s.clip.synthetic]
    if not real:
        raise SystemExit(f"none of {len(shards)} shards holds a clip of camera footage")
    out.mkdir(parents=True, exist_ok=True)
    write_shard(out / "first.tar", _first(real))
    write_shard(out / "rest.tar", _rest(real))
    print(f"{out}: {len(real)} real clips in two parts")


def _first(samples: list[ShardSample]) -> Iterator[ShardSample]:
    for sample in samples:
        yield _part(sample, np.arange(_end_of_first(sample)), "first", "train-real")


def _rest(samples: list[ShardSample]) -> Iterator[ShardSample]:
    for sample in samples:
        start, end = _end_of_first(sample), sample.clip.num_frames
        count = max(1, int((end - start) / (_WINDOW_S * sample.clip.fps)))
        for number, frames in enumerate(np.array_split(np.arange(start, end), count), start=1):
            yield _part(sample, frames, f"rest-{number}", "test-real")


def _end_of_first(sample: ShardSample) -> int:
    return int(_FIRST * sample.clip.num_frames)


def _part(sample: ShardSample, frames: NDArray[np.int64], name: str, split: str) -> ShardSample:
    """Some successive frames of a clip, as a clip."""
    clip = sample.clip
    start_s = clip.start_s + float(frames[0]) / clip.fps
    part = replace(
        clip,
        clip_id=f"{clip.clip_id}-{name}",
        start_s=start_s,
        end_s=start_s + len(frames) / clip.fps,
        num_frames=len(frames),
        split=split,
    )
    mp4 = encode_canonical(read_canonical(sample.mp4)[frames], clip.fps)
    return ShardSample(part, mp4, sample.pose.at_frames(frames))


if __name__ == "__main__":
    cyclopts.run(main)
