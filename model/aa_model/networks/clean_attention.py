"""CleanAttention: the frames of a window agree on what the noise hides of a still place.

A network of one frame errs differently in every frame, and still background flickers by it. The
motion modules cannot mend that: they see features that must carry each frame's own noise to the
output, since noise is part of what is predicted, and averaging features loses it. The picture that
a prediction implies has no such part: where nothing moves it should be the same in every frame.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from aa_model.config import ModelConfig, NoiseConfig, from_json, to_json
from aa_model.networks.noise_schedule import make_scheduler
from aa_model.networks.precision import autocast_of

# Of the features at the start: with 1 LPIPS (alex) gets worse, with 4 half of the calm is lost
# (demo/learn/README.md).
_SCALE = 2.0


class CleanAttention(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers is untyped
    """Attention over time at the output of the denoising UNet, on the predicted clean latents.

    Each frame's latent becomes a weighted mean of those that the window's frames have at the same
    place. The weight of another frame falls with the distance of their features, a learned 3x3
    convolution of the clean latents, and with a learned bias of their distance in time. It begins
    as a bilateral filter over time, features being the latents, scaled; a single frame stays as
    it is.

    Args:
        channels: of the latents.
        max_frames: whose distances in time have a bias.
        noise: the `NoiseConfig` as JSON.
    """

    alphas: Tensor

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, channels: int, max_frames: int, noise: dict[str, Any]) -> None:
        super().__init__()
        self.features = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.dirac_(self.features.weight)
        with torch.no_grad():
            self.features.weight.mul_(_SCALE)
        self.apart = nn.Parameter(torch.zeros(max_frames))
        alphas = make_scheduler(from_json(NoiseConfig, dict(noise))).alphas_cumprod
        self.register_buffer("alphas", alphas, persistent=False)

    @classmethod
    def of(cls, config: ModelConfig) -> CleanAttention:
        """The layer of a network."""
        sizes = config.vae.latent_channels, config.temporal.max_frames
        made: CleanAttention = cls(*sizes, to_json(config.noise))
        return made

    def forward(self, prediction: Tensor, noisy_latents: Tensor, timesteps: Tensor) -> Tensor:
        """The prediction that implies the mixed clean latents.

        Args:
            prediction: velocity, [B, T, C, h, w].
            noisy_latents: what it was made of, of the same shape.
            timesteps: [B]; between two whole ones the nearer counts.
        """
        with autocast_of(prediction.device, enabled=False):
            steps = timesteps.round().long().clamp(0, len(self.alphas) - 1)
            alpha = self.alphas.float()[steps].view(-1, 1, 1, 1, 1)
            signal, noise = alpha.sqrt(), (1 - alpha).sqrt()
            noisy, predicted = noisy_latents.float(), prediction.float()
            clean = signal * noisy - noise * predicted
            change = (clean - self._mixed(clean)) / noise
            return (predicted + change).to(prediction.dtype)

    def _mixed(self, clean: Tensor) -> Tensor:
        """Each frame as a mean of all, [B, T, C, h, w]."""
        B, T, C, h, w = clean.shape
        weight = self.features.weight.float()
        features = nn.functional.conv2d(clean.flatten(0, 1), weight, padding=1)
        # One sequence of T frames for each of the places.
        of_place = features.view(B, T, C, h * w).permute(0, 3, 1, 2)  # [B, hw, T, C]
        square = of_place.square().sum(-1)
        distance = square[..., :, None] + square[..., None, :] - 2 * of_place @ of_place.mT
        frames = torch.arange(T, device=clean.device)
        bias = self.apart.float()[(frames[:, None] - frames).abs()]
        weights = torch.softmax(bias - distance, dim=-1)  # [B, hw, T, T]
        mixed = weights @ clean.view(B, T, C, h * w).permute(0, 3, 1, 2)
        return mixed.permute(0, 2, 3, 1).reshape(B, T, C, h, w)
