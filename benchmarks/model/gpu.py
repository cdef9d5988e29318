"""Steps on a GPU at SD-1.5 sizes: time, memory, and the share of what its matrix units can do.

    python benchmarks/model/gpu.py [--parts inference compiled training] [--sizes 512 768]

Random weights, random inputs. Times are medians between CUDA events, after a warm-up; memory is the
allocator's peak. FLOPs are those of `model/flops.py`, of a training step with what is computed
again. The ceiling is a matrix product of 8192 x 8192 in bfloat16, in the same run.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from diffusers.utils import logging as diffusers_logging
from flops import count_training
from flops import measure as count_flops
from guided_step import make_random, make_ways
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from aa_model.config import TrainConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.precision import freeze_as_bfloat16
from aa_model.presets import PRESETS
from aa_model.training.loop import TrainingState, train
from aa_model.training.stages import STAGES, make_loss, trained_parameters
from aa_model.training.step_time import random_batch

DEVICE = "cuda"
_BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}
_TRAINING = (
    ("base-12gb", "2", 12), ("base-24gb", "1", 24), ("base-24gb", "2", 24),
    ("moore", "1", None), ("moore", "2", None), ("paper", "2", None),
)  # fmt: skip


def milliseconds(runs: Sequence[Callable[[], object]], repeats: int, warm_up: int = 2) -> float:
    """Median time of the first run on the device; all take turns."""
    spent = []
    for i in range(warm_up + repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        runs[0]()
        end.record()
        for other in runs[1:]:
            other()
        torch.cuda.synchronize()
        if i >= warm_up:
            spent.append(start.elapsed_time(end))
    return statistics.median(spent)


def peak_gb(run: Callable[[], object]) -> float:
    """The allocator's peak while it runs, all that is held included."""
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 1e9


def release_cached() -> None:
    gc.collect()
    torch.cuda.empty_cache()


