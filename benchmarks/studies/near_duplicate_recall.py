"""How many near duplicates the search by candidates finds, of those that the exhaustive one finds.

    python benchmarks/studies/near_duplicate_recall.py [--clips FOLDER] [--among 100000]

Copies are made of puppets and of the videos in FOLDER as in `near_duplicates.py`, pictures alone.
How a copy's signature differs from its original's is then planted among signatures that are drawn:
each is a puppet's with a third to a half of its bits flipped, so that they crowd as real ones do.
Each planted copy is compared with all others, which is the exhaustive search for it.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from near_duplicates import COPIES, Shown, puppet
from tqdm import tqdm

from aa_curation.measure.candidates import alike_pictures
from aa_curation.measure.distance import NearDuplicates, Stacked
from aa_curation.measure.signature import Signature
from aa_curation.sources.list_formats import VIDEO_SUFFIXES
from aa_datasets.pose import make_pose
from aa_datasets.video.foreign import iter_foreign_frames

BOUNDS = NearDuplicates()
FRAMES = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, help="a folder of videos, all distinct")
    parser.add_argument("--limit", type=int, help="so many of them")
    parser.add_argument("--puppets", type=int, default=20)
    parser.add_argument("--among", type=int, default=100_000)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    shown = {"puppet": [puppet(s, s, 128, FRAMES, 12) for s in range(args.puppets)]}
    if args.clips:
        paths = sorted(p for p in args.clips.iterdir() if p.suffix in VIDEO_SUFFIXES)
        shown["video"] = [video(path) for path in tqdm(paths[: args.limit], desc="videos")]
    names, originals, copies = [], [], []
    for kind, clips in shown.items():
        for clip in tqdm(clips, desc=f"copies of {kind}s"):
            of = clip.signature()
            for name, copy in COPIES.items():
                names.append(f"{kind}: {name}")
                originals.append(of)
                copies.append(copy(clip).signature())
    rng = np.random.default_rng(0)
    drawn = draw(rng, originals, args.among)
    # The same difference, planted at drawn signatures of their own.
    places = rng.permutation(args.among)[: len(copies)]
    flips = np.stack([a.hashes ^ b.hashes for a, b in zip(originals, copies, strict=True)])
    light = np.stack(
        [b.colours.astype(int) - a.colours for a, b in zip(originals, copies, strict=True)]
    )
    planted = Stacked(
        drawn.hashes[places] ^ flips,
        np.clip(drawn.colours[places] + light, 0, 255).astype(np.uint8),
    )
    every = Stacked(
        np.concatenate([drawn.hashes, planted.hashes]),
        np.concatenate([drawn.colours, planted.colours]),
    )
    started = time.process_time()
    first, second, _ = alike_pictures(every, BOUNDS)
    took = time.process_time() - started
    found = set(zip(first.tolist(), second.tolist(), strict=True))
    exact: dict[tuple[int, int], str] = {}
    for number, name in enumerate(tqdm(names, desc="exhaustive")):
        place = args.among + number
        one = Signature(every.hashes[place], every.colours[place], np.empty(0, np.int8))
        for other in BOUNDS.near_pictures(one, every)[0].tolist():
            if other != place:
                exact[min(other, place), max(other, place)] = name
    counts = Counter(name.partition(":")[0] for name in exact.values())
    hits = Counter(name.partition(":")[0] for pair, name in exact.items() if pair in found)
    print(f"{len(every.hashes):,} signatures, {took:.1f} CPU s; all pairs would be "
          f"{len(every.hashes) ** 2 / 2:,.0f}")  # fmt: skip
    print("| copies of | pairs, exhaustive | by candidates | recall |\n|---|---|---|---|")
    for kind, count in counts.items():
        print(f"| {kind}s | {count} | {hits[kind]} | {hits[kind] / count:.4f} |")
    missed = Counter(name for pair, name in exact.items() if pair not in found)
    print(f"missed: {dict(missed)}")


def video(path: Path) -> Shown:
    """Its first frames, every second one, scaled to 256 px, without a pose."""
    decoded = iter_foreign_frames(path, max_side_px=256)
    frames = [frame.pixels for frame in itertools.islice(decoded, 0, 2 * FRAMES, 2)]
    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    empty = np.zeros((len(frames), 128, 2), np.float32)
    pose = make_pose(empty, np.zeros((len(frames), 128), np.float32), (height, width))
    return Shown(np.stack([frame[:height, :width] for frame in frames]), pose)


def draw(rng: np.random.Generator, of: list[Signature], num: int) -> Stacked:
    hashes = np.stack([signature.hashes for signature in of])
    colours = np.stack([signature.colours for signature in of])
    chosen = rng.integers(0, len(of), num)
    share = rng.uniform(0.33, 0.5, (num, 1, 1))
    flips = np.concatenate([
        np.packbits(rng.random((len(part), 8, 64)) < part, axis=-1).view(np.uint64)[..., 0]
        for part in np.array_split(share, max(1, num // 10_000))
    ])  # fmt: skip
    light = rng.normal(0, 8, (num, 4, 4, 2)) + rng.normal(0, 12, (num, 1, 1, 2))
    tinted = np.clip(colours[chosen] + light, 0, 255).astype(np.uint8)
    return Stacked(hashes[chosen] ^ flips, tinted)


if __name__ == "__main__":
    main()
