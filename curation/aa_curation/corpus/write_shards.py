"""Which accepted clips go into which shard, and the manifest of all."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from aa_curation.ledger.file import LedgerWriter
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.lines import SHARDS
from aa_curation.steps.pack_shard import pack_shard, sums_path
from aa_datasets.atomic_file import replacing
from aa_datasets.clip import Clip
from aa_datasets.progress import progress
from aa_datasets.shards import remove_latents

FETCHED = "sources"  # files by the sha256 of their content
MANIFEST = "clips.csv"
_SHA256_OF = "clip_id, mp4_sha256, pose_sha256, clip"
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

_OTHERS = ("owner", "consent", "mp4_sha256")  # columns that are not of a `Clip`


def shard_plan(ledger: Ledger) -> dict[str, list[str]]:
    """Which clips go into which shard, by their ids: `{"train-000000.tar": [...]}`.

    A clip that was packed before keeps its shard for good. Where it was taken down or rejected
    since, its place stays empty, and is filled should it come back. All others open new shards, as
    `new_shards` has it. (A shard that the hash of an id decides would be no better: 1 % more clips
    are two or three in every shard of 256.)
    """
    plan: dict[str, list[str]] = {}
    for clip_id, split, name in ledger.sql(
        "SELECT clip_id, split, shard FROM clips JOIN shard_of USING (clip_id) "
        "WHERE status = 'accepted' AND split IS NOT NULL ORDER BY clip_id"
    ):
        if name.rpartition("-")[0] == split:
            plan.setdefault(name, []).append(clip_id)
    plan |= new_shards(ledger)
    return {name: plan[name] for name in sorted(plan)}


def new_shards(ledger: Ledger, full_through_block: int | None = None) -> dict[str, list[str]]:
    """The shards that accepted clips open which have none, behind those that there ever were.

    A corpus that grows rewrites no shard, and one that lost clips only those that held them. New
    clips are ordered by the block of their source and a hash of their id, so that the order of work
    does not matter, and a shard mixes the sources.

    Args:
        ledger: of the corpus.
        full_through_block: only shards that are full, of clips of this block and those before it.
    """
    new: dict[str, list[tuple[int, bytes, str]]] = {}
    for clip_id, split, block in ledger.sql(
        "SELECT clip_id, split, coalesce(number, -1) FROM clips LEFT JOIN blocks USING (source_id) "
        "LEFT JOIN shard_of USING (clip_id) WHERE status = 'accepted' AND split IS NOT NULL "
        "AND (shard IS NULL OR substr(shard, 1, length(shard) - 11) != split)"
    ):
        if full_through_block is None or block <= full_through_block:
            place = (block, hashlib.sha256(clip_id.encode()).digest(), clip_id)
            new.setdefault(split, []).append(place)
    size = ledger.head.clips_per_shard
    used = [name.rpartition("-") for (name,) in ledger.sql("SELECT DISTINCT shard FROM shard_of")]
    plan: dict[str, list[str]] = {}
    for split, places in new.items():
        clip_ids = [clip_id for _, _, clip_id in sorted(places)]
        if full_through_block is not None:
            clip_ids = clip_ids[: len(clip_ids) // size * size]
        numbers = [int(number.removesuffix(".tar")) for its, _, number in used if its == split]
        next_number = max(numbers, default=-1) + 1
        for number, first in enumerate(range(0, len(clip_ids), size), next_number):
            plan[f"{split}-{number:06d}.tar"] = sorted(clip_ids[first : first + size])
    return plan


def pack(writer: LedgerWriter, folder: Path) -> None:
    """Write the shards and `clips.csv`; shards that are already right stay untouched.

    Which new clips go into which shard is in the ledger before the first of them is written:
    whenever this is killed, the next call makes the same shards. Latents of a shard that changes or
    goes are deleted, and what a killed run left unfinished.

    Raises:
        LedgerError: a clip's file is not the one that was accepted.
    """
    ledger, shards = writer.ledger, folder / SHARDS
    shards.mkdir(exist_ok=True)
    for leftover in (*folder.glob(".*.tmp"), *shards.glob(".*.tmp")):
        leftover.unlink()
    ledger.add_shards(new_shards(ledger))
    writer.commit()
    plan = shard_plan(ledger)
    for name, clip_ids in progress(plan.items(), desc="pack", unit="shard", disable=not plan):
        clips_sha256 = sha256_of_clips(ledger, clip_ids)
        if not _is_packed(shards / name, ledger.packed(name), clips_sha256):
            num_bytes = pack_shard(name, list(ledger.decisions.of(clip_ids)), folder)
            ledger.add_packed(name, num_bytes, clips_sha256)
    for stale in set(shards.glob("*.tar")) - {shards / name for name in plan}:
        remove_latents(stale)
        for part in (stale.with_suffix(".json"), sums_path(stale), stale):
            part.unlink(missing_ok=True)
    with replacing(folder / MANIFEST) as file:
        for text in iter_manifest(ledger, plan):
            file.write(text.encode())
    writer.commit()


def sha256_of_clips(ledger: Ledger, clip_ids: Sequence[str]) -> str:
    """A hash of what the ledger says of a shard's clips."""
    found = hashlib.sha256()
    for row in ledger.decisions.columns(clip_ids, _SHA256_OF):
        found.update("\n".join(row).encode())
    return found.hexdigest()


def _is_packed(path: Path, packed: tuple[int, str] | None, clips_sha256: str) -> bool:
    """Whether a shard was packed of just these clips, and is as long as it was then."""
    if packed is None or packed[1] != clips_sha256:
        return False
    try:
        whole = path.stat().st_size == packed[0]
    except OSError:
        return False
    return whole and path.with_suffix(".json").is_file() and sums_path(path).is_file()


def iter_manifest(ledger: Ledger, plan: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A csv with one row per accepted clip: where it lies, whose it is, and what it may be used
    for. Yields its head, and the rows of one shard at a time."""
    yield _csv([_COLUMNS])
    for shard, clip_ids in plan.items():
        rows = []
        for content, *others in ledger.decisions.columns(clip_ids, f"clip, {', '.join(_OTHERS)}"):
            clip = msgspec.json.decode(content, type=Clip)
            values = clip.to_json() | dict(zip(_OTHERS, others, strict=True))
            height, width = clip.size_hw
            values |= {"height": height, "width": width, "shard": shard}
            rows.append([values[name] for name in _COLUMNS])
        yield _csv(rows)


def _csv(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
