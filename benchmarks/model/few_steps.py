"""Quality against work on held-out puppets: fewer steps, distillation, and approximations by name.

    python benchmarks/model/few_steps.py [--checkpoint DIR] [--student DIR] [--distill-steps 60]

Animates puppets from the same noise by the checkpoint and by a network distilled of it, here or
before (`--student DIR`). Printed are how many passes run the whole denoising UNet, CPU seconds, and
PSNR over all videos: against the true frames, and against the checkpoint's own 20 guided steps of
DDIM, which is what the others stand for.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
from diffusers import DPMSolverMultistepScheduler, LCMScheduler, TCDScheduler
from numpy.typing import NDArray

from aa_datasets import render_puppets
from aa_model import TrainOptions, train_stage
from aa_model.checkpoints.store import read_checkpoint
from aa_model.config import GenerateConfig
from aa_model.inference.animate_shards import Job, read_jobs
from aa_model.inference.pipeline import AnimatePipeline
from aa_model.training.options import preset_training

SEEDS = 2_300_000  # of puppets that no other script trains or tests on
_DPM, _LCM, _TCD = DPMSolverMultistepScheduler, LCMScheduler, TCDScheduler
_UNTOUCHED: list[tuple[type | None, dict[str, object]]] = [
    (None, {"steps": 20}),
    (None, {"steps": 20, "deep_cache": 2}),
    (None, {"steps": 20, "deep_cache": 3}),
    (None, {"steps": 20, "deep_cache": 5}),
    (None, {"steps": 20, "guidance_interval": (0.25, 0.75)}),
    (None, {"steps": 20, "guidance_interval": (0.5, 1.0)}),
    (None, {"steps": 20, "guidance": 1.0}),
    (_DPM, {"steps": 12}),
    *((None, {"steps": steps}) for steps in (10, 8, 4, 2)),
    (_LCM, {"steps": 4}),
]
_DISTILLED = [(_LCM, 8), (_LCM, 4), (_LCM, 2), (_TCD, 4), (None, 4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=Path("demo/learned"))
    parser.add_argument("--student", type=Path)
    parser.add_argument("--train-puppets", type=int, default=12)
    parser.add_argument("--test-puppets", type=int, default=3)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--distill-steps", type=int, default=60)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--lr", type=float, default=1e-4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        compare(options, Path(name))


def compare(options: argparse.Namespace, folder: Path) -> None:
    frames = {"num_frames": options.frames + 6, "fps": 15.0, "size_hw": (256, 256)}
    test = render_puppets(folder / "test.tar", count=options.test_puppets, first_seed=SEEDS,
                          split="test", **frames)  # fmt: skip
    info = read_checkpoint(options.checkpoint)
    jobs = list(read_jobs([test], info.model.size_hw, max_frames=options.frames))
    true = [job.true_frames(np.arange(job.pose.num_frames)) for job in jobs]
    print(
        f"{options.checkpoint} ({info.parts['denoising_unet'].sha256[:8]}), {date.today()}: "
        f"{len(jobs)} puppets of {options.frames} frames, guidance {options.guidance:g}"
    )
    print("| network | way | whole passes | CPU s | against the truth, dB | against DDIM 20, dB |")
    print("|---|---|---|---|---|---|", flush=True)
    rows = [("as it is", options.checkpoint, kind, {"guidance": options.guidance, **asked})
            for kind, asked in _UNTOUCHED]  # fmt: skip
    best: list[NDArray[np.uint8]] = []
    loaded: dict[Path, AnimatePipeline] = {}

    def show(name: str, network: Path, kind: type | None, asked: dict[str, object]) -> None:
        pipeline = loaded.setdefault(network, AnimatePipeline.from_pretrained(network))
        videos, runs, spent_s = animate(pipeline, jobs, GenerateConfig(**asked), kind)  # type: ignore[arg-type]
        best.extend(() if best else videos)
        scheduler = "DDIM" if kind is None else kind.__name__.removesuffix("Scheduler")
        more = "".join(f", {key} {value}" for key, value in asked.items()
                       if key != "steps" and (key, value) != ("guidance", options.guidance)
                       and name == "as it is")  # fmt: skip
        print(f"| {name} | {scheduler} {asked['steps']}{more} | {runs} | {spent_s:.1f} | "
              f"{psnr(videos, true):.2f} | {psnr(videos, best):.2f} |", flush=True)  # fmt: skip

    for row in rows:
        show(*row)
    student = options.student or distill(options, folder, frames)
    for kind, steps in _DISTILLED:
        show("distilled", student, kind, {"steps": steps, "guidance": 1.0})


def distill(options: argparse.Namespace, folder: Path, frames: dict[str, object]) -> Path:
    shard = render_puppets(folder / "train.tar", count=options.train_puppets,
                           first_seed=SEEDS + 10_000, **frames)  # fmt: skip
    preset = read_checkpoint(options.checkpoint).model.preset
    training = preset_training(preset, "distill")
    assert training is not None
    training = replace(
        training, steps=options.distill_steps, batch_size=1, num_frames=options.frames,
        lr=options.lr, distill_guidance=options.guidance, ema_decay=0.0, warmup_steps=0,
    )  # fmt: skip
    train_stage(TrainOptions((shard,), stage="distill", preset=preset, out=folder / "distilled",
                             init=(options.checkpoint,), training=training))  # fmt: skip
    return folder / "distilled"


def animate(
    pipeline: AnimatePipeline, jobs: list[Job], config: GenerateConfig, kind: type | None
) -> tuple[list[NDArray[np.uint8]], int, float]:
    """The videos, how often the UNet's middle block ran for each, and CPU seconds for all."""
    usual = pipeline.scheduler
    if kind is not None:
        pipeline.scheduler = kind.from_config(usual.config)
    runs: list[int] = []
    started = time.process_time()
    with pipeline.model.denoising_unet.mid_block.register_forward_hook(lambda *_: runs.append(1)):
        found = [np.stack(list(pipeline.stream(job.reference, job.pose, config))) for job in jobs]
    pipeline.scheduler = usual
    return found, len(runs) // len(jobs), time.process_time() - started


def psnr(found: list[NDArray[np.uint8]], expected: list[NDArray[np.uint8]]) -> float:
    errors = [np.square(a.astype(float) - b).mean() for a, b in zip(found, expected, strict=True)]
    error = float(np.mean(errors))
    return 10 * math.log10(255**2 / error) if error else math.inf


if __name__ == "__main__":
    main()
