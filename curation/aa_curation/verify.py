"""Verify: whether a corpus on disk is what its ledger says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from aa_curation.decision import Decision
from aa_curation.errors import LedgerError
from aa_curation.ledger import Ledger
from aa_curation.pack import MANIFEST, SHARDS, manifest_text, shard_plan
from aa_datasets.canonical_video import read_canonical
from aa_datasets.errors import DatasetError
from aa_datasets.shards import read_entry, verify_shard


def iter_problems(ledger: Ledger, folder: Path, *, decode: bool = False) -> Iterator[str]:
    """Whatever is wrong with a corpus, a sentence each; nothing for one that is right.

    Args:
        ledger: of the corpus.
        folder: of the corpus.
        decode: also decode the last frame of every clip, which proves its length.
    """
    try:
        ledger.assert_complete()
    except LedgerError as error:
        yield str(error)
    plan = shard_plan(ledger, ledger.clips_per_shard)
    yield from _leaks(plan)
    shards = folder / SHARDS
    for surplus in sorted({path.name for path in shards.glob("*.tar")} - set(plan)):
        yield f"{surplus} is no shard of this corpus: run the same `aa-curate run` again"
    for name, decisions in tqdm(plan.items(), desc="verify", unit="shard", disable=None):
        yield from _shard_problems(shards / name, decisions, decode)
    try:
        manifest = (folder / MANIFEST).read_text()
    except OSError as error:
        yield f"{MANIFEST} cannot be read: {error}"
    else:
        if manifest != manifest_text(plan):
            yield f"{MANIFEST} is not the one of this ledger: run the same `aa-curate run` again"


def _leaks(plan: dict[str, list[Decision]]) -> Iterator[str]:
    """Accepted clips without a licence, and sources in more than one split."""
    splits: dict[str, set[str]] = {}
    for decisions in plan.values():
        for decision in decisions:
            assert decision.clip is not None
            splits.setdefault(decision.source_id, set()).add(decision.clip.split)
            if not decision.clip.licence:
                yield f"{decision.clip_id} is accepted and has no licence"
    for source_id, found in sorted(splits.items()):
        if len(found) > 1:
            yield f"source {source_id} is in several splits: {', '.join(sorted(found))}"


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
            elif decode:
                last = np.array([sample.clip.num_frames - 1])
                read_canonical(sample.mp4, last, num_frames=sample.clip.num_frames)
    except DatasetError as error:
        yield str(error)
