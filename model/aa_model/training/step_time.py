"""What a step costs: its time, measured before the first one, and its operations, counted."""

from __future__ import annotations

import dataclasses
import math
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from aa_datasets.loader.batch import Batch, EncodedFrames
from aa_model.config import ModelConfig, TrainConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.live_bytes import drop_content
from aa_model.training.distillation_loss import Teacher
from aa_model.training.memory import training_autocast
from aa_model.training.stages import Stage, make_loss


def measure_step_s(
    model: AnimateAnyone,
    stage: Stage,
    config: TrainConfig,
    device: torch.device,
    teacher: Teacher | None = None,
) -> float:
    """Seconds of a step's forward and backward passes, accumulation included.

    Two passes over random pictures, of which the second counts: the first pays for what is made
    once. Reading of shards, the latent cache and the optimiser's update are not in it; the run's
    weights, random numbers, loader and caches stay as they are.
    """
    plain = dataclasses.replace(config, cache_latents=False)
    loss = make_loss(model, stage, plain, teacher=teacher)
    generator = torch.Generator(device).manual_seed(0)
    batch = random_batch(model.config, config, device)
    spent_s = 0.0
    for _ in range(2):
        started = _now(device)
        with training_autocast(device, config):
            value = loss(batch, generator)
        torch.autograd.backward(value)
        spent_s = _now(device) - started
        if config.accumulate == 1:  # else gradients are there while the next batch goes through
            model.zero_grad(set_to_none=True)
    model.zero_grad(set_to_none=True)
    return spent_s * config.accumulate


def count_step_tflop(
    model: AnimateAnyone, stage: Stage, config: TrainConfig, teacher: Teacher | None = None
) -> float:
    """10^12 floating-point operations of a step's passes in one process, accumulation included.

    Counted as in `count_costs`, on a network of float32 on the meta device, whose tensors have no
    content: those of `model` and `teacher` are replaced.
    """
    with torch.device("meta"):
        drop_content(model, torch.float32)
        if teacher is not None and teacher.unet is not None:
            drop_content(teacher.unet, torch.float32)
    plain = dataclasses.replace(config, cache_latents=False)
    loss = make_loss(model, stage, plain, teacher=teacher)
    batch = random_batch(model.config, config, torch.device("meta"))
    with FlopCounterMode(display=False) as counter:
        torch.autograd.backward(loss(batch, torch.Generator().manual_seed(0)))
    return float(counter.get_total_flops() * config.accumulate / 1e12)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()


def random_batch(model: ModelConfig, config: TrainConfig, device: torch.device) -> Batch:
    """A batch as the loader would give it, of noise; of the largest size, if there are several."""
    generator = torch.Generator().manual_seed(0)
    B, T = config.batch_size, config.num_frames

    def noise(*shape: int) -> torch.Tensor:
        return (2 * torch.rand(shape, generator=generator) - 1).to(device)

    size_hw = max(model.sizes_hw, key=math.prod)
    channels, latents = 3, None
    if config.precomputed_latents:
        channels = 0
        moments = (2 * model.vae.latent_channels, *model.latent_hw)
        encoder = model.image_encoder
        patches = (encoder.image_size // encoder.patch_size) ** 2
        tokens = 1 if encoder.tokens == "pooled" else 1 + patches
        latents = EncodedFrames(
            noise(B, *moments),
            noise(B, T, *moments),
            noise(B, tokens, model.unet.cross_attention_dim),
        )
    reference = noise(B, channels, *size_hw)
    target, pose = noise(B, T, channels, *size_hw), noise(B, T, 3, *size_hw)
    return Batch(reference, target, pose, tuple(f"noise_{i}" for i in range(B)), latents)
