"""Footage that the reader corrects: HDR, interlaced, with pixels that are not square.

Such videos come tone-mapped to BT.709, deinterlaced, and in the proportions that a player shows. A
recipe that wants none of it lowers the bound. What is interlaced and does not say so is not
corrected: `Combs` drops it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from aa_curation.check import Check, at_most
from aa_curation.measure.frame_stats import Picture
from aa_datasets.video.foreign import VideoInfo


@dataclass(frozen=True, slots=True)
class Hdr:
    """Measured: 1 for HDR (PQ or HLG, as recent phones record), else 0.

    Attributes:
        at_most: 1 accepts it tone-mapped, 0 rejects it.
    """

    at_most: float = 1.0

    def __call__(self, video: VideoInfo) -> Check:
        return at_most("hdr", float(video.is_hdr), self.at_most)


@dataclass(frozen=True, slots=True)
class Interlaced:
    """Measured: 1 where the first frame holds two fields, else 0.

    Attributes:
        at_most: 1 accepts it deinterlaced, 0 rejects it.
    """

    at_most: float = 1.0

    def __call__(self, video: VideoInfo) -> Check:
        return at_most("interlaced", float(video.is_interlaced), self.at_most)


@dataclass(frozen=True, slots=True)
class PixelAspect:
    """Measured: how many times as wide as high the stored pixels are, or as high as wide; 1 for
    square ones. PAL's are 1.07 to 1.46, those of HDV 1.33.

    Attributes:
        at_most: infinity accepts all, 1 rejects pixels that are not square.
    """

    at_most: float = math.inf

    def __call__(self, video: VideoInfo) -> Check:
        ratio = video.sample_aspect_ratio
        return at_most("pixel_aspect", max(ratio, 1 / ratio), self.at_most)


@dataclass(frozen=True, slots=True)
class Combs:
    """Measured: the share of frames whose two fields show different times, though they are not
    marked as interlaced: a careless copy of interlaced footage. FFmpeg's `idet` finds them.

    Attributes:
        share_at_most: of the 43 real clips one of 176 x 144 has 0.06, the others 0.01 or none;
            a copy in which everything moves has 1, and a still one has none.
    """

    share_at_most: float = 0.2

    def __call__(self, picture: Picture) -> Check:
        share = float(picture.combed.mean()) if picture.num_frames else 0.0
        return at_most("combed", share, self.share_at_most)
