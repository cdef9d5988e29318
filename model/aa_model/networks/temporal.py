"""Temporal layers: AnimateDiff's motion modules behind the denoising UNet's blocks (Sec. 3.2), and
where a network has it, attention over time at the output (`CleanAttention`)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import Tensor, nn

from aa_model.config import ModelConfig
from aa_model.networks.clean_attention import CleanAttention
from aa_model.networks.reference_net import make_unet2d

_MARK = ".motion_modules."
_OUTPUT = "clean_attention"


class PerFrameGroupNorm(nn.GroupNorm):
    """GroupNorm over the channels and positions of each frame alone (trap T1).

    diffusers normalises over all frames of a window; AnimateDiff and its descendants fold the
    frames into the batch first. With their weights the difference is 13 %, and a frame's output
    would depend on which other frames share its window.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's own name)
        """input: [B, C, T, h, w]."""
        B, C, T, h, w = input.shape
        folded = input.transpose(1, 2).reshape(B * T, C, h, w)
        return super().forward(folded).reshape(B, T, C, h, w).transpose(1, 2)


def add_temporal_layers(unet: UNet2DConditionModel, config: ModelConfig) -> UNetMotionModel:
    """The denoising UNet of stage 2: `unet`'s own tensors, and new temporal layers.

    The layers' last projection starts at zero, so the result equals `unet` frame by frame; it does
    not with `clean_attention`, which starts as a filter.
    diffusers' `from_unet2d` would copy `unet` (trap T15): it is run where nothing is allocated.
    """
    adapter = _make_adapter(config)
    for module in adapter.modules():
        if isinstance(module, AnimateDiffTransformer3D):
            nn.init.zeros_(module.proj_out.weight)
            nn.init.zeros_(module.proj_out.bias)
    with _quiet_about_float32():
        adapter.to(unet.device, unet.dtype)
    with torch.device("meta"), _quiet_about_float32():
        motion_unet: UNetMotionModel = UNetMotionModel.from_unet2d(
            make_unet2d(config, unet.conv_in.in_channels), _make_adapter(config)
        )
    motion_unet.load_state_dict({**unet.state_dict(), **adapter.state_dict()}, assign=True)
    install_per_frame_norms(motion_unet)
    if config.temporal.clean_attention:
        layer = CleanAttention.of(config)
        with _quiet_about_float32():
            set_clean_attention(motion_unet, layer.to(unet.device, unet.dtype))
    return motion_unet


def install_per_frame_norms(unet: UNet2DConditionModel | UNetMotionModel) -> None:
    """Make the temporal layers of a UNet normalise each frame by itself (trap T1)."""
    for module in unet.modules():
        if isinstance(module, AnimateDiffTransformer3D):
            module.norm = _per_frame(module.norm)


def clean_attention_of(unet: UNetMotionModel | UNet2DConditionModel) -> CleanAttention | None:
    """The layer at the output, if the UNet has one."""
    found = unet._modules.get(_OUTPUT)
    assert found is None or isinstance(found, CleanAttention)
    return found


def set_clean_attention(
    unet: UNetMotionModel | UNet2DConditionModel, layer: CleanAttention | None
) -> None:
    """Give a UNet the layer at its output, or take it away."""
    unet._modules.pop(_OUTPUT, None)
    if layer is not None:
        unet.add_module(_OUTPUT, layer)


@contextmanager
def _quiet_about_float32() -> Iterator[None]:
    """diffusers warns of modules that should stay in float32, and lists none."""
    logger = logging.getLogger("diffusers.models.modeling_utils")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _make_adapter(config: ModelConfig) -> MotionAdapter:
    return MotionAdapter(
        block_out_channels=config.unet.block_out_channels,
        motion_layers_per_block=config.unet.layers_per_block,
        motion_num_attention_heads=config.temporal.num_heads,
        motion_norm_num_groups=config.unet.norm_num_groups,
        motion_max_seq_length=config.temporal.max_frames,
        use_motion_mid_block=config.temporal.mid_block,
    )


@contextmanager
def without_temporal_layers(unet: UNetMotionModel | UNet2DConditionModel) -> Iterator[None]:
    """For the time being, temporal layers hand on what they get: every frame is made by itself.

    A UNet of stage 1, which has none, stays as it is.
    """
    layers = [m for m in unet.modules() if isinstance(m, AnimateDiffTransformer3D | CleanAttention)]
    with ExitStack() as stack:
        for layer in layers:
            hook = layer.register_forward_hook(_hand_on, with_kwargs=True)
            stack.callback(hook.remove)
        yield


def _hand_on(
    layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor
) -> Tensor:
    return args[0] if args else kwargs["hidden_states"]


def is_temporal(parameter_name: str) -> bool:
    """Whether a parameter of the denoising UNet belongs to its temporal layers."""
    return _MARK in parameter_name or parameter_name.startswith(f"{_OUTPUT}.")


def _per_frame(norm: nn.GroupNorm) -> PerFrameGroupNorm:
    if isinstance(norm, PerFrameGroupNorm):
        return norm
    new = PerFrameGroupNorm(norm.num_groups, norm.num_channels, norm.eps)
    new.weight, new.bias = norm.weight, norm.bias
    return new
