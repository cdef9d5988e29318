"""Megatron Energon's index over several shards: each sample and part by its bytes."""

from __future__ import annotations

import json
import sqlite3
import struct
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from aa_datasets.export_energon import write_energon

COUNT = 256 + 256 + 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("set")
    samples = ((f"clip{n:04}", {"a.txt": b"x" * (500 + n % 30), "b": str(n).encode()})
               for n in range(COUNT))  # fmt: skip
    assert list(write_energon(samples, out, "val")) == [f"clip{n:04}" for n in range(COUNT)]
    return out


def test_a_shard_holds_256_samples(made: Path) -> None:
    names = [f"shards/val-{n:06}.tar" for n in range(3)]
    info = json.loads((made / ".nv-meta/.info.json").read_text())
    assert info["shard_counts"] == dict(zip(names, (256, 256, 3), strict=True))
    split = yaml.safe_load((made / ".nv-meta/split.yaml").read_text())
    assert split == {"split_parts": {"val": names}, "exclude": []}
    assert sorted(p.name for p in (made / "shards").iterdir()) == sorted(
        [Path(name).name for name in names] + [f"{Path(name).name}.idx" for name in names]
    )


def test_every_sample_and_part_of_every_shard_is_where_the_index_says(made: Path) -> None:
    with closing(sqlite3.connect(made / ".nv-meta/index.sqlite")) as database:
        samples = database.execute("SELECT * FROM samples ORDER BY sample_key").fetchall()
        parts = database.execute("SELECT * FROM sample_parts").fetchall()
    assert len(samples) == COUNT
    assert len(parts) == 2 * COUNT
    of_sample: dict[tuple[int, int], dict[str, tuple[int, int]]] = {}
    for shard, index, name, offset, size in parts:
        of_sample.setdefault((shard, index), {})[name] = (offset, size)
    tars = [(made / f"shards/val-{n:06}.tar").read_bytes() for n in range(3)]
    places = [struct.unpack(f"{len(packed) // 8}Q", packed) for packed in (
        (made / f"shards/val-{n:06}.tar.idx").read_bytes() for n in range(3))]  # fmt: skip
    assert [len(begins) for begins in places] == [257, 257, 4], "and where the last one ends"
    for n, (shard, key, index, offset, size) in enumerate(samples):
        assert (shard, key, index) == (n // 256, f"clip{n:04}", n % 256)
        assert (offset, offset + size) == places[shard][index : index + 2]
        found = of_sample[shard, index]
        content = {name: tars[shard][at : at + length] for name, (at, length) in found.items()}
        assert content == {"a.txt": b"x" * (500 + n % 30), "b": str(n).encode()}


def test_a_tar_says_nothing_of_who_wrote_it_and_when(made: Path) -> None:
    with tarfile.open(made / "shards/val-000002.tar") as tar:
        members = tar.getmembers()
    assert [m.name for m in members[:2]] == ["clip0512.a.txt", "clip0512.b"]
    assert {(m.mtime, m.uname, m.gname, m.mode) for m in members} == {(0, "", "", 0o644)}


def test_the_same_samples_give_the_same_id_and_others_another(made: Path, tmp_path: Path) -> None:
    for name, count in (("same", COUNT), ("fewer", 3)):
        list(write_energon(((f"clip{n:04}", {"b": b"x"}) for n in range(count)),
                           tmp_path / name, "val"))  # fmt: skip
    ids = [(folder / ".nv-meta/index.uuid").read_text()
           for folder in (made, tmp_path / "same", tmp_path / "fewer")]  # fmt: skip
    assert ids[0] == ids[1] != ids[2]
