"""Stable Diffusion's layout, written by diffusers and transformers themselves, is read whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from aa_model.checkpoints.diffusers_folders import unet_sizes
from aa_model.checkpoints.store import load_part, read_checkpoint
from aa_model.cli.model import main
from aa_model.errors import CheckpointError
from aa_model.networks.image_encoder import ImageEncoder
from aa_model.networks.reference_net import make_unet2d
from aa_model.networks.vae import make_vae
from aa_model.presets import TINY
from aa_model.training.autoencoder_loss import random_crops
from aa_model.training.run_folder import Origin, make_model
from aa_model.training.stages import STAGES


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    torch.manual_seed(5)
    make_unet2d(TINY.model).save_pretrained(tmp_path / "sd" / "unet")
    make_vae(TINY.model).save_pretrained(tmp_path / "sd" / "vae")
    ImageEncoder(TINY.model).clip.save_pretrained(tmp_path / "clip")
    return tmp_path / "sd", tmp_path / "clip"


def test_heads_that_differ_between_levels_are_of_another_network(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"attention_head_dim": [5, 10, 20, 20]}')
    with pytest.raises(CheckpointError, match=r"\[5, 10, 20, 20\]: expected one number"):
        unet_sizes(tmp_path)
    (tmp_path / "config.json").write_text('{"attention_head_dim": 8}')
    assert unet_sizes(tmp_path).num_heads == 8


def test_both_unets_start_from_it_and_the_frozen_parts_are_its_own(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ["import-sd", "--preset", "tiny", "--sd", str(folders[0])]
    assert main([*command, "--image-encoder", str(folders[1]), "--out", str(out)]) == 0
    assert (
        read_checkpoint(out).model.vae.scaling_factor == 0.18215
    )  # diffusers' default, stored by it
    model = make_model(TINY.model, STAGES["1"], Origin.of(STAGES["1"], [out]), seed=0)
    load_part(model, out, "denoising_unet")
    expected = make_unet2d(TINY.model).from_pretrained(folders[0] / "unet")
    inputs = torch.randn(1, 4, 8, 8), 7, torch.randn(1, 1, 16)
    for unet in (model.denoising_unet, model.reference_net.unet):
        for name, parameter in expected.named_parameters():
            if f"unet.{name}" not in model.reference_net.unused_parameters():
                assert torch.equal(unet.get_parameter(name), parameter), name
    assert torch.allclose(model.denoising_unet(*inputs).sample, expected(*inputs).sample, atol=1e-6)


def test_a_folder_without_the_network_is_one_line(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["import-sd", "--preset", "tiny", "--sd", str(tmp_path), "--image-encoder"]
    assert main([*command, str(folders[1]), "--out", str(tmp_path / "o")]) == 2
    assert "holds no UNet2DConditionModel" in capsys.readouterr().err
    unet = replace(TINY.model.unet, cross_attention_dim=24)
    ImageEncoder(replace(TINY.model, unet=unet)).clip.save_pretrained(tmp_path / "wide")
    command = ["import-sd", "--preset", "tiny", "--sd", str(folders[0]), "--image-encoder"]
    assert main([*command, str(tmp_path / "wide"), "--out", str(tmp_path / "o")]) == 2
    assert "is of another network" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["unet", "vae", "clip"])
def test_missing_surplus_and_misshapen_tensors_are_named(
    folders: tuple[Path, Path], tmp_path: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """diffusers and transformers would only warn, and go on with random weights."""
    folder = folders[1] if part == "clip" else folders[0] / part
    (file,) = folder.glob("*.safetensors")
    whole = load_file(file)
    name = next(n for n in sorted(whole) if whole[n].dim() == 2)
    command = ["import-sd", "--preset", "tiny", "--sd", str(folders[0])]
    command += ["--image-encoder", str(folders[1]), "--out", str(tmp_path / "out")]
    for fault, tensors in {
        f"missing {name}": {n: t for n, t in whole.items() if n != name},
        "surplus extra.weight": {**whole, "extra.weight": torch.zeros(2)},
        name: {**whole, name: torch.zeros(1, 1)},
    }.items():
        save_file(tensors, file, metadata={"format": "pt"})
        assert main(command) == 2
        assert fault in capsys.readouterr().err.splitlines()[-1]
    save_file(whole, file, metadata={"format": "pt"})
    assert main(command) == 0


def test_random_crops_are_windows_of_their_pictures() -> None:
    pictures = torch.arange(4 * 3 * 10 * 12.0).view(4, 3, 10, 12)
    crops = random_crops(pictures, 8, torch.Generator().manual_seed(0))
    for picture, crop in zip(pictures, crops, strict=True):
        windows = picture.unfold(1, 8, 1).unfold(2, 8, 1)  # [3, 3, 5, 8, 8]
        assert (windows == crop[:, None, None]).all(-1).all(-1).all(0).any()
    whole = random_crops(pictures, 16, torch.Generator())
    assert torch.equal(whole, pictures)
