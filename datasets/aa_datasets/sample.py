"""Sample and Batch: what one training step receives."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class EncodedFrames:
    """What frozen encoders made of a sample's frames (see `latents`); in a Batch, of B samples.

    Attributes:
        reference_moments: means and standard deviations of the VAE's latents, float32 [2C, h, w].
        target_moments: the same of the target frames, [T, 2C, h, w].
        reference_tokens: of the image encoder, float32 [S, D].
    """

    reference_moments: torch.Tensor
    target_moments: torch.Tensor
    reference_tokens: torch.Tensor

    def to(self, device: torch.device) -> EncodedFrames:
        return EncodedFrames(
            self.reference_moments.to(device),
            self.target_moments.to(device),
            self.reference_tokens.to(device),
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One clip's window, ready for training.

    With `latents` no frame is decoded: `reference` and `target` then have 0 channels.

    Attributes:
        reference: float32 [3, H, W] in [-1, 1], the frame whose appearance is to be kept.
        target: float32 [T, 3, H, W] in [-1, 1], the frames to be generated; T = 1 in stage 1.
        pose: float32 [T, 3, H, W] in [-1, 1], the drawn skeletons of the target frames.
        clip_id: which clip.
        latents: of reference and target, where they were made before.
        loss_mask: bool [1, H, W], False on text laid over the video, where the loss should not
            count; None unless the loader was asked for it.
    """

    reference: torch.Tensor
    target: torch.Tensor
    pose: torch.Tensor
    clip_id: str
    latents: EncodedFrames | None = None
    loss_mask: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """B samples of equal T, H, W: the fields of `Sample` with a leading axis B."""

    reference: torch.Tensor
    target: torch.Tensor
    pose: torch.Tensor
    clip_ids: tuple[str, ...]
    latents: EncodedFrames | None = None
    loss_mask: torch.Tensor | None = None

    @property
    def size(self) -> int:
        return len(self.clip_ids)

    def to(self, device: torch.device) -> Batch:
        return Batch(
            self.reference.to(device),
            self.target.to(device),
            self.pose.to(device),
            self.clip_ids,
            None if self.latents is None else self.latents.to(device),
            None if self.loss_mask is None else self.loss_mask.to(device),
        )


def stack_samples(samples: list[Sample]) -> Batch:
    """Stack samples of one size into a batch; all have latents, or none; masks likewise."""
    encoded = [s.latents for s in samples if s.latents is not None]
    masks = [s.loss_mask for s in samples if s.loss_mask is not None]
    return Batch(
        reference=_stack([s.reference for s in samples]),
        target=_stack([s.target for s in samples]),
        pose=_stack([s.pose for s in samples]),
        clip_ids=tuple(s.clip_id for s in samples),
        latents=_stack_latents(encoded) if encoded else None,
        loss_mask=torch.stack(masks) if masks else None,
    )


def _stack(tensors: list[torch.Tensor]) -> torch.Tensor:
    """torch.stack, without a copy of a single one."""
    return tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)


def _stack_latents(encoded: list[EncodedFrames]) -> EncodedFrames:
    return EncodedFrames(
        reference_moments=torch.stack([e.reference_moments for e in encoded]),
        target_moments=torch.stack([e.target_moments for e in encoded]),
        reference_tokens=torch.stack([e.reference_tokens for e in encoded]),
    )
