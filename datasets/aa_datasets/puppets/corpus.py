"""Write puppets to disk: as sources for `aa-curate`, or as a shard for the loader."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from aa_datasets.atomic_file import replace_file
from aa_datasets.clip import Clip
from aa_datasets.errors import DatasetError, ShardError
from aa_datasets.pose import write_pose
from aa_datasets.puppets.render import Puppet, render_puppet
from aa_datasets.shards import ShardSample, read_record, write_shard
from aa_datasets.video.canonical import encode_canonical

_COLUMNS = ("source_id", "location", "licence", "owner", "synthetic", "split", "pose_file")
_LICENCE = "CC0-1.0"
_RENDERER = "renderer"


def render_puppets(
    out: Path | str,
    *,
    count: int = 4,
    first_seed: int = 0,
    split: str = "train",
    num_frames: int = 48,
    fps: float = 24.0,
    size_hw: tuple[int, int] = (256, 256),
) -> Path:
    """Render synthetic characters with exact poses, and write them to disk.

    Example:
        >>> shard = render_puppets(Path("puppets.tar"), count=2)  # for make_loader
        >>> sources = render_puppets(Path("videos"), count=2)  # for aa_curation.run

    Args:
        out: a name that ends in ".tar" makes a shard; any other makes a folder of mp4, pose (npz)
            and sources.csv.
        count: how many puppets, each in a clip of its own.
        first_seed: seeds first_seed ... first_seed + count - 1 decide who they are and how they
            move. Splits that shall share no character take seeds that do not overlap.
        split: stored with each clip, such as "train" or "test".
        num_frames, fps, size_hw: length, rate and picture size in pixels (even sides).

    Returns:
        The shard, or the folder's sources.csv.

    Raises:
        DatasetError: `out` is there, and something else than a shard of puppets, which is replaced.
    """
    out = Path(out)
    for _ in iter_written_puppets(out, count, first_seed, split, num_frames, fps, size_hw):
        pass
    return out if out.suffix == ".tar" else out / "sources.csv"


def iter_written_puppets(
    out: Path,
    count: int,
    first_seed: int,
    split: str,
    num_frames: int,
    fps: float,
    size_hw: tuple[int, int],
) -> Iterator[str]:
    """`render_puppets`, yielding the id of each puppet once it is rendered."""
    if out.suffix == ".tar" and out.exists():
        _refuse_other_clips(out)
    puppets = (
        (
            f"puppet_{seed:07d}",
            render_puppet(seed, seed, num_frames=num_frames, fps=fps, size_hw=size_hw),
        )
        for seed in range(first_seed, first_seed + count)
    )
    if out.suffix == ".tar":
        samples = []
        for puppet_id, puppet in puppets:
            samples.append(_sample(puppet_id, puppet, split, fps))
            yield puppet_id
        out.parent.mkdir(parents=True, exist_ok=True)
        write_shard(out, samples)
        return
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for puppet_id, puppet in puppets:
        replace_file(out / f"{puppet_id}.mp4", encode_canonical(puppet.frames, fps))
        pose_file = f"{puppet_id}.pose.npz"
        write_pose(out / pose_file, puppet.pose)
        owner = "rendered by aa-datasets puppets"
        rows.append((puppet_id, f"{puppet_id}.mp4", _LICENCE, owner, "true", split, pose_file))
        yield puppet_id
    with (out / "sources.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(rows)


def _refuse_other_clips(shard: Path) -> None:
    try:
        clips = [entry.clip for entry in read_record(shard).clips]
    except ShardError as error:
        raise DatasetError(f"{error}; it is not replaced by puppets: give another --out") from None
    if any(clip.pose_from != _RENDERER for clip in clips):
        raise DatasetError(
            f"{shard} holds clips that are not puppets, which would be lost: give another --out"
        )


def _sample(puppet_id: str, puppet: Puppet, split: str, fps: float) -> ShardSample:
    num_frames, height, width, _ = puppet.frames.shape
    clip = Clip(
        clip_id=puppet_id,
        source_id=puppet_id,
        source="rendered by aa-datasets puppets",
        licence=_LICENCE,
        start_s=0.0,
        end_s=num_frames / fps,
        fps=fps,
        size_hw=(height, width),
        num_frames=num_frames,
        synthetic=True,
        pose_from=_RENDERER,
        split=split,
    )
    return ShardSample(clip, encode_canonical(puppet.frames, fps), puppet.pose)
