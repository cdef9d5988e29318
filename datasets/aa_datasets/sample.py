"""Sample and Batch: what one training step receives."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Sample:
    """One clip's window, ready for training.

    Attributes:
        reference: float32 [3, H, W] in [-1, 1], the frame whose appearance is to be kept.
        target: float32 [T, 3, H, W] in [-1, 1], the frames to be generated; T = 1 in stage 1.
        pose: float32 [T, 3, H, W] in [-1, 1], the drawn skeletons of the target frames.
        clip_id: which clip.
    """

    reference: torch.Tensor
    target: torch.Tensor
    pose: torch.Tensor
    clip_id: str


@dataclass(frozen=True, slots=True)
class Batch:
    """B samples of equal T, H, W: the fields of `Sample` with a leading axis B."""

    reference: torch.Tensor
    target: torch.Tensor
    pose: torch.Tensor
    clip_ids: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.clip_ids)


def stack_samples(samples: list[Sample]) -> Batch:
    """Stack samples of one size into a batch."""
    return Batch(
        reference=torch.stack([s.reference for s in samples]),
        target=torch.stack([s.target for s in samples]),
        pose=torch.stack([s.pose for s in samples]),
        clip_ids=tuple(s.clip_id for s in samples),
    )
