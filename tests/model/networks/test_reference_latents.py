"""A denoising UNet that reads the reference's latents next to the noisy ones."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from aa_datasets.puppets.render import render_puppet
from aa_model.checkpoints.store import read_checkpoint, read_model, read_part, write_checkpoint
from aa_model.cli.train import main as aa_train
from aa_model.config import GenerateConfig, ModelConfig
from aa_model.errors import ConfigError, ReferenceLost
from aa_model.inference.pipeline import AnimatePipeline
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import parts_of
from aa_model.presets import SMALL, TINY

MakeModel = Callable[..., AnimateAnyone]
READING = dataclasses.replace(TINY.model, reference_latents=True)
CONTROLNET_GUIDER = dataclasses.replace(TINY.model, pose_guider=SMALL.model.pose_guider)


def _run(model: AnimateAnyone, references: Tensor, which: tuple[int | None, ...]) -> Tensor:
    """One pass over as many videos of one frame, of the same noise and poses each time."""
    g, B = torch.Generator().manual_seed(1), len(which)
    config = model.config
    noisy = torch.randn(4, 1, config.vae.latent_channels, *config.latent_hw, generator=g)[:B]
    pose = torch.rand(4, 1, 3, *config.size_hw, generator=g)[:B] * 2 - 1
    with torch.no_grad():
        latents, tokens = model.encode(references), model.image_tokens(references)
        features = model.reference_features(references, latents, tokens)
        tokens = tokens.mean(0).expand(B, -1, -1)
        steps = torch.full((B,), 500)
        out: Tensor = model(noisy, steps, tokens, model.pose_features(pose), features, which)
    return out


@pytest.fixture
def references() -> Tensor:
    return torch.rand(2, 3, *TINY.model.size_hw, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("config", [TINY.model, CONTROLNET_GUIDER], ids=["paper", "controlnet"])
def test_a_network_that_begins_to_read_them_gives_what_it_gave(
    make_tiny: MakeModel, references: Tensor, config: ModelConfig
) -> None:
    model = make_tiny(config)
    before = _run(model, references, (0, None, 1))
    model.read_reference_latents()
    model.read_reference_latents()  # which it does already
    torch.testing.assert_close(_run(model, references, (0, None, 1)), before, rtol=0, atol=1e-5)
    assert model.denoising_unet.config.in_channels == 2 * config.vae.latent_channels


def test_each_video_reads_its_own_reference_and_those_without_one_read_zeros(
    make_tiny: MakeModel, references: Tensor
) -> None:
    model = make_tiny(READING)
    both = _run(model, references, (0, None, 1, 0))
    torch.testing.assert_close(both[0:1], _run(model, references, (0,)), rtol=0, atol=1e-5)
    reordered = _run(model, references.flip(0), (1, None, 0, 1))
    torch.testing.assert_close(reordered, both, rtol=0, atol=1e-5)
    C = model.config.vae.latent_channels
    model.denoising_unet.conv_in.weight.data[:, C:] = 0
    cut = _run(model, references, (0, None, 1, 0))
    changed = (both - cut).flatten(1).abs().amax(1)
    assert changed[1] == 0
    assert (changed[[0, 2, 3]] > 1e-3).all()


def test_latents_that_are_not_there_are_an_error(make_tiny: MakeModel, references: Tensor) -> None:
    model = make_tiny(READING)
    with torch.no_grad():
        latents, tokens = model.encode(references), model.image_tokens(references)
        features = model.reference_features(references, latents, tokens)
        del features["latents"]
        noisy = latents[:1, None]
        with pytest.raises(ReferenceLost, match="lack its latents"):
            model(noisy, torch.tensor([5]), tokens[:1], None, features, (0,))


@pytest.mark.parametrize("appearance", ["clip", "controlnet", "clip+controlnet"])
def test_only_a_network_with_reference_net_reads_them(appearance: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"needs reference_net, not {appearance}")):
        dataclasses.replace(READING, appearance=appearance)


def test_what_is_saved_by_diffusers_and_by_us_animates_as_before(
    make_tiny: MakeModel, tmp_path: Path
) -> None:
    model = make_tiny(READING, temporal=True)
    pipeline = AnimatePipeline.from_model(model)
    puppet = render_puppet(1, 1, num_frames=3, size_hw=(64, 48))
    arguments = (puppet.frames[0], puppet.pose, GenerateConfig(steps=2, guidance=2.0))
    expected = pipeline(*arguments).frames
    pipeline.save_pretrained(tmp_path / "diffusers")
    write_checkpoint(tmp_path / "ours", model, dict.fromkeys(parts_of(READING), "a test"))
    for folder in ("diffusers", "ours"):
        found = AnimatePipeline.from_model(read_model(tmp_path / folder))(*arguments).frames
        assert np.abs(np.asarray(found, float) - expected).max() <= 1, folder
    model.denoising_unet.conv_in.weight.data[:, model.config.vae.latent_channels :] = 0
    assert np.abs(np.asarray(pipeline(*arguments).frames, float) - expected).max() > 1


def test_stage_1_begins_to_read_them_and_later_stages_follow(
    puppet_shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint(tmp_path / "start", AnimateAnyone(TINY.model),
                     dict.fromkeys(("vae", "image_encoder"), "a test"))  # fmt: skip

    def train(stage: str, out: str, init: str, *more: str) -> int:
        words = [*map(str, puppet_shards), "--preset", "tiny", "--stage", stage, "--steps", "2",
                 "--batch-size", "1", "--warmup-steps", "0", "--device", "cpu", *more]  # fmt: skip
        return aa_train([*words, "--out", str(tmp_path / out), "--init", str(tmp_path / init),
                         str(tmp_path / "start")])  # fmt: skip

    assert train("1", "plain", "start") == 0
    assert not read_checkpoint(tmp_path / "plain").model.reference_latents
    assert train("1", "reading", "plain", "--reference-latents") == 0
    weight = read_part(tmp_path / "reading", "denoising_unet")[1]["conv_in.weight"]
    C = TINY.model.vae.latent_channels
    assert weight.shape[1] == 2 * C
    assert weight[:, C:].any(), "they are trained"
    assert train("1", "further", "reading") == 0
    assert train("2", "two", "further") == 0
    assert read_checkpoint(tmp_path / "two").model.reference_latents
    assert train("2", "refused", "plain", "--reference-latents") == 2
    assert "--reference-latents is chosen in stage 1" in capsys.readouterr().err
