"""InfoNCE against the formula, and crops that stay inside of their picture."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from aa_datasets.loader.batch import Batch
from aa_model.config import TrainConfig
from aa_model.training import contrastive_loss as module
from aa_model.training.contrastive_loss import contrastive_loss, random_crop


def _batch(B: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    reference, target = (torch.rand(B, n, 3, 4, 4, generator=generator) for n in (1, 2))
    return Batch(reference[:, 0], target, target, tuple(map(str, range(B))))


def test_it_is_infonce_both_ways_between_reference_and_first_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "random_crop", lambda images, _: images)

    def encode(images: Tensor) -> Tensor:  # tokens [B, 2, 3], of which the first is the pooled one
        means = images.mean((-2, -1))
        return torch.stack([means, -means], dim=1)

    model = cast(Any, SimpleNamespace(image_encoder=encode))
    config = TrainConfig(steps=1, batch_size=1, lr=1.0, temperature=0.2)
    batch = _batch(4)
    found = contrastive_loss(model, config, batch, torch.Generator())
    sides = [x.mean((-2, -1)).double().numpy() for x in (batch.reference, batch.target[:, 0])]
    a, b = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
    odds = np.exp(a @ b.T / 0.2)
    own = np.diag(odds)
    expected = -(np.log(own / odds.sum(1)).mean() + np.log(own / odds.sum(0)).mean()) / 2
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_one_clip_has_no_negatives() -> None:
    model = cast(Any, SimpleNamespace(image_encoder=None))
    config = TrainConfig(steps=1, batch_size=1, lr=1.0)
    with pytest.raises(ValueError, match="a batch of 1 has no negatives: give --batch-size 2"):
        contrastive_loss(model, config, _batch(1), torch.Generator())


def test_crops_are_of_six_to_ten_tenths_and_reach_both_borders() -> None:
    """Where a ramp is seen, its ends tell a window's side and place."""
    N, side = 2000, 64
    ramp = (torch.arange(side) + 0.5) / side
    images = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side),
                          torch.zeros(side, side)]).repeat(N, 1, 1, 1)  # fmt: skip
    crops = random_crop(images, torch.Generator().manual_seed(0))
    across, down = crops[:, 0, side // 2], crops[:, 1, :, side // 2]
    # From the 9th to the 9th last of 64 places: sampling at a border repeats its half pixel.
    widths = (across[:, -9] - across[:, 8]) * side / 47
    heights = (down[:, -9] - down[:, 8]) * side / 47
    assert torch.allclose(widths, heights, atol=1e-3), "one scale for both sides"
    assert widths.min() == pytest.approx(0.6, abs=0.01)
    assert widths.max() == pytest.approx(1.0, abs=0.01)
    assert widths.mean() == pytest.approx(0.8, abs=0.01)
    for line in (across, down):
        low = line[:, 8] - 8.5 / side * widths
        high = line[:, -9] + 8.5 / side * widths
        assert low.min() > -1e-3
        assert high.max() < 1 + 1e-3
        room = (low / (1 - widths))[widths < 0.9]  # 0: at the first border, 1: at the last
        assert room.min() < 0.02
        assert room.max() > 0.98
        assert room.mean() == pytest.approx(0.5, abs=0.03)
    places = torch.stack([across[:, 8] - 8.5 / side * widths, down[:, 8] - 8.5 / side * widths])
    assert abs(torch.corrcoef(places / (1.001 - widths))[0, 1]) < 0.1, "each its own place"
