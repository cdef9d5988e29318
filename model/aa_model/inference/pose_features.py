"""PoseFeatures: the Pose Guider's output for a video, computed once where it fits in memory.

At SD-1.5 sizes the features of a frame are eighty times its latents (5 MB at 512, 12 MB at 768).
A long video makes them again for every window that it denoises, which adds 0.6 % to a guided step
(docs/model_performance.md), so that its memory grows by little else than latents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.windows import cut

KEEP_BYTES = 1 << 29
PART = 16  # pictures that go through the guider together


class PoseFeatures:
    """The features of the frames of one video.

    Args:
        model: on its device.
        pictures: gives the pictures of these frames, [n, 3, H, W] in [-1, 1].
        num_frames: of the video, at least one.
        keep_bytes: the features of all frames are kept if they take no more.
    """

    def __init__(
        self,
        model: AnimateAnyone,
        pictures: Callable[[Sequence[int]], Tensor],
        num_frames: int,
        keep_bytes: int = KEEP_BYTES,
    ) -> None:
        self.num_frames = num_frames
        self._model, self._pictures = model, pictures
        first = self._make(range(num_frames)[:PART])
        self.device, self.latent_hw = first.device, tuple(first.shape[-2:])
        self._kept: Tensor | None = None
        if num_frames * first[0].nbytes <= keep_bytes:
            rest = range(PART, num_frames)
            self._kept = torch.cat([first, self._make(rest)]) if rest else first

    def of(self, windows: Sequence[Sequence[int]]) -> Tensor:
        """Features [W, t, C', h, w] of windows of frames."""
        if self._kept is not None:
            return cut(self._kept, windows)
        return torch.stack([self._make(window) for window in windows])

    def _make(self, frames: Sequence[int]) -> Tensor:
        parts = [frames[i : i + PART] for i in range(0, len(frames), PART)]
        made = [self._model.pose_features(self._pictures(part)[None])[0] for part in parts]
        return torch.cat(made)
