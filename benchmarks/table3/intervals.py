"""Means and 95 % intervals over videos and seeds, both of which are samples.

A value belongs to a seed and a video (crossed random effects). The squared standard error is the
sum of the seeds' and the videos' part, each with what both share in it, so it is an upper bound;
the degrees of freedom of the sum are Satterthwaite's (1946). With one source of spread these are
the t intervals of the textbook.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and half the width of its 95 % interval; None where seeds or videos are too few."""

    mean: float
    half: float | None

    @property
    def holds_zero(self) -> bool:
        """Whether 0 cannot be excluded; also True without an interval."""
        return self.half is None or abs(self.mean) <= self.half


@dataclass(frozen=True, slots=True)
class Spread:
    """One source: squared standard error of the mean, degrees of freedom."""

    variance: float
    freedom: int


def over_seeds(values: Values) -> Spread:
    """Of the mean over seeds; `values` [S]."""
    count = len(values)
    return Spread(float(values.var(ddof=1)) / count if count > 1 else math.nan, count - 1)


def estimate(mean: float, spreads: Sequence[Spread]) -> Estimate:
    """Sum the sources' parts."""
    total = sum(s.variance for s in spreads)
    if not math.isfinite(total):
        return Estimate(mean, None)
    if total == 0:
        return Estimate(mean, 0.0)
    freedom = total**2 / sum(s.variance**2 / s.freedom for s in spreads if s.variance > 0)
    return Estimate(mean, float(student_t.ppf(0.975, freedom)) * math.sqrt(total))


def mean_of(values: Values) -> Estimate:
    """Of values [S, V], seeds by videos."""
    spreads = [over_seeds(values.mean(1)), over_seeds(values.mean(0))]
    return estimate(float(values.mean()), spreads)


def difference_of(a: Values, b: Values) -> Estimate:
    """Mean of a - b, both [S, V] over the same videos (paired) and seeds of their own."""
    spreads = [over_seeds(a.mean(1)), over_seeds(b.mean(1)), over_seeds(a.mean(0) - b.mean(0))]
    return estimate(float(a.mean() - b.mean()), spreads)


def mean_of_sets(values: Values, deviations: Values, num_videos: int) -> Estimate:
    """Of distances between sets, which have no value per video.

    Args:
        values: [S], one per seed.
        deviations: [S], the standard deviation of each when videos are sampled again. They are
            the same for all seeds, so that more seeds do not make it smaller.
    """
    spreads = [over_seeds(values), _over_videos(deviations, num_videos)]
    return estimate(float(values.mean()), spreads)


def difference_of_sets(a: tuple[Values, Values], b: tuple[Values, Values], V: int) -> Estimate:
    """Of values and deviations as in `mean_of_sets`; not paired over videos, so wide."""
    spreads = [f for v, d in (a, b) for f in (over_seeds(v), _over_videos(d, V))]
    return estimate(float(a[0].mean() - b[0].mean()), spreads)


def _over_videos(deviations: Values, num_videos: int) -> Spread:
    return Spread(float((deviations**2).mean()), num_videos - 1)
