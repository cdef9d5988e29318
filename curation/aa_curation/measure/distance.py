"""The distance between two clips' signatures, and the bound below which they are one recording."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aa_curation.measure.signature import (
    NUM_FRAMES,
    PICTURE_BYTES,
    Signature,
    bits_apart,
    colours_apart,
    limbs_apart,
)


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """Which clips are one recording: those whose distance is at most 1.

    The distance is a sum, so that what agrees well makes up for what agrees less: a crop moves the
    hash and leaves the colours, a change of light does the opposite, and an estimator may lose a
    hand in one copy. `benchmarks/studies/near_duplicates.py` measures it.

    Attributes:
        bits: of 64, mean over 8 frames, by which hashes differ at distance 1, all else equal.
        colour: in 1/255 of all light, mean over the picture: the same for colours.
        limbs: share of the body's extent, mean over elbows, wrists and ankles: the same for poses.
        poses_at_most: what poses may add: in a small copy an estimator may take another person.
    """

    bits: float = 18.0
    colour: float = 9.0
    limbs: float = 0.25
    poses_at_most: float = 0.6

    def near_pictures(
        self, one: Signature, others: Stacked
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The places of those whose pictures alone leave the distance at 1 or below, and that part
        of it. Hashes are compared with all, colours only where these agree."""
        hashes = bits_apart(one.hashes, others.hashes) / np.float32(self.bits)
        places = np.flatnonzero(hashes <= 1)
        colours = colours_apart(one.colours, others.colours[places]) / np.float32(self.colour)
        apart = hashes[places] + colours
        return places[apart <= 1], apart[apart <= 1]

    def apart(self, one: Signature, other: Signature) -> float:
        """The distance of two."""
        hashes = float(bits_apart(one.hashes, other.hashes[None])[0])
        colours = float(colours_apart(one.colours, other.colours[None])[0])
        return hashes / self.bits + colours / self.colour + self.poses_apart(one, other)

    def poses_apart(self, one: Signature, other: Signature) -> float:
        """The part of the distance that is the poses'; the most where they share no limb."""
        apart = limbs_apart(one.pose, other.pose) / self.limbs
        return self.poses_at_most if math.isnan(apart) else min(apart, self.poses_at_most)


@dataclass(frozen=True, slots=True)
class Stacked:
    """Signatures of N clips as arrays: hashes uint64 [N, 8], colours uint8 [N, 4, 4, 2]."""

    hashes: NDArray[np.uint64]
    colours: NDArray[np.uint8]

    @classmethod
    def of(cls, signatures: Sequence[Signature]) -> Stacked:
        return cls(
            np.stack([signature.hashes for signature in signatures]),
            np.stack([signature.colours for signature in signatures]),
        )

    @classmethod
    def of_pictures(cls, pictures: bytes) -> Stacked:
        """Stack the first `PICTURE_BYTES` of N signatures, one after the other."""
        rows = np.frombuffer(pictures, np.uint8).reshape(-1, PICTURE_BYTES)
        hashes = np.ascontiguousarray(rows[:, : 8 * NUM_FRAMES]).view("<u8").astype(np.uint64)
        return cls(hashes, rows[:, 8 * NUM_FRAMES :].reshape(len(rows), 4, 4, 2))
