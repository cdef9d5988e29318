"""Stored latents: which row is whose, and what they were made of, without any encoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aa_datasets.loader.config import LoaderConfig
from aa_datasets.loader.crop_resize import resize_pose
from aa_datasets.loader.latents import (
    LatentsError,
    LatentsKey,
    StoredLatents,
    has_latents,
    read_latents_record,
    write_latents,
)
from aa_datasets.loader.loader import make_loader
from aa_datasets.shards import ShardSample, read_record, remove_latents, write_shard

C, H, W, S, D = 2, 3, 4, 1, 5


@pytest.fixture
def key() -> LatentsKey:
    return LatentsKey(64, 96, "a" * 64, "b" * 64)


@pytest.fixture
def shard(samples: list[ShardSample], tmp_path: Path) -> Path:
    """Clips of 10, 10 and 10 frames."""
    write_shard(tmp_path / "a.tar", samples[:3])
    return tmp_path / "a.tar"


Encoded = tuple[NDArray[np.float32], NDArray[np.float32]]


def _encoded(total: int, at_once: int) -> Iterator[Encoded]:
    """Row n is filled with n, and its tokens with -n."""
    for first in range(0, total, at_once):
        n = np.arange(first, min(first + at_once, total), dtype=np.float32)[:, None]
        moments = np.broadcast_to(n[..., None, None], (len(n), 2 * C, H, W))
        yield moments.copy(), np.broadcast_to(-n[..., None], (len(n), S, D)).copy()


@pytest.mark.parametrize("at_once", [1, 7, 30])
def test_each_frame_gets_its_own_row(shard: Path, key: LatentsKey, at_once: int) -> None:
    assert not has_latents(shard)
    record = write_latents(shard, read_record(shard), key, _encoded(30, at_once))
    assert has_latents(shard)
    assert read_latents_record(shard, read_record(shard), key, whole=True) == record
    assert record.first_rows == {"puppet_0": 0, "puppet_1": 10, "puppet_2": 20}
    stored = StoredLatents([shard], key)
    found = stored.read(shard, "puppet_1", 3, np.array([9, 0, 4]))
    assert found.reference_moments.shape == (2 * C, H, W)
    assert found.target_moments.shape == (3, 2 * C, H, W)
    assert found.reference_tokens.shape == (S, D)
    assert found.reference_moments.unique().tolist() == [13]
    assert found.target_moments[:, 0, 0, 0].tolist() == [19, 10, 14]
    assert found.reference_tokens.unique().tolist() == [-13]


@pytest.mark.parametrize("total", [0, 29, 31, 40])
def test_other_numbers_of_rows_leave_nothing(shard: Path, key: LatentsKey, total: int) -> None:
    with pytest.raises(LatentsError, match=f"a.tar has 30 frames, {total} were encoded"):
        write_latents(shard, read_record(shard), key, _encoded(total, 8))
    assert not has_latents(shard)
    with pytest.raises(LatentsError, match=r"a\.tar has no finished a\.latents\.npy next to it"):
        read_latents_record(shard, read_record(shard), key)


def test_what_they_were_made_of_is_held_to_what_is_asked_for(shard: Path, key: LatentsKey) -> None:
    write_latents(shard, read_record(shard), key, _encoded(30, 8))
    for field in fields(key):
        other = 32 if field.name.endswith("_px") else "another"
        why = rf"made with {field.name} .*, this run has {field.name} .*precompute"
        with pytest.raises(LatentsError, match=why):
            read_latents_record(shard, read_record(shard), replace(key, **{field.name: other}))
    why = r"made of another a\.tar \(sha256 \w{12}, found 0{12}\)"
    with pytest.raises(LatentsError, match=why):
        read_latents_record(shard, replace(read_record(shard), sha256="0" * 64), key)


def test_an_altered_file_is_found_by_its_length_or_read_whole(shard: Path, key: LatentsKey) -> None:
    write_latents(shard, read_record(shard), key, _encoded(30, 8))
    path = shard.with_suffix(".latents.npy")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    read_latents_record(shard, read_record(shard), key)
    with pytest.raises(LatentsError, match=r"a\.latents\.npy was altered: run `aa-train"):
        read_latents_record(shard, read_record(shard), key, whole=True)
    path.write_bytes(content + b"x")
    with pytest.raises(LatentsError, match="was altered"):
        StoredLatents([shard], key)
    shard.with_suffix(".latents.json").write_text("{}")
    with pytest.raises(LatentsError, match=r"a\.latents\.json is not a record of latents"):
        read_latents_record(shard, read_record(shard), key)
    for name in ("a.latents.npy", "a.latents.json"):  # killed between the two
        write_latents(shard, read_record(shard), key, _encoded(30, 8))
        (shard.parent / name).unlink()
        assert not has_latents(shard)
    write_latents(shard, read_record(shard), key, _encoded(30, 8))
    remove_latents(shard)
    assert sorted(file.name for file in shard.parent.iterdir()) == ["a.json", "a.tar"]
    remove_latents(shard)  # repeatable


@pytest.mark.parametrize("stage", [1, 2])
def test_a_loader_gives_the_latents_of_the_frames_that_it_gives_the_poses_of(
    shard: Path, samples: list[ShardSample], key: LatentsKey, stage: int
) -> None:
    write_latents(shard, read_record(shard), key, _encoded(30, 8))
    config = LoaderConfig(stage=stage, batch_size=1, size_hw=(64, 96), num_frames=4, latents=key)
    loader = make_loader([shard], config)
    poses = [resize_pose(sample.pose, (64, 96)).keypoints_px for sample in samples[:3]]
    for _ in range(6):
        batch = next(loader)
        assert batch.latents is not None
        assert batch.target.shape == (1, 4, 64, 96, 0), "frames are not decoded"
        clip = int(batch.clip_ids[0].removeprefix("puppet_"))
        rows = batch.latents.target_moments[0, :, 0, 0, 0].tolist()
        frames = [int(row) - 10 * clip for row in rows]
        if stage == 2:
            assert frames == list(range(frames[0], frames[0] + 4))
        np.testing.assert_array_equal(batch.poses[0].keypoints_px, poses[clip][frames])
        assert 0 <= batch.latents.reference_moments[0, 0, 0, 0].item() - 10 * clip < 10
        assert (
            batch.latents.reference_tokens[0, 0, 0] == -batch.latents.reference_moments[0, 0, 0, 0]
        )
