"""What each clip adds to a corpus on top of its own steps, and the sums at 5K, 500K and 50M.

    python benchmarks/curation/units.py CORPUS --videos DIR --clip-s 20 --without-pose-s 1.8
                                        [--frames 150] [--short-side-px 768]

CORPUS is a finished one (`demo-out/corpus` will do). Its ledger is written out a hundred times
under other ids and read back: bytes, CPU time and the driver's memory a clip. Its poses give their
bytes a frame, the first two seconds of each video of DIR those of canonical video, and a hundred
thousand drawn signatures the time of a pair in the search for near duplicates. `--clip-s` and
`--without-pose-s` are CPU seconds of all steps of one clip, measured elsewhere
(`studies/confusion.py`, `curation/clip_cost.py`), `--frames` is how long a clip is.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
from tqdm import tqdm

from aa_curation.ledger.ledger import LEDGER_NAME, read_ledger
from aa_curation.measure.distance import NearDuplicates, Stacked
from aa_curation.measure.frames import resized
from aa_curation.measure.signature import Signature
from aa_curation.sources.list_formats import VIDEO_SUFFIXES
from aa_datasets.pose import read_pose
from aa_datasets.video.canonical import encode_canonical
from aa_datasets.video.foreign import iter_foreign_frames, probe_video
from aa_datasets.video.frame_size import canonical_size

COPIES = 100
PAIRS = 100_000
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
    ledger_bytes, read_s, memory_bytes = measure_ledger(args.corpus)
    frame_bytes = pose_bytes(args.corpus) + video_bytes(args.videos, args.short_side_px)
    pair_s = seconds_a_pair()
    print(f"ledger: {ledger_bytes:.0f} bytes, {1e6 * read_s:.0f} us to read, {memory_bytes:.0f} "
          f"bytes of the driver's memory a clip")  # fmt: skip
    print(f"stored: {frame_bytes:.0f} bytes a frame; near duplicates: {1e9 * pair_s:.0f} ns a pair")
    rows = {
        "core-hours, all steps": lambda n: args.clip_s * n / 3600,
        "core-hours, poses given": lambda n: args.without_pose_s * n / 3600,
        "core-hours, near duplicates": lambda n: pair_s * n * (n - 1) / 2 / 3600,
        "shards, GB": lambda n: frame_bytes * args.frames * n / 1e9,
        "ledger, GB": lambda n: ledger_bytes * n / 1e9,
        "ledger read, minutes": lambda n: read_s * n / 60,
        "driver's memory, GB": lambda n: memory_bytes * n / 1e9,
    }
    print("\n| | " + " | ".join(f"{n:,} clips" for n in SIZES) + " |")
    print("|---" * (len(SIZES) + 1) + "|")
    for name, cost in rows.items():
        print(f"| {name} | " + " | ".join(shown(cost(n)) for n in SIZES) + " |")


def shown(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{float(f'{value:.2g}'):,.0f}"


def measure_ledger(corpus: Path) -> tuple[float, float, float]:
    """Bytes, CPU seconds to read, and bytes of memory of a clip."""
    head, *lines = (corpus / LEDGER_NAME).read_text().splitlines()
    sources = [source_of(json.loads(line)) for line in lines]
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / LEDGER_NAME
        with copy.open("w") as file:
            file.write(head + "\n")
            for number in tqdm(range(COPIES), desc="ledger", mininterval=10):
                for line, source in zip(lines, sources, strict=True):
                    file.write(line.replace(source, f"{source}x{number:03}") + "\n")
        process = psutil.Process()
        before, started = process.memory_info().rss, time.process_time()
        ledger = read_ledger(Path(scratch))
        read_s = time.process_time() - started
        clips = len(ledger.decisions)
        memory = process.memory_info().rss - before
        return copy.stat().st_size / clips, read_s / clips, memory / clips


def source_of(line: dict[str, dict[str, str]]) -> str:
    """The source that a survey or a decision is of."""
    (row,) = line.values()
    return row["source_id"]


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


def seconds_a_pair() -> float:
    """Of comparing one clip's pictures with another's: nearly always the hashes alone."""
    draw = np.random.default_rng(0)
    hashes = draw.integers(0, 2**63, (PAIRS, 8)).astype(np.uint64)
    stacked = Stacked(hashes, draw.integers(0, 256, (PAIRS, 4, 4, 2), dtype=np.uint8))
    one = Signature(hashes[0], stacked.colours[0], np.zeros((8, 18, 2), np.int8))
    bounds, rounds = NearDuplicates(), 20
    started = time.process_time()
    for _ in range(rounds):
        bounds.near_pictures(one, stacked)
    return (time.process_time() - started) / (rounds * PAIRS)


if __name__ == "__main__":
    main()
