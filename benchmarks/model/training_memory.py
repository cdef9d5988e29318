"""What a training step, or animation, holds at its peak on a GPU, counted without one.

    python benchmarks/model/training_memory.py [PRESET,STAGE ...] [PRESET,animate,PX ...]

Of training, what `aa-train --dry-run` prints for a plan (`aa_model.training.peak_memory`); of
animation, all weights in bfloat16.
"""

from __future__ import annotations

import argparse

import torch
from diffusers.utils import logging as diffusers_logging

from aa_model.config import GenerateConfig
from aa_model.inference.peak_memory import AnimationMemory, count_animation_memory
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.precision import freeze_as_bfloat16
from aa_model.presets import PRESETS
from aa_model.training.peak_memory import PeakMemory, count_peak_memory
from aa_model.training.stages import STAGES, trained_parameters

GIB = 2**30


def count(preset: str, stage_name: str) -> PeakMemory:
    """As `aa-train --dry-run` counts it."""
    config, stage = PRESETS[preset].training[stage_name], STAGES[stage_name]
    with torch.device("meta"):
        model = AnimateAnyone(PRESETS[preset].model, temporal=stage_name == "2")
    trained_parameters(model, stage)
    if config.frozen_bfloat16:
        freeze_as_bfloat16(model)
    if config.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    return count_peak_memory(model, stage, config)


def count_animation(preset: str, side: int) -> AnimationMemory:
    """As `aa-animate --half --dry-run` counts it."""
    model, config = PRESETS[preset].model, GenerateConfig()
    return count_animation_memory(
        model, config, model.temporal.window, (side, side), dtype=torch.bfloat16
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    default = ["base-12gb,2", "base-24gb,1", "base-24gb,2", "moore,1", "moore,2"]
    parser.add_argument("runs", nargs="*", default=default, metavar="RUN")
    args = parser.parse_args()
    diffusers_logging.set_verbosity_error()  # it warns of an empty list of float32 modules
    print("| GiB | held | the forward pass adds | both add | at the peak |")
    print("|---" * 5 + "|")
    for run in args.runs:
        preset, _, stage = run.partition(",")
        if stage.startswith("animate"):
            side = int(stage.partition(",")[2])
            found = count_animation(preset, side)
            held, added, decode = found.weights / GIB, found.step / GIB, found.decode / GIB
            print(f"| `{preset}`, animating at {side} px | {held:.1f} | {added:.1f} for a step | "
                  f"{decode:.1f} to decode | {held + max(added, decode):.1f} |")  # fmt: skip
            continue
        step = count(preset, stage)
        config = PRESETS[preset].training[stage]
        what = f"{config.batch_size} of {config.num_frames} frames"
        held, forward, passes = step.held / GIB, step.forward / GIB, step.passes / GIB
        print(f"| `{preset}`, stage {stage}, {what} | {held:.1f} | {forward:.1f} | {passes:.1f} | "
              f"{held + passes:.1f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
