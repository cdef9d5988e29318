"""Latents: outputs of frozen encoders for every frame of a shard, in a file next to it.

`x.tar` stays as it is. `x.latents.npy` has one row per frame of the shard's clips in their order;
its commit record `x.latents.json` says which encoders and picture size made it, of which shard, and
where each clip begins. The file is mapped: a sample reads its own rows only. A file without a
record was never finished.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from aa_datasets.atomic_file import replace_file, replacing, sha256_of_file
from aa_datasets.errors import LatentsError
from aa_datasets.loader.batch import EncodedFrames
from aa_datasets.shards import ShardRecord, latents_of, read_record


@dataclass(frozen=True, slots=True)
class LatentsKey:
    """What latents depend on, apart from the frames.

    Attributes:
        height_px, width_px: of the pictures that were encoded.
        vae, image_encoder: sha256 of weights and configuration.
    """

    height_px: int
    width_px: int
    vae: str
    image_encoder: str


@dataclass(frozen=True, slots=True)
class LatentsRecord:
    """The commit record of a shard's latents.

    Attributes:
        shard_sha256: of the shard that they were made of.
        sha256, num_bytes: of the .npy.
        first_rows: clip id -> row of its first frame.
    """

    key: LatentsKey
    shard_sha256: str
    sha256: str
    num_bytes: int
    first_rows: dict[str, int]


def write_latents(
    path: Path,
    shard: ShardRecord,
    key: LatentsKey,
    encoded: Iterable[tuple[NDArray[np.float32], NDArray[np.float32]]],
) -> LatentsRecord:
    """Write the latents of the shard at `path` (.tar), atomically, the record last.

    Args:
        shard: the shard's record.
        encoded: moments [n, 2C, h, w] (means, then standard deviations, unscaled) and image tokens
            [n, S, D] of the shard's frames, clip by clip in the record's order; any n at a time.

    Raises:
        LatentsError: more or fewer rows than the shard has frames.
    """
    counts = [entry.clip.num_frames for entry in shard.clips]
    total = sum(counts)
    target, record_path = latents_of(path)
    rows: NDArray[np.void] | None = None
    done = 0
    with replacing(target) as file:
        written = Path(file.name)
        for moments, tokens in encoded:
            if rows is None:
                kind = np.dtype(
                    [("moments", "<f4", moments.shape[1:]), ("tokens", "<f4", tokens.shape[1:])]
                )
                rows = np.lib.format.open_memmap(written, "w+", kind, (total,))
            if done + len(moments) <= total:
                rows["moments"][done : done + len(moments)] = moments
                rows["tokens"][done : done + len(tokens)] = tokens
            done += len(moments)
        if rows is None or done != total:
            raise LatentsError(f"{path.name} has {total} frames, {done} were encoded")
        rows.flush()  # type: ignore[attr-defined]  # a memmap, typed as the array that it is
        del rows
        clip_ids = [entry.clip.clip_id for entry in shard.clips]
        first_rows = np.cumsum([0, *counts[:-1]]).tolist()
        record = LatentsRecord(
            key=key,
            shard_sha256=shard.sha256,
            sha256=sha256_of_file(written),
            num_bytes=written.stat().st_size,
            first_rows=dict(zip(clip_ids, first_rows, strict=True)),
        )
        record_path.unlink(missing_ok=True)  # never an old record next to new latents
    replace_file(record_path, json.dumps(asdict(record), indent=1, sort_keys=True).encode())
    return record


def has_latents(path: Path) -> bool:
    """Whether the shard at `path` (.tar) has finished latents, of any encoders."""
    return all(place.is_file() for place in latents_of(path))


def read_latents_record(
    path: Path, shard: ShardRecord, key: LatentsKey, *, whole: bool = False
) -> LatentsRecord:
    """Read the record of a shard's latents, and compare it with shard and key.

    Args:
        whole: compare the sha256 of the file, too, which reads all of it, not only its length.

    Raises:
        LatentsError: missing, unfinished or altered, or of another shard, encoder or size.
    """
    target, record_path = latents_of(path)
    if not has_latents(path):
        raise LatentsError(
            f"{path.name} has no finished {target.name} next to it: run `aa-train precompute`"
        )
    try:
        record = msgspec.json.decode(record_path.read_bytes(), type=LatentsRecord)
    except msgspec.DecodeError as error:
        raise LatentsError(f"{record_path.name} is not a record of latents: {error}") from error
    found, expected = asdict(record.key), asdict(key)
    wrong = [name for name in expected if found[name] != expected[name]]
    if wrong:
        was = ", ".join(f"{name} {_short(found[name])}" for name in wrong)
        now = ", ".join(f"{name} {_short(expected[name])}" for name in wrong)
        raise LatentsError(
            f"{target.name} was made with {was}, this run has {now}: run `aa-train precompute` "
            "with this run's checkpoint and --replace, or train without the latents"
        )
    if record.shard_sha256 != shard.sha256:
        raise LatentsError(
            f"{target.name} was made of another {path.name} (sha256 {record.shard_sha256[:12]}, "
            f"found {shard.sha256[:12]}): run `aa-train precompute --replace`"
        )
    if target.stat().st_size != record.num_bytes or (
        whole and sha256_of_file(target) != record.sha256
    ):
        raise LatentsError(f"{target.name} was altered: run `aa-train precompute --replace`")
    return record


class StoredLatents:
    """The latents of some shards; holds no open file, so that it can be sent to worker processes.

    Raises:
        LatentsError: as `read_latents_record`, for the first such shard.
    """

    def __init__(self, shards: Sequence[Path], key: LatentsKey) -> None:
        self._first_rows = {
            (path, clip_id): row
            for path in shards
            for clip_id, row in read_latents_record(path, read_record(path), key).first_rows.items()
        }

    def read(
        self, path: Path, clip_id: str, reference: int, targets: NDArray[np.int64]
    ) -> EncodedFrames:
        """Read those of a clip's reference frame and target frames."""
        first = self._first_rows[path, clip_id]
        rows = np.load(latents_of(path)[0], mmap_mode="r")
        return EncodedFrames(
            reference_moments=torch.from_numpy(rows["moments"][first + reference].copy()),
            target_moments=torch.from_numpy(rows["moments"][first + targets].copy()),
            reference_tokens=torch.from_numpy(rows["tokens"][first + reference].copy()),
        )


def _short(value: object) -> str:
    return str(value)[:12]
