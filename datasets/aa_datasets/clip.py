"""Clip: a span of a source video, and where it came from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


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
        """A dict of JSON types; `Clip.from_json` is its inverse."""
        row = {**asdict(self), "size_hw": list(self.size_hw)}
        # A clip without text is written as before there was this field: shards keep their bytes.
        boxes = [list(box) for box in row.pop("text_px")]
        return {**row, "text_px": boxes} if boxes else row

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Clip:
        height, width = row["size_hw"]
        boxes = tuple(
            (int(x0), int(y0), int(x1), int(y1)) for x0, y0, x1, y1 in row.get("text_px", ())
        )
        return cls(**{**row, "size_hw": (int(height), int(width)), "text_px": boxes})
