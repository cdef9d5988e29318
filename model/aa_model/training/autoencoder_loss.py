"""Training the VAE, where none can be had: pixels, edges, a perceptual distance, a little KL."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from aa_datasets.loader.batch import Batch
from aa_model.config import TrainConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.sharded_random import draw_normal, draw_uniform
from aa_model.networks.vae import decode_latents, encode_moments

PerceptualDistance: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def autoencoder_loss(
    model: AnimateAnyone,
    config: TrainConfig,
    batch: Batch,
    generator: torch.Generator,
    perceptual: PerceptualDistance | None = None,
) -> Tensor:
    """L1 of pixels + gradient_weight * L1 of their differences + perceptual_weight * LPIPS
    + kl_weight * KL.

    The differences between neighbouring pixels keep edges, which L1 alone lets blur. The KL is per
    latent number, against a standard normal distribution; `dc` has none. `latent_noise`, in units
    of the latents' standard deviation, teaches the decoder to forgive what the UNet gets wrong.

    Args:
        perceptual: distances of two batches of images [N, 3, H, W] in [-1, 1]; needed where
            perceptual_weight is not 0, see `make_perceptual_distance`.
    """
    images = all_frames(batch)
    if config.crop_px:
        images = random_crops(images, config.crop_px, generator)
    mean, std = encode_moments(model.vae, images)
    noise = draw_normal(mean.shape, generator)
    blur = std + config.latent_noise * mean.detach().std()
    decoded = decode_latents(model.vae, mean + blur * noise.to(mean)).float()
    loss = (decoded - images).abs().mean()
    if config.gradient_weight:
        loss = loss + config.gradient_weight * _gradient_l1(decoded, images)
    if config.perceptual_weight:
        assert perceptual is not None
        loss = loss + config.perceptual_weight * perceptual(decoded, images).mean()
    if config.kl_weight and model.config.vae.kind == "kl":
        mean, std = mean.float(), std.float()
        kl = 0.5 * (mean.square() + std.square() - 1 - 2 * std.log()).mean()
        loss = loss + config.kl_weight * kl
    return loss


@torch.no_grad()
def measure_scaling_factor(model: AnimateAnyone, batch: Batch) -> float:
    """1 / the latents' standard deviation over one batch (Rombach et al. 2022, appendix G)."""
    mean, _ = encode_moments(model.vae, all_frames(batch))
    return float(1 / mean.float().std())


def all_frames(batch: Batch) -> Tensor:
    """References and targets of a batch, [N, 3, H, W]."""
    return torch.cat([batch.reference, batch.target.flatten(0, 1)])


def random_crops(images: Tensor, side_px: int, generator: torch.Generator) -> Tensor:
    """One square window of each image, [N, 3, side_px, side_px]."""
    H, W = images.shape[-2:]
    room = torch.tensor([max(H - side_px, 0) + 1, max(W - side_px, 0) + 1])
    share = draw_uniform((len(images), 2), generator).cpu()
    corners = (share * room).long().tolist()
    return torch.stack(
        [
            image[:, top : top + side_px, left : left + side_px]
            for image, (top, left) in zip(images, corners, strict=True)
        ]
    )


def _gradient_l1(a: Tensor, b: Tensor) -> Tensor:
    difference = a - b
    return difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
