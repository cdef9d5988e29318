"""Check and Drop: what a filter measured, and why a clip was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Drop:
    """Why a clip is not in the corpus.

    Attributes:
        reason: in snake_case; the funnel counts by it.
        measured: what was found, in the unit that the filter's docstring names; None where the
            reason has no number (a damaged file).
        threshold: the bound that it broke.
        detail: a sentence, where the number does not say it all.
    """

    reason: str
    measured: float | None = None
    threshold: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One measurement of a clip and its bound. It is kept for the clips that pass, too.

    Attributes:
        reason: the reason of the Drop if the check fails.
        measured, threshold: as in Drop.
        low: True if the threshold is the least that passes, False if it is the most.
    """

    reason: str
    measured: float
    threshold: float
    low: bool

    @property
    def passed(self) -> bool:
        """Whether `measured` lies on the right side; a NaN never does."""
        if self.low:
            return self.measured >= self.threshold
        return self.measured <= self.threshold

    @property
    def drop(self) -> Drop | None:
        return None if self.passed else Drop(self.reason, self.measured, self.threshold)


def at_least(reason: str, measured: float, threshold: float) -> Check:
    """A measurement that passes from `threshold` up: what a filter returns.

    >>> at_least("blurred", measured=12.5, threshold=20).passed
    False
    """
    return Check(reason, float(measured), float(threshold), low=True)


def at_most(reason: str, measured: float, threshold: float) -> Check:
    """A measurement that passes up to `threshold`: what a filter returns.

    >>> at_most("static", measured=0.5, threshold=0.5).passed
    True
    """
    return Check(reason, float(measured), float(threshold), low=False)


def with_thresholds(checks: Sequence[Check], thresholds: Mapping[str, float]) -> tuple[Check, ...]:
    """The same measurements with other bounds: `{reason: threshold}`."""
    return tuple(
        replace(check, threshold=thresholds[check.reason]) if check.reason in thresholds else check
        for check in checks
    )


def first_drop(checks: Sequence[Check]) -> Drop | None:
    """The first check that fails decides."""
    return next((check.drop for check in checks if not check.passed), None)
