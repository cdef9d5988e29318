"""Verify: whether a corpus on disk is what its ledger says."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aa_curation.corpus.near_duplicates import bounds_of, separate
from aa_curation.corpus.write_shards import (
    MANIFEST,
    iter_manifest,
    pack,
    shard_plan,
)
from aa_curation.errors import LedgerError
from aa_curation.ledger.file import LedgerWriter
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.lines import SHARDS
from aa_curation.ledger.records import Decision
from aa_curation.steps.pack_shard import distrust
from aa_datasets.errors import DatasetError
from aa_datasets.pose import write_pose
from aa_datasets.progress import progress
from aa_datasets.shards import read_entry, verify_shard
from aa_datasets.video.canonical import read_canonical


def iter_problems(ledger: Ledger, folder: Path, *, decode: bool = False) -> Iterator[str]:
    """Yield what is wrong with a corpus, a sentence each.

    Args:
        ledger: of the corpus.
        folder: of the corpus.
        decode: also decode the last frame of every clip, which proves its length.
    """
    try:
        ledger.assert_complete()
    except LedgerError as error:
        yield str(error)
        if not (folder / MANIFEST).exists():
            return  # nothing was packed yet
    plan = shard_plan(ledger)
    yield from _leaks(ledger, plan)
    shards = folder / SHARDS
    for surplus in sorted({path.name for path in shards.glob("*.tar")} - set(plan)):
        yield f"{surplus} is not a shard of this corpus: run the same `aa-curate run` again"
    for name, clip_ids in progress(plan.items(), desc="verify", unit="shard"):
        decisions = list(ledger.decisions.of(clip_ids))
        yield from _shard_problems(shards / name, decisions, decode)
    try:
        with (folder / MANIFEST).open("rb") as manifest:
            parts = (text.encode() for text in iter_manifest(ledger, plan))
            same = all(manifest.read(len(part)) == part for part in parts) and not manifest.read(1)
    except OSError as error:
        yield f"{MANIFEST} cannot be read: {error}"
    else:
        if not same:
            yield f"{MANIFEST} is not the one of this ledger: run the same `aa-curate run` again"


def mend(writer: LedgerWriter, folder: Path) -> None:
    """Rewrite every shard that is not as it should be, from the accepted clips' files.

    Raises:
        LedgerError: a clip's file is gone or altered, too.
    """
    for name, clip_ids in shard_plan(writer.ledger).items():
        decisions = list(writer.ledger.decisions.of(clip_ids))
        if any(_shard_problems(folder / SHARDS / name, decisions, decode=False)):
            distrust(folder / SHARDS / name)
    pack(writer, folder)


def _leaks(ledger: Ledger, plan: dict[str, list[str]]) -> Iterator[str]:
    """Accepted clips without a licence; sources, people or recordings in more than one split."""
    accepted = {clip_id for clip_ids in plan.values() for clip_id in clip_ids}
    for (clip_id,) in ledger.sql(
        "SELECT clip_id FROM clips WHERE status = 'accepted' AND licence = '' ORDER BY clip_id"
    ):
        yield f"{clip_id} is accepted and has no licence"
    for row in separate(ledger, bounds_of(ledger)):
        if row.clip_id in accepted:
            yield f"{row.clip_id} is accepted and should not be: {row.reason}, {row.detail}"


def _shard_problems(path: Path, decisions: list[Decision], decode: bool) -> Iterator[str]:
    try:
        record = verify_shard(path)
        found = {entry.clip.clip_id: entry for entry in record.clips}
        wanted = {decision.clip_id for decision in decisions}
        if set(found) != wanted:
            surplus, missing = sorted(set(found) - wanted)[:3], sorted(wanted - set(found))[:3]
            yield f"{path.name} has the wrong clips: surplus {surplus}, missing {missing}"
        for decision in decisions:
            if decision.clip_id not in found:
                continue
            sample = read_entry(path, found[decision.clip_id])
            if sample.clip != decision.clip:
                yield f"{path.name}: {decision.clip_id} has another record than the ledger"
            if hashlib.sha256(sample.mp4).hexdigest() != decision.mp4_sha256:
                yield f"{path.name}: {decision.clip_id}.mp4 is not the one that was accepted"
            pose_npz = io.BytesIO()
            write_pose(pose_npz, sample.pose)  # the same pose is the same bytes
            if hashlib.sha256(pose_npz.getvalue()).hexdigest() != decision.pose_sha256:
                yield f"{path.name}: {decision.clip_id} has another pose than was accepted"
            if decode:
                last = np.array([sample.clip.num_frames - 1])
                read_canonical(sample.mp4, last, num_frames=sample.clip.num_frames)
    except DatasetError as error:
        yield str(error)
