from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import random
import shutil
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import webdataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aa_datasets.clip import Clip
from aa_datasets.errors import ShardError
from aa_datasets.pose import read_pose, write_pose
from aa_datasets.shards import (
    Member,
    ShardSample,
    read_clip,
    read_entry,
    read_places,
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


def test_a_shard_is_what_webdatasets_writer_makes(
    samples: list[ShardSample], shards: list[Path], tmp_path: Path
) -> None:
    with (tmp_path / "oracle.tar").open("wb") as file:
        writer = webdataset.TarWriter(file, encoder=False, mtime=0, user="", group="", mode=0o644)
        for sample in samples[:4]:
            pose = io.BytesIO()
            write_pose(pose, sample.pose)
            meta = json.dumps(sample.clip.to_json(), sort_keys=True).encode()
            content = {"meta.json": meta, "mp4": sample.mp4, "pose.npz": pose.getvalue()}
            writer.write({"__key__": sample.clip.clip_id, **content})
        writer.close()
    assert shards[0].read_bytes() == (tmp_path / "oracle.tar").read_bytes()


def test_shard_cut_short_is_refused(shard: Path) -> None:
    content = shard.read_bytes()
    shard.write_bytes(content[:-1000])
    for read in (read_record, verify_shard, lambda path: list(read_shards([path]))):
        with pytest.raises(
            ShardError, match=rf"a\.tar is damaged.*from byte {len(content) - 1000}"
        ):
            read(shard)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_changed_bit_is_noticed_and_found(shard: Path, part: float, bit: int) -> None:
    original = shard.read_bytes()
    record = read_record(shard)
    place = int(part * len(original))
    content = bytearray(original)
    content[place] ^= 1 << bit
    shard.write_bytes(content)
    inside = [
        f"in bytes {m.offset} to {m.offset + m.length - 1}, {entry.clip.clip_id}.{kind}"
        for entry in record.clips
        for kind, m in entry.members.items()
        if m.offset <= place < m.offset + m.length
    ]
    where = inside[0] if inside else "between its members"
    try:
        for read in (verify_shard, lambda path: next(read_shards([path]))):
            with pytest.raises(ShardError, match=rf"a\.tar is altered {where}: its record"):
                read(shard)
    finally:
        shard.write_bytes(original)


def test_a_record_beside_another_shard_is_named(shards: list[Path], shard: Path) -> None:
    shutil.copy(shards[1].with_suffix(".json"), shard.with_suffix(".json"))
    with pytest.raises(ShardError, match=r"a\.tar is damaged: its record, which is of b\.tar,"):
        verify_shard(shard)
    row = json.loads(shard.with_suffix(".json").read_text())
    row["num_bytes"] = shard.stat().st_size
    shard.with_suffix(".json").write_text(json.dumps(row))
    with pytest.raises(ShardError, match=r"a\.tar is altered in bytes .*, which is of b\.tar"):
        verify_shard(shard)


def test_a_record_that_exchanges_two_videos_is_noticed(shard: Path) -> None:
    """Both are as long, so that no decoder would see it; the shard itself is as it was."""
    row = json.loads(shard.with_suffix(".json").read_text())
    one, other = (clip["members"] for clip in row["clips"][:2])
    one["mp4"], other["mp4"] = other["mp4"], one["mp4"]
    shard.with_suffix(".json").write_text(json.dumps(row))
    with pytest.raises(ShardError, match=r"a\.tar holds puppet_0\.mp4 at byte \d+, its record"):
        verify_shard(shard)
    del row["clips"][1]
    shard.with_suffix(".json").write_text(json.dumps(row))
    with pytest.raises(ShardError, match=r"a\.tar holds puppet_"):
        verify_shard(shard)


def test_a_record_of_a_clip_that_the_shard_does_not_hold_is_noticed(shard: Path) -> None:
    row = json.loads(shard.with_suffix(".json").read_text())
    ghost = json.loads(json.dumps(row["clips"][0]).replace("puppet_0", "puppet_9"))
    row["clips"].append(ghost)
    shard.with_suffix(".json").write_text(json.dumps(row))
    with pytest.raises(
        ShardError, match=r"a\.tar holds no puppet_9\.[\w.]+ at byte \d+, as its rec"
    ):
        verify_shard(shard)


def test_a_clips_own_part_of_a_record_is_checked_where_it_is_read(shard: Path) -> None:
    place = read_places(shard)[0]
    row = json.loads(shard.with_suffix(".json").read_text())
    row["clips"][place.number]["clip"]["fps"] = "fast"
    shard.with_suffix(".json").write_text(json.dumps(row))
    with pytest.raises(ShardError, match=r"a\.json is not a shard record"):
        read_clip(place)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"mp4": [-1, 5]}, r"puppet_0\.mp4 at bytes -1 to 4"),
        ({"mp4": [0, 10**9]}, r"puppet_0\.mp4 at bytes 0 to 1000000000"),
        ({"pyd": [512, 5]}, "a.json is not a shard record: Invalid enum value 'pyd'"),
    ],
)
def test_members_that_cannot_be_are_refused(
    shard: Path, members: dict[str, list[int]], message: str
) -> None:
    row = json.loads(shard.with_suffix(".json").read_text())
    row["clips"][0]["members"].update(members)
    shard.with_suffix(".json").write_text(json.dumps(row))
    with pytest.raises(ShardError, match=message):
        read_record(shard)


