from __future__ import annotations

import dataclasses
import io
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import webdataset

from aa_datasets.clip import Clip
from aa_datasets.errors import ShardError
from aa_datasets.pose import read_pose
from aa_datasets.shards import (
    ShardSample,
    read_entry,
    read_record,
    read_shards,
    verify_shard,
    write_shard,
)


@pytest.fixture
def shard(shards: list[Path], tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    for path in (shards[0], shards[0].with_suffix(".json")):
        shutil.copy(path, tmp_path)
    return tmp_path / "a.tar"


def _assert_equal(found: ShardSample, expected: ShardSample) -> None:
    assert found.clip == expected.clip
    assert found.mp4 == expected.mp4
    np.testing.assert_array_equal(found.pose.keypoints_px, expected.pose.keypoints_px)
    np.testing.assert_array_equal(found.pose.scores, expected.pose.scores)


def test_what_is_written_reads_back(samples: list[ShardSample], shards: list[Path]) -> None:
    found = list(read_shards(shards))
    assert len(found) == len(samples)
    for one, other in zip(found, samples, strict=True):
        _assert_equal(one, other)


@pytest.mark.parametrize("seed", range(3))
def test_bytes_do_not_depend_on_order_or_place(
    samples: list[ShardSample], shards: list[Path], tmp_path: Path, seed: int
) -> None:
    shuffled = samples[:4]
    random.Random(seed).shuffle(shuffled)
    write_shard(tmp_path / "a.tar", iter(shuffled))
    assert (tmp_path / "a.tar").read_bytes() == shards[0].read_bytes()
    assert (tmp_path / "a.json").read_bytes() == shards[0].with_suffix(".json").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.tar"]


def test_webdataset_reads_the_shard(samples: list[ShardSample], shards: list[Path]) -> None:
    rows = list(webdataset.WebDataset(str(shards[0]), shardshuffle=False))
    assert [row["__key__"] for row in rows] == [sample.clip.clip_id for sample in samples[:4]]
    for row, sample in zip(rows, samples, strict=False):
        clip = Clip.from_json(json.loads(row["meta.json"]))
        _assert_equal(ShardSample(clip, row["mp4"], read_pose(row["pose.npz"])), sample)


def test_shard_cut_short_is_refused(shard: Path) -> None:
    content = shard.read_bytes()
    shard.write_bytes(content[:-1000])
    for read in (read_record, verify_shard, lambda path: list(read_shards([path]))):
        with pytest.raises(
            ShardError, match=rf"a\.tar is damaged.*from byte {len(content) - 1000}"
        ):
            read(shard)


@pytest.mark.parametrize("part", [0.01, 0.3, 0.6, 0.99])
def test_one_changed_bit_is_noticed(shard: Path, part: float) -> None:
    content = bytearray(shard.read_bytes())
    content[int(part * len(content))] ^= 1
    shard.write_bytes(content)
    assert read_record(shard).num_bytes == len(content)
    with pytest.raises(ShardError, match=r"a\.tar is altered: its record says sha256"):
        verify_shard(shard)
    with pytest.raises(ShardError, match="is altered"):
        next(read_shards([shard]))


def test_missing_shard_and_missing_record_are_named(shard: Path) -> None:
    with pytest.raises(ShardError, match=r"no shard .*gone\.tar"):
        read_record(shard.with_name("gone.tar"))
    shard.with_suffix(".json").unlink()
    with pytest.raises(ShardError, match=r"a\.tar has no record a\.json: it was not finished"):
        read_record(shard)


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "null", '{"name": "a.tar"}', "<html>",
        '{"name": "a", "sha256": "b", "num_bytes": 1, "clips": [{"clip": {"x": 1}}]}',
        '{"name": "a", "sha256": "b", "num_bytes": 1, "clips": [{"clip": [], "members": []}]}',
    ],
)  # fmt: skip
def test_files_that_are_no_record_are_named(shard: Path, content: str) -> None:
    shard.with_suffix(".json").write_text(content)
    with pytest.raises(ShardError, match=r"a\.json is not a shard record"):
        read_record(shard)


def test_record_of_other_form_is_named(shard: Path) -> None:
    record = json.loads(shard.with_suffix(".json").read_text())
    record["clips"][0]["members"] = [1, 2]
    shard.with_suffix(".json").write_text(json.dumps(record))
    with pytest.raises(ShardError, match=r"a\.json is not a shard record"):
        read_record(shard)


def test_entry_is_checked_against_the_bytes(shard: Path) -> None:
    entry = read_record(shard).clips[0]
    lacking = dataclasses.replace(entry, members={"mp4": entry.members["mp4"]})
    with pytest.raises(ShardError, match=r"lacks meta\.json, pose\.npz"):
        read_entry(shard, lacking)
    beyond = {**entry.members, "mp4": (shard.stat().st_size - 10, 100)}
    with pytest.raises(ShardError, match=r"inside puppet_0\.mp4"):
        read_entry(shard, dataclasses.replace(entry, members=beyond))
    renamed = dataclasses.replace(entry, clip=dataclasses.replace(entry.clip, licence="other"))
    with pytest.raises(ShardError, match="not the one that its record describes"):
        read_entry(shard, renamed)
    for kind in ("meta.json", "pose.npz"):
        moved = {**entry.members, kind: (entry.members[kind][0] + 7, entry.members[kind][1])}
        with pytest.raises(ShardError, match=r"clip puppet_0 at byte .* is altered"):
            read_entry(shard, dataclasses.replace(entry, members=moved))


def test_clip_given_twice_or_ill_named_leaves_nothing(
    samples: list[ShardSample], tmp_path: Path
) -> None:
    with pytest.raises(ShardError, match="puppet_0 is given twice"):
        write_shard(tmp_path / "x.tar", [samples[0], samples[1], samples[0]])
    for clip_id in ("", "a.b", "A", "ü", "a/b"):
        named = dataclasses.replace(samples[0].clip, clip_id=clip_id)
        with pytest.raises(ShardError, match="a-z, 0-9"):
            write_shard(tmp_path / "x.tar", [dataclasses.replace(samples[0], clip=named)])
    assert list(tmp_path.iterdir()) == []


def test_pickled_pose_in_a_shard_is_refused(samples: list[ShardSample], tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    pickled = io.BytesIO()
    np.savez(pickled, keypoints_px=np.array([{"not": "data"}], object))
    write_shard(path, samples[:1])
    entry = read_record(path).clips[0]
    offset, length = entry.members["pose.npz"]
    content = pickled.getvalue()
    whole = path.read_bytes()
    path.write_bytes(whole[:offset] + content + whole[offset + len(content) :])
    members = {**entry.members, "pose.npz": (offset, len(content))}
    assert len(content) < length
    with pytest.raises(ShardError, match=r"clip puppet_0 .* is altered"):
        read_entry(path, dataclasses.replace(entry, members=members))
