"""What a training step, or animation, holds at its peak on a GPU, counted without one.

    python benchmarks/model/training_memory.py [PRESET,STAGE ...] [PRESET,animate,PX ...]

Weights, gradients and optimizer state are arithmetic. Activations are counted operation by
operation on tensors without content (torch's FakeTensorMode), in the precision that autocast takes
on CUDA: norms in float32. What a kernel takes inside, and what the allocator cannot use, is not in
it.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import torch
import torch.nn.functional as F
from diffusers.utils import logging as diffusers_logging
from live_bytes import LiveBytes
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from aa_model.config import GenerateConfig
from aa_model.inference.denoise import encode_conditions, predict
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.precision import freeze_as_bfloat16
from aa_model.presets import PRESETS
from aa_model.training import diffusion_loss
from aa_model.training.memory import training_autocast, training_memory
from aa_model.training.stages import STAGES, make_loss, trained_parameters
from aa_model.training.step_time import random_batch

GIB = 2**30


@contextmanager
def autocast_as_on_cuda() -> Iterator[None]:
    """Cast what CUDA's autocast casts otherwise than a CPU's: norms up, attention down."""
    attention = F.scaled_dot_product_attention

    def wide(norm: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def cast(*arguments: object, **more: object) -> Tensor:
            if not torch.is_autocast_enabled("cpu"):
                return norm(*arguments, **more)
            with torch.autocast("cpu", enabled=False):
                return norm(*map(_float, arguments), **{k: _float(v) for k, v in more.items()})

        return cast

    def narrow(*qkv: Tensor, **more: object) -> Tensor:
        cast = torch.is_autocast_enabled("cpu")
        return attention(*(x.bfloat16() if cast else x for x in qkv), **more)  # type: ignore[arg-type]

    with (
        mock.patch.object(F, "group_norm", wide(F.group_norm)),
        mock.patch.object(F, "layer_norm", wide(F.layer_norm)),
        mock.patch.object(F, "scaled_dot_product_attention", narrow),
    ):
        yield


def _float(value: object) -> object:
    return value.float() if isinstance(value, Tensor) else value


def without_content(model: nn.Module) -> None:
    """Put fake tensors, of the mode that is on, in the place of those on the meta device."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            fake = torch.empty(parameter.shape, dtype=parameter.dtype)
            setattr(module, name, nn.Parameter(fake, requires_grad=parameter.requires_grad))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.zeros(buffer.shape, dtype=buffer.dtype))


def count(preset: str, stage_name: str, **changes: object) -> tuple[float, float, float]:
    """GiB that are held before the forward pass; what it adds at its peak; and what both add."""
    config = dataclasses.replace(PRESETS[preset].training[stage_name], **changes)  # type: ignore[arg-type]
    stage = STAGES[stage_name]
    with torch.device("meta"):
        model = AnimateAnyone(PRESETS[preset].model, temporal=stage_name == "2")
    trained_parameters(model, stage)
    if config.frozen_bfloat16:
        freeze_as_bfloat16(model)
    if config.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    held = training_memory(model, config)
    every = tuple(range(config.batch_size))  # which references are dropped is read off a draw
    all_kept = mock.patch.object(
        diffusion_loss, "_kept_references", return_value=(list(every), every)
    )
    with FakeTensorMode(allow_non_fake_inputs=True):
        without_content(model)
        for parameter in model.parameters():
            if parameter.requires_grad and config.accumulate > 1:
                parameter.grad = torch.empty_like(parameter)  # held, of the batch before
        batch = random_batch(model.config, config, torch.device("cpu"))
        loss = make_loss(model, stage, config)
        with all_kept, autocast_as_on_cuda(), LiveBytes() as live:
            with training_autocast(torch.device("cpu"), config):
                value = loss(batch, torch.Generator())
            forward = live.peak
            torch.autograd.backward(value)
    # With one batch a step there are none before the backward pass, which then counts them.
    always = held.total if config.accumulate > 1 else held.total - held.gradients
    return always / GIB, forward / GIB, live.peak / GIB


@torch.no_grad()
def count_animation(preset: str, side: int) -> tuple[float, float, float]:
    """GiB of weights, all in bfloat16; what a guided step of one window adds, with all that is made
    once per video; and what decoding 8 frames adds."""
    config = dataclasses.replace(PRESETS[preset].model, size_hw=(side, side))
    with torch.device("meta"):
        model = AnimateAnyone(config, temporal=True).eval().bfloat16()
    frames, channels = config.temporal.window, config.vae.latent_channels
    with FakeTensorMode(allow_non_fake_inputs=True):
        without_content(model)
        latents = torch.empty(1, frames, channels, *config.latent_hw)
        with LiveBytes() as step:
            pose = torch.empty(frames, 3, side, side)
            conditions = encode_conditions(model, torch.empty(3, side, side), pose)
            predict(model, latents, 500, conditions, [range(frames)], guidance=3.5)
        with LiveBytes() as decode:
            model.decode(latents[0, : GenerateConfig.decode_batch])
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    return weights / GIB, step.peak / GIB, decode.peak / GIB


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
            held, step, decode = count_animation(preset, side)
            print(f"| `{preset}`, animating at {side} px | {held:.1f} | {step:.1f} for a step | "
                  f"{decode:.1f} to decode | {held + max(step, decode):.1f} |")  # fmt: skip
            continue
        held, forward, peak = count(preset, stage)
        config = PRESETS[preset].training[stage]
        what = f"{config.batch_size} of {config.num_frames} frames"
        print(f"| `{preset}`, stage {stage}, {what} | {held:.1f} | {forward:.1f} | {peak:.1f} | "
              f"{held + peak:.1f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
