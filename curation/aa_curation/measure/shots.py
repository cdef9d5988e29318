"""Shots and spans: where a video is cut, and which parts of it become clips."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aa_curation.measure.frame_stats import Picture


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a video, in seconds from its first frame; `end_s` is not in it."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class ShotCuts:
    """How shots are told apart.

    A hard cut is a frame that differs much from the one before, while its neighbours do not. Where
    the picture fades to black and back, the dark frames around black belong to no shot. A gap in
    the time stamps ends a shot: stored at a constant rate it would be a frozen picture.

    Attributes:
        change_at_least: grey levels of `Picture.change`.
        times_neighbours: how many times the largest change of the frames around it: fast motion
            and a shaking camera change every frame, a cut only one.
        reach: how many neighbours on each side are compared.
        dark_below: `Picture.brightness` of the frames around black that are left out; 0 ignores
            fades. (PySceneDetect's ThresholdDetector has 12, of the mean of all channels.)
        black_below: brightness of black itself, which a dim room does not reach.
        fade_s: how far from black, in seconds, a dark frame may be: a night may have one black
            frame.
        gap_s: a step from one frame to the next is a gap if it is longer than this, and than
            `times_usual` times the usual step; infinity ignores gaps.
    """

    change_at_least: float = 25.0
    times_neighbours: float = 2.0
    reach: int = 3
    dark_below: float = 12.0
    black_below: float = 2.0
    fade_s: float = 1.0
    gap_s: float = 0.5
    times_usual: float = 3.0

    def cut_frames(self, picture: Picture) -> list[int]:
        """Indices of the frames that start a new shot (never 0)."""
        change = picture.change
        cuts = []
        for t in np.flatnonzero(change >= self.change_at_least):
            around = np.r_[change[max(1, t - self.reach) : t], change[t + 1 : t + 1 + self.reach]]
            if change[t] >= self.times_neighbours * around.max(initial=0.0):
                cuts.append(int(t))
        return cuts

    def black_runs(self, picture: Picture) -> list[tuple[int, int]]:
        """First frame and end of each run around black; none where every frame is dark."""
        dark = picture.brightness < self.dark_below
        if dark.all():
            return []
        found = np.zeros(len(dark), bool)
        for first, end in _runs(dark):
            times_s = picture.times_s[first:end]
            black_s = times_s[picture.brightness[first:end] < self.black_below]
            if len(black_s):
                found[first:end] = np.abs(times_s[:, None] - black_s).min(1) <= self.fade_s
        return _runs(found)

    def gaps(self, picture: Picture) -> list[tuple[float, float]]:
        """Start and end in seconds of each time in which frames are missing."""
        starts_s, ends_s = picture.times_s[:-1] + picture.frame_s, picture.times_s[1:]
        found = self._gap_steps(picture)
        return list(zip(starts_s[found].tolist(), ends_s[found].tolist(), strict=True))

    def fps(self, picture: Picture, claimed_fps: float) -> float:
        """Frames per second as counted, gaps left out; what the reader says where that agrees to
        a fiftieth, since it is exact (30000/1001) where time stamps are rounded."""
        steps_s = np.diff(picture.times_s)[~self._gap_steps(picture)]
        if not len(steps_s) or steps_s.sum() <= 0:
            return claimed_fps or 30.0
        counted = len(steps_s) / float(steps_s.sum())
        return claimed_fps if abs(counted / (claimed_fps or 1) - 1) < 0.02 else counted

    def _gap_steps(self, picture: Picture) -> NDArray[np.bool_]:
        """Which steps from frame to frame are gaps, bool [T - 1]."""
        longest_s = max(self.gap_s, self.times_usual * picture.frame_s)
        return np.asarray(np.diff(picture.times_s) > longest_s)


def _runs(marked: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First index and end of each run of True."""
    steps = np.flatnonzero(np.diff(marked, prepend=False, append=False))
    return [(int(first), int(end)) for first, end in steps.reshape(-1, 2)]


def cut_spans(
    picture: Picture, cuts: ShotCuts, max_s: float, within_s: tuple[float, float] | None = None
) -> list[Span]:
    """One span per shot; a shot longer than `max_s` gives equal parts. Black and gaps are in none.

    Args:
        picture: of the whole video.
        cuts: how shots are told apart.
        max_s: longest clip.
        within_s: use this part of the video only.
    """
    times_s = picture.times_s
    frame_s = picture.frame_s or 1 / 30
    first_s, last_s = float(times_s[0]), float(times_s[-1]) + frame_s
    if within_s is not None:
        first_s, last_s = max(first_s, within_s[0]), min(last_s, within_s[1])
    runs = cuts.black_runs(picture)
    begun_s = [*(float(time_s) for time_s in times_s), last_s]
    left_out = [(begun_s[first], begun_s[end]) for first, end in runs] + cuts.gaps(picture)
    inner = {begun_s[t] for t in cuts.cut_frames(picture)} | set(itertools.chain(*left_out))
    edges = [first_s, *sorted(s for s in inner if first_s < s < last_s), last_s]
    spans = []
    for start_s, end_s in itertools.pairwise(edges):
        if end_s <= start_s or any(first <= start_s < end for first, end in left_out):
            continue
        parts = max(1, math.ceil((end_s - start_s) / max_s - 1e-9))
        bounds = np.linspace(start_s, end_s, parts + 1)
        spans += [Span(float(a), float(b)) for a, b in itertools.pairwise(bounds)]
    return spans
