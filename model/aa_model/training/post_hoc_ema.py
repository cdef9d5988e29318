"""Post-hoc EMA: an average of the weights whose width is chosen after training.

Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models", Sec. 3: two
averages with power functions of time as profiles are kept while training, and stored now and then.
The average of any other width is nearly a weighted sum of what was stored.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor

from aa_datasets.atomic_file import replace_file
from aa_model.checkpoints.store import CheckpointInfo, read_checkpoint, write_parts
from aa_model.errors import ModelError

WIDTHS = (0.05, 0.10)  # of the two that are kept, as in the paper
_WIDEST = 12**-0.5  # of exponent 0: the mean of all steps
_SNAPSHOT = re.compile(r"step-(\d+)-([\d.]+)\.safetensors")


def exponent_of(width: float) -> float:
    """The exponent of the profile t^exponent whose standard deviation is `width` of the run.

    From sigma^2 = (g + 1) / ((g + 2)^2 (g + 3)).

    Raises:
        ModelError: no profile that rises is so wide, or so narrow.
    """
    if not 0 < width <= _WIDEST:
        raise ModelError(f"--width {width:g}: expected more than 0, and at most {_WIDEST:.4f}")
    inverse = width**-2
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


class PowerAverages:
    """One average of the weights for each of `WIDTHS`, since the first step.

    Attributes:
        values: one list of tensors, in the weights' order, for each width.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        weights = [p.detach() for p in parameters]
        self.values = [[w.clone() for w in weights] for _ in WIDTHS]
        self._exponents = [exponent_of(width) for width in WIDTHS]

    @torch.no_grad()
    def update(self, parameters: Iterable[Tensor], step: int) -> None:
        """Take in the weights after step `step`, 1 for the first."""
        weights = list(parameters)
        for exponent, averages in zip(self._exponents, self.values, strict=True):
            share = 1 - (1 - 1 / step) ** (exponent + 1)
            for average, weight in zip(averages, weights, strict=True):
                average.add_(weight - average, alpha=share)


def write_snapshots(
    run: Path, step: int, names: Sequence[str], values: Sequence[Sequence[Tensor]]
) -> None:
    """Store the averages in the folder of a run, as float16; later ones are of before it went back.

    Args:
        names: of the weights, `part.name`.
        values: as of `PowerAverages`.
    """
    folder = run / "ema"
    folder.mkdir(exist_ok=True)
    for later in [path for at, _, path in _find_snapshots(run) if at > step]:
        later.unlink()
    for width, averages in zip(WIDTHS, values, strict=True):
        tensors = {n: a.half().cpu().contiguous() for n, a in zip(names, averages, strict=True)}
        replace_file(folder / f"step-{step:06d}-{width:g}.safetensors", save(tensors))


def _find_snapshots(run: Path) -> list[tuple[int, float, Path]]:
    """Step, width and file."""
    found = ((_SNAPSHOT.fullmatch(path.name), path) for path in (run / "ema").glob("step-*"))
    return sorted((int(m[1]), float(m[2]), path) for m, path in found if m)


def solve_weights(
    snapshots: Sequence[tuple[int, float]], step: int, width: float
) -> NDArray[np.float64]:
    """What to multiply each snapshot with: the least squares of profiles (its Algorithm 3).

    Args:
        snapshots: step and width of each.
        step, width: of the average that is wanted.
    """
    times, widths = zip(*snapshots, strict=True)
    t, g = np.array(times, float), np.array([exponent_of(w) for w in widths])
    inner = _inner_product(t[:, None], g[:, None], t, g)
    wanted = _inner_product(t, g, np.array(float(step)), np.array(exponent_of(width)))
    return np.linalg.lstsq(inner, wanted, rcond=None)[0].astype(np.float64)


def _inner_product(
    t: NDArray[np.float64], g: NDArray[np.float64], u: NDArray[np.float64], h: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of the profiles (g + 1) x^g / t^(g + 1) on [0, t] and (h + 1) x^h / u^(h + 1) on [0, u]."""
    shorter = np.minimum(t, u)
    shares = (shorter / t) ** (g + 1) * (shorter / u) ** (h + 1)
    out: NDArray[np.float64] = (g + 1) * (h + 1) / (g + h + 1) * shares / shorter
    return out


def write_average(run: Path, out: Path, width: float, step: int | None = None) -> CheckpointInfo:
    """Write a checkpoint of the average of a width; parts that were not trained are taken over.

    Args:
        run: folder of `aa-train --post-hoc-ema`.
        width: standard deviation of the profile, as a share of the steps.
        step: at which the average ends; the last one that was saved unless given.

    Raises:
        ModelError: the run has no snapshots, or none at that step.
    """
    found = _find_snapshots(run)
    steps = sorted({at for at, _, _ in found})
    if not steps:
        raise ModelError(f"{run} has no ema/: train with --post-hoc-ema")
    step = steps[-1] if step is None else step
    if step not in steps:
        raise ModelError(f"{run} has no average at step {step}: it has them at {steps}")
    info = read_checkpoint(run)
    used = [row for row in found if row[0] <= step]
    shares = solve_weights([(at, kept) for at, kept, _ in used], step, width)
    parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for share, (_, _, path) in zip(shares.tolist(), used, strict=True):
        for name, tensor in load_file(path).items():
            part, _, rest = name.partition(".")
            before = parts[part].get(rest)
            add = share * tensor.float()
            parts[part][rest] = add if before is None else before + add
    made_by = {p: f"{info.parts[p].made_by}, average of width {width:g} at step {step}"
               for p in parts}  # fmt: skip
    copied = {part: run for part in info.parts if part not in parts}
    return write_parts(out, info.model, parts, made_by, copied=copied)
