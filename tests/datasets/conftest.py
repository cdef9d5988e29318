"""Seven small puppet clips of 10 frames in two shards, as curation would write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from aa_datasets.clip import Clip
from aa_datasets.puppets.render import render_puppet
from aa_datasets.shards import ShardSample, write_shard
from aa_datasets.video.canonical import encode_canonical


def _stored_puppet(seed: int) -> ShardSample:
    puppet = render_puppet(seed, seed, num_frames=10, fps=12, size_hw=(64, 80))
    clip = Clip(
        clip_id=f"puppet_{seed}",
        source_id=f"puppet_{seed}",
        source="rendered by the tests",
        licence="CC0-1.0",
        start_s=0.0,
        end_s=10 / 12,
        fps=12.0,
        size_hw=(64, 80),
        num_frames=10,
        synthetic=True,
        pose_from="renderer",
        split="train",
    )
    return ShardSample(clip, encode_canonical(puppet.frames, 12), puppet.pose)


@pytest.fixture(scope="session")
def samples() -> list[ShardSample]:
    return [_stored_puppet(seed) for seed in range(7)]


@pytest.fixture(scope="session")
def shards(samples: list[ShardSample], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("shards")
    paths = [folder / "a.tar", folder / "b.tar"]
    write_shard(paths[0], samples[:4])
    write_shard(paths[1], samples[4:])
    return paths
