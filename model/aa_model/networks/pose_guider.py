"""Pose Guider: drawn skeletons to something that is added at latent resolution (Sec. 3.2).

Two layouts, chosen by one word of the configuration:

- `paper`: four 4x4 convolutions and a zero projection to the latent's channels, added to the noise
  latent itself. Weak in practice, as Open-AnimateAnyone reports.
- `controlnet`: diffusers' ControlNet conditioning embedding, as Moore-AnimateAnyone uses it, with
  a zero projection to the UNet's first channels, added after conv_in.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin, UNet2DConditionModel, UNetMotionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from torch import Tensor, nn

from aa_model.config import ModelConfig
from aa_model.errors import ConfigError


class PaperPoseGuider(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers is untyped
    """4x4 convolutions of 16, 32, 64, 128 channels, Gaussian weights, zero projection."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], latent_channels: int
    ) -> None:
        super().__init__()
        if len(channels) != len(strides):
            raise ConfigError("the paper's pose guider needs one stride per convolution")
        widths = (3, *channels)
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, kernel_size=4, stride=stride)
            for a, b, stride in zip(widths, channels, strides, strict=False)
        )
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d)
            nn.init.normal_(conv.weight, std=0.02)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
        self.proj_out = _zero(nn.Conv2d(channels[-1], latent_channels, kernel_size=1))

    def forward(self, pose: Tensor) -> Tensor:
        """pose [N, 3, H, W] in [-1, 1] -> [N, latent_channels, H / downscale, W / downscale]."""
        x = pose
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d)
            # A 4x4 kernel keeps the size at stride 1 only with one pixel more on one side.
            x = F.pad(x, (1, 1, 1, 1) if conv.stride[0] > 1 else (1, 2, 1, 2))
            x = F.silu(conv(x))
        out: Tensor = self.proj_out(x)
        return out


class ControlNetPoseGuider(ControlNetConditioningEmbedding, ModelMixin, ConfigMixin):  # type: ignore[misc]
    """diffusers' embedding of a ControlNet's picture, as a network that it can save and load."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, out_channels: int, channels: Sequence[int]) -> None:
        super().__init__(
            conditioning_embedding_channels=out_channels,
            conditioning_channels=3,
            block_out_channels=tuple(channels),
        )


def make_pose_guider(config: ModelConfig) -> nn.Module:
    """The pose guider that `config.pose_guider.layout` names; its output starts at zero."""
    guider = config.pose_guider
    if guider.layout == "paper":
        paper: nn.Module = PaperPoseGuider(
            guider.channels, guider.strides, config.vae.latent_channels
        )
        return paper
    if len(guider.channels) != len(guider.strides) + 1 or set(guider.strides) != {2}:
        raise ConfigError(
            "the controlnet pose guider halves between its channels: give one stride of 2 less "
            f"than channels, not strides {guider.strides} for channels {guider.channels}"
        )
    made: nn.Module = ControlNetPoseGuider(config.unet.block_out_channels[0], guider.channels)
    return made


class ConvInWithPose(nn.Conv2d):
    """A UNet's conv_in to which channels beyond its own are an addend of its output (trap T9).

    The pose features ride behind the latents on the channel axis, so they pass through diffusers'
    UNet as an ordinary input: no hook, and nothing kept on a module.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's own name)
        output = super().forward(input[:, : self.in_channels])
        pose_features = input[:, self.in_channels :]
        return output + pose_features if pose_features.shape[1] else output


def install_conv_in_with_pose(unet: UNet2DConditionModel | UNetMotionModel) -> None:
    """Replace conv_in by one with the same weights that takes pose features as well."""
    old = unet.conv_in
    if isinstance(old, ConvInWithPose):
        return
    new = ConvInWithPose(old.in_channels, old.out_channels, old.kernel_size, padding=old.padding)
    new.weight, new.bias = old.weight, old.bias
    unet.conv_in = new


def widen_conv_in(unet: UNet2DConditionModel | UNetMotionModel, channels: int) -> None:
    """Let conv_in read this many channels more, behind its own; they change nothing at first."""
    old = unet.conv_in
    new = ConvInWithPose(
        old.in_channels + channels, old.out_channels, old.kernel_size, padding=old.padding
    )
    more = old.weight.new_zeros(old.out_channels, channels, *old.kernel_size)
    new.weight, new.bias = nn.Parameter(torch.cat([old.weight.detach(), more], dim=1)), old.bias
    unet.conv_in = new
    unet.register_to_config(in_channels=new.in_channels)


def _zero(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
