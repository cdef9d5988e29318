"""What a checkpoint says of its training: bases say nothing of size and schedule; windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import PyramidAttentionBroadcastConfig, apply_pyramid_attention_broadcast
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from aa_datasets.puppets.render import render_puppet
from aa_model.checkpoints.stable_diffusion import import_stable_diffusion
from aa_model.checkpoints.store import read_checkpoint, resolve_config
from aa_model.config import GenerateConfig, ModelConfig, from_json, to_json
from aa_model.errors import ModelError
from aa_model.inference.denoise import _window
from aa_model.inference.pipeline import AnimatePipeline
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.reference_net import make_unet2d
from aa_model.networks.vae import make_vae
from aa_model.presets import PRESETS, TINY
from aa_model.training.options import TrainOptions
from aa_model.training.run import train_stage

Make = Callable[..., AnimateAnyone]


def write_base(folder: Path, **encoder: object) -> tuple[Path, Path]:
    """An SD-layout folder of tiny networks, and an image encoder."""
    torch.manual_seed(5)
    make_unet2d(TINY.model).save_pretrained(folder / "sd" / "unet")
    make_vae(TINY.model).save_pretrained(folder / "sd" / "vae")
    sizes = {"image_size": 16, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 1,
             "num_attention_heads": 2, "intermediate_size": 64, "hidden_act": "gelu",
             "projection_dim": 16, **encoder}  # fmt: skip
    CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes)).save_pretrained(folder / "clip")
    return folder / "sd", folder / "clip"


def test_size_and_schedule_of_a_training_from_a_base_are_the_trainings(
    puppet_shards: list[Path], tmp_path: Path
) -> None:
    noise = replace(TINY.model.noise, prediction_type="epsilon", zero_terminal_snr=False)
    other = replace(TINY.model, preset="other", size_hw=(64, 64), noise=noise)
    import_stable_diffusion(other, *write_base(tmp_path), tmp_path / "start")
    assert read_checkpoint(tmp_path / "start").model.untrained
    out = tmp_path / "run"
    training = replace(PRESETS["tiny"].training["1"], steps=1)
    train_stage(
        TrainOptions(tuple(puppet_shards), stage="1", preset="tiny", out=out,
                     init=(tmp_path / "start",), training=training)
    )  # fmt: skip
    found = read_checkpoint(out).model
    assert (found.preset, found.size_hw, found.noise) == ("tiny", (32, 32), TINY.model.noise)
    assert found.untrained is None
    # What was trained keeps its size and schedule, whatever a later stage's preset says.
    assert resolve_config(other, {"denoising_unet": out}).noise == TINY.model.noise


@pytest.mark.parametrize("encoder", [
    {"intermediate_size": 40}, {"layer_norm_eps": 1e-3}, {"hidden_act": "quick_gelu"}])  # fmt: skip
def test_an_image_encoder_of_any_width_is_read_from_its_config(
    tmp_path: Path, encoder: dict[str, object]
) -> None:
    sd, clip = write_base(tmp_path, **encoder)
    import_stable_diffusion(TINY.model, sd, clip, tmp_path / "start")
    config = read_checkpoint(tmp_path / "start").model
    torch.manual_seed(0)
    model = AnimateAnyone(config)
    from aa_model.checkpoints.store import load_part

    load_part(model, tmp_path / "start", "image_encoder")
    expected = CLIPVisionModelWithProjection.from_pretrained(clip)
    pixels = torch.randn(2, 3, 16, 16)
    found = model.image_encoder.clip(pixel_values=pixels).image_embeds
    assert torch.equal(found, expected(pixel_values=pixels).image_embeds)


def test_fields_that_older_checkpoints_lack_are_not_written(tmp_path: Path) -> None:
    row = to_json(TINY.model)
    assert "untrained" not in row
    assert "trained_frames" not in row["temporal"]
    assert "mlp_size" not in row["image_encoder"]
    assert from_json(ModelConfig, row) == TINY.model
    trained = replace(TINY.model, temporal=replace(TINY.model.temporal, trained_frames=4))
    assert from_json(ModelConfig, to_json(trained)) == trained


def test_the_window_is_what_was_trained_and_not_the_table_of_positions(
    make_tiny: Make, puppet_shards: list[Path], tmp_path: Path
) -> None:
    model = make_tiny(temporal=True)
    assert _window(model, GenerateConfig()) == 8  # unknown: the table
    model.set_trained_frames(4)
    assert _window(model, GenerateConfig()) == 4
    assert _window(model, GenerateConfig(window=7)) == 7
    windows = {n: PRESETS[n].model.temporal.window for n in ("paper", "moore", "musepose")}
    assert windows == {"paper": 24, "moore": 24, "musepose": 48}


def test_caches_of_diffusers_that_would_mix_the_guided_passes_are_refused(make_tiny: Make) -> None:
    pipeline = AnimatePipeline(make_tiny(temporal=True))
    puppet = render_puppet(1, 1, num_frames=2, size_hw=(32, 32))
    config = PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500
    )
    apply_pyramid_attention_broadcast(pipeline.model.denoising_unet, config)
    with pytest.raises(ModelError, match="cache hook 'pyramid_attention_broadcast'"):
        pipeline(puppet.frames[0], puppet.pose, GenerateConfig(steps=2))
