"""Moore-AnimateAnyone's four-file format: made here of diffusers' own networks, read, written."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor

from aa_model.checkpoints.animatediff import to_animatediff
from aa_model.checkpoints.moore import DENOISING, MOTION, POSE, REFERENCE
from aa_model.checkpoints.store import read_checkpoint, read_model, write_checkpoint
from aa_model.cli.model import main
from aa_model.config import PoseGuiderConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.noise_schedule import make_scheduler
from aa_model.networks.parts import part_parameters, parts_of
from aa_model.networks.reference_net import make_unet2d
from aa_model.presets import MOORE, PRESETS, TINY

Make = Callable[..., AnimateAnyone]
# Other sizes than any preset's, three levels, the last without attention, as in SD 1.5.
CONFIG = dataclasses.replace(
    TINY.model,
    unet=dataclasses.replace(TINY.model.unet, block_out_channels=(16, 32, 32),
                             attention=(True, True, False), num_heads=4),
    temporal=dataclasses.replace(TINY.model.temporal, max_frames=32),
    pose_guider=PoseGuiderConfig("controlnet", (4, 8, 12), (2, 2), unit_range=True, face=True),
    noise=MOORE.model.noise,
)  # fmt: skip


@pytest.fixture
def peer(tmp_path: Path) -> tuple[Path, AnimateAnyone]:
    """A folder as the peer's scripts leave it, and the network it holds."""
    torch.manual_seed(11)
    model = AnimateAnyone(CONFIG, temporal=True)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    folder = tmp_path / "peer"
    reference = {n.removeprefix("unet."): p for n, p in model.reference_net.named_parameters()}
    unet = part_parameters(model, "denoising_unet")
    torch.save({n: p.detach().clone() for n, p in unet.items()}, _in(folder, DENOISING))
    ends = ("conv_norm_out.", "conv_out.")
    kept = {n: p.detach().clone() for n, p in reference.items() if not n.startswith(ends)}
    torch.save(kept, _in(folder, REFERENCE))
    torch.save(model.pose_guider.state_dict(), _in(folder, POSE))
    layers = {n: p.detach() for n, p in part_parameters(model, "temporal_layers").items()}
    torch.save(to_animatediff(layers, 32), _in(folder, MOTION))
    make_unet2d(CONFIG).save_pretrained(folder / "stable-diffusion-v1-5" / "unet")
    model.vae.save_pretrained(folder / "sd-vae-ft-mse")
    model.image_encoder.clip.save_pretrained(folder / "image_encoder")
    return folder, model.eval()


