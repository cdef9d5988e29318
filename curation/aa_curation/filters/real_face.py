"""Reject non-humans and animation, by joint stability, face confidence and eye size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aa_curation.check import Check, at_most
from aa_curation.measure.people import People


@dataclass(frozen=True, slots=True)
class SteadyOrFace:
    """Measured: the median wobble as by `RealPerson`, with 0 for a frame in which a face is sure.

    A head with shoulders shows four joints and wobbles by 0.03 to 0.08, as cats do. There the face
    network has a confidence of 1.00; on cats, rabbits, hands and skeletons 0.1 at most.

    Attributes:
        wobble_at_most: a share of the person's size.
        face_at_least: the confidence from which on a face is sure.
    """

    wobble_at_most: float = 0.03
    face_at_least: float = 0.5

    def __call__(self, people: People) -> Check:
        wobble = np.where(people.face >= self.face_at_least, 0, people.wobble)
        seen = wobble[~np.isnan(wobble)]
        return at_most(
            "not_a_person", float(np.median(seen)) if len(seen) else 1.0, self.wobble_at_most
        )


@dataclass(frozen=True, slots=True)
class HumanEyes:
    """Measured: the width of the eyes over the height of the face (`People.eyes`), the median of
    the frames in which a face is sure; 0 where none is.

    Adults have 0.168 (men) and 0.177 (women): eyes of 34 mm, faces of 203 and 190 mm (doi
    10.1186/s40902-019-0191-7, table 9). Animated people are drawn with larger ones.

    Attributes:
        width_at_most: the share of the face's height.
        face_at_least: the confidence from which on a face is sure.
    """

    width_at_most: float = 0.2
    face_at_least: float = 0.5

    def __call__(self, people: People) -> Check:
        eyes = people.eyes[(people.face >= self.face_at_least) & ~np.isnan(people.eyes)]
        width = float(np.median(eyes)) if len(eyes) else 0.0
        return at_most("animation", width, self.width_at_most)
