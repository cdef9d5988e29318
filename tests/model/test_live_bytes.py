"""The counter of benchmarks/model/live_bytes.py against tensors whose bytes are known."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from torch.utils.checkpoint import checkpoint

BENCHMARKS = Path(__file__).parents[2] / "benchmarks" / "model"
KIB = 1024  # one [16, 16] float32


def test_live_bytes_and_their_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    live_bytes = importlib.import_module("live_bytes").LiveBytes
    x = torch.zeros(16, 16)
    with live_bytes() as live:
        y = x + 1
        assert live.now == KIB
        view = y.t()[:4]  # shares y's bytes
        y.mul_(2)  # in place
        assert live.now == live.peak == KIB
        z = y + 1
        del y
        assert live.now == 2 * KIB  # the view keeps y's
        del view, z
        assert (live.now, live.peak) == (0, 2 * KIB)


def test_checkpointing_keeps_only_what_goes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    live_bytes = importlib.import_module("live_bytes").LiveBytes

    def chain(x: torch.Tensor) -> torch.Tensor:
        for _ in range(10):
            x = x.sin()  # the backward pass needs each input
        return x

    held = []
    for run in (chain, lambda x: checkpoint(chain, x, use_reentrant=False)):
        x = torch.ones(16, 16, requires_grad=True)
        with live_bytes() as live:
            out = run(x)
            held.append(live.now)
            del out
    assert held == [10 * KIB, KIB]
