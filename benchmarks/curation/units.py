"""What each clip adds to a corpus on top of its own steps, and the sums at 5K, 500K and 50M.

    python benchmarks/curation/units.py CORPUS --videos DIR --clip-s 20 --without-pose-s 1.8
                                        [--frames 150] [--short-side-px 768]

CORPUS is a finished one (`demo-out/corpus` will do): its poses give their bytes a frame, and the
first two seconds of each video of DIR those of canonical video. `--clip-s` and `--without-pose-s`
are CPU seconds of all steps of one clip, measured elsewhere (`studies/confusion.py`,
`curation/clip_cost.py`), `--frames` is how long a clip is. What the driver costs is measured by
`curation/scale.py`.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

import numpy as np
from tqdm import tqdm

from aa_curation.measure.frames import resized
from aa_curation.sources.list_formats import VIDEO_SUFFIXES
from aa_datasets.pose import read_pose
from aa_datasets.video.canonical import encode_canonical
from aa_datasets.video.foreign import iter_foreign_frames, probe_video
from aa_datasets.video.frame_size import canonical_size

SIZES = (5_000, 500_000, 50_000_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--frames", type=int, default=150, help="of a clip")
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--short-side-px", type=int, default=768, help="of canonical video")
    parser.add_argument("--clip-s", type=float, required=True)
    parser.add_argument("--without-pose-s", type=float, required=True)
    args = parser.parse_args()
    frame_bytes = pose_bytes(args.corpus) + video_bytes(args.videos, args.short_side_px)
    print(f"stored: {frame_bytes:.0f} bytes a frame")
    rows = {
        "core-hours, all steps": lambda n: args.clip_s * n / 3600,
        "core-hours, poses given": lambda n: args.without_pose_s * n / 3600,
        "shards, GB": lambda n: frame_bytes * args.frames * n / 1e9,
    }
    print("\n| | " + " | ".join(f"{n:,} clips" for n in SIZES) + " |")
    print("|---" * (len(SIZES) + 1) + "|")
    for name, cost in rows.items():
        print(f"| {name} | " + " | ".join(shown(cost(n)) for n in SIZES) + " |")


def shown(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{float(f'{value:.2g}'):,.0f}"


def pose_bytes(corpus: Path) -> float:
    """Of a frame."""
    files = sorted((corpus / "clips").glob("*.pose.npz"))
    return sum(f.stat().st_size for f in files) / sum(read_pose(f).num_frames for f in files)


def video_bytes(videos: Path, short_side_px: int) -> float:
    """Of a frame of canonical video: of the mean video, whatever its length."""
    paths = sorted(p for p in videos.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
    sizes = []
    for path in tqdm(paths, desc="videos", mininterval=10):
        with closing(iter_foreign_frames(path, max_side_px=1920, end_s=2.0)) as decoded:
            frames = [frame.pixels for frame in decoded]
        size_hw = canonical_size(frames[0].shape[:2], short_side_px)
        fps = probe_video(path).fps
        video = encode_canonical((resized(frame, size_hw) for frame in frames), fps)
        sizes.append(len(video) / len(frames))
    return float(np.mean(sizes))


if __name__ == "__main__":
    main()
