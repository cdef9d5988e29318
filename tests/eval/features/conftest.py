"""Weights by a formula: what an upstream package computes with them is a constant of a test."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]


@pytest.fixture
def formula() -> Callable[[Shapes], dict[str, Tensor]]:
    """Tensors of these names and shapes, the same on every machine."""
    return _formula


@pytest.fixture
def waves() -> Callable[..., Tensor]:
    """Values in [-1, 1] of a shape."""
    return _waves


def _formula(shapes: Shapes) -> dict[str, Tensor]:
    found = {}
    for name, shape in shapes.items():
        count = math.prod(shape)
        steps = torch.arange(count, dtype=torch.float64) * 0.7
        values = torch.sin(steps + sum(name.encode()) % 97)
        if len(shape) > 1 and "token" not in name:
            values = values * math.sqrt(2 * shape[0] / count)
        elif name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
            values = 1 + values / 4
        else:
            values = values / 8
        found[name] = values.float().view(shape)
    return found


def _waves(*shape: int) -> Tensor:
    steps = torch.arange(math.prod(shape), dtype=torch.float64) * 0.37
    return torch.sin(steps).float().view(shape)
