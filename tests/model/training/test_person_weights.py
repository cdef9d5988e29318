"""Errors on the person count more, and nothing changes where that is off."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from aa_datasets.loader.batch import Batch
from aa_model.errors import ConfigError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.presets import TINY
from aa_model.training import diffusion_loss
from aa_model.training.diffusion_loss import person_weights
from aa_model.training.stages import STAGES, make_loss

Make = Callable[..., AnimateAnyone]
MakeBatch = Callable[..., Batch]


def skeletons() -> torch.Tensor:
    """Two videos of one frame, 64 x 64: two joints at (x, y) = (20, 16) and (27, 47); nothing."""
    pose = torch.full((2, 1, 3, 64, 64), -1.0)
    pose[0, 0, 0, 16, 20] = 1.0
    pose[0, 0, 2, 47, 27] = -0.5
    return pose


def test_the_box_is_the_skeletons_and_a_sixteenth_more() -> None:
    weights = person_weights(skeletons(), 3.0, (16, 16))
    assert weights.shape == (2, 1, 1, 16, 16)
    # 4 px around rows 16..47 and columns 20..27: latents of 4 px, rows 3..12 and columns 4..7.
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[3:13, 4:8] = True
    found = weights[0, 0, 0]
    assert found[inside].unique().numel() == found[~inside].unique().numel() == 1
    assert (found[3, 4] / found[0, 0]).item() == pytest.approx(3.0)
    assert (weights[1] == 1).all()  # nobody is drawn
    assert torch.allclose(weights.flatten(1).mean(1), torch.ones(2))


def test_a_box_at_the_border_and_partial_cells_count_by_their_share() -> None:
    pose = torch.full((1, 1, 3, 64, 64), -1.0)
    pose[..., 0, 0] = 1.0
    weights = person_weights(pose, 2.0, (16, 16))[0, 0, 0]
    corner, partial, outside = weights[0, 0], weights[1, 0], weights[5, 5]
    assert (corner / outside).item() == pytest.approx(2.0)
    assert (partial / outside).item() == pytest.approx(1.25)  # one row of four


def test_a_weight_of_nothing_or_less_is_refused() -> None:
    for fields in ({"person_weight": 0.0}, {"perceptual_weight": -0.5}):
        with pytest.raises(ConfigError, match=f"{next(iter(fields))} is .*: expected"):
            dataclasses.replace(TINY.training["1"], **fields)


@pytest.mark.parametrize("stage", ["1", "2"])
def test_off_it_is_not_even_computed(
    make_tiny: Make, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """A run without it has the numbers of before there was such an option, bit for bit."""
    model = make_tiny(temporal=stage == "2")
    config = dataclasses.replace(TINY.training[stage], reference_drop=0.0)
    batch = make_batch(B=2, T=config.num_frames)
    black = batch.pose.clone()
    black[..., :16, :] = -1
    batch = dataclasses.replace(batch, pose=black)

    def loss(weight: float) -> float:
        chosen = dataclasses.replace(config, person_weight=weight)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            return make_loss(model, STAGES[stage], chosen)(batch, generator).item()

    assert loss(4.0) != loss(1.0)
    monkeypatch.setattr(diffusion_loss, "person_weights", None)
    loss(1.0)
