"""PIPs++ and FVMD's histograms: what the package fvmd computes with the same weights and tracks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from aa_eval.features.pips2 import MotionFeatures, Pips2, load_pips2
from aa_eval.metrics.motion_histogram import motion_histogram

Formula = Callable[[dict[str, tuple[int, ...]]], dict[str, Tensor]]


def test_tracks_are_those_of_fvmd(
    tmp_path: Path, formula: Formula, waves: Callable[..., Tensor]
) -> None:
    """fvmd 1.0.0, run_tracking of 25 points through 8 frames in 5 steps."""
    shapes = {name: tuple(value.shape) for name, value in Pips2().state_dict().items()}
    torch.save({"model_state_dict": formula(shapes)}, tmp_path / "pips.pth")
    model = load_pips2(tmp_path / "pips.pth", Pips2())
    frames = torch.nn.functional.avg_pool2d(
        (waves(8, 3, 128, 128) * 127.5 + 127.5).round(), 5, 1, 2
    )
    steps = torch.arange(5) / 4
    y, x = torch.meshgrid(8 + steps * 112, 8 + steps * 112, indexing="ij")
    points = torch.stack([x.flatten(), y.flatten()], dim=-1)
    with torch.inference_mode():
        tracks = model(points, frames / 127.5 - 1, iterations=5)
    assert torch.equal(tracks[0], points)
    expected = [[52.60755157, 91.41363525], [79.49124146, 76.04452515], [129.43435669, 98.90892792]]
    torch.testing.assert_close(tracks[7, :3], torch.tensor(expected), rtol=0, atol=0.05)


def test_histograms_are_those_of_fvmd() -> None:
    """fvmd 1.0.0, calc_hist of calc_velocity and calc_acceleration of the same tracks."""
    steps = np.arange(8 * 100 * 2).reshape(8, 100, 2)
    found = motion_histogram((np.sin(steps * 0.9) * 40).astype(np.float32))
    assert found.shape == (128,)
    assert found[:8].tolist() == [11.25, 10.5, 5.25, 3.0, 12.75, 11.375, 2.25, 6.0]
    assert found[-8:].tolist() == [17.0, 13.75, 4.5, 6.0, 17.75, 13.125, 6.0, 4.5]
    assert found.sum() == pytest.approx(1075.625)


def test_a_still_window_has_no_motion() -> None:
    """Whatever the weights: where no point moves, nothing is counted."""
    model = Pips2().eval()
    for parameter in model.delta_block.dense.parameters():
        parameter.data.zero_()
    found = MotionFeatures(model, iterations=1)(torch.zeros(1, 3, 8, 128, 128))
    assert found.shape == (1, 2 * 2 * 4 * 4 * 8)
    assert not found.any()


def test_tracks_are_refined_16_times_as_fvmd_does() -> None:
    class Counting(Pips2):
        rounds = 0

        def forward(self, points: Tensor, frames: Tensor, iterations: int = 0) -> Tensor:
            self.rounds = iterations
            return points[None].expand(len(frames), -1, -1)

    model = Counting()
    MotionFeatures(model)(torch.zeros(1, 8, 3, 128, 128).movedim(1, 2))
    assert model.rounds == 16
