"""The loader of stage 2 beside decord's own rate and beside webdataset, on the same shards.

    python benchmarks/loader_speed.py [--shards SHARD...] [--samples 32] [--rounds 5]

Without --shards, puppets are rendered and packed first, at the size of training. Each way makes the
same number of samples in this process: 24 frames and a reference at 256 px. Ways alternate, the
figures are medians over rounds of CPU seconds of the process: other work on the machine disturbs
them less than the clock.

    decord            windows out of mp4s that lie in memory; nothing else: the limit
    loader, frames    ours without its skeletons (they are not drawn): what the decoder is held to
    loader            ours: reads the shard, decodes, resizes, draws skeletons, makes tensors
    webdataset, window   its pipeline; a window by decord, the same resize, skeletons and tensors
    webdataset, whole    the same, but each clip decoded whole by PyAV, as its video decoder does

webdataset shuffles in a buffer of 100 clips, which is where it reads all clips whole.
"""

from __future__ import annotations

import argparse
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import decord
import numpy as np
import torch
import webdataset

import aa_datasets.loader
from aa_datasets.canonical_video import encode_canonical, read_canonical, read_sequentially
from aa_datasets.clip import Clip
from aa_datasets.draw_pose import draw_pose
from aa_datasets.frames import choose_window, resize_frames, resize_pose
from aa_datasets.loader import make_loader
from aa_datasets.pose import Pose, read_pose
from aa_datasets.puppets import render_puppet
from aa_datasets.shards import ShardSample, read_shards, write_shard

NUM_FRAMES, SIZE_HW = 24, (256, 256)
Way = Callable[[], Iterator[object]]


def make_shard(folder: Path, clips: int, frames: int) -> Path:
    """Puppets of `frames` frames at 256 px."""
    samples = []
    for seed in range(clips):
        puppet = render_puppet(seed, seed, num_frames=frames, size_hw=SIZE_HW)
        clip = Clip(
            f"puppet_{seed}", f"puppet_{seed}", "rendered", "CC0-1.0", 0.0, frames / 24, 24.0,
            SIZE_HW, frames, True, "renderer", "train",
        )  # fmt: skip
        samples.append(ShardSample(clip, encode_canonical(puppet.frames, 24.0), puppet.pose))
    write_shard(folder / "puppets.tar", samples)
    return folder / "puppets.tar"


def by_decord(shards: list[Path]) -> Iterator[object]:
    stored = list(read_shards(shards))
    generator = np.random.default_rng(0)
    while True:
        for sample in stored:
            window = choose_window(sample.clip.num_frames, NUM_FRAMES, 1, generator)
            reader = decord.VideoReader(io.BytesIO(sample.mp4), num_threads=1, fault_tol=1)
            wanted = np.unique([window.reference, *window.targets])
            yield reader.get_batch(wanted).asnumpy()


def by_loader(shards: list[Path]) -> Iterator[object]:
    return make_loader(
        shards, stage=2, batch_size=1, size_hw=SIZE_HW, num_frames=NUM_FRAMES, cache_bytes=0
    )


def by_loader_without_skeletons(shards: list[Path]) -> Iterator[object]:
    def no_skeletons(pose: Pose) -> np.ndarray:
        return np.zeros((pose.num_frames, 1, 1, 3), np.uint8)

    loader = by_loader(shards)
    while True:
        with mock.patch.object(aa_datasets.loader, "draw_pose", no_skeletons):
            sample = next(loader)
        yield sample


def by_webdataset(shards: list[Path], *, whole: bool) -> Iterator[object]:
    generator = np.random.default_rng(0)

    def decode(row: dict[str, bytes]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        pose = read_pose(row["pose.npz"])
        window = choose_window(pose.num_frames, NUM_FRAMES, 1, generator)
        wanted = np.array([window.reference, *window.targets])
        read = read_sequentially if whole else read_canonical
        frames = resize_frames(read(row["mp4"], wanted), SIZE_HW)
        drawn = draw_pose(resize_pose(pose.at_frames(wanted), SIZE_HW))
        video, control = (
            torch.from_numpy(x).permute(0, 3, 1, 2).float() / 127.5 - 1 for x in (frames, drawn)
        )
        return video[0], video[1:], control[1:]

    urls = [str(path) for path in shards]
    rows = webdataset.WebDataset(urls, shardshuffle=False).repeat().shuffle(100).map(decode)
    return iter(rows.batched(1))


def cpu_s(samples: Iterator[object], count: int) -> float:
    begun = time.process_time()
    for _ in itertools.islice(samples, count):
        pass
    return time.process_time() - begun


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
        shards = args.shards or [make_shard(Path(folder), args.clips, args.frames)]
        ways = {
            "decord": by_decord(shards),
            "loader, frames": by_loader_without_skeletons(shards),
            "loader": by_loader(shards),
            "webdataset, window": by_webdataset(shards, whole=False),
            "webdataset, whole": by_webdataset(shards, whole=True),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for samples in ways.values():
            cpu_s(samples, 2)  # opens, fills webdataset's buffer, imports
        for _ in range(args.rounds):
            for name, samples in ways.items():
                times[name].append(cpu_s(samples, args.samples))
    medians = {name: statistics.median(values) / args.samples for name, values in times.items()}
    print(f"{'':22}{'CPU ms a sample':>16}{'spread':>14}{'of decord':>11}")
    for name, each_s in medians.items():
        low, high = (1000 * f(times[name]) / args.samples for f in (min, max))
        print(
            f"{name:22}{1000 * each_s:16.1f}{f'{low:.1f}-{high:.1f}':>14}"
            f"{medians['decord'] / each_s:10.0%}"
        )
    for name in ("webdataset, window", "webdataset, whole"):
        print(f"loader beside {name}: {medians[name] / medians['loader']:.2f}x")


if __name__ == "__main__":
    main()
