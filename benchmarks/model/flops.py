"""FLOPs of one pass at SD-1.5 sizes, counted on meta tensors: no weights, no GPU, seconds.

    python benchmarks/model/flops.py [--frames 24] [--sizes 512 768]

Counts are 2 x multiply-accumulate, by torch's FlopCounterMode, of preset `moore`. Elementwise work,
norms and softmax are not counted.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.reference_attention import project_features
from aa_model.presets import PRESETS
from aa_model.training.stages import STAGES, make_loss, trained_parameters
from aa_model.training.step_time import random_batch


def count(run: Callable[[], object]) -> tuple[float, object]:
    """FLOPs in units of 10^12, and what `run` returned."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        result = run()
    return counter.get_total_flops() / 1e12, result


def measure(side_px: int, frames: int) -> dict[str, float]:
    config = dataclasses.replace(PRESETS["moore"].model, size_hw=(side_px, side_px))
    with torch.device("meta"):
        model = AnimateAnyone(config, temporal=True).eval()
        h, w = config.latent_hw
        picture = torch.empty(1, 3, side_px, side_px)
        one_latent = torch.empty(1, 4, h, w)
        latents = torch.empty(1, frames, 4, h, w)
        tokens = torch.empty(1, 1, config.unet.cross_attention_dim)
        pose = torch.empty(1, frames, 3, side_px, side_px)
        timestep = torch.zeros(1, dtype=torch.int64)
        found: dict[str, float] = {}
        found["image encoder"], _ = count(lambda: model.image_encoder(picture))
        found["ReferenceNet, once"], features = count(
            lambda: model.reference_features(picture, one_latent, tokens)
        )
        found["reference keys and values, once"], projected = count(
            lambda: project_features(model.denoising_unet, features)
        )
        found[f"pose guider, {frames} frames, once"], pose_features = count(
            lambda: model.pose_features(pose)
        )
        found["denoising pass with reference"], _ = count(
            lambda: model(latents, timestep, tokens, pose_features, projected, (0,))
        )
        found["denoising pass without reference"], _ = count(
            lambda: model(latents, timestep, tokens, pose_features, {}, (None,))
        )
        found["VAE encode, per frame"], _ = count(lambda: model.encode(picture))
        found["VAE decode, per frame"], _ = count(lambda: model.decode(one_latent))
    found["guided step"] = (
        found["denoising pass with reference"] + found["denoising pass without reference"]
    )
    return found


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
