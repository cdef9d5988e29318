"""Renders puppets straight into shards: the training puppets of demo/learn.sh, and held-out ones.

usage: puppet_shards.py OUT --count N --first-seed SEED [--split train] [--scenery]

A puppet's pose is exact and its clip is canonical already, so that curation would find nothing to
drop. Finished shards are kept: the same command resumes with the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import cyclopts

from aa_datasets.clip import Clip
from aa_datasets.progress import progress
from aa_datasets.puppets.render import render_puppet
from aa_datasets.shards import ShardSample, write_shard
from aa_datasets.video.canonical import encode_canonical

_PER_SHARD, _FRAMES, _FPS, _SIZE_HW = 250, 30, 15.0, (256, 256)


def main(
    out: Path, *, count: int, first_seed: int, split: str = "train", scenery: bool = False
) -> None:
    """Render puppets of seeds FIRST_SEED ... FIRST_SEED + COUNT - 1, of identity and of motion.

    With --scenery they stand before dead leaves, pictures with the edges of photographs.
    """
    cv2.setNumThreads(1)
    out.mkdir(parents=True, exist_ok=True)
    last = first_seed + count
    starts = range(first_seed, last, _PER_SHARD)
    for start in progress(starts, desc="puppets", unit="shard"):
        path = out / f"{split}-{start:07d}.tar"
        if not path.with_suffix(".json").is_file():  # written last, so the shard is whole
            write_shard(path, _render(range(start, min(start + _PER_SHARD, last)), split, scenery))


def _render(seeds: range, split: str, scenery: bool) -> Iterator[ShardSample]:
    for seed in seeds:
        puppet = render_puppet(
            seed, seed, num_frames=_FRAMES, fps=_FPS, size_hw=_SIZE_HW, scenery=scenery
        )
        name = f"puppet_{seed:07d}"
        clip = Clip(
            clip_id=name,
            source_id=name,
            source=f"puppet:{seed}",
            licence="CC0-1.0",
            start_s=0.0,
            end_s=_FRAMES / _FPS,
            fps=_FPS,
            size_hw=_SIZE_HW,
            num_frames=_FRAMES,
            synthetic=True,
            pose_from="renderer",
            split=split,
        )
        yield ShardSample(clip, encode_canonical(puppet.frames, _FPS), puppet.pose)


if __name__ == "__main__":
    cyclopts.run(main)
