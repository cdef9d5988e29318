"""Clips of several shapes in one training: each at the nearest size, each batch of one size."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from aa_datasets.clip import Clip
from aa_datasets.errors import ShardError
from aa_datasets.loader.batch import FrameBatch
from aa_datasets.loader.config import LoaderConfig
from aa_datasets.loader.crop_resize import nearest_shape
from aa_datasets.loader.loader import make_loader
from aa_datasets.loader.sampler import Draws, Order, Shuffle
from aa_datasets.puppets.render import render_puppet
from aa_datasets.shards import ShardSample, write_shard
from aa_datasets.video.canonical import encode_canonical

PORTRAIT, LANDSCAPE = (64, 36), (36, 64)
CONFIG = LoaderConfig(size_hw=(32, 18), buckets_hw=((18, 32),), batch_size=2, num_frames=2, seed=3)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five portrait and three landscape clips."""
    samples = []
    for i in range(8):
        size_hw = PORTRAIT if i < 5 else LANDSCAPE
        puppet = render_puppet(i, i, num_frames=4, size_hw=size_hw)
        clip = Clip(f"p{i}", f"p{i}", "puppets", "MIT", 0.0, 1 / 6, 24.0, size_hw, 4, True,
                    "renderer", "train")  # fmt: skip
        samples.append(ShardSample(clip, encode_canonical(puppet.frames, 24.0), puppet.pose))
    path = tmp_path_factory.mktemp("shapes") / "train-000000.tar"
    write_shard(path, samples)
    return path


def test_the_nearest_shape_is_taken() -> None:
    sizes = ((64, 36), (48, 48), (36, 64))
    assert [nearest_shape(s, sizes) for s in ((1920, 1080), (700, 720), (1080, 1920))] == [0, 1, 2]
    assert nearest_shape((64, 48), ((64, 48), (128, 96))) == 0  # of several, the first


def same(a: FrameBatch, b: FrameBatch) -> bool:
    return a.clip_ids == b.clip_ids and torch.equal(a.target, b.target)


def test_every_batch_is_of_one_size_and_no_clip_is_cropped(shard: Path) -> None:
    batches = list(itertools.islice(make_loader([shard], CONFIG), 24))
    for batch in batches:
        portrait = {int(clip_id[1:]) < 5 for clip_id in batch.clip_ids}
        assert len(portrait) == 1
        expected = (32, 18) if portrait.pop() else (18, 32)
        assert batch.target.shape == (2, 2, *expected, 3)
        assert batch.reference.shape == (2, *expected, 3)
        assert {pose.size_hw for pose in batch.poses} == {expected}
    counts = [sum(f"p{i}" in batch.clip_ids for batch in batches) for i in range(8)]
    assert min(counts) >= 4  # every clip is seen again and again; those of a size wait for it


def test_a_resumed_loader_gives_what_the_undisturbed_one_does(shard: Path) -> None:
    whole = list(itertools.islice(make_loader([shard], CONFIG), 12))
    for stop in (0, 1, 5, 9):
        loader = make_loader([shard], CONFIG)
        for _ in range(stop):
            next(loader)
        again = make_loader([shard], CONFIG)
        again.load_state_dict(loader.state_dict())
        assert all(same(a, b) for a, b in zip(again, whole[stop:], strict=False))


def test_processes_share_batches_of_one_size(shard: Path) -> None:
    world = [make_loader([shard], CONFIG, rank=rank, world_size=2) for rank in range(2)]
    for _ in range(8):
        first, second = (next(loader) for loader in world)
        assert first.target.shape == second.target.shape
    with pytest.raises(ShardError, match="the state has 4, this is 2"):
        make_loader([shard], CONFIG).load_state_dict(world[0].state_dict())


def test_one_size_is_dealt_as_without_buckets() -> None:
    plain, bucketed = (Draws(Order(Shuffle(1), [7]), 2, 1, 2, 8, b) for b in (None, [0] * 7))
    assert list(itertools.islice(plain, 9)) == list(itertools.islice(bucketed, 9))
    numbers = np.ravel([[d.number for d in batch] for batch in itertools.islice(plain, 3)])
    assert numbers.tolist() == [9, 11, 13, 15, 17, 19]
