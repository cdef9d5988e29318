"""Files in Moore-AnimateAnyone's format give the numbers of its own code (moore_numbers.json).

`make_moore_numbers.py` made those with that project's modules, pipeline and loss. Here the same
weights are written under its names, imported by the command, and run by this project.
"""

from __future__ import annotations

import dataclasses
import json
import math
import zlib
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from aa_datasets.loader.batch import EncodedFrames
from aa_model.checkpoints.animatediff import to_animatediff
from aa_model.checkpoints.moore import BASE, DENOISING, IMAGE_ENCODER, MOTION, POSE, REFERENCE, VAE
from aa_model.checkpoints.store import read_checkpoint, read_model
from aa_model.cli.model import main
from aa_model.config import GenerateConfig, ModelConfig, PoseGuiderConfig, UNetConfig
from aa_model.inference.denoise import denoise, encode_conditions
from aa_model.inference.image_input import to_pixels
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.noise_schedule import make_scheduler
from aa_model.networks.parts import part_parameters
from aa_model.networks.reference_net import make_unet2d
from aa_model.presets import MOORE
from aa_model.training import diffusion_loss
from aa_model.training.stages import STAGES, trained_parameters

NUMBERS = json.loads((Path(__file__).parent / "moore_numbers.json").read_text())
CONFIG = dataclasses.replace(
    MOORE.model,
    unet=UNetConfig((32, 32, 64, 64), (True, True, True, False), 1, norm_num_groups=32,
                    num_heads=8, cross_attention_dim=16),
    pose_guider=PoseGuiderConfig("controlnet", (4, 8, 8, 12), (2, 2, 2), unit_range=True),
)  # fmt: skip
H, W = 72, 104


def wave(name: str, *shape: int) -> Tensor:
    """As in make_moore_numbers.py."""
    place = torch.arange(math.prod(shape), dtype=torch.float64)
    mixed = torch.sin(place * 12.9898 + zlib.crc32(name.encode()) % 1000) * 43758.5453
    return (2 * (mixed - mixed.floor()) - 1).float().reshape(shape)


def weight(name: str, *shape: int) -> Tensor:
    if len(shape) == 1:
        return 0.1 * wave(name, *shape) + float(name.endswith("weight"))
    return wave(name, *shape) * math.sqrt(1 / math.prod(shape[1:]))


