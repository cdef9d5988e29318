"""Time the loader of stage 2 against decord alone and against webdataset, on the same shards.

    python benchmarks/datasets/loader_speed.py [--shards SHARD...] [--samples 32] [--rounds 5]

Without --shards, puppets are rendered and packed first, at the size of training. Each way makes the
same number of samples in this process: 24 frames and a reference at 256 px. Ways alternate; a
figure is the median over rounds of CPU seconds of the process, all of its threads: other work on
the machine disturbs them less than the clock. Shares are medians over rounds, too, each of two
ways in one round.

    decord               the loader's frames out of mp4s that lie in memory, left where decord puts
                         them, not copied to NumPy: the limit
    loader               ours: reads the shard, decodes, resizes frames and poses, makes a batch
    loader, drawn        and draws the skeletons: what a worker process does for a batch
    loader, floats       and makes floats of it all: what training without workers waits for
    webdataset, window   its pipeline: a window by decord; resize, skeletons and floats are ours
    webdataset, whole    the same, but each clip decoded whole by PyAV, as its video decoder does

What is left to the consumer of a batch is timed alone: `drawn` and `floats`, for the same poses and
pictures again and again.

webdataset shuffles in a buffer of 100 clips, which is where it reads all clips whole.
"""

from __future__ import annotations

import argparse
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import decord
import numpy as np
import torch
import webdataset

from aa_datasets.loader.batch import Batch, FrameBatch, Sample, stack_samples
from aa_datasets.loader.clip_dataset import choose_window
from aa_datasets.loader.config import LoaderConfig
from aa_datasets.loader.crop_resize import resize_frames, resize_pose
from aa_datasets.loader.loader import make_loader
from aa_datasets.loader.sampler import Draws, Order, Shuffle
from aa_datasets.pose import read_pose
from aa_datasets.puppets.corpus import render_puppets
from aa_datasets.shards import read_shards
from aa_datasets.video.canonical import read_canonical

NUM_FRAMES, SIZE_HW = 24, (256, 256)
SEED = 0
CPU = torch.device("cpu")
DECORD, FLOATS = "decord", "loader, floats"


def by_decord(shards: list[Path]) -> Iterator[object]:
    """The very frames that the loader reads, in its order."""
    stored = list(read_shards(sorted(shards)))
    for (draw,) in Draws(Order(Shuffle(SEED), [len(stored)]), 1, 0, 1, 0):
        sample = stored[draw.clip]
        generator = np.random.default_rng([SEED, 1, draw.number])
        window = choose_window(sample.clip.num_frames, NUM_FRAMES, 1, generator)
        reader = decord.VideoReader(io.BytesIO(sample.mp4), num_threads=1, fault_tol=1)
        yield reader.get_batch(np.unique([window.reference, *window.targets]))


def by_loader(shards: list[Path]) -> Iterator[FrameBatch]:
    return make_loader(
        shards,
        LoaderConfig(
            stage=2, batch_size=1, size_hw=SIZE_HW, num_frames=NUM_FRAMES, seed=SEED, cache_bytes=0
        ),
    )


def by_webdataset(shards: list[Path], *, whole: bool) -> Iterator[Batch]:
    generator = np.random.default_rng(SEED)

    def decode(row: dict[str, Any]) -> Sample:
        pose = read_pose(row["pose.npz"])
        window = choose_window(pose.num_frames, NUM_FRAMES, 1, generator)
        wanted = np.array([window.reference, *window.targets])
        if whole:
            chosen = read_canonical(row["mp4"])[wanted]
        else:
            chosen = read_canonical(row["mp4"], wanted, decoder="decord")
        frames = torch.from_numpy(resize_frames(chosen, SIZE_HW))
        resized = resize_pose(pose.at_frames(window.targets), SIZE_HW)
        return Sample(frames[0], frames[1:], resized, row["__key__"])

    urls = [str(path) for path in shards]
    rows = webdataset.WebDataset(urls, shardshuffle=False).repeat().shuffle(100).map(decode)
    for sample in rows:
        yield stack_samples([sample]).to(CPU)


def cpu_s(samples: Iterator[object], count: int) -> float:
    started = time.process_time()
    for _ in itertools.islice(samples, count):
        pass
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", nargs="+", type=Path, default=[])
    parser.add_argument("--clips", type=int, default=8, help="puppets, if no --shards are given")
    parser.add_argument("--frames", type=int, default=96, help="of each puppet")
    parser.add_argument("--samples", type=int, default=32, help="of each way and round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="aa-loader-") as folder:
        shards = args.shards or [
            render_puppets(
                Path(folder, "puppets.tar"), count=args.clips, num_frames=args.frames,
                size_hw=SIZE_HW,
            )
        ]  # fmt: skip
        some = next(by_loader(shards))
        drawn = some.drawn()
        ways: dict[str, Iterator[object]] = {
            DECORD: by_decord(shards),
            "loader": by_loader(shards),
            "loader, drawn": (batch.drawn() for batch in by_loader(shards)),
            FLOATS: (batch.to(CPU) for batch in by_loader(shards)),
            "webdataset, window": by_webdataset(shards, whole=False),
            "webdataset, whole": by_webdataset(shards, whole=True),
            "of it: skeletons": (some.drawn() for _ in itertools.count()),
            "of it: floats": (drawn.to(CPU) for _ in itertools.count()),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for samples in ways.values():
            cpu_s(samples, 2)  # opens, fills webdataset's buffer, imports
        for _ in range(args.rounds):
            for name, samples in ways.items():
                times[name].append(cpu_s(samples, args.samples))
    print(f"{'':20}{'CPU ms a sample':>16}{'spread':>14}{'of decord':>11}")
    for name, each in times.items():
        low, middle, high = (1000 * f(each) / args.samples for f in (min, statistics.median, max))
        share = ratio(times[DECORD], each)
        print(f"{name:20}{middle:16.1f}{f'{low:.1f}-{high:.1f}':>14}{share:10.0%}")
    for name in ("webdataset, window", "webdataset, whole"):
        print(f"{FLOATS} against {name}: {ratio(times[name], times[FLOATS]):.2f}x")


def ratio(one: list[float], other: list[float]) -> float:
    """Median over the rounds of one / other."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
    main()
