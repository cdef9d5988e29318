"""Pack a shard from its accepted clips; the bytes depend on the clips alone, not on their order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from aa_curation.errors import LedgerError
from aa_curation.ledger.lines import SHARDS
from aa_curation.ledger.records import Decision
from aa_datasets.atomic_file import replace_file
from aa_datasets.errors import ShardError
from aa_datasets.pose import read_pose
from aa_datasets.shards import (
    ShardRecord,
    ShardSample,
    read_record,
    remove_latents,
    write_shard,
)

CLIPS = "clips"  # the accepted clips as files; what shards are made from


def pack_shard(name: str, decisions: Sequence[Decision], folder: Path) -> int:
    """Write a shard of a corpus, unless it is there as it should be; returns its size in bytes.

    Latents of a shard that changes are deleted.

    Args:
        name: of the shard.
        decisions: on its clips.
        folder: of the corpus.

    Raises:
        LedgerError: a clip's file is not the one that was accepted.
    """
    path = folder / SHARDS / name
    record = _up_to_date(path, decisions)
    if record is None:
        remove_latents(path)
        record = write_shard(path, _samples(decisions, folder))
        replace_file(sums_path(path), _sums(decisions).encode())
    return record.num_bytes


def _up_to_date(path: Path, decisions: Sequence[Decision]) -> ShardRecord | None:
    """The record of a shard that was packed from just these clips, under the same licences."""
    try:
        record = read_record(path)
        same = sums_path(path).read_text() == _sums(decisions)
    except (ShardError, OSError):
        return None
    packed = {entry.clip.clip_id: entry.clip for entry in record.clips}
    return record if same and packed == {d.clip_id: d.clip for d in decisions} else None


def distrust(path: Path) -> None:
    """Have the next `pack` rewrite a shard."""
    sums_path(path).unlink(missing_ok=True)


def sums_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _sums(decisions: Sequence[Decision]) -> str:
    """In the format of sha256sum."""
    return "".join(
        f"{sha256}  {d.clip_id}.{kind}\n"
        for d in sorted(decisions, key=lambda d: d.clip_id)
        for kind, sha256 in (("mp4", d.mp4_sha256), ("pose.npz", d.pose_sha256))
    )


def _samples(decisions: Sequence[Decision], folder: Path) -> Iterator[ShardSample]:
    for decision in decisions:
        clip = decision.clip
        assert clip is not None
        mp4 = _checked(folder / CLIPS / f"{clip.clip_id}.mp4", decision.mp4_sha256)
        pose = _checked(folder / CLIPS / f"{clip.clip_id}.pose.npz", decision.pose_sha256)
        yield ShardSample(clip, mp4, read_pose(pose))


def _checked(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LedgerError(f"the accepted clip {path.name} is gone: {error}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise LedgerError(
            f"{path} is not the clip that was accepted (its sha256 differs): "
            "move the corpus away and run again"
        )
    return content
