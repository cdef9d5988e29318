"""Clip: a span of a source video, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from aa_datasets.errors import ClipError


@dataclass(frozen=True, slots=True)
class Clip:
    """Identity and origin of one clip, never its pixels.

    Attributes:
        clip_id: unique, of [0-9a-z_-] (WebDataset cuts a key at its first dot).
        source_id: which source video; clips of one source never cross a split.
        source: where the source came from: an URL, or `package:name==version/path`.
        licence: SPDX identifier, or the words of the source.
        start_s, end_s: the span in the source, in seconds.
        fps: frames per second of the canonical clip.
        size_hw: height and width in pixels of the canonical clip.
        num_frames: frames of the canonical clip, counted by decoding it.
        synthetic: True for rendered characters (puppets), False for camera footage.
        pose_from: which estimator made the pose, e.g. "blazepose-full" or "renderer" (exact).
        split: "train", "test" or another name that the recipe gives.
        text_px: boxes (x0, y0, x1, y1) of text laid over the video, in pixels of the canonical
            clip; x1 and y1 are outside. Training can leave them out of the loss.
    """

    clip_id: str
    source_id: str
    source: str
    licence: str
    start_s: float
    end_s: float
    fps: float
    size_hw: tuple[int, int]
    num_frames: int
    synthetic: bool
    pose_from: str
    split: str
    text_px: tuple[tuple[int, int, int, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A dict that `json` writes; `Clip.from_json` is its inverse."""
        # Not by `asdict`, which copies each value and takes ten times as long.
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if not self.text_px:  # written as before this field existed: shards keep their bytes
            del row["text_px"]
        return row

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Clip:
        """Read what `to_json` gave, after a way through JSON.

        Raises:
            ClipError: a field is missing, unknown or of another type.
        """
        try:
            clip = msgspec.convert(row, cls)
        except msgspec.ValidationError as error:
            raise ClipError(f"not the record of a clip: {error}") from error
        if unknown := sorted(set(row) - set(cls.__dataclass_fields__)):
            raise ClipError(
                f"clip {clip.clip_id} has a field {unknown[0]!r}: it was written by a newer version"
            )
        return clip
