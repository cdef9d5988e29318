"""What run.py may spend and how it measures: a TOML file, fixed before the first run."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

VARIANTS = ("clip", "controlnet", "clip+controlnet", "reference_net")  # the paper's order
HIGHER_IS_BETTER = {"ssim": True, "psnr": True, "lpips_alex": False, "fvd": False}
_FLAGS = {"steps", "batch_size", "num_frames", "lr", "warmup_steps"}
_TABLES = {
    "puppets": {"train", "test", "num_frames", "fps"},
    "pretraining": _FLAGS | {"seed"},
    "stage_1": _FLAGS,
    "stage_2": _FLAGS,
    "animation": {"steps", "guidance", "max_frames"},
    "evaluation": {"protocol", "metrics"},
}
_LEAST_SEEDS = 3

Table = dict[str, Any]  # flag of a command, with _ for -: its value


@dataclass(frozen=True, slots=True)
class Budget:
    """The file's content, field by field; `stage_1.steps` are each variant's in total."""

    kind: str
    preset: str
    start: str
    real: str
    seeds: list[int]
    minutes_per_run: float
    puppets: Table
    pretraining: Table
    stage_1: Table
    stage_2: Table
    animation: Table
    evaluation: Table

    def runs(self) -> list[tuple[str, int]]:
        """Every variant and seed; a seed's four stand together, so that a part is balanced."""
        return [(variant, seed) for seed in self.seeds for variant in VARIANTS]

    def stages(self, variant: str) -> list[tuple[str, Table]]:
        """Names and flags of a variant's stages; their optimiser steps add up to the same."""
        if "controlnet" not in variant:
            return [("1", self.stage_1), ("2", self.stage_2)]
        half = {**self.stage_1, "steps": self.stage_1["steps"] // 2}
        return [("1", half), ("1-controlnet", half), ("2", self.stage_2)]


def read_budget(path: Path) -> Budget:
    """Read and check a budget file.

    Raises:
        SystemExit: a value is absent, unknown, or would not give a fair comparison.
    """
    row = tomllib.loads(path.read_text())
    wanted = {field.name for field in fields(Budget)}
    faults = [f"{name}?" for name in sorted(wanted ^ set(row))]
    for table, keys in _TABLES.items():
        faults += [f"{table}.{key}?" for key in sorted(keys ^ set(row.get(table, keys)))]
    if faults:
        raise SystemExit(f"{path}: missing or unknown: {', '.join(faults)}")
    budget = Budget(**row)
    metrics = budget.evaluation["metrics"]
    checks = [
        (budget.kind in ("result", "trial"), f"kind {budget.kind!r} is neither result nor trial"),
        (len(set(budget.seeds)) == len(budget.seeds) > 0, f"seeds {budget.seeds} repeat, or none"),
        (budget.kind == "trial" or len(budget.seeds) >= _LEAST_SEEDS,
         f"{len(budget.seeds)} seeds: a result needs {_LEAST_SEEDS} or more"),
        (budget.stage_1["steps"] % 2 == 0, "stage_1.steps is odd: a ControlNet takes half of it"),
        (set(metrics) <= set(HIGHER_IS_BETTER),
         f"metrics {metrics} are not all of {list(HIGHER_IS_BETTER)}"),
    ]  # fmt: skip
    for holds, fault in checks:
        if not holds:
            raise SystemExit(f"{path}: {fault}")
    return budget


def hash_of(path: Path) -> str:
    """The budget file's sha256, which every run's record holds."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
