"""Which variant of a folder is read, and what configurations leave to their classes' defaults."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from transformers import CLIPVisionConfig

from aa_model.checkpoints.diffusers_folders import (
    _variant,
    first_folder,
    image_encoder_sizes,
    read_network,
    unet_sizes,
    vae_sizes,
)
from aa_model.errors import CheckpointError
from aa_model.networks.vae import make_vae
from aa_model.presets import TINY


@pytest.mark.parametrize(
    ("names", "variant"),
    [
        ([], None),
        (["diffusion_pytorch_model.safetensors"], None),
        (["diffusion_pytorch_model.fp16.safetensors"], "fp16"),
        (["diffusion_pytorch_model.fp16.bin", "diffusion_pytorch_model.safetensors"], None),
        (["model.non_ema.safetensors", "model.fp16.safetensors"], "fp16"),
        (
            ["model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"],
            "fp16",
        ),
        (["pytorch_model.fp16.bin"], "fp16"),
        (["model.fp16.msgpack", "notes.fp16.bin"], None),
    ],
)
def test_a_variant_is_read_where_there_is_nothing_else(
    tmp_path: Path, names: list[str], variant: str | None
) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert _variant(tmp_path) == variant


def _write(folder: Path, **row: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(row))
    return folder


def test_sizes_are_those_of_the_file_and_else_of_the_class(tmp_path: Path) -> None:
    old = unet_sizes(_write(tmp_path / "old", block_out_channels=[32, 64], cross_attention_dim=16,
                            down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"]))  # fmt: skip
    assert old.block_out_channels == (32, 64)
    assert old.attention == (True, False)
    assert (old.layers_per_block, old.norm_num_groups, old.num_heads) == (2, 32, 8)
    assert old.cross_attention_dim == 16
    new = unet_sizes(_write(tmp_path / "new", layers_per_block=1, norm_num_groups=4,
                            attention_head_dim=2))  # fmt: skip
    assert (new.layers_per_block, new.norm_num_groups, new.num_heads) == (1, 4, 2)
    assert new.block_out_channels == (320, 640, 1280, 1280)
    with pytest.raises(CheckpointError, match=r"attention_head_dim \[5, 10\]: expected one number"):
        unet_sizes(_write(tmp_path / "sdxl", attention_head_dim=[5, 10]))
    (tmp_path / "new/config.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        unet_sizes(tmp_path / "new")


def test_sizes_of_an_autoencoder_are_its_own() -> None:
    vae = replace(TINY.model.vae, scaling_factor=1.0)
    made = make_vae(replace(TINY.model, vae=vae))
    made.register_to_config(scaling_factor=0.25)
    assert vae_sizes(made) == replace(vae, scaling_factor=0.25)


def test_what_an_image_encoder_leaves_unsaid_is_the_presets(tmp_path: Path) -> None:
    config = CLIPVisionConfig(
        image_size=28, patch_size=7, hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
        hidden_act="gelu", intermediate_size=64,
    )  # fmt: skip
    like = TINY.model.image_encoder
    found = image_encoder_sizes(cast(Any, SimpleNamespace(config=config)), like)
    assert found == replace(
        like, image_size=28, patch_size=7, hidden_size=16, num_layers=3, num_heads=2,
        hidden_act="gelu", mlp_size=None, layer_norm_eps=None,
    )  # fmt: skip
    config.intermediate_size, config.layer_norm_eps = 60, 1e-3
    found = image_encoder_sizes(cast(Any, SimpleNamespace(config=config)), like)
    assert (found.mlp_size, found.layer_norm_eps) == (60, 1e-3)


def test_a_folder_is_found_by_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    _write(tmp_path / "b")
    _write(tmp_path / "c")
    assert first_folder(tmp_path, ["a", "b", "c"]) == tmp_path / "b"
    assert first_folder(tmp_path, ["a", "d"]) is None

    class Network:
        pass

    with pytest.raises(CheckpointError, match="a holds no Network: it has no"):
        read_network(Network, tmp_path / "a")
