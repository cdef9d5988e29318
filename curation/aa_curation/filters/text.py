"""Text laid over the picture: a network would learn to draw it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aa_curation.check import Check, at_most
from aa_curation.measure.posed_clip import PosedClip, body_boxes
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


@dataclass(frozen=True, slots=True)
class TextOnPerson:
    """Measured: the share of the box around the body that overlaid text covers, the median of the
    frames. A title across the body hides what is to be learned, a subtitle at the feet seldom does.

    Attributes:
        share_at_most: of the body's box.
    """

    share_at_most: float

    def __call__(self, clip: PosedClip) -> Check:
        height, width = clip.pose.size_hw
        text = OverlaidText(clip.text_px, (height, width)).mask()
        covered = np.pad(np.cumsum(np.cumsum(text, 0), 1), ((1, 0), (1, 0)))
        boxes = np.round(body_boxes(clip.pose)).clip(0, [width, height] * 2).astype(np.int64)
        x0, y0, x1, y1 = boxes.T
        pixels = covered[y1, x1] - covered[y0, x1] - covered[y1, x0] + covered[y0, x0]
        shares = pixels / np.maximum((x1 - x0) * (y1 - y0), 1)
        return at_most(
            "text_on_person", float(np.median(shares)) if len(shares) else 0.0, self.share_at_most
        )
