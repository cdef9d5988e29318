"""The schedule against diffusers' own functions, and DDIM against a closed form."""

from __future__ import annotations

import dataclasses
import warnings

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler, LCMScheduler
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from diffusers.training_utils import compute_snr

from aa_model.config import NoiseConfig
from aa_model.errors import ConfigError, ModelError
from aa_model.networks.noise_schedule import (
    check_schedule,
    draw_timesteps,
    loss_weights,
    make_noise,
    make_scheduler,
    prediction_target,
    warn_of_few_steps,
)
from aa_model.presets import PAPER, SMALL, TINY

BOTH = [SMALL.model.noise, PAPER.model.noise]


def test_zero_terminal_snr_is_diffusers_rescaling_and_ends_in_pure_noise() -> None:
    config = SMALL.model.noise
    plain = make_scheduler(dataclasses.replace(config, zero_terminal_snr=False))
    found = make_scheduler(config)
    expected = torch.cumprod(1 - rescale_zero_terminal_snr(plain.betas), 0)
    assert torch.equal(found.alphas_cumprod, expected)
    assert found.alphas_cumprod[-1] == 0
    noise = torch.randn(1, 1, 4, 2, 2)
    last = torch.tensor([999])
    assert torch.equal(found.add_noise(torch.ones_like(noise), noise, last), noise)


def test_trailing_spacing_starts_at_the_last_training_timestep() -> None:
    scheduler = make_scheduler(SMALL.model.noise)
    scheduler.set_timesteps(20)
    assert scheduler.timesteps[0] == 999
    assert len(scheduler.timesteps) == 20


def test_epsilon_at_zero_snr_is_refused() -> None:
    noise = NoiseConfig("epsilon", zero_terminal_snr=True, timestep_spacing="trailing")
    with pytest.raises(ConfigError, match="use v_prediction"):
        dataclasses.replace(SMALL.model, noise=noise)


@pytest.mark.parametrize("config", BOTH, ids=["v", "epsilon"])
def test_targets_lead_back_to_the_latents(config: NoiseConfig) -> None:
    scheduler = make_scheduler(config)
    torch.manual_seed(0)
    latents, noise = torch.randn(5, 2, 4, 3, 3), torch.randn(5, 2, 4, 3, 3)
    timesteps = torch.tensor([0, 10, 500, 900, 990])
    noisy = scheduler.add_noise(latents, noise, timesteps)
    target = prediction_target(scheduler, latents, noise, timesteps)
    alphas = scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1, 1)
    a, s = alphas.sqrt(), (1 - alphas).sqrt()
    found = a * noisy - s * target if config.prediction_type != "epsilon" else (
        (noisy - s * target) / a
    )  # fmt: skip
    assert torch.allclose(found, latents, atol=1e-3)


@pytest.mark.parametrize("config", BOTH, ids=["v", "epsilon"])
@pytest.mark.parametrize("steps", [4, 20])
def test_ddim_with_a_perfect_network_arrives_at_the_latents(
    config: NoiseConfig, steps: int
) -> None:
    """The schedule that training noises with is the one that inference undoes."""
    scheduler = make_scheduler(config)
    scheduler.set_timesteps(steps)
    torch.manual_seed(1)
    latents = torch.randn(1, 1, 4, 4, 4)
    x = torch.randn_like(latents)
    for timestep in scheduler.timesteps:
        alpha = scheduler.alphas_cumprod[timestep]
        noise = (x - alpha.sqrt() * latents) / (1 - alpha).sqrt()  # what x is, given the latents
        target = prediction_target(scheduler, latents, noise, timestep[None])
        x = scheduler.step(target, timestep, x).prev_sample
    last = scheduler.alphas_cumprod[0]  # DDIM stops at t = 0, which has a little noise left
    assert (x - last.sqrt() * latents).abs().max() < 6 * (1 - last).sqrt()


@pytest.mark.parametrize("zero", [False, True], ids=["", "zero terminal SNR"])
@pytest.mark.parametrize("config", BOTH, ids=["v", "epsilon"])
def test_min_snr_weights_are_those_of_diffusers_training_script(
    config: NoiseConfig, zero: bool
) -> None:
    """And with zero terminal SNR those of its script of 2023, which Moore-AnimateAnyone kept."""
    if config.prediction_type == "epsilon" and zero:
        pytest.skip("there is no epsilon at zero SNR")
    scheduler = make_scheduler(dataclasses.replace(config, zero_terminal_snr=zero))
    timesteps = torch.arange(0, 999, 37)
    snr = compute_snr(scheduler, timesteps)
    divisor = snr if config.prediction_type == "epsilon" else snr + 1
    clipped = torch.minimum(divisor if zero else snr, torch.full_like(snr, 5.0))
    found = loss_weights(scheduler, timesteps, 5.0)
    assert torch.allclose(found, clipped / divisor, atol=1e-5)
    assert torch.equal(loss_weights(scheduler, timesteps, None), torch.ones(len(timesteps)))


def test_the_timestep_that_inference_starts_from_is_learned() -> None:
    """At zero SNR the weight min(SNR, gamma) / (SNR + 1) would be 0."""
    scheduler = make_scheduler(SMALL.model.noise)
    scheduler.set_timesteps(20)
    assert loss_weights(scheduler, scheduler.timesteps[:1], 5.0) == 1


