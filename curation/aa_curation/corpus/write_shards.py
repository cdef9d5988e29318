"""Pack the accepted clips as shards; the bytes depend on the clips alone, not on their order."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from aa_curation.errors import LedgerError
from aa_curation.ledger.ledger import Ledger, LedgerWriter
from aa_curation.ledger.lines import SHARDS
from aa_curation.ledger.records import Decision
from aa_datasets.atomic_file import replace_file, replacing
from aa_datasets.errors import ShardError
from aa_datasets.loader.latents import remove_latents
from aa_datasets.pose import read_pose
from aa_datasets.progress import progress
from aa_datasets.shards import ShardRecord, ShardSample, read_record, write_shard

CLIPS = "clips"  # the accepted clips as files; what shards are made from
FETCHED = "sources"  # files by the sha256 of their content
MANIFEST = "clips.csv"
_AT_ONCE = 10_000  # ids in a query
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


def shard_plan(ledger: Ledger) -> dict[str, list[str]]:
    """Which clips go into which shard, by their ids: `{"train-000000.tar": [...]}`.

    A clip that was packed before keeps its shard for good. Where it was taken down or rejected
    since, its place stays empty, and is filled should it come back. All others open new shards of
    their split, behind those that there ever were: a corpus that grows rewrites no shard, and one
    that lost clips only those that held them. (A shard that the hash of an id decides would be no
    better: 1 % more clips are two or three in every shard of 256.) New clips are ordered by a hash
    of their id, so that the order of work does not matter, and a shard mixes the sources.
    """
    plan: dict[str, list[str]] = {}
    new: dict[str, list[str]] = {}
    for clip_id, split, name in ledger.sql(
        "SELECT clip_id, split, shard FROM clips LEFT JOIN shard_of USING (clip_id) "
        "WHERE status = 'accepted' AND split IS NOT NULL ORDER BY clip_id"
    ):
        if name is not None and name.rpartition("-")[0] == split:
            plan.setdefault(name, []).append(clip_id)
        else:
            new.setdefault(split, []).append(clip_id)
    size = ledger.head.clips_per_shard
    used = [name.rpartition("-") for (name,) in ledger.sql("SELECT DISTINCT shard FROM shard_of")]
    for split, clip_ids in new.items():
        clip_ids.sort(key=lambda clip_id: (hashlib.sha256(clip_id.encode()).digest(), clip_id))
        numbers = [int(number.removesuffix(".tar")) for its, _, number in used if its == split]
        next_number = max(numbers, default=-1) + 1
        for number, first in enumerate(range(0, len(clip_ids), size), next_number):
            plan[f"{split}-{number:06d}.tar"] = sorted(clip_ids[first : first + size])
    return {name: plan[name] for name in sorted(plan)}


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
    plan = shard_plan(ledger)
    used = {name for (name,) in ledger.sql("SELECT DISTINCT shard FROM shard_of")}
    ledger.add_shards({name: plan[name] for name in plan.keys() - used})
    writer.commit()
    for name, clip_ids in progress(plan.items(), desc="pack", unit="shard", disable=not plan):
        clips_sha256 = _clips_sha256(ledger, clip_ids)
        if not _is_packed(shards / name, ledger.packed(name), clips_sha256):
            decisions = list(ledger.decisions.of(clip_ids))
            record = _up_to_date(shards / name, decisions)
            record = record or _write(shards / name, decisions, folder)
            ledger.add_packed(name, record.num_bytes, clips_sha256)
    for stale in set(shards.glob("*.tar")) - {shards / name for name in plan}:
        remove_latents(stale)
        for part in (stale.with_suffix(".json"), _sums_path(stale), stale):
            part.unlink(missing_ok=True)
    with replacing(folder / MANIFEST) as file:
        for text in iter_manifest(ledger, plan):
            file.write(text.encode())
    writer.commit()


def _clips_sha256(ledger: Ledger, clip_ids: Sequence[str]) -> str:
    """A hash of what the ledger says of a shard's clips."""
    found = hashlib.sha256()
    for first in range(0, len(clip_ids), _AT_ONCE):
        some = clip_ids[first : first + _AT_ONCE]
        for row in ledger.sql(
            "SELECT clip_id, mp4_sha256, pose_sha256, clip FROM clips "
            f"WHERE clip_id IN ({', '.join('?' * len(some))}) ORDER BY clip_id",
            *some,
        ):
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
    return whole and path.with_suffix(".json").is_file() and _sums_path(path).is_file()


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


def iter_manifest(ledger: Ledger, plan: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A csv with one row per accepted clip: where it lies, whose it is, and what it may be used
    for. Yields its head, and the rows of one shard at a time."""
    yield _csv([_COLUMNS])
    for shard, clip_ids in plan.items():
        rows = []
        for decision in ledger.decisions.of(clip_ids):
            clip = decision.clip
            assert clip is not None
            values = {
                **clip.to_json(),
                "height": clip.size_hw[0],
                "width": clip.size_hw[1],
                "shard": shard,
                "owner": decision.owner,
                "consent": decision.consent,
                "mp4_sha256": decision.mp4_sha256,
            }
            rows.append([values[name] for name in _COLUMNS])
        yield _csv(rows)


def _csv(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
