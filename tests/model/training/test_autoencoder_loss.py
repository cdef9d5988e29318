"""The autoencoder's loss term by term, with an autoencoder whose latents are known numbers."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from aa_datasets.loader.batch import Batch
from aa_model.config import TrainConfig
from aa_model.presets import TINY
from aa_model.training import autoencoder_loss as module
from aa_model.training.autoencoder_loss import (
    all_frames,
    autoencoder_loss,
    measure_scaling_factor,
    random_crops,
)

STD = 0.25


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Latents are the pictures themselves with a spread of 0.25; decoding adds 0.1 and a ramp."""

    def decode(_: object, latents: Tensor) -> Tensor:
        return latents + 0.1 + 0.01 * torch.arange(latents.shape[-1])

    monkeypatch.setattr(module, "encode_moments", lambda _, x: (x, torch.full_like(x, STD)))
    monkeypatch.setattr(module, "decode_latents", decode)
    monkeypatch.setattr(module, "draw_normal", lambda shape, _: torch.zeros(shape))
    return SimpleNamespace(vae=None, config=TINY.model)


def _batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    reference, target = (2 * torch.rand(2, n, 3, 8, 16, generator=generator) - 1 for n in (1, 2))
    return Batch(reference[:, 0], target, target, ("a", "b"))


def _config(**fields: Any) -> TrainConfig:
    return TrainConfig(steps=1, batch_size=1, lr=1.0, **fields)


def _loss(model: Any, perceptual: Any = None, **fields: Any) -> float:
    config, generator = _config(**fields), torch.Generator().manual_seed(0)
    return float(autoencoder_loss(model, config, _batch(), generator, perceptual))


PLAIN = {"kl_weight": 0.0, "gradient_weight": 0.0, "perceptual_weight": 0.0, "latent_noise": 0.0}


def test_each_term_is_added_by_its_weight(model: Any) -> None:
    l1 = 0.1 + 0.01 * 7.5  # the mean of what decoding adds over 16 columns
    plain = _loss(model, **PLAIN)
    assert plain == pytest.approx(l1, rel=1e-5)
    # The added ramp rises by 0.01 from column to column, and not from row to row.
    assert _loss(model, **PLAIN | {"gradient_weight": 3.0}) == pytest.approx(l1 + 0.03, rel=1e-4)
    seen: list[Tensor] = []

    def perceptual(a: Tensor, b: Tensor) -> Tensor:
        seen.extend((a, b))
        return torch.tensor([[[[1.0]]], [[[3.0]]]])

    found = _loss(model, perceptual, **PLAIN | {"perceptual_weight": 0.5})
    assert found == pytest.approx(l1 + 0.5 * 2, rel=1e-5)
    images = all_frames(_batch())
    assert torch.equal(seen[1], images)
    assert torch.allclose(seen[0] - seen[1], (seen[0] - seen[1])[:1, :1, :1].expand_as(images))
    normal = torch.distributions.Normal(0.0, 1.0)
    kl = torch.distributions.kl_divergence(torch.distributions.Normal(images, STD), normal).mean()
    found = _loss(model, **PLAIN | {"kl_weight": 0.2})
    assert found == pytest.approx(l1 + 0.2 * float(kl), rel=1e-4)
    other = dataclasses.replace(TINY.model.vae, kind="dc")
    model.config = SimpleNamespace(vae=other)
    assert _loss(model, **PLAIN | {"kl_weight": 0.2}) == pytest.approx(l1, rel=1e-5)


def test_latents_are_blurred_by_their_own_spread_and_by_a_share_of_that_of_all(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "draw_normal", lambda shape, _: torch.full(shape, 2.0))
    added = 0.1 + 0.01 * 7.5
    assert _loss(model, **PLAIN) == pytest.approx(added + 2 * STD, rel=1e-5)
    of_all = float(all_frames(_batch()).std())
    expected = added + 2 * (STD + 0.3 * of_all)
    assert _loss(model, **PLAIN | {"latent_noise": 0.3}) == pytest.approx(expected, rel=1e-5)


def test_a_crop_is_a_window_of_its_own_picture_and_reaches_every_place() -> None:
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(20.0), indexing="ij")
    images = torch.stack([rows, columns, torch.zeros(12, 20)]).repeat(400, 1, 1, 1)
    images[:, 2] += torch.arange(400.0)[:, None, None]
    crops = random_crops(images, 8, torch.Generator().manual_seed(0))
    assert crops.shape == (400, 3, 8, 8)
    assert torch.equal(crops[:, 2, 0, 0], torch.arange(400.0))
    corners = crops[:, :2, 0, 0]
    window = images[0, :2, :8, :8]
    assert torch.equal(crops[:, :2], corners[:, :, None, None] + window)
    assert set(corners[:, 0].tolist()) == set(range(5))
    assert set(corners[:, 1].tolist()) == set(range(13))
    whole = random_crops(images[:2, :, :, :8], 12, torch.Generator().manual_seed(0))
    assert torch.equal(whole, images[:2, :, :, :8]), "a picture that is too small stays whole"


def test_the_loss_looks_at_crops_where_a_size_is_given(model: Any) -> None:
    shapes = []

    def perceptual(a: Tensor, b: Tensor) -> Tensor:
        shapes.append((a.shape, b.shape))
        return torch.zeros(())

    _loss(model, perceptual, crop_px=8, **PLAIN | {"perceptual_weight": 1.0})
    assert shapes == [((6, 3, 8, 8), (6, 3, 8, 8))]


def test_the_scale_of_latents_is_that_of_references_and_targets(model: Any) -> None:
    batch = _batch()
    assert all_frames(batch).shape == (6, 3, 8, 16)
    assert torch.equal(all_frames(batch)[:2], batch.reference)
    assert torch.equal(all_frames(batch)[2:4], batch.target[0])
    found = measure_scaling_factor(model, batch)
    assert found == pytest.approx(1 / float(all_frames(batch).std()), rel=1e-5)
