"""Stage distill: its pieces in closed form, and a run of it from shards to a marked checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers import DDIMScheduler, LCMScheduler
from torch import Tensor

from aa_datasets.loader.batch import Batch, EncodedFrames
from aa_model.checkpoints.store import read_checkpoint, write_checkpoint
from aa_model.cli import train as train_cli
from aa_model.config import NoiseConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.noise_schedule import make_scheduler, warn_of_few_steps
from aa_model.networks.parts import parts_of
from aa_model.presets import TINY
from aa_model.training.diffusion_loss import Videos, as_videos
from aa_model.training.distillation_loss import (
    Teacher,
    clean_and_noise,
    consistent,
    distillation_loss,
    levels,
)
from aa_model.training.options import preset_training
from aa_model.training.stages import STAGES, trained_parameters

EPSILON = NoiseConfig("epsilon", zero_terminal_snr=False, timestep_spacing="leading")
CONFIG = preset_training("tiny", "distill")
assert CONFIG is not None


@pytest.mark.parametrize("noise", [TINY.model.noise, EPSILON])
def test_a_prediction_is_taken_apart_into_picture_and_noise(noise: NoiseConfig) -> None:
    scheduler = make_scheduler(noise)
    generator = torch.Generator().manual_seed(0)
    clean, added = (torch.randn(3, 2, 4, 5, 5, generator=generator) for _ in range(2))
    timesteps = torch.tensor([19, 499, 979])
    noisy = scheduler.add_noise(clean, added, timesteps)
    said = added
    if noise.prediction_type == "v_prediction":
        said = scheduler.get_velocity(clean, added, timesteps)
    found = clean_and_noise(scheduler, said, noisy, timesteps)
    assert torch.allclose(found[0], clean, atol=1e-4)
    assert torch.allclose(found[1], added, atol=1e-4)
    signal, sigma = levels(scheduler, timesteps - 980, noisy)
    assert signal.flatten()[:2].tolist() == [1, 1]
    assert sigma.flatten()[:2].tolist() == [0, 0]


@pytest.mark.parametrize("timestep", [19, 499, 999])
def test_what_the_student_says_is_what_the_lcm_scheduler_takes_it_for(timestep: int) -> None:
    scheduler = make_scheduler(TINY.model.noise)
    lcm = LCMScheduler.from_config(scheduler.config)
    lcm.set_timesteps(50)
    generator = torch.Generator().manual_seed(0)
    noisy, said = (torch.randn(1, 2, 4, 5, 5, generator=generator) for _ in range(2))
    expected = lcm.step(said, timestep, noisy).denoised
    found = consistent(scheduler, said, noisy, torch.tensor([timestep]))
    assert torch.allclose(found, expected, atol=1e-5)


def test_at_the_end_the_student_says_what_it_is_given() -> None:
    scheduler = make_scheduler(TINY.model.noise)
    noisy, said = torch.randn(1, 2, 4, 5, 5), torch.randn(1, 2, 4, 5, 5)
    assert torch.equal(consistent(scheduler, said, noisy, torch.tensor([-1])), noisy)


class Perfect:
    """Knows the latents, and says exactly what of `noisy` is noise; with an error of its own where
    it has no reference."""

    def __init__(self, scheduler: DDIMScheduler, latents: Tensor, error: float) -> None:
        self.scheduler, self.latents, self.error = scheduler, latents, error
        self.denoising_unet = None
        self.seen: list[tuple[list[int], bool]] = []

    def draw_latents(self, moments: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return moments

    def reference_features(self, *_: Tensor) -> dict[str, Tensor]:
        return {"layer": torch.zeros(1)}

    def pose_features(self, pose: Tensor) -> Tensor:
        return pose

    def __call__(self, noisy, timesteps, tokens, pose, features, which):  # type: ignore[no-untyped-def]
        with_reference = bool(features)
        assert (which == (None,) * len(noisy)) == (not with_reference)
        assert bool(tokens.any()) == with_reference
        self.seen.append((timesteps.tolist(), with_reference))
        signal, sigma = levels(self.scheduler, timesteps, noisy)
        noise = (noisy - signal * self.latents) / sigma
        return signal * noise - sigma * self.latents + (0 if with_reference else self.error)


class SameUnet:
    """The teacher of a network that stays as it is."""

    def replacing(self, _: object) -> AbstractContextManager[None]:
        return nullcontext()


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_of_the_last_step_the_target_is_the_guided_teachers_picture(
    guidance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the teacher says is wrong by (1 - guidance) times the error that it makes without a
    reference, and the student, who is right, is told so."""
    draw = "aa_model.training.distillation_loss.draw_uniform"
    monkeypatch.setattr(draw, lambda shape, _: torch.full(shape, 0.49))  # the lower of two steps
    scheduler = make_scheduler(TINY.model.noise)
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(4, 1, 4, 8, 8, generator=generator)
    model = Perfect(scheduler, latents, error=0.5)
    moments = EncodedFrames(torch.zeros(2, 4, 8, 8), latents, torch.ones(2, 1, 16))
    videos = Videos(torch.zeros(4, 1, 0, 8, 8), torch.zeros(4, 1, 3, 8, 8),
                    torch.zeros(2, 0, 8, 8), moments)  # fmt: skip
    config = replace(CONFIG, distill_solver_steps=2, distill_guidance=guidance)
    found = distillation_loss(
        cast(Any, model), cast(Any, SameUnet()), scheduler, cast(Any, None), config, videos,
        torch.Generator().manual_seed(0),
    )  # fmt: skip
    sigma = (1 - scheduler.alphas_cumprod[499]).sqrt().item()
    off = sigma * (guidance - 1) * 0.5  # of the picture, of which the velocity has so much
    assert float(found) == pytest.approx((off**2 + 0.001**2) ** 0.5 - 0.001, abs=2e-4)
    unguided = [([499] * 4, False)] if guidance != 1 else []
    student = [([0] * 4, True), ([499] * 4, True)]
    assert model.seen == [([499] * 4, True), *unguided, *student]


