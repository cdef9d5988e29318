"""What animation holds at its peak on a GPU, counted without one and without weights."""

from __future__ import annotations

import dataclasses

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from aa_model.config import GenerateConfig, ModelConfig
from aa_model.inference.denoise import encode_conditions, predict
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.live_bytes import LiveBytes, autocast_as_on_cuda, drop_content


@dataclasses.dataclass(frozen=True, slots=True)
class AnimationMemory:
    """Bytes of all weights, and what a step and the decoding add; they follow each other.

    A step is that of `window_batch` windows, with all that is made once per video. Each further
    window adds its latents, which are small.
    """

    weights: int
    step: int
    decode: int

    @property
    def total(self) -> int:
        return self.weights + max(self.step, self.decode)


@torch.no_grad()
def count_animation_memory(
    model_config: ModelConfig,
    config: GenerateConfig,
    window: int,
    size_hw: tuple[int, int],
    *,
    temporal: bool = True,
    dtype: torch.dtype = torch.float32,
) -> AnimationMemory:
    """Count by operations on tensors without content; what a kernel takes inside is not in it.

    Args:
        window: frames that are denoised together.
        temporal: with temporal layers.
        dtype: of the weights.
    """
    model_config = dataclasses.replace(model_config, size_hw=size_hw)
    with torch.device("meta"):
        model = AnimateAnyone(model_config, temporal=temporal).eval().to(dtype)
    height, width = size_hw
    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        torch.autocast("cpu", torch.bfloat16, enabled=config.autocast, cache_enabled=False),
        autocast_as_on_cuda(),
    ):
        drop_content(model)
        channels = model_config.vae.latent_channels
        windows = [range(window)] * config.window_batch
        latents = torch.empty(len(windows), window, channels, *model_config.latent_hw)
        with LiveBytes() as step:
            pose = torch.empty(window, 3, height, width)
            conditions = encode_conditions(model, torch.empty(3, height, width), pose)
            predict(model, latents, 500, conditions, windows, guidance=config.guidance)
        with LiveBytes() as decode:
            model.decode(latents[0, : config.decode_batch])
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    return AnimationMemory(weights, step.peak, decode.peak)
