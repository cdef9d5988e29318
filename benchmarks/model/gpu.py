"""Steps on a GPU at SD-1.5 sizes: time, memory, and the share of what its matrix units can do.

    python benchmarks/model/gpu.py --minutes 8
    python benchmarks/model/gpu.py [--parts inference compiled training videos] [--sizes 512 768]

`inference` holds our guided step against the plain way, `compiled` against itself through
`torch.compile`, block by block; `training` takes optimiser steps on cards of 12 and 24 GB;
`videos` makes whole videos of one window, skeletons drawn, guided and decoded. What would begin
after `--minutes` is left out, and said.

Random weights, random inputs. Times are medians between CUDA events, after a warm-up; memory is the
allocator's peak. FLOPs are those of `model/flops.py`, of a training step with what is computed
again. The ceiling is a matrix product of 8192 x 8192 in bfloat16, in the same run.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, get_args

import torch
from diffusers.utils import logging as diffusers_logging
from flops import count_training
from guided_step import make_random, make_ways
from torch import Tensor

from aa_datasets.puppets.render import render_puppet
from aa_model.config import AttentionName, GenerateConfig, TrainConfig
from aa_model.errors import ModelError
from aa_model.inference.pipeline import AnimatePipeline
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.attention_backend import set_attention
from aa_model.networks.flops import count_costs
from aa_model.networks.precision import freeze_as_bfloat16
from aa_model.presets import PRESETS
from aa_model.training.loop import TrainingState, train
from aa_model.training.stages import STAGES, make_loss, trained_parameters
from aa_model.training.step_time import random_batch

_TRAINING = (
    ("base-12gb", "2", 12), ("base-24gb", "1", 24), ("base-24gb", "2", 24),
    ("moore", "1", None), ("moore", "2", None), ("paper", "2", None), ("tiny", "2", None),
)  # fmt: skip


def milliseconds(runs: Sequence[Callable[[], object]], repeats: int, warm_up: int = 2) -> float:
    """Median time of the first run on the device; all take turns."""
    spent = []
    for i in range(warm_up + repeats):
        wait()
        started = time.perf_counter()
        runs[0]()
        wait()
        if i >= warm_up:
            spent.append(1000 * (time.perf_counter() - started))
        for other in runs[1:]:
            other()
    return statistics.median(spent)


def wait() -> None:
    """Until the device has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def device() -> str:
    """The GPU; a CPU is for trying the script at tiny sizes."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def peak_gb(run: Callable[[], object]) -> float:
    """The allocator's peak while it runs, all that is held included; NaN on a CPU."""
    if not torch.cuda.is_available():
        return math.nan
    torch.cuda.reset_peak_memory_stats()
    run()
    wait()
    return torch.cuda.max_memory_allocated() / 1e9


