"""The image encoder's tokens (Sec. 3.2): one, pooled, or the class token and every patch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from aa_model.config import GenerateConfig
from aa_model.inference.denoise import denoise, encode_conditions
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.image_encoder import ImageEncoder
from aa_model.presets import TINY


@torch.no_grad()
def test_patch_tokens_begin_with_the_pooled_one_and_are_read_by_cross_attention(
    make_tiny: Callable[..., AnimateAnyone],
) -> None:
    encoder = dataclasses.replace(TINY.model.image_encoder, tokens="patch")
    config = dataclasses.replace(TINY.model, image_encoder=encoder)
    model = make_tiny(config, temporal=True)
    pooled = ImageEncoder(TINY.model)
    pooled.load_state_dict(model.image_encoder.state_dict())
    picture = 2 * torch.rand(1, 3, *config.size_hw) - 1
    tokens = model.image_tokens(picture)
    patches = (encoder.image_size // encoder.patch_size) ** 2
    assert tokens.shape == (1, 1 + patches, config.unet.cross_attention_dim)
    assert torch.allclose(tokens[:, :1], pooled.eval()(picture), atol=1e-5)

    pose = 2 * torch.rand(3, 3, *config.size_hw) - 1
    conditions = encode_conditions(model, picture[0], pose)
    video = denoise(model, conditions, GenerateConfig(steps=2))
    disturbed = conditions.image_tokens.clone()
    disturbed[:, -1] += 1  # the last patch alone
    another = dataclasses.replace(conditions, image_tokens=disturbed)
    assert (denoise(model, another, GenerateConfig(steps=2)) - video).abs().max() > 1e-4
