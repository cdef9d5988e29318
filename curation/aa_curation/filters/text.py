"""Text laid over the picture: the network would learn to draw it."""

from __future__ import annotations

from dataclasses import dataclass

from aa_curation.check import Check, at_most
from aa_curation.text.overlay import OverlaidText


@dataclass(frozen=True, slots=True)
class TextArea:
    """Measured: the share of the frame under boxes of overlaid text (`OverlaidText.area`).

    Attributes:
        share_at_most: what lies below is kept, with its boxes, for training to leave out of the
            loss. Two lines of subtitles cover 0.05 to 0.15.
    """

    share_at_most: float

    def __call__(self, text: OverlaidText) -> Check:
        return at_most("text_overlay", text.area, self.share_at_most)
