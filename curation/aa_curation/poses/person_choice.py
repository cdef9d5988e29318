"""Whom a tracker follows, where a frame shows several people."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# From the middles (x, y) of the people in a frame, the largest first, to the index of one.
Choose = Callable[[Sequence[tuple[float, float]]], int]


def the_first(middles: Sequence[tuple[float, float]]) -> int:
    """The largest."""
    return 0


@dataclass
class PersonChoice:
    """The person of this number at first; later, where they were last. The first is the largest.

    Attributes:
        person: by size, from 0; the smallest where there are fewer.
        was_at: the middle in the last frame that showed them.
    """

    person: int
    was_at: tuple[float, float] | None = None

    def __call__(self, middles: Sequence[tuple[float, float]]) -> int:
        if self.person == 0 or not middles:
            return 0
        if self.was_at is None:
            return min(self.person, len(middles) - 1)
        ways = [math.dist(middle, self.was_at) for middle in middles]
        return ways.index(min(ways))
