"""Long videos: what fewer shared frames cost in quality, and time compared with the plain way.

    python benchmarks/model/long_video.py quality --checkpoint demo/learned [--puppets 8]
    python benchmarks/model/long_video.py time [--frames 240]

`quality` animates held-out puppets, whose true frames are known, with several overlaps: PSNR, the
difference to the largest overlap on the same puppets with its 95 % interval, and flicker:
how much the error changes from frame to frame, at the seams of windows and elsewhere.

`time` denoises one window by one step, ours and the plain way of Moore-AnimateAnyone in turn, once
both are held equal (`guided_step.py`), and counts the windows of a video: ours with the default
overlap, the plain way's of 24 frames that share 4 and go round the end.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import torch
from guided_step import build, make_ways
from numpy.typing import NDArray

from aa_datasets.loader.crop_resize import resize_frames, resize_pose
from aa_datasets.puppets.render import render_puppet
from aa_model.checkpoints.store import read_checkpoint
from aa_model.config import GenerateConfig
from aa_model.inference.pipeline import AnimatePipeline
from aa_model.networks.windows import make_windows, make_wrapped_windows

_HELD_OUT = 2_000_000  # seeds from here on are in no training


def measure_quality(
    checkpoint: Path, puppets: int, num_frames: int, generate: GenerateConfig, overlaps: list[int]
) -> None:
    pipeline = AnimatePipeline.from_pretrained(checkpoint)
    window = pipeline.model.config.temporal.window
    overlaps = overlaps or sorted({window // 2, window // 4, window // 6}, reverse=True)
    print(
        f"{checkpoint} ({read_checkpoint(checkpoint).parts['denoising_unet'].sha256[:8]}), "
        f"{date.today()}: {puppets} held-out puppets, {num_frames} frames, windows of {window}, "
        f"{generate.steps} steps, guidance {generate.guidance:g}"
    )
    print("| overlap | windows | PSNR | minus the first | flicker | at seams |")
    print("|---|---|---|---|---|---|")
    first: list[float] = []
    for overlap in overlaps:
        windows = make_windows(num_frames, window, overlap)
        seams = {edge - 1 for w in windows for edge in (w.start, w.stop) if 0 < edge < num_frames}
        psnr, within, at_seams = [], [], []
        for seed in range(_HELD_OUT, _HELD_OUT + puppets):
            # Drawn large and shrunk, as what the network was trained on.
            puppet = render_puppet(seed, seed, num_frames=num_frames, fps=15, size_hw=(256, 256))
            truth = resize_frames(puppet.frames, pipeline.size_hw)
            pose = resize_pose(puppet.pose, pipeline.size_hw)
            made = pipeline(truth[0], pose, replace(generate, overlap=overlap)).frames
            error = np.asarray(made).astype(float) - truth
            psnr.append(psnr_of(error))
            change = np.abs(np.diff(error, axis=0)).mean((1, 2, 3))
            chosen = np.isin(np.arange(num_frames - 1), [*seams])
            at_seams.append(change[chosen].mean())
            within.append(change[~chosen].mean())
        first = first or psnr
        less = np.subtract(psnr, first)
        reach = 1.96 * less.std(ddof=1) / len(less) ** 0.5 if len(less) > 1 else float("nan")
        print(
            f"| {overlap} | {len(windows)} | {np.mean(psnr):.2f} | {less.mean():+.3f} "
            f"+- {reach:.3f} | {np.mean(within):.3f} | {np.mean(at_seams):.3f} |",
            flush=True,
        )


def psnr_of(error: NDArray[np.float64]) -> float:
    return float(10 * np.log10(255**2 / np.square(error).mean()))


@torch.no_grad()
def measure_time(channels: list[int], side: int, num_frames: int, repeats: int) -> None:
    model = build(channels, side)
    window = model.config.temporal.window
    ways = make_ways(model, window)
    conditions, bank = ways.prepare(), ways.repeat()
    apart = (ways.ours(conditions) - ways.peers(bank)).abs().max().item()
    if apart > 1e-3:
        raise SystemExit(f"not comparable: outputs differ by {apart}")
    ours = len(make_windows(num_frames, window))
    plain = len(make_wrapped_windows(num_frames, window, 4))
    spent: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(repeats):
        spent["ours"].append(ours * cpu_s(lambda: ways.ours(conditions)))
        spent["plain"].append(plain * cpu_s(lambda: ways.peers(bank)))
    a, b = (statistics.median(values) for values in spent.values())
    print(
        f"one step of {num_frames} frames, CPU time of a window (median of {repeats}) times "
        f"windows: ours {a:.1f} s in {ours}, the plain way {b:.1f} s in {plain}: {a / b:.2f}x; "
        f"outputs of a window differ by {apart:.1e}"
    )


def cpu_s(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("quality", "time"))
    parser.add_argument("--checkpoint", type=Path, default=Path("demo/learned"))
    parser.add_argument("--puppets", type=int, default=8)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--overlaps", type=int, nargs="*", default=[])
    parser.add_argument("--channels", type=int, nargs="+", default=[64, 128, 256, 256])
    parser.add_argument("--latents", type=int, default=32, help="side, in latents")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.what == "quality":
        generate = GenerateConfig(steps=args.steps, guidance=args.guidance)
        measure_quality(args.checkpoint, args.puppets, args.frames or 60, generate, args.overlaps)
    else:
        measure_time(args.channels, args.latents, args.frames or 240, args.repeats)


if __name__ == "__main__":
    main()