def test_noise_offset_moves_whole_channels_of_all_frames_alike() -> None:
    latents = torch.zeros(2, 3, 4, 8, 8)
    plain = make_noise(latents, 0.0, torch.Generator().manual_seed(5))
    moved = make_noise(latents, 0.5, torch.Generator().manual_seed(5))
    shift = moved - plain
    assert torch.allclose(shift, shift[:, :1, :, :1, :1].expand_as(shift), atol=1e-6)
    assert shift.abs().max() > 0.1


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_shifted_timesteps_have_the_distribution_of_the_shift(shift: float) -> None:
    """P(t' < x) = x / (shift - (shift - 1) x), the inverse of the shift, at nine places."""
    scheduler = make_scheduler(SMALL.model.noise)
    drawn = draw_timesteps(scheduler, 40_000, shift, torch.Generator().manual_seed(0))
    assert drawn.min() >= 0
    assert drawn.max() <= 999
    for x in torch.arange(1, 10) / 10:
        share = (drawn < 1000 * x).float().mean()
        assert share == pytest.approx(float(x / (shift - (shift - 1) * x)), abs=0.01)


@pytest.mark.parametrize("config", BOTH, ids=["v", "epsilon"])
def test_the_scheduler_is_made_of_every_number_of_the_config(config: NoiseConfig) -> None:
    other = dataclasses.replace(
        config, num_train_timesteps=500, beta_start=0.001, beta_end=0.02, beta_schedule="linear",
        final_alpha_one=not config.final_alpha_one,
    )  # fmt: skip
    for given in (config, other):
        found = make_scheduler(given)
        root = given.beta_schedule == "scaled_linear"
        ends = [end**0.5 if root else end for end in (given.beta_start, given.beta_end)]
        betas = torch.linspace(*ends, given.num_train_timesteps) ** (2 if root else 1)
        if given.zero_terminal_snr:
            betas = rescale_zero_terminal_snr(betas)
        assert torch.allclose(found.alphas_cumprod, torch.cumprod(1 - betas, 0), atol=1e-6)
        assert found.config.prediction_type == given.prediction_type
        assert (found.final_alpha_cumprod == 1) == given.final_alpha_one
        latents = torch.full((1, 1, 4, 2, 2), 30.0)  # far beyond -1..1: nothing is clipped
        found.set_timesteps(10)
        last = found.timesteps[-1]
        said = prediction_target(found, latents, torch.zeros_like(latents), last[None])
        noisy = found.add_noise(latents, torch.zeros_like(latents), last[None])
        assert torch.allclose(
            found.step(said, last, noisy).pred_original_sample, latents, rtol=1e-3
        )


def test_leading_steps_end_at_timestep_1() -> None:
    """As Stable Diffusion's own: `steps_offset` 1."""
    scheduler = make_scheduler(dataclasses.replace(PAPER.model.noise, timestep_spacing="leading"))
    scheduler.set_timesteps(20)
    assert scheduler.timesteps[[0, -1]].tolist() == [951, 1]


def test_a_scheduler_of_another_schedule_is_refused_by_what_differs() -> None:
    zero, plain = SMALL.model.noise, PAPER.model.noise
    for config in (zero, plain):
        check_schedule(config, make_scheduler(config))
    own = dict(make_scheduler(zero).config)
    check_schedule(zero, EulerDiscreteScheduler.from_config(own))
    for change, why in (
        ({"prediction_type": "epsilon"}, "prediction_type epsilon instead of v_prediction"),
        ({"num_train_timesteps": 999}, "no noise levels for 1000 timesteps"),
        ({"rescale_betas_zero_snr": False}, "a last noise level of 0.00466 instead of 0"),
        ({"beta_end": 0.0121, "rescale_betas_zero_snr": True}, "a last noise level of 0 instead"),
        ({"timestep_spacing": "leading"}, "timestep_spacing leading, which never starts from noi"),
    ):
        with pytest.raises(ModelError, match=f"of another schedule than the checkpoint, .*{why}"):
            check_schedule(zero, DDIMScheduler.from_config(own | change))
    check_schedule(plain, DDPMScheduler.from_config(dict(make_scheduler(plain).config)))
    both = DDIMScheduler.from_config(own | {"prediction_type": "epsilon", "beta_end": 0.02})
    with pytest.raises(ModelError, match="instead of v_prediction and a last noise level"):
        check_schedule(zero, both)


def test_a_network_of_many_steps_and_its_scheduler_are_no_matter_of_warnings() -> None:
    config = TINY.model
    distilled = dataclasses.replace(config, distilled_guidance=3.0)
    lcm, ddim = LCMScheduler(), make_scheduler(config.noise)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_few_steps(config, ddim, 1.0)
        warn_of_few_steps(config, ddim, 3.5)
        warn_of_few_steps(distilled, lcm, 1.0)
        warn_of_few_steps(distilled, ddim, 1.0)
    with pytest.warns(RuntimeWarning, match="is guided by 2 once more"):
        warn_of_few_steps(distilled, ddim, 2.0)
    with pytest.warns(RuntimeWarning, match="LCMScheduler is for networks that were distilled"):
        warn_of_few_steps(config, lcm, 1.0)


def test_noise_has_the_spread_it_says_and_each_channel_of_each_video_an_offset_of_its_own() -> None:
    latents = torch.zeros(40, 2, 40, 8, 8, dtype=torch.float16)
    noise = make_noise(latents, 0.0, torch.Generator().manual_seed(0))
    assert noise.dtype == torch.float16
    assert noise.float().std() == pytest.approx(1, abs=0.01)
    assert noise.float().mean() == pytest.approx(0, abs=0.01)
    moved = make_noise(latents.float(), 0.25, torch.Generator().manual_seed(0))
    offsets = (moved - noise.float())[:, 0, :, 0, 0]
    assert offsets.std() == pytest.approx(0.25, abs=0.02)
    assert offsets.mean(1).std() < 0.1
    assert offsets.unique().numel() > 0.5 * offsets.numel()
