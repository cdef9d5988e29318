"""FLOPs of one pass at SD-1.5 sizes, counted on meta tensors: no weights, no GPU, seconds.

    python benchmarks/model/flops.py [--frames 24] [--sizes 512 768]

Counts are 2 x multiply-accumulate, by torch's FlopCounterMode, of preset `moore`. Elementwise work,
norms and softmax are not counted.
"""

from __future__ import annotations

import argparse
import dataclasses

import torch
from torch.utils.flop_counter import FlopCounterMode

from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.flops import count_costs
from aa_model.presets import PRESETS
from aa_model.training.stages import STAGES, make_loss, trained_parameters
from aa_model.training.step_time import random_batch


def measure(side_px: int, frames: int) -> dict[str, float]:
    found = count_costs(PRESETS["moore"].model, frames, (side_px, side_px))
    return {
        "image encoder": found.image_encoder,
        "ReferenceNet, once": found.reference_net,
        "reference keys and values, once": found.keys_values,
        f"pose guider, {frames} frames, once": found.pose_guider,
        "denoising pass with reference": found.with_reference,
        "denoising pass without reference": found.without_reference,
        "VAE encode, per frame": found.encode,
        "VAE decode, per frame": found.decode,
        "guided step": found.guided_step,
    }


def count_training(preset: str, stage_name: str) -> float:
    """TFLOP that an optimiser step executes, recomputation included; every clip with reference."""
    config = dataclasses.replace(PRESETS[preset].training[stage_name], reference_drop=0.0)
    stage, meta = STAGES[stage_name], torch.device("meta")
    with meta:
        model = AnimateAnyone(PRESETS[preset].model, temporal=stage_name == "2")
    trained_parameters(model, stage)
    if config.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    loss = make_loss(model, stage, config)
    batch = random_batch(model.config, config, meta)
    with FlopCounterMode(display=False) as counter:
        torch.autograd.backward(loss(batch, torch.Generator()))
    return config.accumulate * float(counter.get_total_flops()) / 1e12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 768])
    args = parser.parse_args()
    columns = [measure(size, args.frames) for size in args.sizes]
    print(f"| TFLOP, {args.frames} frames | " + " | ".join(f"{s} x {s}" for s in args.sizes) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(f"{column[name]:.2f}" for column in columns) + " |")


if __name__ == "__main__":
    main()
