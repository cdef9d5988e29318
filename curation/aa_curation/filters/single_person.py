"""One main person, large enough, and human."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aa_curation.check import Check, at_least, at_most
from aa_curation.measure.people import People


@dataclass(frozen=True, slots=True)
class SomePerson:
    """Measured: the share of the sampled frames in which a person is seen."""

    share_at_least: float = 0.8

    def __call__(self, people: People) -> Check:
        return at_least("no_person", float(np.mean(people.count > 0)), self.share_at_least)


@dataclass(frozen=True, slots=True)
class SinglePerson:
    """Measured: the share of the sampled frames with a second person.

    Attributes:
        second_area: a second person counts from this share of the main one's area on: bystanders
            far in the back do not. The two people of pose2sim's walk-by scene have 0.38 to 0.9, the
            bystander of its single-person scene 0.25 to 0.29.
        share_at_most: frames that may show one; some of the findings are a dog or a chair. By 0.15
            one of ten sampled frames may, and two may not.
    """

    second_area: float = 1 / 3
    share_at_most: float = 0.15

    def __call__(self, people: People) -> Check:
        share = float(np.mean(people.second_area >= self.second_area))
        return at_most("several_persons", share, self.share_at_most)


@dataclass(frozen=True, slots=True)
class SteadyCount:
    """Measured: how far the mean number of people in the sampled frames is from a whole number; 0
    where it is the same in all of them.

    Attributes:
        off_at_most: HumanVid's rule is 0.025.
    """

    off_at_most: float = 0.025

    def __call__(self, people: People) -> Check:
        mean = float(np.mean(people.count))
        return at_most("unsteady_count", abs(mean - round(mean)), self.off_at_most)


@dataclass(frozen=True, slots=True)
class PersonSize:
    """Measured: the main person's share of the frame's area, median of the sampled frames."""

    area_at_least: float

    def __call__(self, people: People) -> Check:
        return at_least("small_person", float(np.median(people.area)), self.area_at_least)


@dataclass(frozen=True, slots=True)
class RealPerson:
    """Measured: the median wobble (`People.wobble`), a share of the person's size.

    People have 0.005 to 0.016, also when they surf, kick or are cut off at the waist; a cartoon
    rabbit, knitting hands and an empty street 0.03 to 0.08.
    """

    wobble_at_most: float = 0.03

    def __call__(self, people: People) -> Check:
        seen = people.wobble[~np.isnan(people.wobble)]
        return at_most(
            "not_a_person", float(np.median(seen)) if len(seen) else 1.0, self.wobble_at_most
        )
