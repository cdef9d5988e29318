"""Signature: what a clip looks like and how its person moves, in a few hundred bytes.

Two clips whose pictures *and* poses agree are one recording, also after another encoder, size or
frame rate. Each of the three parts is blind to something that another sees: the hash to colours
and brightness, the colours to where things stand, the pose to all but the person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_curation.errors import LedgerError
from aa_datasets.pose import BODY, JOINT_NAMES, Pose

NUM_FRAMES = 8  # at the middles of equal parts of the clip
_COLOUR_CELLS = 4
_COLOUR_SHAPE = (_COLOUR_CELLS, _COLOUR_CELLS, 2)
_DARK = 8.0  # grey levels added to each channel: black pixels have no colour
_NECK = JOINT_NAMES.index("neck")
# What moves: heads and shoulders of any two standing people agree to a few per cent.
_LIMBS = [
    JOINT_NAMES.index(f"{side}_{joint}")
    for side in ("left", "right")
    for joint in ("elbow", "wrist", "ankle")
]
_UNSEEN = -128
_HASH_BYTES, _COLOUR_BYTES = 8 * NUM_FRAMES, _COLOUR_CELLS**2 * 2
_POSE_BYTES = NUM_FRAMES * (BODY.stop - BODY.start) * 2
SIGNATURE_BYTES = _HASH_BYTES + _COLOUR_BYTES + _POSE_BYTES
PICTURE_BYTES = _HASH_BYTES + _COLOUR_BYTES  # of a signature, before the pose


@dataclass(frozen=True, slots=True)
class Signature:
    """Arrays of one clip.

    Attributes:
        hashes: uint64 [8], perceptual hashes of its frames.
        colours: uint8 [4, 4, 2], red and green as shares of all light (255 is all of it) in the
            cells of a grid over the picture, mean of the frames.
        pose: int8 [8, 18, 2], body joints from the neck, in 1/100 of the body's extent; -128 where
            a joint is not seen.
    """

    hashes: NDArray[np.uint64]
    colours: NDArray[np.uint8]
    pose: NDArray[np.int8]

    def to_text(self) -> str:
        """Hexadecimal; `Signature.from_text` is its inverse."""
        parts = (self.hashes.astype("<u8"), self.colours, self.pose)
        return "".join(part.tobytes().hex() for part in parts)

    @classmethod
    def from_text(cls, text: str) -> Signature:
        """Raises LedgerError where the text is not a signature of this version."""
        return cls.from_bytes(bytes.fromhex(text))

    @classmethod
    def from_bytes(cls, content: bytes) -> Signature:
        """Read a signature from its bytes."""
        expected = SIGNATURE_BYTES
        if len(content) != expected:
            raise LedgerError(
                f"a clip's signature has {len(content)} bytes, expected {expected}: another "
                f"version made this corpus; curate it again with another --out"
            )
        hashes, rest = content[:_HASH_BYTES], content[_HASH_BYTES:]
        return cls(
            np.frombuffer(hashes, "<u8").astype(np.uint64),
            np.frombuffer(rest[:_COLOUR_BYTES], np.uint8).reshape(_COLOUR_SHAPE),
            np.frombuffer(rest[_COLOUR_BYTES:], np.int8).reshape(NUM_FRAMES, -1, 2),
        )


@dataclass(frozen=True, slots=True)
class FrameLook:
    """One frame of a signature: its hash, and float32 [4, 4, 2] as `Signature.colours`."""

    hash64: int
    colours: NDArray[np.float32]


def signature_frames(num_frames: int) -> NDArray[np.int64]:
    """Which frames of a clip are looked at."""
    return ((np.arange(NUM_FRAMES) + 0.5) / NUM_FRAMES * num_frames).astype(np.int64)


def look_at_frame(frame: NDArray[np.uint8]) -> FrameLook:
    """Measure a frame, uint8 RGB [H, W, 3]."""
    cells = cv2.resize(frame, (_COLOUR_CELLS,) * 2, interpolation=cv2.INTER_AREA)
    light = cells.astype(np.float32) + _DARK
    shares = 255 * light[..., :2] / light.sum(-1, keepdims=True)
    return FrameLook(perceptual_hash(frame), shares.astype(np.float32))


def make_signature(looks: Sequence[FrameLook], pose: Pose) -> Signature:
    """Sum up the frames that `signature_frames` names, in order, and the pose of all frames."""
    colours = np.mean([look.colours for look in looks], axis=0)
    return Signature(
        np.array([look.hash64 for look in looks], np.uint64),
        np.asarray(np.round(colours), np.uint8),
        pose_signature(pose),
    )


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


def limbs_apart(a: NDArray[np.int8], b: NDArray[np.int8]) -> float:
    """The mean distance of elbows, wrists and ankles that both show, as a share of the body's
    extent; NaN if there is none. Poses int8 [8, 18, 2]."""
    a, b = a[:, _LIMBS], b[:, _LIMBS]
    seen = (a != _UNSEEN).all(-1) & (b != _UNSEEN).all(-1)
    if not seen.any():
        return float("nan")
    apart = np.hypot(*np.moveaxis(a.astype(np.float32) - b.astype(np.float32), -1, 0))
    return float(np.mean(apart[seen])) / 100


def bits_apart(hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.float32]:
    """The mean number of bits by which frames differ: [N] for hashes [8] and others [N, 8]."""
    bits = np.bitwise_count(others ^ hashes).sum(-1, dtype=np.uint16)
    return np.asarray(bits / NUM_FRAMES, dtype=np.float32)


def colours_apart(colours: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The mean difference of the cells' shares, in 1/255: [N] for [4, 4, 2] and [N, 4, 4, 2]."""
    apart = np.abs(others.astype(np.int16) - colours.astype(np.int16))
    return np.asarray(apart.mean((-3, -2, -1)), dtype=np.float32)
