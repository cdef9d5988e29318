"""Inference: what runs once, any length, and equal results by every equivalent way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from diffusers import EulerDiscreteScheduler

from aa_model.errors import ModelError
from aa_model.inference.denoise import (
    Conditions,
    GenerateConfig,
    decode_frames,
    denoise,
    encode_conditions,
    predict,
)
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.image_encoder import null_tokens
from aa_model.networks.noise_schedule import make_scheduler
from aa_model.presets import TINY

Make = Callable[..., AnimateAnyone]
FAST = GenerateConfig(steps=3, guidance=2.0)


def conditions_for(model: AnimateAnyone, T: int) -> Conditions:
    generator = torch.Generator().manual_seed(0)
    reference = 2 * torch.rand(3, 32, 32, generator=generator) - 1
    pose = 2 * torch.rand(T, 3, 32, 32, generator=generator) - 1
    with torch.no_grad():
        return encode_conditions(model, reference, pose)


def test_reference_pose_and_tokens_are_computed_once_per_video(make_tiny: Make) -> None:
    model = make_tiny(temporal=True)
    calls: list[str] = []
    for name in ("reference_net", "pose_guider", "image_encoder"):
        getattr(model, name).register_forward_hook(lambda m, i, o, n=name: calls.append(n))
    to_k = model.denoising_unet.get_submodule(model.reference_net.layers[0]).to_k
    to_k.register_forward_hook(lambda m, i, o: calls.append("to_k"))
    denoise(model, conditions_for(model, T=20), FAST)
    assert [calls.count(n) for n in ("reference_net", "pose_guider", "image_encoder")] == [1, 2, 1]
    assert calls.count("to_k") == 1 + 3 * 3 * 2  # the reference once; 3 steps, 3 windows, 2 passes


@pytest.mark.parametrize("merge", ["edge", "mean", "wrapped"])
@pytest.mark.parametrize("T", [1, 2, 7, 8, 9, 12, 13])
def test_any_length_from_one_frame(make_tiny: Make, T: int, merge: str) -> None:
    model = make_tiny(temporal=True)
    config = dataclasses.replace(FAST, steps=2, merge=merge)
    latents = denoise(model, conditions_for(model, T), config)
    assert latents.shape == (T, 4, 8, 8)
    assert torch.isfinite(latents).all()
    frames = torch.cat(list(decode_frames(model, latents, 3)))
    assert frames.shape == (T, 32, 32, 3)
    assert frames.dtype == torch.uint8


def test_one_window_merges_in_either_way_to_the_same(make_tiny: Make) -> None:
    model = make_tiny(temporal=True)
    conditions = conditions_for(model, 8)
    edge, mean = (
        denoise(model, conditions, dataclasses.replace(FAST, merge=m)) for m in ("edge", "mean")
    )
    assert torch.allclose(edge, mean, atol=1e-5)


@pytest.mark.parametrize(("merge", "is_a_ring"), [("wrapped", True), ("mean", False)])
def test_wrapped_windows_make_a_ring_of_the_video(
    make_tiny: Make, merge: str, is_a_ring: bool
) -> None:
    """Where it is cut does not matter: poses and noise turned by half a window turn the result."""
    model = make_tiny(temporal=True)
    hop, T = model.config.temporal.window // 2, 2 * model.config.temporal.window
    generator = torch.Generator().manual_seed(0)
    reference = 2 * torch.rand(3, 32, 32, generator=generator) - 1
    pose = 2 * torch.rand(T, 3, 32, 32, generator=generator) - 1
    noise = torch.randn(T, 4, 8, 8, generator=generator)

    def made(turned: int) -> torch.Tensor:
        with torch.no_grad():
            conditions = encode_conditions(model, reference, pose.roll(turned, 0))
        config = dataclasses.replace(FAST, merge=merge, overlap=hop)
        return denoise(model, conditions, config, noise=noise.roll(turned, 0))

    assert torch.allclose(made(hop), made(0).roll(hop, 0), atol=1e-4) == is_a_ring


@pytest.mark.parametrize("merge", ["edge", "mean"])
def test_how_many_windows_run_together_changes_nothing(make_tiny: Make, merge: str) -> None:
    model = make_tiny(temporal=True)
    conditions = conditions_for(model, 18)
    one, three = (
        denoise(model, conditions, dataclasses.replace(FAST, merge=merge, window_batch=n))
        for n in (1, 3)
    )
    assert torch.allclose(one, three, atol=1e-4)


@torch.no_grad()
def test_guidance_is_the_textbook_formula_over_two_separate_passes(make_tiny: Make) -> None:
    model = make_tiny(temporal=True)
    conditions = conditions_for(model, 4)
    torch.manual_seed(1)
    latents, windows = torch.randn(1, 4, 4, 8, 8), (range(4),)
    found = predict(model, latents, 600, conditions, windows, guidance=2.5)
    timestep, pose = torch.tensor([600]), conditions.pose.of(windows)
    tokens = conditions.image_tokens
    with_reference = model(latents, timestep, tokens, pose, conditions.reference, (0,))
    without = model(latents, timestep, null_tokens(tokens), pose, {}, (None,))
    assert torch.allclose(found, without + 2.5 * (with_reference - without), atol=1e-4)
    alone = predict(model, latents, 600, conditions, windows, guidance=1)
    assert torch.allclose(alone, with_reference, atol=1e-5)


def test_steps_outside_of_the_interval_are_not_guided(make_tiny: Make) -> None:
    model = make_tiny(temporal=True)
    conditions = conditions_for(model, 3)

    def made(**fields: object) -> torch.Tensor:
        return denoise(model, conditions, dataclasses.replace(FAST, **fields))  # type: ignore[arg-type]

    guided = made()
    assert torch.equal(made(guidance_interval=(0.0, 1.0)), guided)
    assert torch.equal(made(guidance_interval=(0.0, 0.0)), made(guidance=1.0))
    some = made(guidance_interval=(0.3, 0.7))  # the second of three steps
    assert not torch.allclose(some, guided, atol=1e-4)
    assert not torch.allclose(some, made(guidance=1.0), atol=1e-4)
    with pytest.raises(ModelError, match="expected shares"):
        made(guidance_interval=(0.5, 0.4))


def test_a_stage_1_network_makes_each_frame_by_itself(make_tiny: Make) -> None:
    model = make_tiny()
    conditions = conditions_for(model, 3)
    config = dataclasses.replace(FAST, window=3)
    together = denoise(model, conditions, config)
    model.add_temporal_layers()
    assert torch.allclose(together, denoise(model, conditions, config), atol=1e-4)


def test_seed_decides_the_noise(make_tiny: Make) -> None:
    model = make_tiny(temporal=True)
    conditions = conditions_for(model, 3)
    a, b, c = (denoise(model, conditions, dataclasses.replace(FAST, seed=s)) for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.allclose(a, c)


def test_a_window_longer_than_the_positional_encoding_is_refused(make_tiny: Make) -> None:
    model = make_tiny(temporal=True)
    with pytest.raises(ModelError, match="the temporal layers see at most 8"):
        denoise(model, conditions_for(model, 3), dataclasses.replace(FAST, window=9))


def test_reference_and_pose_must_be_of_one_size(make_tiny: Make) -> None:
    with pytest.raises(ModelError, match="bring both to one size"):
        encode_conditions(make_tiny(), torch.zeros(3, 32, 32), torch.zeros(2, 3, 16, 32))


def test_the_callback_sees_every_step(make_tiny: Make) -> None:
    model = make_tiny(temporal=True)
    seen: list[int] = []
    denoise(model, conditions_for(model, 2), FAST, on_step=lambda done, x: seen.append(done))
    assert seen == [1, 2, 3]


@pytest.mark.parametrize("merge", ["edge", "mean"])
def test_what_the_callback_returns_takes_the_latents_place_and_a_stop_is_asked_after_each_step(
    make_tiny: Make, merge: str
) -> None:
    model = make_tiny(temporal=True)
    conditions = conditions_for(model, 9)
    config = dataclasses.replace(FAST, merge=merge, guidance=1.0)
    shapes: list[tuple[int, ...]] = []

    def on_step(done: int, latents: torch.Tensor) -> torch.Tensor | None:
        shapes.append(tuple(latents.shape))
        return torch.full_like(latents, float(done)) if done == 2 else None

    found = denoise(
        model, conditions, config, on_step=on_step, is_interrupted=lambda: len(shapes) == 2
    )
    assert shapes == [(2, 8, 4, 8, 8) if merge == "edge" else (9, 4, 8, 8)] * 2
    assert torch.equal(found, torch.full((9, 4, 8, 8), 2.0))


def test_the_noise_that_is_given_is_scaled_as_the_scheduler_wants_it(make_tiny: Make) -> None:
    model = make_tiny(temporal=True)
    conditions = conditions_for(model, 2)
    euler = EulerDiscreteScheduler.from_config(make_scheduler(model.config.noise).config)
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    given: list[torch.Tensor] = []
    scale = euler.scale_model_input

    def scaled(latents: torch.Tensor, timestep: float) -> torch.Tensor:
        given.append(latents.clone())
        return scale(latents, timestep)

    euler.scale_model_input = scaled
    denoise(
        model, conditions, dataclasses.replace(FAST, guidance=1.0), scheduler=euler, noise=noise
    )
    assert euler.init_noise_sigma > 10
    assert torch.allclose(given[0][0], noise * euler.init_noise_sigma)
    drawn = denoise(model, conditions, FAST, generator=torch.Generator().manual_seed(FAST.seed))
    assert torch.equal(drawn, denoise(model, conditions, FAST)), "of the seed unless given"


def test_frames_are_decoded_some_at_a_time_to_the_nearest_level() -> None:
    sizes: list[int] = []

    def decode(part: torch.Tensor) -> torch.Tensor:
        sizes.append(len(part))
        return part

    model = cast(AnimateAnyone, SimpleNamespace(decode=decode))
    levels = torch.tensor([-1.0, 1.0, 0.5 / 127.5 * 0.98 - 1, 0.5 / 127.5 * 1.02 - 1, 0.2])
    pictures = levels[:, None, None, None].repeat(1, 3, 2, 4)
    pictures[:, 1] = -1
    found = list(decode_frames(model, pictures, 2))
    assert sizes == [len(part) for part in found] == [2, 2, 1]
    frames = torch.cat(found)
    assert frames.shape == (5, 2, 4, 3)
    assert frames[:, 0, 0, 0].tolist() == [0, 255, 0, 1, 153]
    assert not frames[..., 1].any()


@pytest.mark.parametrize(
    ("temporal", "appearance"),
    [(False, "reference_net"), (True, "reference_net"), (True, "clip+controlnet")],
)
def test_a_halved_network_makes_nearly_the_same_video(
    make_tiny: Make, temporal: bool, appearance: str
) -> None:
    """And the noise schedule's arithmetic stays in float32."""
    config = dataclasses.replace(TINY.model, appearance=appearance)  # type: ignore[arg-type]
    model = make_tiny(config, temporal=temporal)
    whole = denoise(model, conditions_for(model, 12), FAST)
    model.place("cpu", torch.bfloat16)
    assert model.dtype == torch.bfloat16
    seen: list[torch.dtype] = []
    conditions = conditions_for(model, 12)
    half = denoise(model, conditions, FAST, on_step=lambda _, latents: seen.append(latents.dtype))
    assert set(seen) == {torch.float32}
    assert 0 < (half - whole).norm() < 0.05 * whole.norm()
    assert next(decode_frames(model, half, 4)).dtype == torch.uint8


def test_a_network_of_which_only_the_frozen_part_is_halved_computes_in_float32(
    make_tiny: Make,
) -> None:
    model = make_tiny()
    model.vae.bfloat16()
    assert model.dtype == torch.float32
