"""Activation memory of a stage-2 step: without checkpointing, with diffusers' own, with ours.

    python benchmarks/model/activations.py [--channels 64 128 256] [--latents 16] [--frames 8]

The peak is of live tensor bytes above what was held before the step (weights, gradients, batch),
counted at every operation; what a kernel takes inside is not in it. Exact, and the same on every
machine. The loss must be equal in all three. Only temporal layers are trained, as in stage 2.
"""

from __future__ import annotations

import argparse
import dataclasses

import torch

from aa_datasets.loader.batch import Batch
from aa_model.config import ModelConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.live_bytes import LiveBytes
from aa_model.presets import PRESETS
from aa_model.training.stages import STAGES, make_loss, trained_parameters


def measure(config: ModelConfig, batch: Batch, how: str) -> tuple[float, float]:
    """Peak in MiB, and the loss."""
    torch.manual_seed(0)
    model, stage = AnimateAnyone(config, temporal=True), STAGES["2"]
    trained = trained_parameters(model, stage)
    if how == "ours":
        model.enable_gradient_checkpointing()
    elif how == "diffusers":
        model.denoising_unet.enable_gradient_checkpointing()
        model.denoising_unet.train()
    training = dataclasses.replace(PRESETS["moore"].training["2"], reference_drop=0.0)
    loss = make_loss(model, stage, training)
    for parameter in trained.values():
        parameter.grad = torch.zeros_like(parameter)  # held before, so that none is counted
    with LiveBytes() as live:
        value = loss(batch, torch.Generator().manual_seed(0))
        value.backward()
        found = value.item()
        del value
    return live.peak / 2**20, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--channels", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--latents", type=int, default=16, help="side of the latents")
    parser.add_argument("--frames", type=int, default=8)
    args = parser.parse_args()
    levels = len(args.channels)
    moore = PRESETS["moore"].model
    vae = dataclasses.replace(moore.vae, block_out_channels=(32, 32, 32, 32))
    side = args.latents * vae.downscale
    config = dataclasses.replace(
        moore,
        size_hw=(side, side),
        vae=vae,
        unet=dataclasses.replace(
            moore.unet,
            block_out_channels=tuple(args.channels),
            attention=(*[True] * (levels - 1), False),
            cross_attention_dim=64,
        ),
        image_encoder=dataclasses.replace(
            moore.image_encoder, hidden_size=64, num_layers=1, num_heads=4
        ),
    )
    generator = torch.Generator().manual_seed(1)
    pictures = [
        2 * torch.rand((1, *axes, 3, side, side), generator=generator) - 1
        for axes in ((), (args.frames,), (args.frames,))
    ]
    batch = Batch(*pictures, ("noise",))
    found = {how: measure(config, batch, how) for how in ("none", "diffusers", "ours")}
    losses = [loss for _, loss in found.values()]
    if max(losses) - min(losses) > 1e-5:
        raise SystemExit(f"not comparable: the losses are {losses}")
    print(
        f"stage 2, channels {args.channels}, {args.frames} frames of {args.latents}x{args.latents}"
    )
    for how, (peak, _) in found.items():
        share = peak / found["diffusers"][0]
        print(f"{how:10} {peak:8.1f} MiB  {share:.2f} x diffusers' enable_gradient_checkpointing()")


if __name__ == "__main__":
    main()
