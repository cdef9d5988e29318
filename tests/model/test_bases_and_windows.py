"""What a checkpoint says of its training: bases say nothing of size and schedule; windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import (
    MotionAdapter,
    PyramidAttentionBroadcastConfig,
    apply_pyramid_attention_broadcast,
)
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from aa_datasets.puppets.render import render_puppet
from aa_model.checkpoints.animatediff import import_animatediff
from aa_model.checkpoints.stable_diffusion import import_stable_diffusion
from aa_model.checkpoints.store import load_part, read_checkpoint, read_part, resolve_config
from aa_model.config import GenerateConfig, ModelConfig, from_json, to_json
from aa_model.errors import ModelError
from aa_model.inference.denoise import window_of
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
    assert window_of(model.config, GenerateConfig(), temporal=True) == 8  # unknown: the table
    model.set_trained_frames(4)
    assert window_of(model.config, GenerateConfig(), temporal=True) == 4
    assert window_of(model.config, GenerateConfig(window=7), temporal=True) == 7
    windows = {n: PRESETS[n].model.temporal.window for n in ("paper", "moore", "musepose")}
    assert windows == {"paper": 24, "moore": 24, "musepose": 48}


def test_caches_of_diffusers_that_would_mix_the_guided_passes_are_refused(make_tiny: Make) -> None:
    pipeline = AnimatePipeline.from_model(make_tiny(temporal=True))
    puppet = render_puppet(1, 1, num_frames=2, size_hw=(32, 32))
    config = PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500
    )
    apply_pyramid_attention_broadcast(pipeline.model.denoising_unet, config)
    with pytest.raises(ModelError, match="cache hook 'pyramid_attention_broadcast'"):
        pipeline(puppet.frames[0], puppet.pose, GenerateConfig(steps=2))


def test_unet_and_vae_elsewhere_and_half_precision_variants_are_read(tmp_path: Path) -> None:
    sd, clip = write_base(tmp_path)
    import_stable_diffusion(TINY.model, sd, clip, tmp_path / "whole")
    (sd / "vae").rename(tmp_path / "sd-vae-ft-mse")
    parts = {"unet_folder": sd / "unet", "vae_folder": tmp_path / "sd-vae-ft-mse"}
    import_stable_diffusion(TINY.model, None, clip, tmp_path / "parts", **parts)
    whole, apart = (read_checkpoint(tmp_path / name).parts for name in ("whole", "parts"))
    assert {p: r.sha256 for p, r in whole.items()} == {p: r.sha256 for p, r in apart.items()}
    assert apart["vae"].made_by == "imported from sd-vae-ft-mse"
    assert whole["denoising_unet"].made_by == "imported from sd"
    with pytest.raises(ModelError, match="give --sd DIR with unet/ and vae/, or both"):
        import_stable_diffusion(TINY.model, None, clip, tmp_path / "no", unet_folder=sd / "unet")
    unet = make_unet2d(TINY.model).from_pretrained(sd / "unet")
    unet.half().save_pretrained(tmp_path / "half" / "unet", variant="fp16")
    parts["unet_folder"] = tmp_path / "half" / "unet"
    import_stable_diffusion(TINY.model, None, clip, tmp_path / "half-start", **parts)
    tensors = read_part(tmp_path / "half-start", "denoising_unet")[1]
    expected = read_part(tmp_path / "whole", "denoising_unet")[1]
    assert all(torch.allclose(t, expected[n], atol=1e-3) for n, t in tensors.items())


def test_the_motion_adapter_of_diffusers_is_read(tmp_path: Path) -> None:
    unet = TINY.model.unet
    adapter = MotionAdapter(
        block_out_channels=unet.block_out_channels, motion_layers_per_block=1,
        motion_num_attention_heads=2, motion_norm_num_groups=unet.norm_num_groups,
        motion_max_seq_length=16, use_motion_mid_block=False,
    )  # fmt: skip
    adapter.save_pretrained(tmp_path / "adapter")
    import_animatediff(TINY.model, tmp_path / "adapter", tmp_path / "out")
    config = read_checkpoint(tmp_path / "out").model
    assert (config.temporal.max_frames, config.temporal.mid_block) == (16, False)
    found = read_part(tmp_path / "out", "temporal_layers")[1]
    expected = dict(adapter.named_parameters())
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
