"""Presets at SD-1.5 sizes, on the meta device, against published counts; what training needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import nn

from aa_datasets.loader.batch import Batch, EncodedFrames
from aa_model.config import TrainConfig
from aa_model.errors import ConfigError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.pose_guider import PaperPoseGuider, make_pose_guider
from aa_model.networks.precision import freeze_as_bfloat16
from aa_model.networks.vae import encode_moments
from aa_model.presets import PRESETS, TINY
from aa_model.training.distributed import Processes
from aa_model.training.loop import TrainingState, train
from aa_model.training.memory import training_memory
from aa_model.training.stages import STAGES, make_loss, trained_parameters
from aa_model.training.timestep_losses import TimestepLosses

SD_SIZES = ["paper", "moore", "musepose", "base-24gb", "base-12gb"]


@pytest.mark.parametrize("name", SD_SIZES)
def test_parameters_are_as_many_as_published(name: str) -> None:
    """SD 1.5's UNet 859.5 M and VAE 83.7 M; AnimateDiff v2 453.2 M; Moore's pose guider 1.09 M."""
    with torch.device("meta"):
        model = AnimateAnyone(PRESETS[name].model, temporal=True)
    millions = {
        part: sum(p.numel() for p in module.parameters()) / 1e6
        for part, module in model.named_children()
    }
    assert millions["reference_net"] == pytest.approx(859.5, abs=0.1)
    assert millions["vae"] == pytest.approx(83.7, abs=0.1)
    temporal = millions["denoising_unet"] - millions["reference_net"]
    if name == "paper":  # AnimateDiff v1: no layer in the middle block
        assert temporal == pytest.approx(417.1, abs=0.3)
        return
    assert temporal == pytest.approx(453.2, abs=0.1)
    assert millions["denoising_unet"] == pytest.approx(1312.7, abs=0.1)
    assert millions["pose_guider"] == pytest.approx(1.09, abs=0.01)


def test_presets_say_what_their_sources_say() -> None:
    moore, musepose = PRESETS["moore"], PRESETS["musepose"]
    assert (moore.model.temporal.max_frames, musepose.model.temporal.max_frames) == (32, 128)
    assert moore.model.noise == musepose.model.noise
    assert moore.model.noise.beta_schedule == "scaled_linear"
    assert musepose.training["2"].num_frames == 48
    for name in SD_SIZES:
        preset = PRESETS[name]
        assert preset.model.preset == name
        for config in preset.training.values():
            assert config.num_frames <= preset.model.temporal.max_frames


def test_preset_paper_says_what_the_paper_says() -> None:
    """Sec. 4.1, and Sec. 3.2 of the Pose Guider."""
    paper = PRESETS["paper"]
    first, second = paper.training["1"], paper.training["2"]
    assert paper.model.size_hw == (768, 768)
    assert (first.steps, first.batch_size, first.num_frames, first.lr) == (30_000, 64, 1, 1e-5)
    assert (second.steps, second.batch_size, second.num_frames, second.lr) == (10_000, 4, 24, 1e-5)
    assert (first.optimizer, first.lr_schedule, first.warmup_steps) == ("adamw", "constant", 0)
    assert paper.model.pose_guider.channels == (16, 32, 64, 128)
    guider = make_pose_guider(paper.model)
    assert isinstance(guider, PaperPoseGuider)
    assert [conv.kernel_size for conv in guider.convs] == [(4, 4)] * 4
    weights = torch.cat([conv.weight.flatten() for conv in guider.convs])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)  # Gaussian: 95 % within 2 sigma
    assert (weights.abs() < 0.04).float().mean().item() == pytest.approx(0.9545, abs=0.005)
    assert not any(p.any() for p in guider.proj_out.parameters())


@pytest.mark.parametrize(("name", "stage", "limit_gb"), [
    ("base-24gb", "1", 19), ("base-24gb", "2", 9), ("base-12gb", "2", 9)])  # fmt: skip
def test_what_is_always_held_leaves_room_for_activations(
    name: str, stage: str, limit_gb: float
) -> None:
    preset = PRESETS[name]
    with torch.device("meta"):
        model = AnimateAnyone(preset.model, temporal=stage == "2")
    trained_parameters(model, STAGES[stage])
    freeze_as_bfloat16(model)
    assert training_memory(model, preset.training[stage]).total < limit_gb * 1e9
    plain = dataclasses.replace(preset.training[stage], optimizer="adamw")
    if stage == "1":  # what every out-of-memory report is about
        assert training_memory(model, plain).total > 24e9


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_the_estimate_is_what_training_then_holds(
    make_tiny: Callable[..., AnimateAnyone], make_batch: Callable[..., Batch], optimizer: str
) -> None:
    model, stage = make_tiny(), STAGES["1"]
    config = dataclasses.replace(TINY.training["1"], optimizer=optimizer, steps=1, lr=1e-3)
    state = TrainingState(trained_parameters(model, stage), config)
    need = training_memory(model, config)
    list(train(state, make_loss(model, stage, config), iter([make_batch()]), config))
    held = sum(
        value.numel() * value.element_size()
        for row in state.optimizer.state.values()
        for key, value in row.items()
        if key != "step"
    )
    assert need.optimizer == held
    assert need.gradients == sum(p.grad.numel() * 4 for p in state.trained.values())
    assert need.weights == sum(p.numel() * 4 for p in model.parameters())


@torch.no_grad()
def encoded(model: AnimateAnyone, batch: Batch) -> EncodedFrames:
    B, T = batch.target.shape[:2]
    reference, target = (
        torch.cat(encode_moments(model.vae, x), dim=1)
        for x in (batch.reference, batch.target.flatten(0, 1))
    )
    return EncodedFrames(
        reference, target.unflatten(0, (B, T)), model.image_tokens(batch.reference)
    )


def test_frozen_bfloat16_spares_what_is_trained_and_halves_the_encoders_alone_under_autocast(
    make_tiny: Callable[..., AnimateAnyone], make_batch: Callable[..., Batch]
) -> None:
    """UNets multiply in bfloat16 under autocast anyway; frozen encoders would not."""
    stage, config = STAGES["2"], TINY.training["2"]
    pictures, losses = make_batch(T=2), []
    batch = dataclasses.replace(pictures, latents=encoded(make_tiny(temporal=True), pictures))
    encoding = []
    for lean in (False, True):
        model = make_tiny(temporal=True)
        trained = trained_parameters(model, stage)
        if lean:
            freeze_as_bfloat16(model)
            assert model.vae.encoder.conv_in.weight.dtype == torch.bfloat16
        assert {p.dtype for p in trained.values()} == {torch.float32}
        with torch.autocast("cpu", torch.bfloat16):
            loss = make_loss(model, stage, config)(batch, torch.Generator().manual_seed(1))
            encoding.append(encoded(model, pictures))
        loss.backward()
        losses.append(loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    full, halved = (e.reference_tokens for e in encoding)
    assert full.dtype == halved.dtype == torch.float32
    assert 0 < (halved - full).norm() / full.norm() < 0.03
    with pytest.raises(ConfigError, match="needs autocast"):
        TrainConfig(steps=1, batch_size=1, lr=1.0, frozen_bfloat16=True)


def test_adafactor_trains() -> None:
    weight = nn.Parameter(torch.full((3, 3), 3.0))
    config = TrainConfig(steps=200, batch_size=1, lr=0.05, optimizer="adafactor")
    state = TrainingState({"weight": weight}, config)
    steps = list(train(state, lambda b, g: weight.square().sum(), iter(range(200)), config))
    assert steps[-1].loss < 0.1 * steps[0].loss


def test_losses_fall_into_the_bucket_of_their_timestep() -> None:
    losses = TimestepLosses(1000, Processes(0, 1, torch.device("cpu")))
    losses.observe(torch.tensor([0, 99, 100, 999]), torch.tensor([1.0, 3.0, 5.0, 7.0]))
    step, *means = losses.take_row(50)
    assert step == 50
    assert means[:2] == [2.0, 5.0]
    assert means[9] == 7.0
    assert all(mean != mean for mean in means[2:9])  # NaN: no loss fell there
    losses.take_row(51)
    assert len(losses.rows) == 1  # nothing seen since
