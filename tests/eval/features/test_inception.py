"""Inception of 2015: what pytorch-fid computes with the same weights; its file's layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from aa_eval.errors import WeightsUnavailable
from aa_eval.features.inception import Inception2015, load_inception

Formula = Callable[[dict[str, tuple[int, ...]]], dict[str, Tensor]]


def test_it_is_pytorch_fids_network(
    tmp_path: Path, formula: Formula, waves: Callable[..., Tensor]
) -> None:
    """pytorch-fid 0.3.0, InceptionV3([3]) of the same weights and picture."""
    model = Inception2015()
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items() if v.is_floating_point()}
    weights = formula(shapes)
    torch.save(weights | {"fc.weight": torch.ones(1008, 2048)}, tmp_path / "inception.pth")
    load_inception(tmp_path / "inception.pth", model)
    with torch.inference_mode():
        found = model(waves(1, 3, 299, 299)[:, :, None])[0]
    expected = [102.77037811279297, 416.6248474121094, 1541.044921875, 1287.76123046875]
    torch.testing.assert_close(found[:4], torch.tensor(expected), rtol=1e-4, atol=1e-2)
    assert float(found.abs().sum()) == pytest.approx(416683.65625, rel=1e-4)
    del weights["Mixed_6b.branch7x7_2.conv.weight"]
    torch.save(weights, tmp_path / "inception.pth")
    with pytest.raises(WeightsUnavailable, match=r"Mixed_6b\.branch7x7_2"):
        load_inception(tmp_path / "inception.pth", model)