def test_of_many_solver_steps_a_perfect_network_has_nothing_to_learn() -> None:
    scheduler = make_scheduler(TINY.model.noise)
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(64, 1, 4, 8, 8, generator=generator)
    model = Perfect(scheduler, latents, error=0.0)
    moments = EncodedFrames(torch.zeros(64, 4, 8, 8), latents, torch.ones(64, 1, 16))
    videos = Videos(torch.zeros(64, 1, 0, 8, 8), torch.zeros(64, 1, 3, 8, 8),
                    torch.zeros(64, 0, 8, 8), moments)  # fmt: skip
    config = replace(CONFIG, distill_solver_steps=20, distill_guidance=2.0)
    found = distillation_loss(
        cast(Any, model), cast(Any, SameUnet()), scheduler, cast(Any, None), config, videos,
        torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert float(found) < 1e-3
    here, _, there, again = (times for times, _ in model.seen)
    assert here == again
    assert {time % 50 for time in here} == {49}, "a twentieth of 1,000 timesteps apart"
    assert {49, 999} <= set(here)
    assert [max(time - 50, 0) for time in here] == there


@pytest.mark.parametrize("rank", [0, 2])
def test_the_teacher_stays_as_it_was_while_the_student_learns(
    make_tiny: Callable[..., AnimateAnyone], make_batch: Callable[..., Batch], rank: int
) -> None:
    if rank:
        pytest.importorskip("peft")
    config = replace(CONFIG, lora_rank=rank)
    model = make_tiny(temporal=True)
    stage = STAGES["distill"].with_lora(()) if rank else STAGES["distill"]
    trained = trained_parameters(model, stage, config)
    teacher = Teacher(model, config)
    inputs = (torch.randn(1, 4, 4, 8, 8), torch.tensor([500]), torch.randn(1, 1, 16), None, {},
              (None,))  # fmt: skip
    with torch.no_grad(), teacher.replacing(model):
        before = model(*inputs)
    optimizer = torch.optim.AdamW(trained.values(), lr=2e-3)
    videos = as_videos(make_batch(B=2, T=4), single_frames=False)
    losses = []
    for _ in range(12):
        loss = distillation_loss(
            model, teacher, make_scheduler(model.config.noise), model.encode, config, videos,
            torch.Generator().manual_seed(3),
        )  # fmt: skip
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.97 * losses[0]
    with torch.no_grad():
        with teacher.replacing(model):
            assert torch.equal(model(*inputs), before)
        assert not torch.allclose(model(*inputs), before, atol=1e-3)


def test_a_student_is_marked_with_the_guidance_that_is_in_it_and_resumes_exactly(
    make_tiny: Callable[..., AnimateAnyone], puppet_shards: list[Path], tmp_path: Path
) -> None:
    start = tmp_path / "start"
    made_by = dict.fromkeys(parts_of(TINY.model), "a test")
    write_checkpoint(start, make_tiny(temporal=True), made_by)

    def train(out: Path, *arguments: object) -> int:
        words = [*puppet_shards, "--stage", "distill", "--preset", "tiny", "--init", start, "--out",
                 out, "--distill-guidance", 1.5, *arguments]  # fmt: skip
        return train_cli.main([str(word) for word in words])

    assert train(tmp_path / "whole", "--steps", 3) == 0
    assert train(tmp_path / "cut", "--steps", 1) == 0
    assert train(tmp_path / "cut", "--steps", 3, "--resume") == 0
    before, after = read_checkpoint(start), read_checkpoint(tmp_path / "whole")
    assert (before.model.distilled_guidance, after.model.distilled_guidance) == (None, 1.5)
    moved = {p for p in after.parts if after.parts[p].sha256 != before.parts[p].sha256}
    assert moved == {"denoising_unet", "temporal_layers"}
    for part in moved:
        name = f"{part}.safetensors"
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    assert train(tmp_path / "x", "--held-out", puppet_shards[0], "--held-out-every", 1) == 2


def test_a_scheduler_of_few_steps_says_that_a_network_was_not_distilled(
    make_tiny: Callable[..., AnimateAnyone],
) -> None:
    model = make_tiny(temporal=True)
    scheduler = LCMScheduler.from_config(make_scheduler(model.config.noise).config)
    with pytest.warns(RuntimeWarning, match="LCMScheduler is for networks that were distilled"):
        warn_of_few_steps(model.config, scheduler, 1.0)
    model.set_distilled_guidance(3.0)
    with pytest.warns(RuntimeWarning, match="distilled with guidance 3, and is guided by 2"):
        warn_of_few_steps(model.config, scheduler, 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_few_steps(model.config, scheduler, 1.0)
        model.set_distilled_guidance(None)
        warn_of_few_steps(model.config, make_scheduler(model.config.noise), 2.0)