def release_cached() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def measure_ceiling() -> float:
    """TFLOP/s of a large matrix product of random numbers."""
    side = 8192 if torch.cuda.is_available() else 64
    a, b = (torch.randn(side, side, device=device(), dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / milliseconds([lambda: a @ b], 20) / 1e9


def print_row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def print_figures(name: str, ms: float, gb: float, tflop: float, ceiling: float) -> None:
    rate = 1000 * tflop / ms
    print_row(name, f"{ms:.0f}", f"{gb:.1f}", f"{rate:.0f}", f"{100 * rate / ceiling:.0f} %")


def make_model(preset: str, side_px: int) -> AnimateAnyone:
    config = dataclasses.replace(PRESETS[preset].model, size_hw=(side_px, side_px))
    with torch.device(device()):
        return make_random(config)


@torch.no_grad()
def run_inference(preset: str, side_px: int, frames: int, ceiling: float, repeats: int) -> None:
    """A guided step: autocast, half, by SDPA backend, and compared with the peers' way."""
    tflop = guided_tflop(preset, side_px, frames)
    print(f"\nguided step, {side_px} x {side_px}, {frames} frames, {tflop:.1f} TFLOP")
    print_row("", "ms", "GB", "TFLOP/s", "of the ceiling")
    print_row(*["---"] * 5)

    def measure(name: str, *runs: Callable[[], object]) -> None:
        """The first of the runs, in turn with the others."""
        print_figures(name, milliseconds(runs, repeats), peak_gb(runs[0]), tflop, ceiling)

    model = make_model(preset, side_px)
    ways = make_ways(model, frames)
    kept = ways.prepare()
    measure("float32 weights, autocast", partial(cast, partial(ways.ours, kept)))
    del ways, kept
    model.bfloat16()
    release_cached()
    ways = make_ways(model, frames)
    kept = ways.prepare()
    measure("bfloat16", partial(ways.ours, kept))
    for name in get_args(AttentionName):
        try:
            set_attention(model.denoising_unet, name, torch.bfloat16)
            measure(f"bfloat16, --attention {name}", partial(ways.ours, kept))
        except ModelError as error:
            print(error, flush=True)
    set_attention(model.denoising_unet, "sdpa", torch.bfloat16)
    bank = ways.repeat()
    ours, theirs = partial(ways.ours, kept), partial(ways.peers, bank)
    gap = distance(ours(), theirs())
    measure("bfloat16, in turn with the plain way", ours, theirs)
    measure(f"the plain way of peers, in turn ({gap:.1e} apart)", theirs, ours)
    del ways, kept, bank, ours, theirs
    model.to(memory_format=torch.channels_last)
    ways = make_ways(model, frames)
    measure("bfloat16, channels last", partial(ways.ours, ways.prepare()))
    del ways
    model.to(memory_format=torch.contiguous_format)
    print(time_parts(model, frames, repeats), flush=True)


def cast(run: Callable[[], object]) -> None:
    with torch.autocast(device(), torch.bfloat16):
        run()


def guided_tflop(preset: str, side_px: int, frames: int) -> float:
    return count_costs(PRESETS[preset].model, frames, (side_px, side_px)).guided_step


def distance(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


def time_parts(model: AnimateAnyone, frames: int, repeats: int) -> str:
    """What is done once per video, and once per frame."""
    h, w = model.config.latent_hw
    place = {"device": device(), "dtype": model.dtype}
    channels, width = model.config.vae.latent_channels, model.config.unet.cross_attention_dim
    picture = torch.rand(1, 3, *model.config.size_hw, **place)
    latents = torch.randn(1, channels, h, w, **place)
    tokens = torch.randn(1, 1, width, **place)
    pose = torch.rand(1, frames, 3, *model.config.size_hw, **place)
    eight = torch.randn(8, channels, h, w, **place)
    found = {
        "ReferenceNet": lambda: model.reference_features(picture, latents, tokens),
        "pose guider, all frames": lambda: model.pose_features(pose),
        "VAE encode, one": lambda: model.encode(picture),
        "VAE decode, eight": lambda: model.decode(eight),
    }
    return "; ".join(f"{name} {milliseconds([run], repeats):.1f} ms" for name, run in found.items())


@torch.no_grad()
def run_compiled(preset: str, side_px: int, frames: int, ceiling: float, repeats: int) -> None:
    """The same step with the UNet's blocks through torch.compile, in turn with itself uncompiled
    and with the plain way."""
    tflop = guided_tflop(preset, side_px, frames)
    model = make_model(preset, side_px).bfloat16()
    ways = make_ways(model, frames)
    kept = ways.prepare()
    compiled = partial(ways.ours, kept)

    def eager() -> Tensor:
        with torch.compiler.set_stance("force_eager"):
            return compiled()

    expected = eager()
    torch.compiler.reset()
    bank = ways.repeat()
    plain = partial(ways.peers, bank)
    plain()  # copies the UNet while it is as it was
    backend = {} if torch.cuda.is_available() else {"backend": "eager"}
    AnimatePipeline.from_model(model).compile_repeated_blocks(**backend)
    started = time.monotonic()
    gap = distance(compiled(), expected)  # a number: waits for the device
    print(f"{side_px}: compiled in {time.monotonic() - started:.0f} s", flush=True)
    rest = [eager, compiled, plain]
    for name, first in (
        (f"{side_px}: bfloat16, torch.compile ({gap:.1e} apart)", compiled),
        (f"{side_px}: bfloat16, in turn with it", eager),
        (f"{side_px}: the plain way, in turn with both", plain),
    ):
        ms = milliseconds([first, *(run for run in rest if run is not first)], repeats)
        print_figures(name, ms, peak_gb(first), tflop, ceiling)


def run_videos(preset: str, side_px: int, frames: int, repeats: int) -> None:
    """Frames per second of whole videos of one window, by the number of steps and by DeepCache."""
    pipeline = AnimatePipeline.from_model(make_model(preset, side_px).bfloat16())
    puppet = render_puppet(0, 0, num_frames=frames, size_hw=(side_px, side_px))
    photo = puppet.frames[0]
    for steps, deep_cache in ((20, 1), (20, 3), (8, 1), (4, 1)):
        config = GenerateConfig(steps=steps, window=frames, deep_cache=deep_cache)

        def make(config: GenerateConfig = config) -> object:
            return pipeline(photo, puppet.pose, config).frames

        ms = milliseconds([make], repeats, warm_up=1)
        print_row(
            f"{side_px}: {frames} frames, {steps} guided steps, bfloat16"
            + f", --deep-cache {deep_cache}" * (deep_cache > 1), f"{ms:.0f}",
            f"{peak_gb(make):.1f}", f"{1000 * frames / ms:.2f} frames/s",
        )  # fmt: skip


def run_training(
    preset: str, stage_name: str, limit_gb: int | None, ceiling: float, repeats: int
) -> None:
    """Optimiser steps by the real loop, of random batches; by a card of `limit_gb` if given."""
    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        share = limit_gb * 2**30 / total if limit_gb else 1.0
        torch.cuda.set_per_process_memory_fraction(share)
    stage = STAGES[stage_name]
    config = dataclasses.replace(
        PRESETS[preset].training[stage_name], steps=10**6, reference_drop=0.0
    )
    with torch.device(device()):
        model = AnimateAnyone(PRESETS[preset].model, temporal=stage_name == "2")
    trained = trained_parameters(model, stage)
    if config.frozen_bfloat16:
        freeze_as_bfloat16(model)
    if config.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    model.cpu()  # as aa-train has it: what was wider before leaves no holes on the device
    release_cached()
    model.to(device())
    state = TrainingState(trained, config)
    batch = random_batch(model.config, config, torch.device(device()))
    steps = train(state, make_loss(model, stage, config), itertools.repeat(batch), config)
    ms = milliseconds([lambda: next(steps)], repeats, warm_up=1)
    gb = peak_gb(lambda: next(steps))
    side, limit = model.config.size_hw[0], f" on {limit_gb} GB" if limit_gb else ""
    name = f"{preset}, stage {stage_name}{limit}: {side} px, {describe(config)}"
    print_figures(name, ms, gb, count_training(preset, stage_name), ceiling)


def describe(config: TrainConfig) -> str:
    clips = config.batch_size * config.accumulate
    return f"{clips} clips of {config.num_frames} a step, {config.optimizer}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parts = ("inference", "compiled", "training", "videos")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 768])
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--preset", default="moore", help="of all parts but training")
    parser.add_argument("--minutes", type=float, default=math.inf)
    presets = ["base-12gb", "base-24gb", "moore", "paper"]
    parser.add_argument("--train", nargs="+", default=presets, help="presets of part training")
    args = parser.parse_args()
    diffusers_logging.set_verbosity_error()  # it warns of an empty list of float32 modules
    ceiling = measure_ceiling()
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"{name}, torch {torch.__version__}: {ceiling:.0f} TFLOP/s")
    began = time.monotonic()
    for part in args.parts:
        if part != "inference":  # which has a table for each size
            print_row(part, "ms", "GB", "TFLOP/s", "of the ceiling")
            print_row(*["---"] * 5)
        of_part: Sequence[Any] = args.sizes
        if part == "training":
            of_part = [row for row in _TRAINING if row[0] in args.train]
        for one in of_part:
            started = time.monotonic()
            if started - began > 60 * args.minutes:
                print(f"{part} {one}: left out, {args.minutes:g} minutes are over", flush=True)
                continue
            try:
                if part == "training":
                    run_training(*one, ceiling, args.repeats)
                elif part == "videos":
                    run_videos(args.preset, one, args.frames, args.repeats)
                else:
                    run = run_inference if part == "inference" else run_compiled
                    run(args.preset, one, args.frames, ceiling, args.repeats)
            except torch.OutOfMemoryError as error:
                print(f"{part} {one}: {str(error).splitlines()[0][:160]}", flush=True)
            release_cached()
            print(f"  ({part} {one}: {time.monotonic() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
