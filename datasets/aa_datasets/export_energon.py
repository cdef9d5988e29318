"""WebDataset shards with Megatron-Energon's index, which loads them without `energon prepare`.

Next to each `x.tar` stands `x.tar.idx`: where each sample begins, and where the last one ends, as
unsigned 64-bit numbers. `.nv-meta` holds the number of samples by shard (`.info.json`), the shards
of each split (`split.yaml`), the kind of the samples (`dataset.yaml`: crude, which a user's own
"cooker" turns into tensors), and where every member is (`index.sqlite`), for access by key.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import struct
import tarfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import webdataset

from aa_datasets.atomic_file import replace_file, replacing

_VERSION = "7.4.1"  # whose form this is
_PER_SHARD = 256
_DATASET = "__module__: megatron.energon\n__class__: CrudeWebdataset\n"
_TABLES = """
CREATE TABLE samples (
    tar_file_id INTEGER NOT NULL, sample_key TEXT NOT NULL UNIQUE, sample_index INTEGER NOT NULL,
    byte_offset INTEGER, byte_size INTEGER
);
CREATE TABLE sample_parts (
    tar_file_id INTEGER, sample_index INTEGER, part_name TEXT, content_byte_offset INTEGER,
    content_byte_size INTEGER
);
"""
_INDICES = """
CREATE INDEX idx_samples_by_tar_and_idx ON samples(tar_file_id, sample_index);
CREATE INDEX idx_sample_parts_seq
    ON sample_parts(tar_file_id, sample_index, content_byte_offset);
CREATE INDEX idx_sample_parts_full
    ON sample_parts(tar_file_id, sample_index, part_name, content_byte_offset, content_byte_size);
"""


def write_energon(
    samples: Iterator[tuple[str, Mapping[str, bytes]]], out: Path, split: str
) -> Iterator[str]:
    """Write the shards, then their index; yields the keys done.

    Args:
        samples: (key, {part: content}); a key has no full stop, and is there once.
        out: the folder.
        split: of all samples.
    """
    (out / "shards").mkdir(parents=True, exist_ok=True)
    names = []
    for number in itertools.count():
        first = next(samples, None)
        if first is None:
            break
        names.append(f"shards/{split}-{number:06d}.tar")
        with (
            replacing(out / names[-1]) as file,
            webdataset.TarWriter(
                file, encoder=False, mtime=0, user="", group="", mode=0o644
            ) as writer,
        ):
            others = itertools.islice(samples, _PER_SHARD - 1)
            for key, members in itertools.chain([first], others):
                writer.write({"__key__": key, **members})
                yield key
    _write_index(out, names, split)


def _write_index(out: Path, names: list[str], split: str) -> None:
    meta = out / ".nv-meta"
    meta.mkdir(exist_ok=True)
    counts = {}
    with replacing(meta / "index.sqlite") as file, closing(sqlite3.connect(file.name)) as database:
        database.executescript(_TABLES)
        for number, name in enumerate(names):
            members = _read_members(out / name)
            first: dict[str, int] = {}
            for key, _, member in members:
                first.setdefault(key, member.offset)
            keys, begins = list(first), [*first.values(), _end_of(members[-1][2])]
            replace_file(
                (out / name).with_suffix(".tar.idx"), struct.pack(f"{len(begins)}Q", *begins)
            )
            counts[name] = len(keys)
            places = {key: place for place, key in enumerate(keys)}
            database.executemany(
                "INSERT INTO samples VALUES (?, ?, ?, ?, ?)",
                (
                    (number, key, place, begins[place], begins[place + 1] - begins[place])
                    for place, key in enumerate(keys)
                ),
            )
            database.executemany(
                "INSERT INTO sample_parts VALUES (?, ?, ?, ?, ?)",
                ((number, places[k], part, m.offset_data, m.size) for k, part, m in members),
            )
        database.executescript(_INDICES)  # commits
    info = json.dumps({"energon_version": _VERSION, "shard_counts": counts}, indent=2)
    shards = "".join(f"  - {name}\n" for name in names)
    for name, text in (
        ("index.uuid", str(uuid.uuid5(uuid.NAMESPACE_OID, info))),
        ("dataset.yaml", _DATASET),
        ("split.yaml", f"split_parts:\n  {json.dumps(split)}:\n{shards}exclude: []\n"),
        (".info.json", info),  # last: with it the folder is a data set
    ):
        replace_file(meta / name, text.encode())


def _read_members(path: Path) -> list[tuple[str, str, tarfile.TarInfo]]:
    """(key, part, member) in the order of the tar: the key ends at the first full stop."""
    with tarfile.open(path, "r:") as tar:
        return [(*member.name.split(".", 1), member) for member in tar]  # type: ignore[misc]


def _end_of(member: tarfile.TarInfo) -> int:
    blocks = -(-member.size // tarfile.BLOCKSIZE)
    return member.offset_data + blocks * tarfile.BLOCKSIZE
