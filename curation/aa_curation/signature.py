"""Signature: what a clip looks like and how its person moves, in a few hundred bytes.

Two clips whose pictures *and* poses agree are one recording, also after another encoder, size or
frame rate. Pictures alone would take two models before one white studio wall for the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_datasets.pose import BODY, JOINT_NAMES, Pose

NUM_FRAMES = 8  # at the middles of equal parts of the clip
_NECK = JOINT_NAMES.index("neck")
_UNSEEN = -128


@dataclass(frozen=True, slots=True)
class Signature:
    """Arrays of one clip.

    Attributes:
        hashes: uint64 [8], perceptual hashes of its frames.
        pose: int8 [8, 18, 2], body joints from the neck, in 1/100 of the body's extent; -128 where
            a joint is not seen.
    """

    hashes: NDArray[np.uint64]
    pose: NDArray[np.int8]

    def to_text(self) -> str:
        """Hexadecimal; `Signature.from_text` is its inverse."""
        return self.hashes.astype("<u8").tobytes().hex() + self.pose.tobytes().hex()

    @classmethod
    def from_text(cls, text: str) -> Signature:
        content = bytes.fromhex(text)
        hashes = np.frombuffer(content[: 8 * NUM_FRAMES], "<u8").astype(np.uint64)
        pose = np.frombuffer(content[8 * NUM_FRAMES :], np.int8).reshape(NUM_FRAMES, -1, 2)
        return cls(hashes, pose)


def signature_frames(num_frames: int) -> NDArray[np.int64]:
    """Which frames of a clip are looked at."""
    return ((np.arange(NUM_FRAMES) + 0.5) / NUM_FRAMES * num_frames).astype(np.int64)


def perceptual_hash(frame: NDArray[np.uint8]) -> int:
    """64 bits of a frame, uint8 RGB [H, W, 3]: which of the 8x8 lowest frequencies of its 32x32
    grey thumbnail lie above their median (the usual "pHash")."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = np.asarray(cv2.dct(small))[:8, :8]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def pose_signature(pose: Pose) -> NDArray[np.int8]:
    """See `Signature.pose`; of the frames of `signature_frames`."""
    chosen = signature_frames(pose.num_frames)
    points = np.where(
        pose.scores[chosen][:, BODY, None] > 0, pose.keypoints_px[chosen][:, BODY], np.nan
    )
    relative = points - points[:, _NECK : _NECK + 1]
    finite = np.isfinite(relative)
    extent = max(float(np.abs(relative[finite]).max(initial=0.0)), 1.0)
    scaled = np.clip(np.round(100 * np.where(finite, relative, 0) / extent), -127, 127)
    return np.where(finite, scaled, _UNSEEN).astype(np.int8)


def pose_distance(a: NDArray[np.int8], b: NDArray[np.int8]) -> float:
    """The median distance of joints that both see, as a share of the body's extent; 1 if there is
    none. Arrays [..., 18, 2] of the same shape."""
    seen = (a != _UNSEEN).all(-1) & (b != _UNSEEN).all(-1)
    if not seen.any():
        return 1.0
    apart = np.hypot(*np.moveaxis(a.astype(np.float32) - b.astype(np.float32), -1, 0))
    return float(np.median(apart[seen])) / 100


def bits_apart(hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.float32]:
    """The mean number of bits by which frames differ: [N] for hashes [8] and others [N, 8]."""
    return np.asarray(np.bitwise_count(others ^ hashes).mean(-1), dtype=np.float32)
