"""Quality against steps on puppets: the network of stage 2, and the one distilled of it.

    python benchmarks/model/few_steps.py [--checkpoint DIR] [--distill-steps 200] [--frames 12]

Distils the checkpoint on training puppets, then animates held-out ones with both networks, from the
same noise. Printed are means over all videos and pixels, in dB: the PSNR against the true frames,
and against the teacher's own 20 guided steps, which is what distillation can hand on at best.
`--student DIR` takes a network that is distilled already.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from dataclasses import replace
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=Path("demo/learned"))
    parser.add_argument("--student", type=Path)
    parser.add_argument("--train-puppets", type=int, default=24)
    parser.add_argument("--test-puppets", type=int, default=4)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--distill-steps", type=int, default=200)
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--lr", type=float, default=1e-4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        compare(options, Path(name))


def compare(options: argparse.Namespace, folder: Path) -> None:
    frames = {"num_frames": options.frames + 6, "fps": 15.0, "size_hw": (128, 128)}
    test = render_puppets(folder / "test.tar", count=options.test_puppets, first_seed=SEEDS,
                          split="test", **frames)  # fmt: skip
    student = options.student or distill(options, folder, frames)
    teacher = AnimatePipeline.from_pretrained(options.checkpoint)
    size_hw = read_checkpoint(options.checkpoint).model.size_hw
    jobs = list(read_jobs([test], size_hw, max_frames=options.frames))
    best = animate(teacher, jobs, 20, options.guidance, None)
    print("| network | scheduler | steps | against the truth, dB | against the teacher's 20, dB |")
    print("|---|---|---|---|---|")
    rows = [("teacher", teacher, kind, steps, options.guidance)
            for kind, steps in ((None, 20), (None, 8), (None, 4), (None, 2), (None, 1),
                                (DPMSolverMultistepScheduler, 12), (LCMScheduler, 4))]  # fmt: skip
    fast = AnimatePipeline.from_pretrained(student)
    rows += [("distilled", fast, kind, steps, 1.0)
             for kind, steps in ((LCMScheduler, 8), (LCMScheduler, 4), (LCMScheduler, 2),
                                 (LCMScheduler, 1), (TCDScheduler, 4), (None, 4))]  # fmt: skip
    for name, pipeline, kind, steps, guidance in rows:
        videos = animate(pipeline, jobs, steps, guidance, kind)
        true = [job.true_frames(np.arange(len(v))) for job, v in zip(jobs, videos, strict=True)]
        scheduler = "DDIM" if kind is None else kind.__name__.removesuffix("Scheduler")
        print(f"| {name} | {scheduler} | {steps} | {psnr(videos, true):.2f} | "
              f"{psnr(videos, best):.2f} |", flush=True)  # fmt: skip


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
    started = time.process_time()
    train_stage(TrainOptions((shard,), stage="distill", preset=preset, out=folder / "distilled",
                             init=(options.checkpoint,), training=training))  # fmt: skip
    print(f"distilled in {time.process_time() - started:.0f} CPU s")
    return folder / "distilled"


def animate(
    pipeline: AnimatePipeline, jobs: list[Job], steps: int, guidance: float, kind: type | None
) -> list[NDArray[np.uint8]]:
    usual = pipeline.scheduler
    if kind is not None:
        pipeline.scheduler = kind.from_config(usual.config)
    config = GenerateConfig(steps=steps, guidance=guidance)
    found = [np.stack(list(pipeline.stream(job.reference, job.pose, config))) for job in jobs]
    pipeline.scheduler = usual
    return found


def psnr(found: list[NDArray[np.uint8]], expected: list[NDArray[np.uint8]]) -> float:
    errors = [np.square(a.astype(float) - b).mean() for a, b in zip(found, expected, strict=True)]
    error = float(np.mean(errors))
    return 10 * math.log10(255**2 / error) if error else math.inf


if __name__ == "__main__":
    main()
