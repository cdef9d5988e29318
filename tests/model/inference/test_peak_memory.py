"""Memory of animation, counted without content, is what real tensors take."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from aa_model.config import GenerateConfig
from aa_model.inference.denoise import encode_conditions, predict
from aa_model.inference.peak_memory import count_animation_memory
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.live_bytes import LiveBytes
from aa_model.presets import TINY

CLEAN = dataclasses.replace(
    TINY.model, temporal=dataclasses.replace(TINY.model.temporal, clean_attention=True)
)


@pytest.mark.parametrize(("guidance", "W"), [(1.0, 1), (2.0, 1), (1.0, 3)])
def test_a_step_and_decoding_counted_without_content_are_the_real_ones(
    guidance: float, W: int
) -> None:
    config = GenerateConfig(guidance=guidance, decode_batch=2, window_batch=W)
    size_hw, T = (48, 32), 3
    model = AnimateAnyone(dataclasses.replace(CLEAN, size_hw=size_hw), temporal=True).eval()
    latents = torch.randn(W, T, CLEAN.vae.latent_channels, *model.config.latent_hw)
    with torch.no_grad(), LiveBytes() as step:
        conditions = encode_conditions(model, torch.rand(3, *size_hw), torch.rand(T, 3, *size_hw))
        predict(model, latents, 500, conditions, [range(T)] * W, guidance=guidance)
    with torch.no_grad(), LiveBytes() as decode:
        model.decode(latents[0, :2])
    counted = count_animation_memory(CLEAN, config, T, size_hw)
    assert counted.weights == sum(p.numel() * 4 for p in model.parameters())
    assert counted.step == pytest.approx(step.peak, rel=0.02)
    assert counted.decode == pytest.approx(decode.peak, rel=0.02)
    assert counted.total == counted.weights + max(counted.step, counted.decode)


def test_half_the_weights_are_half_the_bytes_and_autocast_takes_less_than_float32() -> None:
    def count(dtype: torch.dtype = torch.float32, *, autocast: bool = False) -> tuple[int, int]:
        config = GenerateConfig(autocast=autocast)
        found = count_animation_memory(CLEAN, config, 4, (64, 64), dtype=dtype)
        return found.weights, found.step

    whole, half, cast = count(), count(torch.bfloat16), count(autocast=True)
    assert half[0] * 2 == whole[0] == cast[0]
    assert half[1] < 0.7 * whole[1]
    assert cast[1] < whole[1]
