"""A metric's values by variant, over the runs that run.py left, and what may be said of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from budget import HIGHER_IS_BETTER, VARIANTS, Budget, hash_of
from intervals import (
    Estimate,
    Values,
    difference_of,
    difference_of_sets,
    mean_of,
    mean_of_sets,
)

from aa_eval.result import Result, read_result

OURS = "reference_net"
DIGITS = {"ssim": 4, "psnr": 2, "lpips_alex": 4, "fvd": 0}
NOT_SHOWN = "not shown here"
_SETS = {"fvd"}  # distances between sets: no value per video


@dataclass(frozen=True)
class Run:
    """One variant and seed: its record, its result, and that of the repeated reference; the same
    two of footage, if it was scored."""

    record: dict[str, Any]
    result: Result
    still: Result
    real: tuple[Result, Result] | None = None

    def on_footage(self) -> Run:
        """The same run, with its results on footage in the place of those on puppets."""
        assert self.real is not None
        return Run(self.record, *self.real)

    @property
    def minutes(self) -> float:
        return float(sum(self.record["seconds"].values())) / 60


def read_runs(out: Path, budget: Budget) -> dict[tuple[str, int], Run]:
    """The finished runs, in the budget's order.

    Raises:
        SystemExit: a run was made under another budget, or scored against other frames.
    """
    runs: dict[tuple[str, int], Run] = {}
    for variant, seed in budget.runs():
        folder = out / "runs" / f"{variant}-{seed}"
        if not (folder / "record.json").is_file():
            continue
        record = json.loads((folder / "record.json").read_text())
        if record["budget_sha256"] != hash_of(out / "budget.toml"):
            raise SystemExit(f"{folder} was made under another budget than {out / 'budget.toml'}")
        real = folder / "result-real"
        one = runs[variant, seed] = Run(
            record,
            *_read_both(folder / "result"),
            _read_both(real) if real.is_dir() else None,
        )
        if one.result.references != next(iter(runs.values())).result.references:
            raise SystemExit(f"{folder} was scored against other frames: score all of them again")
    return runs


def _read_both(result: Path) -> tuple[Result, Result]:
    return read_result(result), read_result(result / "baselines" / "repeat-reference")


class Scores:
    """Values of a metric by variant, and what may be said of them."""

    def __init__(self, runs: dict[tuple[str, int], Run], metric: str) -> None:
        self.metric = metric
        self.results = {v: [r.result for (w, _), r in runs.items() if w == v] for v in VARIANTS}
        present = [v for v in VARIANTS if self.results[v]]
        measured = [v for v in present if all(self._has(r) for r in self.results[v])]
        self.estimates = {v: self._estimate(v) for v in measured}

    def _has(self, result: Result) -> bool:
        return self.metric in result.metrics and result.metrics[self.metric].value is not None

    def values(self, variant: str) -> Values:
        """[S, V], seeds by videos."""
        rows = [[r.per_video[v][self.metric] for v in sorted(r.per_video)]
                for r in self.results[variant]]  # fmt: skip
        return np.asarray(rows, dtype=np.float64)

    def of_sets(self, variant: str) -> tuple[Values, Values]:
        """[S] and [S]: values, and their standard deviations over videos (NaN: unknown)."""
        found = [r.metrics[self.metric] for r in self.results[variant]]
        # aa-eval's interval of a set metric is the value +- 1.96 standard deviations.
        spread = [np.nan if m.ci_high is None or m.value is None else (m.ci_high - m.value) / 1.96
                  for m in found]  # fmt: skip
        return np.array([m.value for m in found], np.float64), np.array(spread, np.float64)

    @property
    def num_videos(self) -> int:
        return next(r[0].num_videos for r in self.results.values() if r)

    def _estimate(self, variant: str) -> Estimate:
        if self.metric in _SETS:
            return mean_of_sets(*self.of_sets(variant), self.num_videos)
        return mean_of(self.values(variant))

    def best_other(self) -> str | None:
        """The variant with the best mean, ReferenceNet excepted; None until all four are there."""
        if set(self.estimates) != set(VARIANTS):
            return None
        sign = 1 if HIGHER_IS_BETTER[self.metric] else -1
        others = [v for v in VARIANTS if v != OURS]
        return max(others, key=lambda v: sign * self.estimates[v].mean)

    def difference(self, other: str) -> Estimate:
        """ReferenceNet minus `other`."""
        if self.metric in _SETS:
            return difference_of_sets(self.of_sets(OURS), self.of_sets(other), self.num_videos)
        return difference_of(self.values(OURS), self.values(other))

    def verdict(self, difference: Estimate) -> str:
        if difference.holds_zero:
            return NOT_SHOWN
        better = (difference.mean > 0) == HIGHER_IS_BETTER[self.metric]
        return "ReferenceNet is better" if better else "ReferenceNet is worse"

    def show(self, found: Estimate | None, *, sign: bool = False) -> str:
        if found is None:
            return "-"
        digits = DIGITS[self.metric]
        mean = f"{found.mean:{'+' if sign else ''}.{digits}f}"
        return mean if found.half is None else f"{mean} ± {found.half:.{digits}f}"
