"""What the loader gives (Sample, FrameBatch), and what one training step receives (Batch).

The loader gives 8-bit frames, and poses as keypoints: a quarter of the floats' bytes in memory,
between processes and on the way to a device, where `FrameBatch.to` makes floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from aa_datasets.pose import Pose
from aa_datasets.pose_drawing import draw_pose


@dataclass(frozen=True, slots=True)
class EncodedFrames:
    """Outputs of frozen encoders for a sample's frames (see `latents`); in a Batch, of B samples.

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
    """One clip's window, at the size of training.

    With `latents` no frame is decoded: `reference` and `target` then have 0 channels.

    Attributes:
        reference: uint8 RGB [H, W, 3], the frame whose appearance is to be kept.
        target: uint8 RGB [T, H, W, 3], the frames to be generated; T = 1 in stage 1.
        pose: of the T target frames, in pixels of H x W.
        clip_id: which clip.
        latents: of reference and target, where they are stored.
        loss_mask: bool [1, H, W], False on text laid over the video, where the loss should not
            count; None unless the loader was asked for it.
    """

    reference: torch.Tensor
    target: torch.Tensor
    pose: Pose
    clip_id: str
    latents: EncodedFrames | None = None
    loss_mask: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """B samples of equal T, H, W: the fields of `Sample` with a leading axis B.

    Attributes:
        skeletons: uint8 RGB [B, T, H, W, 3], the rendered poses; None until `drawn()` is called.
        draw_face: whether they show the face's points.
    """

    reference: torch.Tensor
    target: torch.Tensor
    poses: tuple[Pose, ...]
    clip_ids: tuple[str, ...]
    latents: EncodedFrames | None = None
    loss_mask: torch.Tensor | None = None
    skeletons: torch.Tensor | None = None
    draw_face: bool = False

    @property
    def size(self) -> int:
        return len(self.clip_ids)

    def drawn(self) -> FrameBatch:
        """Return the batch with rendered skeletons."""
        return replace(self, skeletons=self._skeletons())

    def to(self, device: torch.device | str) -> Batch:
        """Make what a training step receives, on its device; draws the skeletons if need be."""
        device = torch.device(device)
        return Batch(
            reference=_to_video(self.reference, device),
            target=_to_video(self.target, device),
            pose=_to_video(self._skeletons(), device),
            clip_ids=self.clip_ids,
            latents=None if self.latents is None else self.latents.to(device),
            loss_mask=None if self.loss_mask is None else self.loss_mask.to(device),
        )

    def _skeletons(self) -> torch.Tensor:
        if self.skeletons is not None:
            return self.skeletons
        drawn = (draw_pose(pose, face=self.draw_face) for pose in self.poses)
        return _stack([torch.from_numpy(skeletons) for skeletons in drawn])


@dataclass(frozen=True, slots=True)
class Batch:
    """What one training step receives: B samples as floats.

    Attributes:
        reference: float32 [B, 3, H, W] in [-1, 1].
        target: float32 [B, T, 3, H, W] in [-1, 1].
        pose: float32 [B, T, 3, H, W] in [-1, 1], the drawn skeletons of the target frames.
        clip_ids, latents, loss_mask: as in `FrameBatch`.
    """

    reference: torch.Tensor
    target: torch.Tensor
    pose: torch.Tensor
    clip_ids: tuple[str, ...]
    latents: EncodedFrames | None = None
    loss_mask: torch.Tensor | None = None

    @property
    def size(self) -> int:
        return len(self.clip_ids)


def stack_samples(samples: Sequence[Sample], draw_face: bool = False) -> FrameBatch:
    """Stack samples of one size into a batch; all have latents, or none; masks likewise."""
    encoded = [s.latents for s in samples if s.latents is not None]
    masks = [s.loss_mask for s in samples if s.loss_mask is not None]
    return FrameBatch(
        reference=_stack([s.reference for s in samples]),
        target=_stack([s.target for s in samples]),
        poses=tuple(s.pose for s in samples),
        clip_ids=tuple(s.clip_id for s in samples),
        latents=_stack_latents(encoded) if encoded else None,
        loss_mask=torch.stack(masks) if masks else None,
        draw_face=draw_face,
    )


def stack_and_draw(samples: Sequence[Sample], draw_face: bool = False) -> FrameBatch:
    """`stack_samples`, with the skeletons; for worker processes."""
    return stack_samples(samples, draw_face).drawn()


def _to_video(frames: torch.Tensor, device: torch.device) -> torch.Tensor:
    """uint8 [..., H, W, C] -> float32 [..., C, H, W] in [-1, 1]."""
    channels_first = frames.to(device).movedim(-1, -3)
    # One buffer, written in place: each further one of this size costs its page faults again.
    out = torch.empty(channels_first.shape, dtype=torch.float32, device=device)
    return out.copy_(channels_first).div_(127.5).sub_(1)


def _stack(tensors: list[torch.Tensor]) -> torch.Tensor:
    """torch.stack, which does not copy a single tensor."""
    return tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)


def _stack_latents(encoded: list[EncodedFrames]) -> EncodedFrames:
    return EncodedFrames(
        reference_moments=torch.stack([e.reference_moments for e in encoded]),
        target_moments=torch.stack([e.target_moments for e in encoded]),
        reference_tokens=torch.stack([e.reference_tokens for e in encoded]),
    )
