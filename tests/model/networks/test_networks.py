"""ReferenceNet, pose guider and temporal layers against diffusers' plain networks."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import nn

from aa_model.config import PoseGuiderConfig
from aa_model.errors import ConfigError, ModelError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.pose_guider import ConvInWithPose, PaperPoseGuider, make_pose_guider
from aa_model.networks.reference_net import ReferenceNet, make_unet2d
from aa_model.networks.temporal import (
    PerFrameGroupNorm,
    _quiet_about_float32,
    add_temporal_layers,
)
from aa_model.presets import PAPER, PRESETS, SMALL, TINY

MakeModel = Callable[..., AnimateAnyone]


@torch.no_grad()
def test_with_everything_off_each_frame_is_a_plain_diffusers_unet(make_tiny: MakeModel) -> None:
    model = make_tiny(temporal=True, fresh=True)
    plain = make_unet2d(model.config)
    plain.load_state_dict(
        {n: p for n, p in model.denoising_unet.state_dict().items() if n in plain.state_dict()}
    )
    torch.manual_seed(3)
    latents, tokens = torch.randn(2, 3, 4, 8, 8), torch.randn(2, 1, 16)
    timesteps = torch.tensor([1, 700])
    pose = model.pose_features(torch.randn(2, 3, 3, 32, 32))
    found = model(latents, timesteps, tokens, pose, {}, (None, None))
    for video in range(2):
        for frame in range(3):
            expected = plain(
                latents[video, frame][None], timesteps[video], tokens[video][None]
            ).sample[0]
            assert torch.allclose(found[video, frame], expected, atol=1e-5)


@torch.no_grad()
def test_stage_2_starts_equal_to_stage_1(make_tiny: MakeModel) -> None:
    stage_1 = make_tiny()
    torch.manual_seed(4)
    latents, tokens = torch.randn(3, 1, 4, 8, 8), torch.randn(1, 1, 16)
    pose = stage_1.pose_features(torch.randn(3, 1, 3, 32, 32))
    features = stage_1.reference_net(torch.randn(1, 4, 8, 8), tokens)
    timesteps = torch.full((3,), 400)
    expected = stage_1(latents, timesteps, tokens.expand(3, -1, -1), pose, features, (0, 0, 0))
    stage_1.add_temporal_layers()
    as_video = (latents[:, 0][None], timesteps[:1], tokens, pose[:, 0][None], features, (0,))
    assert torch.allclose(stage_1(*as_video)[0], expected[:, 0], atol=1e-5)


@torch.no_grad()
def test_trained_temporal_layers_mix_frames(make_tiny: MakeModel) -> None:
    model = make_tiny(temporal=True)
    torch.manual_seed(5)
    latents, tokens = torch.randn(1, 4, 4, 8, 8), torch.randn(1, 1, 16)
    before = model(latents, torch.tensor([9]), tokens, None, {}, (None,))
    latents[:, 3] += 1
    after = model(latents, torch.tensor([9]), tokens, None, {}, (None,))
    assert (before[:, 0] - after[:, 0]).abs().max() > 1e-4


def test_temporal_norm_sees_one_frame_at_a_time() -> None:
    torch.manual_seed(6)
    norm = PerFrameGroupNorm(4, 16)
    nn.init.normal_(norm.weight)
    video = torch.randn(2, 16, 5, 3, 3)
    plain = nn.GroupNorm(4, 16)
    plain.load_state_dict(norm.state_dict())
    expected = torch.stack([plain(video[:, :, t]) for t in range(5)], dim=2)
    assert torch.allclose(norm(video), expected, atol=1e-6)
    assert not torch.allclose(plain(video), expected, atol=1e-2)  # what diffusers does


def test_temporal_layers_come_to_the_unet_without_a_copy_of_it() -> None:
    """Trap T15: diffusers' from_unet2d copies every weight; SD-1.5's are 3.4 GB."""
    unet = make_unet2d(TINY.model)
    theirs = {p.data_ptr() for p in unet.parameters()}
    motion_unet = add_temporal_layers(unet, TINY.model)
    ours = {n: p.data_ptr() for n, p in motion_unet.named_parameters() if ".motion_" not in n}
    assert set(ours.values()) == theirs
    assert all(p.requires_grad and not p.is_meta for p in motion_unet.parameters())
    assert not any(buffer.is_meta for buffer in motion_unet.buffers())


def test_every_motion_module_has_that_norm() -> None:
    unet = add_temporal_layers(make_unet2d(TINY.model), TINY.model)
    modules = [m for m in unet.modules() if isinstance(m, AnimateDiffTransformer3D)]
    assert len(modules) == 7  # 2 down, 1 middle, 4 up
    assert all(isinstance(m.norm, PerFrameGroupNorm) for m in modules)


def test_diffusers_is_quiet_while_layers_are_added_and_as_loud_as_before_then(
    make_tiny: MakeModel,
) -> None:
    logger = logging.getLogger("diffusers.models.modeling_utils")
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        make_tiny(temporal=True)
        assert logger.level == logging.INFO
        with _quiet_about_float32():
            assert logger.level == logging.ERROR
    finally:
        logger.setLevel(level)


def test_single_frame_networks_refuse_videos(make_tiny: MakeModel) -> None:
    with pytest.raises(ModelError, match="without temporal layers"):
        make_tiny()(torch.zeros(1, 2, 4, 8, 8), torch.tensor([1]), None, None, {}, (None,))


@pytest.mark.parametrize("preset", ["tiny", "small", "paper"])
def test_tensors_behind_the_last_feature_are_exactly_those_without_gradient(preset: str) -> None:
    config = PRESETS[preset].model
    if preset == "paper":  # too large to run here: the count of the facts, on meta tensors
        with torch.device("meta"):
            net = ReferenceNet(make_unet2d(config))
        assert len(net.layers) == 16
        assert len(net.unused_parameters()) == 24
        return
    net = ReferenceNet(make_unet2d(config))
    latents = torch.randn(1, config.vae.latent_channels, *config.latent_hw)
    features = net(latents, torch.randn(1, 1, config.unet.cross_attention_dim))
    sum(f.square().sum() for f in features.values()).backward()
    without = {name for name, p in net.named_parameters() if p.grad is None}
    assert without == net.unused_parameters()
    assert len(without) == 24


def test_features_carry_the_names_of_the_denoising_layers(make_tiny: MakeModel) -> None:
    model = make_tiny(temporal=True)
    features = model.reference_net(torch.randn(1, 4, 8, 8), torch.randn(1, 1, 16))
    for name, feature in features.items():
        layer = model.denoising_unet.get_submodule(name)
        assert feature.shape[-1] == layer.to_k.in_features


@pytest.mark.parametrize(
    ("config", "channels"),
    [(TINY.model, 16), (SMALL.model, 48), (PAPER.model, 4)],
    ids=["tiny", "small", "paper"],
)
def test_pose_guider_starts_at_zero_and_fits_the_latents(config: object, channels: int) -> None:
    config = dataclasses.replace(config, size_hw=(64, 128))
    found = make_pose_guider(config)(torch.randn(2, 3, 64, 128))
    assert found.shape == (2, channels, *config.latent_hw)
    assert not found.any()


@torch.no_grad()
def test_a_guider_of_the_unit_range_is_fed_black_as_zero(make_tiny: MakeModel) -> None:
    """As Moore-AnimateAnyone feeds its pose guider, and ControlNets are fed."""
    model = make_tiny()
    guider = dataclasses.replace(TINY.model.pose_guider, unit_range=True)
    pictures = torch.rand(1, 2, 3, 32, 32)
    expected = model.pose_features(pictures)
    model.config = dataclasses.replace(TINY.model, pose_guider=guider)
    assert torch.allclose(model.pose_features(2 * pictures - 1), expected, atol=1e-6)


def test_pose_features_are_added_behind_conv_in() -> None:
    conv = ConvInWithPose(4, 16, 3, padding=1)
    latents, pose = torch.randn(2, 4, 8, 8), torch.randn(2, 16, 8, 8)
    alone = nn.functional.conv2d(latents, conv.weight, conv.bias, padding=1)
    assert torch.equal(conv(latents), alone)
    assert torch.allclose(conv(torch.cat([latents, pose], 1)), alone + pose, atol=1e-6)


@torch.no_grad()
def test_paper_layout_adds_the_pose_to_the_noise_latent() -> None:
    guider = PoseGuiderConfig("paper", (8, 8, 8), (2, 2, 1))
    model = AnimateAnyone(dataclasses.replace(TINY.model, pose_guider=guider)).eval()
    latents, tokens = torch.randn(1, 1, 4, 8, 8), torch.randn(1, 1, 16)
    pose = torch.randn(1, 1, 4, 8, 8)
    timestep = torch.tensor([77])
    assert torch.equal(
        model(latents, timestep, tokens, pose, {}, (None,)),
        model(latents + pose, timestep, tokens, None, {}, (None,)),
    )


@torch.no_grad()
def test_the_papers_guider_is_four_by_four_convolutions_of_small_gaussian_weights() -> None:
    torch.manual_seed(0)
    guider = PaperPoseGuider((16, 32, 64, 128), (2, 2, 2, 1), 4)
    kernels = [conv.weight for conv in guider.convs]
    assert [tuple(k.shape) for k in kernels] == [
        (16, 3, 4, 4), (32, 16, 4, 4), (64, 32, 4, 4), (128, 64, 4, 4)
    ]  # fmt: skip
    for kernel, conv in zip(kernels, guider.convs, strict=True):
        assert kernel.std().item() == pytest.approx(0.02, rel=0.1)
        assert not conv.bias.any()
    nn.init.normal_(guider.proj_out.weight)
    x = pose = torch.randn(1, 3, 32, 48)
    for conv in guider.convs:
        stride = conv.stride[0]
        before, after = (1, 1) if stride == 2 else (1, 2)
        x = nn.functional.pad(x, (before, after, before, after))
        x = nn.functional.silu(nn.functional.conv2d(x, conv.weight, stride=stride))
    assert torch.allclose(guider(pose), nn.functional.conv2d(x, guider.proj_out.weight), atol=1e-5)
    assert guider(pose).shape == (1, 4, 4, 6)
    with pytest.raises(ConfigError, match="one stride per convolution"):
        PaperPoseGuider((16, 32), (2,), 4)


@pytest.mark.parametrize(("channels", "strides"), [((16, 32), (2, 2)), ((16, 32, 48), (2, 1))])
def test_the_controlnet_guider_halves_between_its_channels(
    channels: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    guider = PoseGuiderConfig("controlnet", channels, strides)
    config = SimpleNamespace(pose_guider=guider, unet=TINY.model.unet, vae=TINY.model.vae)
    with pytest.raises(ConfigError, match="give one stride of 2 less than channels"):
        make_pose_guider(config)  # type: ignore[arg-type]


def test_strides_that_miss_the_latents_are_refused() -> None:
    guider = PoseGuiderConfig("paper", (16, 32, 64, 128), (2, 2, 2, 2))
    with pytest.raises(ConfigError, match="reduce by 16, the VAE by 8"):
        dataclasses.replace(PAPER.model, pose_guider=guider)


def test_eight_heads_in_every_layer_of_sd_sizes() -> None:
    """diffusers calls SD-1.5's number of heads attention_head_dim (trap T10)."""
    with torch.device("meta"):
        unet = add_temporal_layers(make_unet2d(PAPER.model), PAPER.model)
    spatial = [m for n, m in unet.named_modules() if n.endswith(("attn1", "attn2"))]
    assert {m.heads for m in spatial} == {8}
    assert {m.to_q.out_features // m.heads for m in spatial} == {40, 80, 160}


def test_networks_without_a_temporal_middle_block_train_with_checkpointing() -> None:
    """As AnimateDiff v1 and v3 (trap T14): the middle block stays that of images."""
    temporal = dataclasses.replace(TINY.model.temporal, mid_block=False)
    torch.manual_seed(7)
    model = AnimateAnyone(dataclasses.replace(TINY.model, temporal=temporal), temporal=True)
    assert not any("mid_block" in n and "motion" in n for n, _ in model.named_parameters())
    model.enable_gradient_checkpointing()
    latents, tokens = torch.randn(1, 2, 4, 8, 8), torch.randn(1, 1, 16)
    model(latents, torch.tensor([3]), tokens, None, {}, (None,)).square().sum().backward()
    temporal_layers = [m for m in model.modules() if isinstance(m, AnimateDiffTransformer3D)]
    assert len(temporal_layers) == 6
    assert all(layer.proj_out.weight.grad.any() for layer in temporal_layers)
