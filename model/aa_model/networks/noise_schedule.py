"""The diffusion schedule: noise, targets and loss weights for training, DDIM for inference."""

from __future__ import annotations

import warnings

import torch
from diffusers import DDIMScheduler, SchedulerMixin
from torch import Tensor

from aa_model.config import ModelConfig, NoiseConfig
from aa_model.errors import ModelError
from aa_model.networks.sharded_random import draw_normal, draw_uniform


def make_scheduler(config: NoiseConfig) -> DDIMScheduler:
    """diffusers' DDIM scheduler; training and inference both make it here, from the checkpoint."""
    return DDIMScheduler(
        num_train_timesteps=config.num_train_timesteps,
        beta_start=config.beta_start,
        beta_end=config.beta_end,
        beta_schedule=config.beta_schedule,
        clip_sample=False,
        set_alpha_to_one=config.final_alpha_one,
        steps_offset=1,
        prediction_type=config.prediction_type,
        rescale_betas_zero_snr=config.zero_terminal_snr,
        timestep_spacing=config.timestep_spacing,
    )


def check_schedule(config: NoiseConfig, scheduler: SchedulerMixin) -> None:
    """Hold a scheduler for inference against the schedule that the network was trained with.

    How many steps it takes, where it puts them, and what it does in one, is its own affair, but for
    where they begin: a network of zero terminal SNR has learned to start from noise alone, and
    steps of spacing `leading` leave that out (Lin et al. 2024, Sec. 3.3).

    Raises:
        ModelError: it is of another schedule; what differs is named.
    """
    faults = []
    found_type = scheduler.config.get("prediction_type")
    if found_type != config.prediction_type:
        faults.append(f"prediction_type {found_type} instead of {config.prediction_type}")
    # The numbers, not the options: from_config keeps options that a class does not know.
    expected = make_scheduler(config).alphas_cumprod
    found = getattr(scheduler, "alphas_cumprod", None)
    if found is None or len(found) != len(expected):
        faults.append(f"no noise levels for {len(expected)} timesteps")
    elif (found.cpu() - expected).abs().max() > 1e-5:  # Euler's last one is 6e-8, not 0
        faults.append(f"a last noise level of {found[-1]:.4g} instead of {expected[-1]:.4g}")
    if config.zero_terminal_snr and scheduler.config.get("timestep_spacing") == "leading":
        faults.append("timestep_spacing leading, which never starts from noise alone")
    if faults:
        raise ModelError(
            f"{type(scheduler).__name__} is of another schedule than the checkpoint, with "
            f"{' and '.join(faults)}: make it by from_config(pipeline.scheduler.config); if it "
            "was, this class does not know zero terminal SNR, choose another"
        )


def warn_of_few_steps(config: ModelConfig, scheduler: SchedulerMixin, guidance: float) -> None:
    """Say where a network and a scheduler do not belong together, though each of them works.

    Schedulers of few steps take a network's word on the noise-free video at every step, which only
    a distilled one gives well; and that one has its guidance in it.
    """
    few = type(scheduler).__name__ in ("LCMScheduler", "TCDScheduler")
    if few and config.distilled_guidance is None:
        warnings.warn(
            f"{type(scheduler).__name__} is for networks that were distilled to few steps, and "
            "this one was not: train stage distill, or take another scheduler",
            RuntimeWarning,
            stacklevel=2,
        )
    if config.distilled_guidance is not None and guidance != 1:
        warnings.warn(
            f"the network was distilled with guidance {config.distilled_guidance:g}, and is guided "
            f"by {guidance:g} once more: guidance 1 is what it was trained for",
            RuntimeWarning,
            stacklevel=2,
        )


def draw_timesteps(
    scheduler: DDIMScheduler, count: int, shift: float, generator: torch.Generator
) -> Tensor:
    """Timesteps int64 [count]: uniform at shift 1, nearer to pure noise above it.

    t -> shift t / (1 + (shift - 1) t) for t in [0, 1) (Esser et al. 2024, Eq. 23). Reference and
    pose are needed only where the noise hides them: a network that must learn them from nothing
    learns them from those timesteps.
    """
    t = draw_uniform((count,), generator)
    shifted = shift * t / (1 + (shift - 1) * t)
    steps: int = scheduler.config.num_train_timesteps
    return (shifted * steps).long().clamp(max=steps - 1)


def make_noise(latents: Tensor, offset: float, generator: torch.Generator) -> Tensor:
    """Gaussian noise like `latents` [B, T, C, h, w], plus `offset` times one number per channel.

    The offset (Guttenberg 2023) lets a network learn to move the mean of a picture; it is the
    same for all frames of a video.
    """
    noise = draw_normal(latents.shape, generator)
    if offset:
        B, _, C, _, _ = latents.shape
        noise += offset * draw_normal((B, 1, C, 1, 1), generator)
    return noise.to(latents)


def prediction_target(
    scheduler: DDIMScheduler, latents: Tensor, noise: Tensor, timesteps: Tensor
) -> Tensor:
    """What the network is to predict: the noise (Eq. 1), or v = sqrt(a) noise - sqrt(1 - a) x."""
    if scheduler.config.prediction_type == "epsilon":
        return noise
    velocity: Tensor = scheduler.get_velocity(latents, noise, timesteps)
    return velocity


def loss_weights(scheduler: DDIMScheduler, timesteps: Tensor, gamma: float | None) -> Tensor:
    """min-SNR weights (Hang et al. 2023) of the loss of each video; ones when gamma is None.

    min(SNR, gamma) / SNR for epsilon; for v the same weight of x0 is min(SNR, gamma) / (SNR + 1).
    That is 0 at zero terminal SNR, so that the timestep which inference starts from would teach
    nothing; there it is min(SNR + 1, gamma) / (SNR + 1), as Moore-AnimateAnyone trains.
    """
    if gamma is None:
        return torch.ones_like(timesteps, dtype=torch.float32)
    alphas = scheduler.alphas_cumprod.to(timesteps.device)[timesteps]
    snr = alphas / (1 - alphas)
    if scheduler.config.prediction_type == "epsilon":
        weights: Tensor = snr.clamp(max=gamma) / snr
    elif scheduler.config.rescale_betas_zero_snr:
        weights = (snr + 1).clamp(max=gamma) / (snr + 1)
    else:
        weights = snr.clamp(max=gamma) / (snr + 1)
    return weights
