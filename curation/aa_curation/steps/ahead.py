"""Ahead of the plan: a source that will be one clip is encoded in the decode that surveys it.

Where no pose has to be found, nothing else would need a second decode. What is foreseen from the
header is checked when the plan is made; where it did not come true, the clip step decodes again and
makes the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aa_curation.ledger.records import PlannedClip
from aa_curation.measure.frames import shown_at, ticks_s
from aa_curation.measure.shots import Span
from aa_curation.measure.signature import FrameLook, look_at_frame, signature_frames
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import Source
from aa_datasets.video.canonical import encode_canonical
from aa_datasets.video.foreign import SurveyFrame, VideoInfo
from aa_datasets.video.frame_size import every_nth


@dataclass(frozen=True, slots=True)
class Rendered:
    """A clip's canonical video, and how its signature's frames look."""

    mp4: bytes
    looks: tuple[FrameLook, ...]


class AheadOfPlan:
    """Encodes a source's frames while others measure them.

    Args:
        recipe: the form of the clip.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._rendered: Rendered | None = None
        self._fps, self._every, self._num_kept = 0.0, 1, 0
        self._times_s: list[float] = []

    @staticmethod
    def may_be(source: Source) -> bool:
        """Whether there is nothing to find in the frames, and all of each is kept."""
        return source.pose_path is not None and source.crop_px is None and source.span_s is None

    def foresees(self, info: VideoInfo) -> bool:
        """Whether the header promises one clip."""
        return info.fps > 0 and 0 < info.num_frames_claimed <= info.fps * self._recipe.max_s

    def encode(self, frames: Iterable[SurveyFrame], info: VideoInfo) -> None:
        """Take all frames; those that the clip would keep have their canonical picture."""
        self._fps, self._every = info.fps, every_nth(info.fps, self._recipe.canonical.max_fps)
        whole = Span(0.0, round(info.num_frames_claimed / info.fps, 6))  # as plans are rounded
        self._num_kept = len(ticks_s(whole, info.fps / self._every))
        looked_at = set(signature_frames(self._num_kept).tolist())
        looks: dict[int, FrameLook] = {}

        def canonical() -> Iterator[NDArray[np.uint8]]:
            for number, frame in enumerate(frames):
                self._times_s.append(frame.time_s)
                kept = number // self._every
                if frame.canonical is not None and kept < self._num_kept:
                    if kept in looked_at:
                        looks[kept] = look_at_frame(frame.canonical)
                    yield frame.canonical

        mp4 = encode_canonical(canonical(), info.fps / self._every)
        if len(self._times_s) == info.num_frames_claimed:
            in_order = signature_frames(self._num_kept).tolist()  # a short clip repeats some
            self._rendered = Rendered(mp4, tuple(looks[number] for number in in_order))

    def rendered(self, planned: PlannedClip) -> Rendered | None:
        """What the clip step would make of this clip; None where it was not foreseen."""
        if self._rendered is None or planned.fps != self._fps:
            return None
        times_s, span = np.array(self._times_s), Span(planned.start_s, planned.end_s)
        shown = shown_at(times_s, ticks_s(span, self._fps / self._every), self._fps)
        kept = self._every * np.arange(self._num_kept)
        return self._rendered if np.array_equal(shown, kept) else None
