"""Both kinds of autoencoder, and the losses that train the frozen parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from aa_datasets.loader.batch import Batch
from aa_model.config import TrainConfig, VaeConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.vae import decode_latents, encode_moments, make_vae
from aa_model.presets import SMALL, TINY
from aa_model.training.autoencoder_loss import autoencoder_loss
from aa_model.training.contrastive_loss import contrastive_loss, random_crop

MakeBatch = Callable[..., Batch]
DC = VaeConfig("dc", (16, 16, 32), 1, latent_channels=4, norm_num_groups=4, scaling_factor=1.0)


def with_vae(vae: VaeConfig) -> AnimateAnyone:
    torch.manual_seed(0)
    return AnimateAnyone(dataclasses.replace(TINY.model, vae=vae))


@pytest.mark.parametrize("vae", [TINY.model.vae, DC, SMALL.model.vae], ids=["kl", "dc", "small"])
@torch.no_grad()
def test_latents_are_smaller_by_the_downscale(vae: VaeConfig) -> None:
    strides = (2,) * (len(vae.block_out_channels) - 1)
    guider = dataclasses.replace(SMALL.model.pose_guider, strides=strides)
    config = dataclasses.replace(TINY.model, vae=vae, pose_guider=guider, size_hw=(32, 48))
    network = make_vae(config)
    mean, std = encode_moments(network, torch.rand(2, 3, 32, 48))
    assert mean.shape == std.shape == (2, vae.latent_channels, *config.latent_hw)
    assert (std > 0).all() == (vae.kind == "kl")
    assert decode_latents(network, mean).shape == (2, 3, 32, 48)


@pytest.mark.parametrize("vae", [TINY.model.vae, DC], ids=["kl", "dc"])
def test_loss_falls_and_gradient_reaches_every_weight(
    make_batch: MakeBatch, vae: VaeConfig
) -> None:
    model, batch = with_vae(vae), make_batch(B=2)
    config = dataclasses.replace(
        TINY.training["autoencoder"], kl_weight=1e-4, gradient_weight=0.5, latent_noise=0.05
    )
    optimizer = torch.optim.Adam(model.vae.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = autoencoder_loss(model, config, batch, torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        loss.backward()
        if not losses:
            assert all(p.grad is not None for p in model.vae.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("at_once", [0.5, 1, 2, 3])
@torch.no_grad()
def test_pictures_encoded_a_few_at_a_time_are_those_encoded_together(
    make_tiny: Callable[..., AnimateAnyone],
    make_batch: MakeBatch,
    monkeypatch: pytest.MonkeyPatch,
    at_once: float,
) -> None:
    model, pictures = make_tiny(), make_batch(B=5).target[:, 0]
    together = model.encode(pictures)
    height, width = pictures.shape[-2:]
    monkeypatch.setattr("aa_model.networks.animate_anyone._SLICE_PX", int(at_once * height * width))
    sizes = []
    model.vae.encoder.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    assert torch.allclose(model.encode(pictures), together, atol=1e-5)
    assert max(sizes) == max(1, at_once)
    assert sum(sizes) == 5


def test_kl_is_that_of_torch_distributions(make_batch: MakeBatch) -> None:
    model, batch = with_vae(TINY.model.vae), make_batch(B=2)

    def loss(weight: float) -> Tensor:
        config = TrainConfig(steps=1, batch_size=1, lr=1.0, kl_weight=weight)
        return autoencoder_loss(model, config, batch, torch.Generator().manual_seed(0))

    mean, std = encode_moments(model.vae, torch.cat([batch.reference, batch.target[:, 0]]))
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, std), torch.distributions.Normal(0.0, 1.0)
    ).mean()
    assert torch.allclose(loss(1.0) - loss(0.0), expected, rtol=1e-4)


class MeanColour(nn.Module):
    """An encoder that sees only the mean colour; crops leave that of a flat picture as it is."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((-2, -1))[:, None]


@torch.no_grad()
def test_contrastive_loss_is_low_when_clips_are_told_apart(make_batch: MakeBatch) -> None:
    model, batch = with_vae(TINY.model.vae), make_batch(B=3)
    model.image_encoder = MeanColour()  # type: ignore[assignment]  # a stand-in with its signature
    colours = torch.eye(3)[:, :, None, None].expand(3, 3, 32, 32)
    config = TINY.training["image-encoder"]
    generator = torch.Generator().manual_seed(0)
    apart = dataclasses.replace(batch, reference=colours, target=colours[:, None])
    same = dataclasses.replace(apart, target=colours[[1, 2, 0]][:, None])
    assert contrastive_loss(model, config, apart, generator) < 0.01
    assert contrastive_loss(model, config, same, generator) > 5


def test_a_random_crop_shows_a_part_of_the_picture_at_its_size() -> None:
    ramp = torch.linspace(-1, 1, 64).expand(8, 3, 64, 64).contiguous()
    crops = random_crop(ramp, torch.Generator().manual_seed(0))
    assert crops.shape == ramp.shape
    width = crops[:, 0, 0, -1] - crops[:, 0, 0, 0]
    assert ((width > 0.5 * 2) & (width <= 2)).all()
    assert width.std() > 0.05
