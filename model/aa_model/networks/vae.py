"""The autoencoder between pixels and latents, of one of two diffusers classes.

`kl` is Stable Diffusion's AutoencoderKL. `dc` is AutoencoderDC (Chen et al. 2024), whose shortcuts
carry averages of pixels past every down- and upsampling: trained from nothing it is soon better
than AutoencoderKL of the same size is after long. Its latents are deterministic.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from diffusers import AutoencoderDC, AutoencoderKL
from torch import Tensor

from aa_model.config import ModelConfig

Autoencoder: TypeAlias = "AutoencoderKL | AutoencoderDC"


def make_vae(config: ModelConfig) -> Autoencoder:
    """The autoencoder of these sizes, with random weights."""
    vae, levels = config.vae, len(config.vae.block_out_channels)
    if vae.kind == "kl":
        return AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=vae.block_out_channels,
            layers_per_block=vae.layers_per_block,
            latent_channels=vae.latent_channels,
            norm_num_groups=vae.norm_num_groups,
            sample_size=config.size_hw[0],
        )
    # No blocks at full resolution, where they cost most and help least.
    layers = (0, *[vae.layers_per_block] * (levels - 1))
    return AutoencoderDC(
        latent_channels=vae.latent_channels,
        encoder_block_types="ResBlock",
        decoder_block_types="ResBlock",
        encoder_block_out_channels=vae.block_out_channels,
        decoder_block_out_channels=vae.block_out_channels,
        encoder_layers_per_block=layers,
        decoder_layers_per_block=layers,
        encoder_qkv_multiscales=((),) * levels,
        decoder_qkv_multiscales=((),) * levels,
        downsample_block_type="pixel_unshuffle",
        upsample_block_type="pixel_shuffle",
    )


def encode_moments(vae: Autoencoder, images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the unscaled latents of images [N, 3, H, W] in [-1, 1]."""
    if isinstance(vae, AutoencoderKL):
        moments = vae.encode(images).latent_dist
        return moments.mean, moments.std
    mean: Tensor = vae.encode(images).latent
    return mean, torch.zeros_like(mean)


def decode_latents(vae: Autoencoder, latents: Tensor) -> Tensor:
    """Unscaled latents to images [N, 3, H, W], not clipped."""
    images: Tensor = vae.decode(latents).sample
    return images
