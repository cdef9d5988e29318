"""Temporal layers: AnimateDiff's motion modules behind the denoising UNet's blocks (Sec. 3.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import Tensor, nn

from aa_model.config import ModelConfig
from aa_model.networks.reference_net import make_unet2d
from aa_model.networks.windows import triangle

_MARK = ".motion_modules."


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

    The layers' last projection starts at zero, so the result equals `unet` frame by frame.
    diffusers' `from_unet2d` would copy `unet` (trap T15): it is run where nothing is allocated.
    """
    adapter = _make_adapter(config)
    for module in adapter.modules():
        if isinstance(module, AnimateDiffTransformer3D):
            nn.init.zeros_(module.proj_out.weight)
            nn.init.zeros_(module.proj_out.bias)
    adapter.to(unet.device, unet.dtype)
    with torch.device("meta"):
        motion_unet: UNetMotionModel = UNetMotionModel.from_unet2d(
            make_unet2d(config), _make_adapter(config)
        )
    motion_unet.load_state_dict({**unet.state_dict(), **adapter.state_dict()}, assign=True)
    for module in motion_unet.modules():
        if isinstance(module, AnimateDiffTransformer3D):
            module.norm = _per_frame(module.norm)
    return motion_unet


def _make_adapter(config: ModelConfig) -> MotionAdapter:
    return MotionAdapter(
        block_out_channels=config.unet.block_out_channels,
        motion_layers_per_block=config.unet.layers_per_block,
        motion_num_attention_heads=config.temporal.num_heads,
        motion_norm_num_groups=config.unet.norm_num_groups,
        motion_max_seq_length=config.temporal.max_frames,
        use_motion_mid_block=config.temporal.mid_block,
    )


class WindowedBlock(nn.Module):
    """A temporal block that sees a longer video window by window, and averages what they say."""

    def __init__(self, block: nn.Module, windows: Sequence[range], device: torch.device) -> None:
        super().__init__()
        self.block, self.windows = block, windows
        self.weight = triangle(len(windows[0])).to(device)[:, None]
        self.total = torch.zeros(windows[-1].stop, 1, device=device)
        for window in windows:
            self.total[window.start : window.stop] += self.weight

    def forward(self, hidden_states: Tensor, **conditions: object) -> Tensor:
        """[positions, T, C], as the block's own."""
        summed = torch.zeros_like(hidden_states, dtype=torch.float32)
        for window in self.windows:
            part = slice(window.start, window.stop)
            summed[:, part] += self.weight * self.block(hidden_states[:, part], **conditions)
        return (summed / self.total).to(hidden_states.dtype)


@contextmanager
def windows_inside(unet: UNetMotionModel, windows: Sequence[range]) -> Iterator[None]:
    """For the time being, temporal attention sees windows, and all other layers every frame once.

    As FreeNoise (Qiu et al. 2023, Sec. 3.2), but with the feed-forward layers inside of the
    windows. diffusers' own block for it is not taken: where the last window is not a whole stride
    behind the one before, it divides the last frames by too much, which fades them out. Until it is
    left, the network cannot be used for another video.
    """
    temporal = [m for m in unet.modules() if isinstance(m, AnimateDiffTransformer3D)]
    whole = [module.transformer_blocks for module in temporal]
    try:
        for module, blocks in zip(temporal, whole, strict=True):
            module.transformer_blocks = nn.ModuleList(
                WindowedBlock(block, windows, unet.device) for block in blocks
            )
        yield
    finally:
        for module, blocks in zip(temporal, whole, strict=True):
            module.transformer_blocks = blocks


def is_temporal(parameter_name: str) -> bool:
    """Whether a parameter of the denoising UNet belongs to its temporal layers."""
    return _MARK in parameter_name


def _per_frame(norm: nn.GroupNorm) -> PerFrameGroupNorm:
    new = PerFrameGroupNorm(norm.num_groups, norm.num_channels, norm.eps)
    new.weight, new.bias = norm.weight, norm.bias
    return new
