"""Stage distill: a network that needs few steps (latent consistency, Luo et al. 2023).

The teacher, the network of stage 2 as it was, makes one guided DDIM step between two of a coarse
row of timesteps. The student learns to say the same of both ends: where the noise-free video is.
What it then says from pure noise is a video in one step, and a better one in four to eight
(`LCMScheduler`, `TCDScheduler`), without guidance, which the teacher's steps had.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel, UNetMotionModel
from torch import Tensor

from aa_model.config import TrainConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.image_encoder import null_tokens
from aa_model.networks.sharded_random import draw_normal, draw_uniform
from aa_model.training.diffusion_loss import Encode, Videos, encode_videos

# As diffusers' LCMScheduler at inference: its sigma_data and timestep_scaling.
_SIGMA_DATA = 0.5
_TIMESTEP_SCALING = 10.0
_HUBER = 0.001  # pseudo-Huber's constant (Song and Dhariwal 2024)


class Teacher:
    """The denoising UNet as it was before: a frozen copy, or the same one without its LoRA.

    Args:
        model: before the first step of distillation.
    """

    def __init__(self, model: AnimateAnyone, config: TrainConfig) -> None:
        self.unet: UNetMotionModel | UNet2DConditionModel | None = None
        if not config.lora_rank:
            self.unet = copy.deepcopy(model.denoising_unet).requires_grad_(False)

    @contextmanager
    def replacing(self, model: AnimateAnyone) -> Iterator[None]:
        """Inside, the denoising UNet of `model` is the teacher."""
        student = model.denoising_unet
        if self.unet is None:
            student.disable_adapters()
        else:
            model.denoising_unet = self.unet
        try:
            yield
        finally:
            model.denoising_unet = student
            if self.unet is None:
                student.enable_adapters()


def distillation_loss(
    model: AnimateAnyone,
    teacher: Teacher,
    scheduler: DDIMScheduler,
    encode: Encode,
    config: TrainConfig,
    videos: Videos,
    generator: torch.Generator,
) -> Tensor:
    """Pseudo-Huber distance of what the student says of both ends of a step of the teacher."""
    V, device = len(videos.target), videos.target.device
    kept = list(range(len(videos.reference)))
    repeats = V // len(kept)
    which: tuple[int | None, ...] = tuple(r for r in kept for _ in range(repeats))
    with torch.no_grad():
        latents, reference_latents, tokens = encode_videos(model, encode, videos, kept, generator)
        features = model.reference_features(videos.reference, reference_latents, tokens)
        pose = model.pose_features(videos.pose)
    of_video = tokens.repeat_interleave(repeats, dim=0)
    span = scheduler.config.num_train_timesteps // config.distill_solver_steps
    drawn = (draw_uniform((V,), generator) * config.distill_solver_steps).long().to(device)
    here, there = span * (drawn + 1) - 1, span * drawn - 1  # -1: no noise at all
    noisy = scheduler.add_noise(latents, draw_normal(latents.shape, generator).to(latents), here)

    def predict(x: Tensor, timesteps: Tensor, *, with_reference: bool = True) -> Tensor:
        seen = (of_video, pose, features, which)
        if not with_reference:
            seen = (null_tokens(of_video), pose, {}, (None,) * V)
        found: Tensor = model(x, timesteps, *seen)
        return found.float()

    with torch.no_grad():
        with teacher.replacing(model):
            guided = predict(noisy, here)
            if config.distill_guidance != 1:
                without = predict(noisy, here, with_reference=False)
                guided = without + config.distill_guidance * (guided - without)
        clean, noise = clean_and_noise(scheduler, guided, noisy, here)
        signal, sigma = levels(scheduler, there, noisy)
        nearer = signal * clean + sigma * noise
        target = consistent(scheduler, predict(nearer, there.clamp(min=0)), nearer, there)
    found = consistent(scheduler, predict(noisy, here), noisy, here)
    return ((found - target).square() + _HUBER**2).sqrt().mean() - _HUBER


def levels(scheduler: DDIMScheduler, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of picture and noise [V, 1, 1, 1, 1] at timesteps [V]; 1 and 0 at timestep -1."""
    alphas = scheduler.alphas_cumprod.to(timesteps.device)[timesteps.clamp(min=0)]
    alphas = torch.where(timesteps < 0, 1.0, alphas)[:, None, None, None, None].to(like)
    return alphas.sqrt(), (1 - alphas).sqrt()


def clean_and_noise(
    scheduler: DDIMScheduler, prediction: Tensor, noisy: Tensor, timesteps: Tensor
) -> tuple[Tensor, Tensor]:
    """The noise-free latents and the noise that a prediction [V, T, C, h, w] amounts to."""
    signal, sigma = levels(scheduler, timesteps, noisy)
    if scheduler.config.prediction_type == "epsilon":
        return (noisy - sigma * prediction) / signal, prediction
    return signal * noisy - sigma * prediction, signal * prediction + sigma * noisy


def consistent(
    scheduler: DDIMScheduler, prediction: Tensor, noisy: Tensor, timesteps: Tensor
) -> Tensor:
    """The student's word on the noise-free latents; at timestep -1 they are `noisy` itself."""
    clean, _ = clean_and_noise(scheduler, prediction, noisy, timesteps.clamp(min=0))
    scaled = _TIMESTEP_SCALING * timesteps.clamp(min=0).to(noisy)[:, None, None, None, None]
    skip = _SIGMA_DATA**2 / (scaled**2 + _SIGMA_DATA**2)
    out = scaled / (scaled**2 + _SIGMA_DATA**2).sqrt()
    at_end = (timesteps < 0)[:, None, None, None, None]
    return torch.where(at_end, noisy, skip * noisy + out * clean)
