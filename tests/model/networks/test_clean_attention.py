"""CleanAttention against closed forms: what stands still is averaged, what moves is left alone."""

from __future__ import annotations

import dataclasses
import logging

import pytest
import torch
from torch import Tensor

from aa_model.config import ConfigError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.clean_attention import CleanAttention
from aa_model.networks.noise_schedule import make_scheduler, prediction_target
from aa_model.networks.temporal import is_temporal, without_temporal_layers
from aa_model.presets import SMALL, TINY

T, C = 8, SMALL.model.vae.latent_channels
CLEAN_TINY = dataclasses.replace(
    TINY.model, temporal=dataclasses.replace(TINY.model.temporal, clean_attention=True)
)


def noised(clean: Tensor, timestep: int) -> tuple[Tensor, Tensor]:
    """Noisy latents of `clean` [T, C, h, w], and the velocity that implies it exactly."""
    scheduler = make_scheduler(SMALL.model.noise)
    noise, steps = torch.randn(clean.shape), torch.tensor([timestep])
    return scheduler.add_noise(clean, noise, steps), prediction_target(
        scheduler, clean, noise, steps
    )


def implied(velocity: Tensor, noisy: Tensor, timestep: int) -> Tensor:
    alpha = make_scheduler(SMALL.model.noise).alphas_cumprod[timestep]
    return alpha.sqrt() * noisy - (1 - alpha).sqrt() * velocity


def agreed(clean: Tensor, timestep: int) -> Tensor:
    """What the new layer makes of a prediction that implies `clean`."""
    noisy, velocity = noised(clean, timestep)
    layer = CleanAttention.of(SMALL.model)
    mixed = layer(velocity[None], noisy[None], torch.tensor([timestep]))[0]
    return implied(mixed, noisy, timestep)


@pytest.mark.parametrize("timestep", [999, 400, 20])
def test_frames_agree_where_nothing_moves(timestep: int) -> None:
    torch.manual_seed(0)
    errors = 0.02 * torch.randn(T, C, 4, 4)
    with torch.no_grad():
        left = agreed(torch.randn(C, 4, 4) + errors, timestep)
    # The mean of T independent errors: a T-th of the variance, and the same in every frame.
    assert left.std(dim=0).mean() < 0.1 * errors.std(dim=0).mean()


@pytest.mark.parametrize("timestep", [999, 400, 20])
def test_what_moves_is_left_alone(timestep: int) -> None:
    torch.manual_seed(0)
    clean = 3 * torch.randn(T, C, 4, 4)  # squared distances of 8 channels: some 144
    with torch.no_grad():
        torch.testing.assert_close(agreed(clean, timestep), clean, rtol=0, atol=2e-3)


def test_one_frame_stays_as_it_is() -> None:
    clean = torch.randn(1, C, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(agreed(clean, 500), clean, rtol=0, atol=1e-4)


def test_order_of_frames_counts_only_by_their_distance() -> None:
    torch.manual_seed(0)
    layer = CleanAttention.of(SMALL.model)
    noisy, velocity = (x[None] for x in noised(0.3 * torch.randn(T, C, 4, 4), 300))
    steps = torch.tensor([300])
    with torch.no_grad():
        layer.apart.normal_()
        forward = layer(velocity, noisy, steps)
        backward = layer(velocity.flip(1), noisy.flip(1), steps).flip(1)
        shuffled = layer(velocity.roll(1, 1), noisy.roll(1, 1), steps).roll(-1, 1)
    torch.testing.assert_close(forward, backward, rtol=0, atol=1e-4)
    assert (forward - shuffled).abs().max() > 1e-3


def test_making_it_says_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """diffusers warns of modules that should stay in float32, and lists none."""
    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    AnimateAnyone(CLEAN_TINY, temporal=True)
    assert caplog.messages == []


def test_it_is_a_temporal_layer_that_can_be_switched_off() -> None:
    torch.manual_seed(0)
    model = AnimateAnyone(CLEAN_TINY, temporal=True).eval()
    names = [name for name, _ in model.denoising_unet.named_parameters() if is_temporal(name)]
    assert {"clean_attention.features.weight", "clean_attention.apart"} < set(names)
    h, w = CLEAN_TINY.latent_hw
    latents, tokens = torch.randn(1, 4, 4, h, w), torch.randn(1, 1, 16)
    pose = model.pose_features(torch.zeros(1, 4, 3, *CLEAN_TINY.size_hw))
    steps = torch.tensor([500])

    def run(frames: slice) -> Tensor:
        return model(latents[:, frames], steps, tokens, pose[:, frames], {}, (None,))

    with torch.no_grad():
        single = torch.cat([run(slice(t, t + 1)) for t in range(4)], dim=1)
        assert not torch.allclose(run(slice(4)), single, atol=1e-3)
        with without_temporal_layers(model.denoising_unet):
            torch.testing.assert_close(run(slice(4)), single, rtol=0, atol=1e-4)


def test_noise_as_target_is_refused() -> None:
    noise = dataclasses.replace(
        TINY.model.noise, prediction_type="epsilon", zero_terminal_snr=False
    )
    with pytest.raises(ConfigError, match="use v_prediction"):
        dataclasses.replace(CLEAN_TINY, noise=noise)
