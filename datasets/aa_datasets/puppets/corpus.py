"""Write puppets as a folder of sources that `aa-curate` takes: mp4, exact pose, and sources.csv."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from aa_datasets.pose import write_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.canonical import encode_canonical

# Motion seeds never meet identity seeds of another split: both are `first_seed + i`, and splits
# take ranges of seeds that do not overlap.
_COLUMNS = ("source_id", "location", "licence", "owner", "synthetic", "split", "pose_file")


def write_puppets(
    out: Path,
    *,
    count: int,
    first_seed: int,
    split: str,
    num_frames: int = 48,
    fps: float = 24.0,
    size_hw: tuple[int, int] = (256, 256),
) -> Iterator[str]:
    """Render puppets of seeds first_seed ... first_seed + count - 1; yields the source ids done."""
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in range(first_seed, first_seed + count):
        source_id = f"puppet_{seed:07d}"
        puppet = render_puppet(seed, seed, num_frames=num_frames, fps=fps, size_hw=size_hw)
        (out / f"{source_id}.mp4").write_bytes(encode_canonical(puppet.frames, fps))
        write_pose(out / f"{source_id}.pose.npz", puppet.pose)
        rows.append(
            (
                source_id,
                f"{source_id}.mp4",
                "CC0-1.0",
                "rendered by aa-datasets puppets",
                "true",
                split,
                f"{source_id}.pose.npz",
            )
        )
        yield source_id
    with (out / "sources.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(rows)