def measure_ceiling() -> float:
    """TFLOP/s of a large matrix product of random numbers."""
    a, b = (torch.randn(8192, 8192, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    return 2 * 8192**3 / milliseconds([lambda: a @ b], 20) / 1e9


def print_row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def print_figures(name: str, ms: float, gb: float, tflop: float, ceiling: float) -> None:
    rate = 1000 * tflop / ms
    print_row(name, f"{ms:.0f}", f"{gb:.1f}", f"{rate:.0f}", f"{100 * rate / ceiling:.0f} %")


def make_model(preset: str, side_px: int) -> AnimateAnyone:
    config = dataclasses.replace(PRESETS[preset].model, size_hw=(side_px, side_px))
    with torch.device(DEVICE):
        return make_random(config)


@torch.no_grad()
def run_inference(side_px: int, frames: int, ceiling: float, repeats: int) -> None:
    """A guided step: autocast, half, by SDPA backend, and compared with the peers' way."""
    tflop = count_flops(side_px, frames)["guided step"]
    print(f"\nguided step, {side_px} x {side_px}, {frames} frames, {tflop:.1f} TFLOP")
    print_row("", "ms", "GB", "TFLOP/s", "of the ceiling")
    print_row(*["---"] * 5)

    def measure(name: str, *runs: Callable[[], object]) -> None:
        """The first of the runs, in turn with the others."""
        print_figures(name, milliseconds(runs, repeats), peak_gb(runs[0]), tflop, ceiling)

    model = make_model("moore", side_px)
    ways = make_ways(model, frames)
    kept = ways.prepare()
    measure("float32 weights, autocast", partial(cast, partial(ways.ours, kept)))
    del ways, kept
    model.bfloat16()
    release_cached()
    ways = make_ways(model, frames)
    kept = ways.prepare()
    measure("bfloat16", partial(ways.ours, kept))
    for name, backend in _BACKENDS.items():
        with sdpa_kernel([backend, SDPBackend.MATH], set_priority=True):
            try:
                measure(f"bfloat16, SDPA {name}", partial(ways.ours, kept))
            except RuntimeError as error:
                print(f"SDPA {name}: {str(error).splitlines()[0][:160]}", flush=True)
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
    with torch.autocast(DEVICE, torch.bfloat16):
        run()


def distance(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


def time_parts(model: AnimateAnyone, frames: int, repeats: int) -> str:
    """What is done once per video, and once per frame."""
    h, w = model.config.latent_hw
    place = {"device": DEVICE, "dtype": model.dtype}
    picture = torch.rand(1, 3, *model.config.size_hw, **place)
    latents, tokens = torch.randn(1, 4, h, w, **place), torch.randn(1, 1, 768, **place)
    pose = torch.rand(1, frames, 3, *model.config.size_hw, **place)
    eight = torch.randn(8, 4, h, w, **place)
    found = {
        "ReferenceNet": lambda: model.reference_features(picture, latents, tokens),
        "pose guider, all frames": lambda: model.pose_features(pose),
        "VAE encode, one": lambda: model.encode(picture),
        "VAE decode, eight": lambda: model.decode(eight),
    }
    return "; ".join(f"{name} {milliseconds([run], repeats):.1f} ms" for name, run in found.items())


@torch.no_grad()
def run_compiled(side_px: int, frames: int, ceiling: float, repeats: int) -> None:
    """The same step with the denoising UNet through torch.compile (two graphs, one per pass), in
    turn with the same module uncompiled."""
    tflop = count_flops(side_px, frames)["guided step"]
    model = make_model("moore", side_px).bfloat16()
    ways = make_ways(model, frames)
    kept = ways.prepare()
    compiled = partial(ways.ours, kept)

    def eager() -> Tensor:
        with torch.compiler.set_stance("force_eager"):
            return compiled()

    expected = eager()
    torch.compiler.reset()
    model.denoising_unet.compile(fullgraph=True, dynamic=False)
    started = time.monotonic()
    gap = distance(compiled(), expected)  # a number: waits for the device
    print(f"{side_px}: compiled in {time.monotonic() - started:.0f} s", flush=True)
    for name, first, second in (
        (f"{side_px}: bfloat16, torch.compile ({gap:.1e} apart)", compiled, eager),
        (f"{side_px}: bfloat16, in turn with it", eager, compiled),
    ):
        ms = milliseconds([first, second], repeats)
        print_figures(name, ms, peak_gb(first), tflop, ceiling)


def run_training(
    preset: str, stage_name: str, limit_gb: int | None, ceiling: float, repeats: int
) -> None:
    """Optimiser steps by the real loop, of random batches; by a card of `limit_gb` if given."""
    total = torch.cuda.get_device_properties(0).total_memory
    share = limit_gb * 2**30 / total if limit_gb else 1.0
    torch.cuda.set_per_process_memory_fraction(share)
    stage = STAGES[stage_name]
    config = dataclasses.replace(
        PRESETS[preset].training[stage_name], steps=10**6, reference_drop=0.0
    )
    with torch.device(DEVICE):
        model = AnimateAnyone(PRESETS[preset].model, temporal=stage_name == "2")
    trained = trained_parameters(model, stage)
    if config.frozen_bfloat16:
        freeze_as_bfloat16(model)
    if config.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    model.cpu()  # as aa-train has it: what was wider before leaves no holes on the device
    release_cached()
    model.to(DEVICE)
    state = TrainingState(trained, config)
    batch = random_batch(model.config, config, torch.device(DEVICE))
    steps = train(state, make_loss(model, stage, config), itertools.repeat(batch), config)
    torch.cuda.reset_peak_memory_stats()
    ms = milliseconds([lambda: next(steps)], repeats)
    gb = torch.cuda.max_memory_allocated() / 1e9
    side, limit = model.config.size_hw[0], f" on {limit_gb} GB" if limit_gb else ""
    name = f"{preset}, stage {stage_name}{limit}: {side} px, {describe(config)}"
    print_figures(name, ms, gb, count_training(preset, stage_name), ceiling)


def describe(config: TrainConfig) -> str:
    clips = config.batch_size * config.accumulate
    return f"{clips} clips of {config.num_frames} a step, {config.optimizer}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parts = ("inference", "compiled", "training")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 768])
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    diffusers_logging.set_verbosity_error()  # it warns of an empty list of float32 modules
    ceiling = measure_ceiling()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: {ceiling:.0f} TFLOP/s")
    for part in args.parts:
        if part != "inference":  # which has a table for each size
            print_row(part, "ms", "GB", "TFLOP/s", "of the ceiling")
            print_row(*["---"] * 5)
        of_part = _TRAINING if part == "training" else args.sizes
        for one in of_part:
            started = time.monotonic()
            try:
                if part == "training":
                    run_training(*one, ceiling, args.repeats)
                else:
                    run = run_inference if part == "inference" else run_compiled
                    run(one, args.frames, ceiling, args.repeats)
            except torch.OutOfMemoryError as error:
                print(f"{part} {one}: {str(error).splitlines()[0][:160]}", flush=True)
            release_cached()
            print(f"  ({part} {one}: {time.monotonic() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
