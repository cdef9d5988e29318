"""What a video costs, counted on tensors without content: no weights, no device, seconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from aa_model.config import ModelConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import count_parameters
from aa_model.networks.reference_attention import KeysValues, project_features

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Costs:
    """10^12 floating-point operations, 2 for each multiply-accumulate; norms and softmax are not
    counted.

    Attributes:
        num_parameters: of all parts.
        image_encoder, reference_net, keys_values: once per video.
        pose_guider: all frames of a window, once.
        with_reference, without_reference: a denoising pass of a window.
        encode, decode: one picture.
    """

    num_parameters: int
    image_encoder: float
    reference_net: float
    keys_values: float
    pose_guider: float
    with_reference: float
    without_reference: float
    encode: float
    decode: float

    @property
    def guided_step(self) -> float:
        return self.with_reference + self.without_reference

    def video(self, num_frames: int, num_windows: int, steps: int, *, guided: bool) -> float:
        """A whole video: its windows are denoised in every step."""
        step = self.guided_step if guided else self.with_reference
        once = self.image_encoder + self.reference_net + self.keys_values + self.encode
        return once + num_windows * (self.pose_guider + steps * step) + num_frames * self.decode


def count_costs(
    config: ModelConfig, frames: int, size_hw: tuple[int, int], *, temporal: bool = True
) -> Costs:
    """Costs of a network.

    Args:
        frames: denoised together.
        temporal: with temporal layers; without them each frame is denoised by itself.
    """
    config = dataclasses.replace(config, size_hw=size_hw)
    rows = (1, frames) if temporal else (frames, 1)
    with torch.device("meta"):
        model = AnimateAnyone(config, temporal=temporal).eval()
        h, w = config.latent_hw
        picture = torch.empty(1, 3, *size_hw)
        latent = torch.empty(1, config.vae.latent_channels, h, w)
        latents = torch.empty(*rows, config.vae.latent_channels, h, w)
        timesteps = torch.zeros(rows[0], dtype=torch.int64)
        image_encoder, tokens = _count(lambda: model.image_tokens(picture))
        reference_net, features = _count(lambda: model.reference_features(picture, latent, tokens))
        read: dict[str, torch.Tensor | KeysValues] = {**features}
        keys_values = 0.0
        if model.reference_net is not None:
            keys_values, projected = _count(
                lambda: project_features(model.denoising_unet, features)
            )
            read |= projected
        pose_guider, pose = _count(lambda: model.pose_features(torch.empty(*rows, 3, *size_hw)))
        tokens = tokens.expand(rows[0], -1, -1)

        def denoise(which: int | None) -> torch.Tensor:
            seen = read if which is not None else {}
            out: torch.Tensor = model(latents, timesteps, tokens, pose, seen, (which,) * rows[0])
            return out

        return Costs(
            num_parameters=sum(count_parameters(model).values()),
            image_encoder=image_encoder,
            reference_net=reference_net,
            keys_values=keys_values,
            pose_guider=pose_guider,
            with_reference=_count(lambda: denoise(0))[0],
            without_reference=_count(lambda: denoise(None))[0],
            encode=_count(lambda: model.encode(picture))[0],
            decode=_count(lambda: model.decode(latent))[0],
        )


def _count(run: Callable[[], T]) -> tuple[float, T]:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        result = run()
    return counter.get_total_flops() / 1e12, result