def test_a_member_that_others_would_unpickle_is_refused(shard: Path) -> None:
    """webdataset's `.decode()` runs what it finds in a `.pyd`."""
    row = json.loads(shard.with_suffix(".json").read_text())
    with tarfile.open(shard, "a:") as tar:
        tar.add(__file__, "puppet_0.pyd")
    content = shard.read_bytes()
    row.update(num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    shard.with_suffix(".json").write_text(json.dumps(row))
    with pytest.raises(ShardError, match=r"a\.tar holds puppet_0\.pyd at byte \d+, its record"):
        next(read_shards([shard]))


def test_a_record_without_crcs_still_serves(shard: Path) -> None:
    row = json.loads(shard.with_suffix(".json").read_text())
    for clip in row["clips"]:
        clip["members"] = {kind: place[:2] for kind, place in clip["members"].items()}
    shard.with_suffix(".json").write_text(json.dumps(row))
    assert len(list(read_shards([shard]))) == 4
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(ShardError, match=r"a\.tar is altered somewhere: its record"):
        verify_shard(shard)


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
    beyond = {**entry.members, "mp4": Member(shard.stat().st_size - 10, 100)}
    with pytest.raises(ShardError, match=r"inside puppet_0\.mp4"):
        read_entry(shard, dataclasses.replace(entry, members=beyond))
    renamed = dataclasses.replace(entry, clip=dataclasses.replace(entry.clip, licence="other"))
    with pytest.raises(ShardError, match="not the one that its record describes"):
        read_entry(shard, renamed)
    for kind in ("meta.json", "pose.npz"):
        moved = {**entry.members, kind: Member(entry.members[kind][0] + 7, entry.members[kind][1])}
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


def test_a_pose_of_another_length_is_refused(samples: list[ShardSample], tmp_path: Path) -> None:
    """When it is written; and when it is read, though every hash is right."""
    path = tmp_path / "a.tar"
    longer = dataclasses.replace(samples[0].clip, num_frames=11)
    with pytest.raises(ShardError, match=r"clip puppet_0 has 11 frames, its pose 10"):
        write_shard(path, [dataclasses.replace(samples[0], clip=longer)])
    write_shard(path, samples[:1])
    row = json.loads(path.with_suffix(".json").read_text())
    row["clips"][0]["clip"]["num_frames"] = 99
    content = path.read_bytes().replace(b'"num_frames": 10', b'"num_frames": 99')
    path.write_bytes(content)
    row["sha256"] = hashlib.sha256(content).hexdigest()
    offset, length, _ = row["clips"][0]["members"]["meta.json"]
    row["clips"][0]["members"]["meta.json"][2] = zlib.crc32(content[offset : offset + length])
    path.with_suffix(".json").write_text(json.dumps(row))
    with pytest.raises(ShardError, match=r"clip puppet_0 has 99 frames, its pose 10"):
        list(read_shards([path]))


def test_pickled_pose_in_a_shard_is_refused(samples: list[ShardSample], tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    pickled = io.BytesIO()
    np.savez(pickled, keypoints_px=np.array([{"not": "data"}], object))
    write_shard(path, samples[:1])
    entry = read_record(path).clips[0]
    offset, length, _ = entry.members["pose.npz"]
    content = pickled.getvalue()
    whole = path.read_bytes()
    path.write_bytes(whole[:offset] + content + whole[offset + len(content) :])
    members = {**entry.members, "pose.npz": Member(offset, len(content))}
    assert len(content) < length
    with pytest.raises(ShardError, match=r"clip puppet_0 .* is altered"):
        read_entry(path, dataclasses.replace(entry, members=members))
