"""Pack the accepted clips as shards; the bytes depend on the clips alone, not on their order."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from aa_curation.errors import LedgerError
from aa_curation.ledger.ledger import SHARDS, Ledger, LedgerWriter
from aa_curation.ledger.records import Decision
from aa_datasets.atomic_file import replace_file
from aa_datasets.errors import ShardError
from aa_datasets.loader.latents import remove_latents
from aa_datasets.pose import read_pose
from aa_datasets.progress import progress
from aa_datasets.shards import ShardRecord, ShardSample, read_record, write_shard

CLIPS = "clips"  # the accepted clips as files; what shards are made from
FETCHED = "sources"  # files by the sha256 of their content
MANIFEST = "clips.csv"
_COLUMNS = (
    *("clip_id", "shard", "split", "source_id", "source", "licence", "owner", "consent"),
    *(
        "synthetic",
        "start_s",
        "end_s",
        "fps",
        "height",
        "width",
        "num_frames",
        "pose_from",
        "mp4_sha256",
    ),
)


def shard_plan(ledger: Ledger) -> dict[str, list[Decision]]:
    """Which clips go into which shard: `{"train-000000.tar": [...]}`.

    A clip that was packed before keeps its shard for good. Where it was taken down or rejected
    since, its place stays empty, and is filled should it come back. All others open new shards of
    their split, behind those that there ever were: a corpus that grows rewrites no shard, and one
    that lost clips only those that held them. (A shard that the hash of an id decides would be no
    better: 1 % more clips are two or three in every shard of 256.) New clips are ordered by a hash
    of their id, so that the order of work does not matter, and a shard mixes the sources.
    """
    plan: dict[str, list[Decision]] = {}
    new: dict[str, list[Decision]] = {}
    for decision in ledger.decisions.values():
        if decision.clip is None or decision.status != "accepted":
            continue
        name = ledger.shard_of.get(decision.clip_id, "")
        if name.rpartition("-")[0] == decision.clip.split:
            plan.setdefault(name, []).append(decision)
        else:
            new.setdefault(decision.clip.split, []).append(decision)
    size = ledger.head.clips_per_shard
    used = {name.rpartition("-")[::2] for name in set(ledger.shard_of.values())}
    for split, decisions in new.items():
        decisions.sort(key=lambda d: (hashlib.sha256(d.clip_id.encode()).digest(), d.clip_id))
        next_number = max(
            (int(number.removesuffix(".tar")) + 1 for its, number in used if its == split),
            default=0,
        )
        for number, first in enumerate(range(0, len(decisions), size), next_number):
            plan[f"{split}-{number:06d}.tar"] = decisions[first : first + size]
    return {name: sorted(plan[name], key=lambda d: d.clip_id) for name in sorted(plan)}


def pack(writer: LedgerWriter, folder: Path) -> list[ShardRecord]:
    """Write the shards and `clips.csv`; shards that are already right stay untouched.

    Which new clips go into which shard is a row of the ledger before the first of them is written:
    whenever this is killed, the next call makes the same shards. Latents of a shard that changes or
    goes are deleted, and what a killed run left unfinished.

    Raises:
        LedgerError: a clip's file is not the one that was accepted.
    """
    ledger, shards = writer.ledger, folder / SHARDS
    shards.mkdir(exist_ok=True)
    for leftover in (*folder.glob(".*.tmp"), *shards.glob(".*.tmp")):
        leftover.unlink()
    plan = shard_plan(ledger)
    new = {
        name: [d.clip_id for d in decisions]
        for name, decisions in plan.items()
        if any(ledger.shard_of.get(d.clip_id) != name for d in decisions)
    }
    if new:
        writer.add_shards(new)
    records = []
    for name, decisions in progress(plan.items(), desc="pack", unit="shard", disable=not plan):
        record = _up_to_date(shards / name, decisions)
        records.append(record or _write(shards / name, decisions, folder))
    for stale in set(shards.glob("*.tar")) - {shards / name for name in plan}:
        remove_latents(stale)
        for part in (stale.with_suffix(".json"), _sums_path(stale), stale):
            part.unlink(missing_ok=True)
    _write_manifest(folder / MANIFEST, plan)
    return records


def _write(path: Path, decisions: Sequence[Decision], folder: Path) -> ShardRecord:
    remove_latents(path)
    record = write_shard(path, _samples(decisions, folder))
    replace_file(_sums_path(path), _sums(decisions).encode())
    return record


def _up_to_date(path: Path, decisions: Sequence[Decision]) -> ShardRecord | None:
    """The record of a shard that was packed from just these clips, under the same licences."""
    try:
        record = read_record(path)
        same = _sums_path(path).read_text() == _sums(decisions)
    except (ShardError, OSError):
        return None
    packed = {entry.clip.clip_id: entry.clip for entry in record.clips}
    return record if same and packed == {d.clip_id: d.clip for d in decisions} else None


def distrust(path: Path) -> None:
    """Have the next `pack` rewrite a shard."""
    _sums_path(path).unlink(missing_ok=True)


def _sums_path(path: Path) -> Path:
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


def _write_manifest(path: Path, plan: dict[str, list[Decision]]) -> None:
    replace_file(path, manifest_text(plan).encode())


def manifest_text(plan: dict[str, list[Decision]]) -> str:
    """A csv with one row per accepted clip: where it lies, whose it is, and what it may be used
    for."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for shard, decisions in plan.items():
        for decision in sorted(decisions, key=lambda d: d.clip_id):
            clip = decision.clip
            assert clip is not None
            writer.writerow(
                {
                    **clip.to_json(),
                    "height": clip.size_hw[0],
                    "width": clip.size_hw[1],
                    "shard": shard,
                    "owner": decision.owner,
                    "consent": decision.consent,
                    "mp4_sha256": decision.mp4_sha256,
                }
            )
    return text.getvalue()
