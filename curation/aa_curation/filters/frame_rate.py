"""Reject frame rates too low to learn motion from."""

from __future__ import annotations

from dataclasses import dataclass

from aa_curation.check import Check, at_least
from aa_datasets.video.foreign import VideoInfo


@dataclass(frozen=True, slots=True)
class FrameRate:
    """Measured: the file's average frames per second."""

    fps: float

    def __call__(self, video: VideoInfo) -> Check:
        # 23.976 is meant where 24 is asked for: the usual rates differ by 0.1 % from whole ones.
        return at_least("low_frame_rate", video.fps, 0.999 * self.fps)
