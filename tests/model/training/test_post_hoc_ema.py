"""Post-hoc EMA: closed forms of the profiles, and reconstruction against the average itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from aa_model.checkpoints.store import read_checkpoint, read_part
from aa_model.cli import train as train_cli
from aa_model.cli.model import main as aa_model
from aa_model.errors import ModelError
from aa_model.training.post_hoc_ema import WIDTHS, PowerAverages, exponent_of, solve_weights


def profile(step: int, width: float) -> NDArray[np.float64]:
    """What share each of the steps' weights has in the average."""
    averages = PowerAverages([torch.zeros(step, dtype=torch.float64)])
    index = WIDTHS.index(width)
    for i in range(step):
        averages.update([torch.eye(step, dtype=torch.float64)[i]], i + 1)
    found: NDArray[np.float64] = averages.values[index][0].numpy()
    return found


def exact(step: int, width: float) -> NDArray[np.float64]:
    """The profile's integral over each step: (i / n)^(g + 1) - ((i - 1) / n)^(g + 1)."""
    edges = (np.arange(step + 1) / step) ** (exponent_of(width) + 1)
    return np.diff(edges)


@pytest.mark.parametrize("width", WIDTHS)
def test_shares_of_the_steps_are_the_power_functions_integral(width: float) -> None:
    found = profile(40, width)
    np.testing.assert_allclose(found, exact(40, width), atol=1e-12)
    assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize("width", [0.01, 0.05, 0.1, 0.2, 0.28])
def test_the_exponent_gives_the_width(width: float) -> None:
    """Standard deviation of the profile, by sums over a fine grid."""
    x = (np.arange(200_000) + 0.5) / 200_000
    weights = x ** exponent_of(width)
    mean = np.average(x, weights=weights)
    assert np.average((x - mean) ** 2, weights=weights) ** 0.5 == pytest.approx(width, rel=1e-4)


def test_an_average_that_was_stored_is_found_exactly() -> None:
    snapshots = [(step, width) for step in (10, 20, 30) for width in WIDTHS]
    for i, (step, width) in enumerate(snapshots):
        weights = solve_weights(snapshots, step, width)
        np.testing.assert_allclose(weights, np.eye(6)[i], atol=1e-6)


@pytest.mark.parametrize("width", [0.06, 0.08, 0.12, 0.15])
def test_reconstruction_is_near_the_average_of_that_width(width: float) -> None:
    """Of a noisy path towards a point: far nearer than a stored average is."""
    steps, stored = 400, range(50, 401, 50)
    draw = np.random.default_rng(0)
    path = np.cumsum(draw.normal(size=(steps, 30)), axis=0)
    snapshots = [(step, kept) for step in stored for kept in WIDTHS]
    averages = np.stack([exact(step, kept) @ path[:step] for step, kept in snapshots])
    made = solve_weights(snapshots, steps, width) @ averages
    wanted = exact(steps, width) @ path
    nearest = min(np.linalg.norm(averages[i] - wanted) for i in (-1, -2))
    assert np.linalg.norm(made - wanted) < 0.1 * nearest


def test_widths_that_no_profile_has_are_refused() -> None:
    for width in (0.0, 0.3, -1.0):
        with pytest.raises(ModelError, match=r"--width .*at most 0\.2887"):
            exponent_of(width)


def test_a_run_stores_averages_and_a_resumed_one_the_same(
    puppet_shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, parted, out = tmp_path / "whole", tmp_path / "parted", tmp_path / "average"
    command = [*map(str, puppet_shards), "--stage", "image-encoder", "--preset", "tiny",
               "--save-every", "2", "--post-hoc-ema"]  # fmt: skip
    assert train_cli.main([*command, "--steps", "6", "--out", str(whole)]) == 0
    assert train_cli.main([*command, "--steps", "4", "--out", str(parted)]) == 0
    assert train_cli.main([*command, "--steps", "6", "--out", str(parted), "--resume"]) == 0
    files = sorted(path.name for path in (whole / "ema").iterdir())
    assert files[-1] == "step-000006-0.1.safetensors"
    assert len(files) == 6
    for name in files:
        assert (whole / "ema" / name).read_bytes() == (parted / "ema" / name).read_bytes()
    assert aa_model(["ema", str(whole), "--out", str(out), "--width", "0.1"]) == 0
    made = read_checkpoint(out).parts["image_encoder"].made_by
    assert made.endswith("average of width 0.1 at step 6")
    averaged, last = (read_part(folder, "image_encoder")[1] for folder in (out, whole))
    assert averaged.keys() == last.keys()
    moved = [(averaged[name] - last[name]).abs().max() for name in last]
    assert 0 < max(moved) < 0.1
    assert aa_model(["ema", str(whole), "--out", str(out), "--width", "0.1", "--step", "3"]) == 2
    assert "no average at step 3: it has them at [2, 4, 6]" in capsys.readouterr().err
