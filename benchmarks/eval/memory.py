"""Peak memory of aa-eval over the length and the number of videos, each run in a fresh process.

Image metrics, LPIPS alex and FVD of aa-clean-v2 on small PNG frames, with the fast baselines; the
peak is the process's largest resident size. The goal: within 10 % of the smallest run. With two
folders of your own: the whole of aa-clean-v2 on them. The goal for 256 px: 1.2 GiB.

    python benchmarks/eval/memory.py [--frames 32 1000] [--videos 4 40] [--side 64] [--without-fvd]
    python benchmarks/eval/memory.py --predictions DIR --references DIR
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from aa_eval import evaluate
from aa_eval.protocol import read_protocol
from aa_eval.scoring.baselines import FAST
from aa_eval.scoring.cache import Cache
from aa_eval.scoring.score_pairs import score_pairs
from aa_eval.videos.layout import find_videos
from aa_eval.videos.pairing import make_pairs

_KEYS = ("ssim", "psnr", "psnr_overflow", "lpips_alex")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs=2, default=(32, 1000))
    parser.add_argument("--videos", type=int, nargs=2, default=(4, 40))
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--without-fvd", action="store_true")
    parser.add_argument("--score", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--predictions", type=Path)
    parser.add_argument("--references", type=Path)
    options = parser.parse_args()
    if options.score is not None:
        print(json.dumps(score(options.score, not options.without_fvd)))
        return
    if options.predictions is not None:
        started = time.process_time()
        with tempfile.TemporaryDirectory() as cache:
            evaluate(options.predictions, options.references, cache=cache, workers=1)
        print(f"{peak_mib():.0f} MiB, {time.process_time() - started:.0f} CPU s")
        return
    (short, long), (few, many) = options.frames, options.videos
    print(f"frames of {options.side} px{', without FVD' if options.without_fvd else ''}")
    first: float | None = None
    for videos, frames in ((few, short), (many, short), (1, short), (1, long)):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), videos, frames, options.side)
            command = [sys.executable, __file__, "--score", folder]
            command += ["--without-fvd"] if options.without_fvd else []
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        peak: float = json.loads(run.stdout.splitlines()[-1])
        first = peak if first is None or (videos, frames) == (1, short) else first
        against = f"{peak / first:.3f} of the run with less"
        print(f"{videos:4} videos of {frames:5} frames {peak:8.0f} MiB   {against}", flush=True)


def write(folder: Path, videos: int, frames: int, side: int) -> None:
    draw = np.random.default_rng(0)
    for name in ("gen", "gt"):
        for video in range(videos):
            place = folder / name / f"video_{video:03}"
            place.mkdir(parents=True)
            for number in range(frames):
                frame = draw.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(frame).save(place / f"{number:05}.png", compress_level=0)


def score(folder: Path, with_fvd: bool) -> float:
    """Peak resident size in MiB of scoring the two trees below `folder` in this process."""
    clean = read_protocol("aa-clean-v2")
    keys = (*_KEYS, "fvd") if with_fvd else _KEYS
    metrics = tuple(metric for metric in clean.metrics if metric.key in keys)
    features = clean.video_features if with_fvd else None
    protocol = replace(clean, metrics=metrics, video_features=features)
    pairs, _ = make_pairs(find_videos(folder / "gen"), find_videos(folder / "gt"))
    cache = Cache(folder / "cache")
    score_pairs(pairs, [protocol], method="noise", baselines=FAST, cache=cache)
    return peak_mib()


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
