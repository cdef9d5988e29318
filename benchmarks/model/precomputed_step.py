"""A training step from precomputed latents, compared with the same step that encodes its pictures.

    python benchmarks/model/precomputed_step.py [--stage 2] [--size 256] [--frames 8] [--repeats 5]

SD-1.5's proportions at a quarter of its channels: UNets 80-160-320-320, VAE 32-64-128-128, a CLIP
of 24 layers of 256. Losses are held equal first. Steps alternate; the figures are medians of the
CPU time of a forward and a backward pass. Decoding the videos, which precomputed steps do not need
either, is in neither.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time

import torch

from aa_datasets.loader.batch import Batch, EncodedFrames
from aa_model.config import ModelConfig, TrainConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.vae import encode_moments
from aa_model.presets import PRESETS
from aa_model.training.stages import STAGES, make_loss, trained_parameters


def shrunk(size: int) -> ModelConfig:
    """Preset `moore` at a quarter of its channels."""
    moore = PRESETS["moore"].model
    return dataclasses.replace(
        moore,
        size_hw=(size, size),
        vae=dataclasses.replace(moore.vae, block_out_channels=(32, 64, 128, 128)),
        unet=dataclasses.replace(
            moore.unet,
            block_out_channels=(80, 160, 320, 320),
            norm_num_groups=16,
            cross_attention_dim=192,
        ),
        image_encoder=dataclasses.replace(moore.image_encoder, hidden_size=256),
    )


def batches(model: AnimateAnyone, frames: int) -> dict[str, Batch]:
    """One batch of noise, as pictures and as what the encoders make of them."""
    generator = torch.Generator().manual_seed(1)
    reference, target, pose = (
        2 * torch.rand((1, *axes, 3, *model.config.size_hw), generator=generator) - 1
        for axes in ((), (frames,), (frames,))
    )
    with torch.no_grad():
        moments = [torch.cat(encode_moments(model.vae, x), dim=1) for x in (reference, target[0])]
        encoded = EncodedFrames(moments[0], moments[1][None], model.image_tokens(reference))
    pictures = Batch(reference, target, pose, ("noise",))
    return {
        "encodes": pictures,
        "precomputed": dataclasses.replace(
            pictures, reference=reference[:, :0], target=target[:, :, :0], latents=encoded
        ),
    }


def compare(stage_name: str, size: int, frames: int, repeats: int) -> dict[str, float]:
    """Median CPU seconds of a step, by way."""
    stage = STAGES[stage_name]
    torch.manual_seed(0)
    model = AnimateAnyone(shrunk(size), temporal=stage_name == "2")
    trained = trained_parameters(model, stage)
    config = TrainConfig(steps=1, batch_size=1, lr=1e-5, num_frames=frames, reference_drop=0.0)
    loss = make_loss(model, stage, config)
    ways = batches(model, frames)
    spent: dict[str, list[float]] = {way: [] for way in ways}
    values: dict[str, float] = {}
    for round_ in range(repeats + 1):
        for way, batch in ways.items():
            started = time.process_time()
            value = loss(batch, torch.Generator().manual_seed(0))
            value.backward()
            if round_:  # the first pays for what is made once
                spent[way].append(time.process_time() - started)
            values[way] = value.item()
            for parameter in trained.values():
                parameter.grad = None
    if abs(values["encodes"] - values["precomputed"]) > 1e-5 * values["encodes"]:
        raise SystemExit(f"not comparable: the losses are {values}")
    return {way: statistics.median(seconds) for way, seconds in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stage", choices=["1", "2"], default="2")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    found = compare(args.stage, args.size, args.frames, args.repeats)
    print(
        f"stage {args.stage}, {args.frames} frames of {args.size}x{args.size}, CPU time of a step, "
        f"median of {args.repeats}: precomputed {found['precomputed']:.2f} s, encoding "
        f"{found['encodes']:.2f} s: {found['precomputed'] / found['encodes']:.2f}x"
    )


if __name__ == "__main__":
    main()
