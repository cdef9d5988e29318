"""The image encoder whose tokens the cross-attention reads: CLIP's vision tower (Sec. 3.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from aa_model.config import ModelConfig
from aa_model.networks.pillow_bicubic import pillow_bicubic


class ImageEncoder(nn.Module):
    """transformers' CLIPVisionModelWithProjection, from pixels in [-1, 1] to tokens.

    Args:
        config: for `paper` sizes the weights of CLIP are loaded into it; for `small` it is
            trained by `aa-train --stage image-encoder`, and is then no CLIP.
        clip: the network, where it exists; else it is made, with random weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, config: ModelConfig, clip: CLIPVisionModelWithProjection | None = None
    ) -> None:
        super().__init__()
        encoder = config.image_encoder
        self.tokens = encoder.tokens
        self.image_size = encoder.image_size
        more: dict[str, Any] = {}
        if encoder.layer_norm_eps is not None:
            more["layer_norm_eps"] = encoder.layer_norm_eps
        self.clip = clip or CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                image_size=encoder.image_size,
                patch_size=encoder.patch_size,
                hidden_size=encoder.hidden_size,
                intermediate_size=encoder.mlp_size or 4 * encoder.hidden_size,
                num_hidden_layers=encoder.num_layers,
                num_attention_heads=encoder.num_heads,
                hidden_act=encoder.hidden_act,
                projection_dim=config.unet.cross_attention_dim,
                **more,
            )
        )
        self.register_buffer("mean", torch.tensor(encoder.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(encoder.std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """images [R, 3, H, W] in [-1, 1], squeezed to a square -> tokens [R, S, D].

        S is 1 with pooled tokens, 1 + patches with patch tokens (class token first).
        """
        mean, std = self.mean.to(images), self.std.to(images)
        outputs = self.clip(pixel_values=(self._squeeze(images) - mean) / std)
        if self.tokens == "pooled":
            pooled: Tensor = outputs.image_embeds
            return pooled[:, None]
        hidden = self.clip.vision_model.post_layernorm(outputs.last_hidden_state)
        tokens: Tensor = self.clip.visual_projection(hidden)
        return tokens

    def _squeeze(self, images: Tensor) -> Tensor:
        """[R, 3, H, W] in [-1, 1] to squares in [0, 1], through 8 bits as CLIP's own processor."""
        levels = ((images.detach().float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return pillow_bicubic(levels, (self.image_size, self.image_size)).to(images) / 255


def null_tokens(tokens: Tensor) -> Tensor:
    """What stands for "no image", in training (dropped samples) and for guidance alike."""
    return torch.zeros_like(tokens)
