"""Frozen pictures: a photo, a slide, a video that hangs, a hole in the time stamps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aa_curation.check import Check, at_most
from aa_curation.measure.frame_stats import Picture

# Mean change in grey levels below which a frame repeats the one before: an encoder leaves that much
# between two identical frames.
_SAME_BELOW = 0.05


@dataclass(frozen=True, slots=True)
class Static:
    """Measured: the share of frames that repeat the frame before, of the clip as it is stored: at a
    constant rate, a hole in the time stamps is filled with repetitions.

    Attributes:
        same_below: mean change in grey levels below which a frame is a repetition.
        share_at_most: repetitions that a clip may hold; 8 fps footage in a 24 fps file has 0.67.
    """

    same_below: float = _SAME_BELOW
    share_at_most: float = 0.5

    def __call__(self, picture: Picture) -> Check:
        if picture.num_frames < 2:
            return at_most("static", 1.0, self.share_at_most)
        new = int(np.sum(picture.change[1:] >= self.same_below))
        shown_s, usual_s = picture.times_s[-1] - picture.times_s[0], picture.frame_s
        stored = max(1, round(shown_s / usual_s)) if usual_s > 0 else picture.num_frames - 1
        return at_most("static", max(0.0, 1 - new / stored), self.share_at_most)


@dataclass(frozen=True, slots=True)
class Frozen:
    """Measured: the longest time in seconds for which one picture stays, by repeated frames or by a
    hole in the time stamps.

    Attributes:
        same_below: as in `Static`.
        seconds_at_most: of one picture.
    """

    same_below: float = _SAME_BELOW
    seconds_at_most: float = 1.0

    def __call__(self, picture: Picture) -> Check:
        if picture.num_frames == 0:
            return at_most("frozen", 0.0, self.seconds_at_most)
        new = np.r_[True, picture.change[1:] >= self.same_below]
        end_s = picture.times_s[-1] + picture.frame_s
        longest_s = float(np.max(np.diff(np.r_[picture.times_s[new], end_s])))
        return at_most("frozen", longest_s, self.seconds_at_most)
