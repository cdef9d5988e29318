"""The other way of Table 3 to show the network a reference: a ControlNet (Zhang et al. 2023).

It sees the reference picture and the noisy latents and adds to the denoising UNet's skips, in
every step and for every frame, where ReferenceNet runs once and is read by attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import (
    ConfigMixin,
    ControlNetModel,
    ModelMixin,
    UNet2DConditionModel,
    UNetMotionModel,
)
from diffusers.configuration_utils import register_to_config
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from aa_model.config import ModelConfig

_WIDTHS = (16, 32, 96, 256)  # of ControlNet's conditioning embedding, one halving between two


class ReferenceControlNet(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers is untyped
    """diffusers' ControlNetModel, with the embedding of the picture taken out of its forward pass.

    So the embedding is made once per reference; its last projection, like every projection into
    the UNet, starts at zero.

    Args:
        unet: configuration of the ControlNetModel.
        widths: of the embedding's convolutions, one halving between two.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, unet: dict[str, Any], widths: Sequence[int]) -> None:
        super().__init__()
        self.embedding = ControlNetConditioningEmbedding(
            conditioning_embedding_channels=unet["block_out_channels"][0],
            block_out_channels=tuple(widths),
        )
        self.net = ControlNetModel.from_config(unet)
        self.net.controlnet_cond_embedding = nn.Identity()

    @classmethod
    def like(cls, unet: UNet2DConditionModel, config: ModelConfig) -> ReferenceControlNet:
        """One of the denoising UNet's sizes, that starts from the weights of `unet`."""
        with torch.device("meta"):
            empty = UNet2DConditionModel.from_config(unet.config)
            net = ControlNetModel.from_unet(
                empty, conditioning_embedding_out_channels=(1,), load_weights_from_unet=False
            )
        made: ReferenceControlNet = cls(
            dict(net.config), _WIDTHS[: len(config.vae.block_out_channels)]
        )
        made.start_from(unet)
        return made

    @apply_forward_hook  # type: ignore[untyped-decorator]
    def embed(self, images: Tensor) -> Tensor:
        """Embeddings [R, C', h, w] of reference pictures [R, 3, H, W]."""
        embeddings: Tensor = self.embedding(images)
        return embeddings

    @torch.no_grad()
    def start_from(self, unet: UNet2DConditionModel | UNetMotionModel) -> None:
        """Take over the weights that the denoising UNet has now."""
        for name, parameter in unet.named_parameters():
            if name in dict(self.net.named_parameters()):
                self.net.get_parameter(name).copy_(parameter)

    def forward(
        self,
        noisy_latents: Tensor,
        timesteps: Tensor,
        image_tokens: Tensor,
        embeddings: Tensor,
        reference_of_video: tuple[int | None, ...],
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """What is added to the denoising UNet's skips and middle, frame by frame.

        Args:
            noisy_latents: [B, T, C, h, w].
            timesteps: int64 [B].
            image_tokens: [B, S, D].
            embeddings: of R references, [R, C', h, w].
            reference_of_video: as in `AnimateAnyone.forward`; one or more has a reference.

        Returns:
            One tensor [B*T, ...] per skip, and the middle's; zero for videos without a reference.
        """
        B, T = noisy_latents.shape[:2]
        rows = [row for row, which in enumerate(reference_of_video) if which is not None]
        picked = [which for which in reference_of_video if which is not None]
        down, middle = self.net(
            noisy_latents[rows].flatten(0, 1),
            timesteps[rows].repeat_interleave(T),
            image_tokens[rows].repeat_interleave(T, dim=0),
            embeddings[picked].repeat_interleave(T, dim=0),
            return_dict=False,
        )

        def spread(of_rows: Tensor) -> Tensor:
            if len(rows) == B:
                return of_rows
            shape = (B, T, *of_rows.shape[1:])
            everywhere = of_rows.new_zeros(shape)
            everywhere[rows] = torch.unflatten(of_rows, 0, (len(rows), T))
            return everywhere.flatten(0, 1)

        return tuple(spread(skip) for skip in down), spread(middle)