def _in(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    return folder / name


@torch.no_grad()
def predict(model: AnimateAnyone) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    pictures = torch.rand(4, 3, 32, 32, generator=generator)
    latents = model.encode(pictures)
    tokens = model.image_encoder(pictures[:1])
    pose = model.pose_features(pictures[None, 1:])
    features = model.reference_net(latents[:1], tokens)
    return model(latents[None, 1:], torch.tensor([500]), tokens, pose, features, (0,))


def run_import(folder: Path, out: Path, *more: object) -> int:
    command = ["import", "--from", "moore", folder, "--out", out, *more]
    return main([str(argument) for argument in command])


def test_what_is_read_predicts_what_was_written(
    peer: tuple[Path, AnimateAnyone], tmp_path: Path
) -> None:
    folder, model = peer
    assert run_import(folder, tmp_path / "ours") == 0
    found = read_model(tmp_path / "ours")
    model.set_scaling_factor(found.config.vae.scaling_factor)
    for field in ("unet", "temporal", "pose_guider", "vae", "noise"):
        expected = getattr(model.config, field)
        if field == "temporal":  # heads and frames are in no file: the preset's
            of = MOORE.model.temporal
            expected = dataclasses.replace(
                expected, num_heads=of.num_heads, trained_frames=of.trained_frames
            )
        assert getattr(found.config, field) == expected
    for part in parts_of(CONFIG):
        expected_parameters = part_parameters(model, part)
        for name, parameter in part_parameters(found, part).items():
            assert torch.equal(parameter, expected_parameters[name]), f"{part}.{name}"


def test_musepose_brings_its_longer_table_of_positions(
    peer: tuple[Path, AnimateAnyone], tmp_path: Path
) -> None:
    folder, model = peer
    layers = {n: p.detach() for n, p in part_parameters(model, "temporal_layers").items()}
    torch.save(to_animatediff(layers, 128), folder / MOTION)
    command = ["import", "--from", "musepose", folder, "--out", tmp_path / "ours"]
    assert main([str(argument) for argument in command]) == 0
    found = read_model(tmp_path / "ours").config
    assert found.temporal.max_frames == 128
    assert (found.preset, found.noise) == ("musepose", PRESETS["musepose"].model.noise)


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_export_and_import_come_back_to_the_same_network(
    peer: tuple[Path, AnimateAnyone], tmp_path: Path, dtype: str
) -> None:
    _, model = peer
    write_checkpoint(tmp_path / "ours", model, dict.fromkeys(parts_of(TINY.model), "a test"))
    out = tmp_path / "moore"
    command = ["export", tmp_path / "ours", "--to", "moore", "--out", out, "--dtype", dtype]
    assert main([str(argument) for argument in command]) == 0
    assert run_import(out, tmp_path / "again", "--preset", "tiny") == 0  # tiny has 2 heads as well
    again = read_model(tmp_path / "again")
    expected, found = predict(model), predict(again)
    assert torch.allclose(found, expected, atol=1e-5 if dtype == "fp32" else 2e-2)
    # Every file holds weights alone, and the reference file ends before conv_norm_out.
    files = {name: torch.load(out / name, weights_only=True) for name in
             (REFERENCE, DENOISING, POSE, MOTION)}  # fmt: skip
    plain = set(make_unet2d(CONFIG).state_dict())
    assert set(files[DENOISING]) == plain
    assert plain - set(files[REFERENCE]) == {
        f"{layer}.{kind}" for layer in ("conv_norm_out", "conv_out") for kind in ("weight", "bias")
    }
    assert UNet2DConditionModel.from_pretrained(out / "stable-diffusion-v1-5" / "unet")
    assert AutoencoderKL.from_pretrained(out / "sd-vae-ft-mse")


def test_the_exported_settings_are_the_schedule_of_training(
    peer: tuple[Path, AnimateAnyone], tmp_path: Path
) -> None:
    _, model = peer
    write_checkpoint(tmp_path / "ours", model, dict.fromkeys(parts_of(TINY.model), "a test"))
    command = ["export", str(tmp_path / "ours"), "--to", "moore", "--out", str(tmp_path / "m")]
    assert main(command) == 0
    settings = json.loads((tmp_path / "m" / "inference.yaml").read_text())
    theirs = DDIMScheduler(**settings["noise_scheduler_kwargs"])
    ours = make_scheduler(model.config.noise)
    assert torch.equal(theirs.alphas_cumprod, ours.alphas_cumprod)
    assert theirs.config == ours.config
    motion = settings["unet_additional_kwargs"]["motion_module_kwargs"]
    assert motion["temporal_position_encoding_max_len"] == 32


def test_the_schedule_is_the_presets_and_can_be_the_published_one(
    peer: tuple[Path, AnimateAnyone], tmp_path: Path
) -> None:
    folder, _ = peer
    assert run_import(folder, tmp_path / "a") == 0
    assert run_import(folder, tmp_path / "b", "--beta-schedule", "linear") == 0
    a, b = (read_checkpoint(tmp_path / name).model.noise for name in "ab")
    assert (a.beta_schedule, b.beta_schedule) == ("scaled_linear", "linear")
    assert a.zero_terminal_snr
    assert a.prediction_type == "v_prediction"


@pytest.mark.parametrize("name", [REFERENCE, DENOISING, POSE, MOTION])
def test_missing_surplus_and_misshapen_tensors_are_named(
    peer: tuple[Path, AnimateAnyone], tmp_path: Path, name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder, _ = peer
    tensors = torch.load(folder / name, weights_only=True)
    names = [n for n in sorted(tensors) if n.endswith("bias") and "up_blocks.2.att" not in n]
    gone, bent = (names[0], names[1])
    del tensors[gone]
    tensors[bent] = torch.zeros(3)
    surplus = "mid_block.motion_modules.0.extra" if name == MOTION else "extra"
    tensors[surplus] = torch.zeros(1)
    torch.save(tensors, folder / name)
    assert run_import(folder, tmp_path / "out") == 2
    error = capsys.readouterr().err
    error = error.splitlines()[-1]  # before it: how far transformers has read
    assert error.startswith("aa-model: error: ")
    assert f"{name} is of another network: missing " in error
    assert f"surplus {surplus}" in error
    assert " is [3] instead of [" in error
    assert not (tmp_path / "out").exists()


def test_a_pickle_that_would_run_code_is_refused(
    peer: tuple[Path, AnimateAnyone], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = peer
    torch.save({"weight": Path}, folder / POSE)
    assert run_import(folder, tmp_path / "out") == 2
    assert f"{POSE} cannot be read as weights alone" in capsys.readouterr().err
    (folder / POSE).unlink()
    assert run_import(folder, tmp_path / "out") == 2
    assert f"{POSE} is missing" in capsys.readouterr().err


def test_a_network_that_the_format_cannot_hold_is_refused(
    make_tiny: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for guider, fault in (
        (PoseGuiderConfig("paper", (8, 8), (2, 2)), "pose guider layout 'paper'"),
        (TINY.model.pose_guider, "a pose guider that is fed in [-1, 1], not [0, 1]"),
    ):
        model = AnimateAnyone(dataclasses.replace(TINY.model, pose_guider=guider), temporal=True)
        write_checkpoint(tmp_path / "ours", model, dict.fromkeys(parts_of(TINY.model), "a test"))
        command = ["export", str(tmp_path / "ours"), "--to", "moore", "--out", str(tmp_path / "m")]
        assert main(command) == 2
        assert fault in capsys.readouterr().err


def test_names_and_counts_at_full_size_are_those_of_the_published_files() -> None:
    """682, 686, 16 and 588 tensors; 21 motion modules with 28 tensors each (on meta tensors)."""
    with torch.device("meta"):
        model = AnimateAnyone(MOORE.model, temporal=True)
    unet = set(part_parameters(model, "denoising_unet"))
    assert len(unet) == 686
    ends = {n for n in unet if n.startswith(("conv_norm_out.", "conv_out."))}
    assert len(unet - ends) == 682
    assert set(part_parameters(model, "reference_net")) < unet - ends
    guider = set(part_parameters(model, "pose_guider"))
    layers = ("conv_in", *(f"blocks.{i}" for i in range(6)), "conv_out")
    assert guider == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    motion = to_animatediff(part_parameters(model, "temporal_layers"), 32)
    assert len(motion) == 588
    blocks = Counter(n.partition(".temporal_transformer.")[0] for n in motion)
    expected = [f"down_blocks.{i}.motion_modules.{j}" for i in range(4) for j in range(2)]
    expected += ["mid_block.motion_modules.0"]
    expected += [f"up_blocks.{i}.motion_modules.{j}" for i in range(4) for j in range(3)]
    assert dict(blocks) == dict.fromkeys(expected, 28)
    inside = {n.partition(".temporal_transformer.")[2] for n in motion}
    attention = ("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight", "to_out.0.bias",
                 "pos_encoder.pe")  # fmt: skip
    both = ("weight", "bias")
    block = "transformer_blocks.0."
    assert inside == {
        *(f"{layer}.{kind}" for layer in ("norm", "proj_in", "proj_out") for kind in both),
        *(f"{block}attention_blocks.{i}.{name}" for i in (0, 1) for name in attention),
        *(f"{block}norms.{i}.{kind}" for i in (0, 1) for kind in both),
        *(f"{block}ff.net.{i}.{kind}" for i in ("0.proj", "2") for kind in both),
        *(f"{block}ff_norm.{kind}" for kind in both),
    }


def test_encoder_and_vae_may_lie_elsewhere(
    peer: tuple[Path, AnimateAnyone], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = peer
    for name in ("image_encoder", "sd-vae-ft-mse"):
        (folder / name).rename(tmp_path / name)
    assert run_import(folder, tmp_path / "out") == 2
    assert "sd-vae-ft-mse holds no AutoencoderKL" in capsys.readouterr().err
    places = ["--vae", tmp_path / "sd-vae-ft-mse", "--image-encoder", tmp_path / "image_encoder"]
    assert run_import(folder, tmp_path / "out", *places) == 0


def test_an_export_gives_back_what_was_imported_bit_for_bit(
    peer: tuple[Path, AnimateAnyone], tmp_path: Path
) -> None:
    """Tables of positions included: their authors' torch rounded some sines in another way."""
    folder, _ = peer
    motion = torch.load(folder / MOTION, weights_only=True)
    tables = [name for name in motion if name.endswith("pos_encoder.pe")]
    assert tables
    for name in tables[::2]:
        motion[name] = motion[name] + 9.5e-7
    torch.save(motion, folder / MOTION)
    assert run_import(folder, tmp_path / "ours") == 0
    command = ["export", str(tmp_path / "ours"), "--to", "moore", "--dtype", "fp32"]
    assert main([*command, "--out", str(tmp_path / "back")]) == 0
    for name in (REFERENCE, DENOISING, POSE, MOTION):
        was, now = (torch.load(f / name, weights_only=True) for f in (folder, tmp_path / "back"))
        assert was.keys() == now.keys()
        assert all(torch.equal(tensor, now[key]) for key, tensor in was.items()), name