def digest(x: Tensor) -> list[float]:
    x = x.detach().flatten()
    return [float(v) for v in (x.mean(), x.std(), *x[:: len(x) // 4][:4])]


def close(found: Tensor, expected: list[float], tolerance: float) -> bool:
    return digest(found) == pytest.approx(expected, abs=tolerance)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `aa-model import --from moore` makes of the peer's folder."""
    folder, out = tmp_path_factory.mktemp("moore"), tmp_path_factory.mktemp("imported")
    with torch.device("meta"):
        model = AnimateAnyone(CONFIG, temporal=True)
    unet = part_parameters(model, "denoising_unet")
    ends = ("conv_norm_out.", "conv_out.")
    files = {
        REFERENCE: {n: p for n, p in unet.items() if not n.startswith(ends)},
        DENOISING: unet,
        POSE: part_parameters(model, "pose_guider"),
    }
    for file, named in files.items():
        stem = file.removesuffix(".pth")
        torch.save({n: weight(f"{stem}.{n}", *p.shape) for n, p in named.items()}, folder / file)
    motion = {
        n: t if n.endswith(".pe") else weight(f"motion_module.{n}", *t.shape)
        for n, t in to_animatediff(part_parameters(model, "temporal_layers"), 32).items()
    }
    torch.save(motion, folder / MOTION)
    make_unet2d(CONFIG).save_pretrained(folder / BASE)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4,
    )  # fmt: skip
    clip = CLIPVisionModelWithProjection(CLIPVisionConfig(
        image_size=224, patch_size=56, hidden_size=16, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, projection_dim=16, hidden_act="quick_gelu"))  # fmt: skip
    for network, name, place in ((vae, "vae", VAE), (clip, "image_encoder", IMAGE_ENCODER)):
        for key, parameter in network.named_parameters():
            parameter.data = weight(f"{name}.{key}", *parameter.shape)
        network.save_pretrained(folder / place)
    command = ["import", "--from", "moore", folder, "--out", out, "--beta-schedule", "linear"]
    assert main([str(argument) for argument in command]) == 0
    return out


def test_an_export_gives_the_same_files_back(checkpoint: Path, tmp_path: Path) -> None:
    command = ["export", checkpoint, "--to", "moore", "--out", tmp_path, "--dtype", "fp32"]
    assert main([str(argument) for argument in command]) == 0
    for file in (REFERENCE, DENOISING, POSE, MOTION):
        stem = file.removesuffix(".pth")
        found = torch.load(tmp_path / file, weights_only=True)
        for name, tensor in found.items():
            if not name.endswith(".pe"):
                assert torch.equal(tensor, weight(f"{stem}.{name}", *tensor.shape)), name


@torch.no_grad()
def test_modules_give_the_peers_numbers(checkpoint: Path) -> None:
    model = read_model(checkpoint)
    tokens = wave("tokens", 2, 1, 16)
    features = model.reference_net(wave("reference", 2, 4, 9, 13), tokens)
    assert len(features) == len(NUMBERS["features"]) == 10
    for layer, expected in NUMBERS["features"].items():
        assert close(features[f"{layer}.attn1"], expected, 1e-5), layer
    pictures = wave("pose", 1, 3, 2, H, W).transpose(1, 2)
    assert close(model.pose_features(pictures), NUMBERS["pose guider"], 1e-5)
    latents = wave("latents", 2, 4, 5, 9, 13).transpose(1, 2)
    pose = wave("pose features", 2, 32, 5, 9, 13).transpose(1, 2)
    timesteps, nobody = torch.tensor([981, 401]), (None, None)
    for case, arguments in (
        ("all", (pose, features, (0, 1))),
        ("no pose", (None, features, (0, 1))),
        ("no reference", (pose, {}, nobody)),
    ):
        assert close(model(latents, timesteps, tokens, *arguments), NUMBERS[case], 1e-5), case


@pytest.mark.parametrize("case", list(NUMBERS["latents"]))
def test_four_ddim_steps_give_the_peers_latents(checkpoint: Path, case: str) -> None:
    """From pictures on: VAE, image encoder, guider, guidance, and windows that go round the end."""
    model = read_model(checkpoint)
    T, window, overlap = (int(word) for word in case.split()[:3])
    pictures = ((wave("pictures", T + 1, H, W, 3) + 1) * 127.5).round().to(torch.uint8).numpy()
    with torch.no_grad():
        pixels = to_pixels(pictures)
        conditions = encode_conditions(model, pixels[0], pixels[1:])
    config = GenerateConfig(
        steps=4, guidance=float(case.split()[3]), window=window, overlap=overlap, merge="wrapped"
    )
    found = digest(denoise(model, conditions, config))
    assert found == pytest.approx(NUMBERS["latents"][case], abs=2e-4)


@pytest.mark.parametrize("stage", ["1", "2"])
def test_a_training_step_gives_the_peers_loss_and_gradients(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """With its draws: v-prediction, zero terminal SNR, min-SNR, noise offset."""
    T = {"1": 1, "2": 4}[stage]
    config: ModelConfig = read_checkpoint(checkpoint).model
    noise = dataclasses.replace(config.noise, beta_schedule="scaled_linear")
    model = read_model(checkpoint)
    if stage == "1":
        single = AnimateAnyone(config)
        single.load_state_dict(model.state_dict(), strict=False)
        model = single
    trained = trained_parameters(model, STAGES[stage])
    drawn = 2 * wave("train noise", 2, 4, T, 9, 13) + 0.05 * wave("offset", 2, 4, 1, 1, 1)
    monkeypatch.setattr(diffusion_loss, "draw_timesteps", lambda *_: torch.tensor([999, 400]))
    monkeypatch.setattr(diffusion_loss, "make_noise", lambda *_: drawn.transpose(1, 2))
    target = wave("train latents", 2, 4, T, 9, 13).transpose(1, 2)
    reference = wave("train reference", 2, 4, 9, 13)
    pose = wave("train pose", 2, 3, T, H, W).transpose(1, 2)
    videos = diffusion_loss.Videos(
        target=pose,
        pose=pose,
        reference=pose[:, 0],
        latents=EncodedFrames(
            reference_moments=_moments(reference, config),
            target_moments=_moments(target, config),
            reference_tokens=wave("train tokens", 2, 1, 16),
        ),
    )
    training = dataclasses.replace(MOORE.training[stage], reference_drop=0.0)
    loss = diffusion_loss.diffusion_loss(
        model, make_scheduler(noise), model.encode, training, videos, torch.Generator()
    )
    loss.backward()
    expected = NUMBERS[f"stage {stage}"]
    assert loss.item() == pytest.approx(expected["loss"], abs=1e-5)
    for name, norm in expected["grad_norms"].items():
        assert trained[_our_name(name)].grad.norm().item() == pytest.approx(norm, rel=1e-4), name


def _moments(latents: Tensor, config: ModelConfig) -> Tensor:
    mean = latents / config.vae.scaling_factor
    return torch.cat([mean, torch.zeros_like(mean)], dim=-3)


def _our_name(name: str) -> str:
    for theirs, ours in (
        ("reference_unet.", "reference_net."),
        ("motion_module.", "temporal_layers."),
        (".temporal_transformer.", "."),
        (".attention_blocks.1.", ".attn2."),
    ):
        name = name.replace(theirs, ours)
    return name
