"""ReferenceNet: a UNet that hands out the input of each of its self-attention layers (Sec. 3.2)."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from aa_model.config import ModelConfig
from aa_model.errors import ReferenceLost
from aa_model.networks.reference_attention import FeatureRecorder, install_reference_attention


def make_unet2d(config: ModelConfig, in_channels: int | None = None) -> UNet2DConditionModel:
    """diffusers' own UNet, as ReferenceNet and the stage-1 denoising UNet both are.

    Args:
        in_channels: those of the latents unless given.
    """
    unet, levels = config.unet, len(config.unet.block_out_channels)
    down = tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in unet.attention)
    up = tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(unet.attention))
    assert len(down) == levels
    return UNet2DConditionModel(
        sample_size=config.latent_hw,
        in_channels=in_channels or config.vae.latent_channels,
        out_channels=config.vae.latent_channels,
        down_block_types=down,
        up_block_types=up,
        block_out_channels=unet.block_out_channels,
        layers_per_block=unet.layers_per_block,
        norm_num_groups=unet.norm_num_groups,
        attention_head_dim=unet.num_heads,
        cross_attention_dim=unet.cross_attention_dim,
    )


class ReferenceNet(nn.Module):
    """The same UNet as the denoising one, run once per reference image at timestep 0.

    Args:
        unet: its processors are replaced by ours.
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet
        self.layers = install_reference_attention(unet)

    def forward(self, latents: Tensor, image_tokens: Tensor) -> dict[str, Tensor]:
        """Features of R reference images.

        Args:
            latents: scaled VAE latents without noise, [R, C, h, w].
            image_tokens: of the same images, [R, S, D].

        Returns:
            Layer name -> [R, M, C], the input of that self-attention layer.

        Raises:
            ReferenceLost: a layer's processor was replaced.
        """
        recorder = FeatureRecorder()
        timesteps = torch.zeros(len(latents), dtype=torch.int64, device=latents.device)
        self.unet(
            latents,
            timesteps,
            encoder_hidden_states=image_tokens,
            cross_attention_kwargs={"reference": recorder},
        )
        lost = sorted(set(self.layers) - set(recorder.features))
        if lost:
            raise ReferenceLost(
                f"ReferenceNet gave no features of {lost}: something replaced its attention "
                "processors; call install_reference_attention() after it"
            )
        return recorder.features

    def unused_parameters(self) -> set[str]:
        """Names of the parameters behind the last feature, which no gradient ever reaches (T4)."""
        last_block, _, _ = self.layers_in_order()[-1].partition(".transformer_blocks.")
        last_transformer = self.layers_in_order()[-1].removesuffix(".attn1")
        behind = ("conv_norm_out.", "conv_out.", f"{last_block}.proj_out.", f"{last_transformer}.")
        return {
            f"unet.{name}"
            for name, _ in self.unet.named_parameters()
            if name.startswith(behind) and not name.startswith(f"{last_transformer}.norm1.")
        }

    def layers_in_order(self) -> list[str]:
        """Layer names in the order in which a forward pass meets them."""
        stage = {"down_blocks": 0, "mid_block": 1, "up_blocks": 2}
        return sorted(self.layers, key=lambda name: stage[name.partition(".")[0]])
