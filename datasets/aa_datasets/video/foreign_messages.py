"""What passes between `foreign_video` and the process that decodes for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one decode may cost before it is killed.

    Attributes:
        stall_s: without a frame.
        total_s: of waiting for frames; as long as the video where that is longer.
        memory_bytes: of the child's address space.
        max_pixels: of a frame.
    """

    stall_s: float = 30.0
    total_s: float = 600.0
    memory_bytes: int = 4 << 30
    max_pixels: int = 8192 * 4320


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a file says of itself, and `rotation_deg` that `iter_foreign_frames` applies.

    `size_hw` is after rotation. `fps` is the average rate. `num_frames_claimed` is the container's
    word (0 when it has none): only decoding tells the real count.
    """

    codec: str
    size_hw: tuple[int, int]
    fps: float
    num_frames_claimed: int
    duration_s: float
    rotation_deg: int


@dataclass(frozen=True, slots=True)
class ForeignFrame:
    """One decoded frame: uint8 RGB [H, W, 3], and its time in seconds from the first."""

    pixels: NDArray[np.uint8]
    time_s: float


@dataclass(frozen=True, slots=True)
class Planes:
    """A picture as videos hold it, full range: what is measured of most pixels is measured of their
    luma, and to make RGB of them takes as long as to scale them down.

    Attributes:
        luma: uint8 [H, W], 0 to 255.
        blue, red: uint8 [h, w], what is added to the luma (Cb and Cr, 128 is none), at half the
            sides, rounded up.
    """

    luma: NDArray[np.uint8]
    blue: NDArray[np.uint8]
    red: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SurveyFrame:
    """One decoded frame, and its time in seconds from the first; `canonical` is the same frame in
    the canonical form that was asked for, uint8 RGB [H, W, 3], if a clip would keep it."""

    planes: Planes
    time_s: float
    canonical: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What announces a frame on the pipe, in one or several arrays; the bytes follow as they lie.

    Pickling copies them on both sides, into a buffer of the frame's size for each 64 KiB.
    """

    shapes: tuple[tuple[int, ...], ...]
    time_s: float


@dataclass(frozen=True, slots=True)
class StillAlive:
    """Work goes on, with nothing to show: packets are hashed, frames before a span decoded."""


@dataclass(frozen=True, slots=True)
class PacketsDigest:
    """The sha256 of the video packets."""

    sha256: str
