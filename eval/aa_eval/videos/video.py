"""Video: the frames of one video file or one folder of images, whole in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aa_eval.videos.layout import image_source
from aa_eval.videos.source import VideoSource, iter_frames, probe


@dataclass(frozen=True, slots=True)
class Video:
    """frames uint8 [T, H, W, 3] RGB, and fps (None when images carry none)."""

    frames: NDArray[np.uint8]
    fps: float | None


def read_video(path: Path | str) -> Video:
    """Read a video file (mp4, gif, webm, mkv), or a folder of images named by frame number.

    `evaluate` streams instead: see `aa_eval.videos.source.iter_frames`.

    Raises:
        VideoError: empty, truncated, corrupt, or misnumbered.
    """
    path = Path(path)
    source = image_source(path) if path.is_dir() else VideoSource(path.stem, (path,))
    info = probe(source)
    return Video(np.stack(list(iter_frames(source))), info.fps)
