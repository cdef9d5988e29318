"""Check and Drop: what a filter measured, and why a clip was left out."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Drop:
    """Why a clip is not in the corpus.

    Attributes:
        reason: in snake_case; the funnel counts by it.
        measured: what was found, in the unit that the filter's docstring names; None where the
            reason is no number (a damaged file).
        threshold: the bound that it broke.
        detail: a sentence, where the number does not say it all.
    """

    reason: str
    measured: float | None = None
    threshold: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One measurement of a clip beside its bound. It is kept for the clips that pass, too.

    Attributes:
        reason: the reason of the Drop if the check fails.
        measured, threshold: as in Drop.
        passed: whether `measured` lies on the right side; a NaN never does.
    """

    reason: str
    measured: float
    threshold: float
    passed: bool

    @property
    def drop(self) -> Drop | None:
        return None if self.passed else Drop(self.reason, self.measured, self.threshold)


def at_least(reason: str, measured: float, threshold: float) -> Check:
    return Check(reason, float(measured), threshold, bool(measured >= threshold))


def at_most(reason: str, measured: float, threshold: float) -> Check:
    passed = bool(measured <= threshold) and not math.isnan(measured)
    return Check(reason, float(measured), threshold, passed)
