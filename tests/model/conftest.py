"""Tiny networks, random batches, and two shards of small puppets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from aa_datasets.clip import Clip
from aa_datasets.loader.batch import Batch
from aa_datasets.puppets.render import render_puppet
from aa_datasets.shards import ShardSample, write_shard
from aa_datasets.video.canonical import encode_canonical
from aa_model.config import ModelConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.presets import TINY

MakeModel = Callable[..., AnimateAnyone]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)  # tiny networks; and the same sums in the same order every time


@pytest.fixture
def make_tiny() -> MakeModel:
    """A tiny network in which nothing is zero, unless `fresh`: else tests would compare zeros."""

    def make(
        config: ModelConfig = TINY.model,
        *,
        temporal: bool = False,
        fresh: bool = False,
        seed: int = 0,
    ) -> AnimateAnyone:
        torch.manual_seed(seed)
        model = AnimateAnyone(config, temporal=temporal)
        if not fresh:
            with torch.no_grad():
                for parameter in model.parameters():
                    if not parameter.any():
                        parameter.normal_(std=0.1)
        return model.eval()

    return make


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    def make(B: int = 2, T: int = 1, seed: int = 0) -> Batch:
        generator = torch.Generator().manual_seed(seed)

        def pictures(*axes: int) -> torch.Tensor:
            shape = (*axes, 3, *TINY.model.size_hw)
            return 2 * torch.rand(shape, generator=generator) - 1

        clip_ids = tuple(f"clip_{i}" for i in range(B))
        return Batch(pictures(B), pictures(B, T), pictures(B, T), clip_ids)

    return make


@pytest.fixture(scope="session")
def puppet_shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two shards of three clips, 64 x 64, 10 frames each."""
    folder = tmp_path_factory.mktemp("shards")
    paths = []
    for shard in range(2):
        samples = []
        for i in range(3 * shard, 3 * shard + 3):
            puppet = render_puppet(i, 100 + i, num_frames=10, size_hw=(64, 64))
            clip = Clip(
                clip_id=f"puppet_{i}",
                source_id=f"puppet_{i}",
                source="puppets",
                licence="Apache-2.0",
                start_s=0.0,
                end_s=10 / 24,
                fps=24.0,
                size_hw=(64, 64),
                num_frames=10,
                synthetic=True,
                pose_from="renderer",
                split="train",
            )
            samples.append(ShardSample(clip, encode_canonical(puppet.frames, 24.0), puppet.pose))
        paths.append(folder / f"puppets-{shard:05d}.tar")
        write_shard(paths[-1], samples)
    return paths
