"""Reject small videos."""

from __future__ import annotations

from dataclasses import dataclass

from aa_curation.check import Check, at_least
from aa_datasets.video.foreign import VideoInfo


@dataclass(frozen=True, slots=True)
class Resolution:
    """Measured: the frame's short side in pixels, after rotation and crop."""

    short_side_px: int

    def __call__(self, video: VideoInfo) -> Check:
        return at_least("low_resolution", min(video.size_hw), self.short_side_px)
