"""The counter of live bytes against tensors whose bytes are known."""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

from aa_model.networks.live_bytes import LiveBytes

KIB = 1024  # one [16, 16] float32


def test_live_bytes_and_their_peak() -> None:
    x = torch.zeros(16, 16)
    with LiveBytes() as live:
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


def test_checkpointing_keeps_only_what_goes_in() -> None:

    def chain(x: torch.Tensor) -> torch.Tensor:
        for _ in range(10):
            x = x.sin()  # the backward pass needs each input
        return x

    held = []
    for run in (chain, lambda x: checkpoint(chain, x, use_reentrant=False)):
        x = torch.ones(16, 16, requires_grad=True)
        with LiveBytes() as live:
            out = run(x)
            held.append(live.now)
            del out
    assert held == [10 * KIB, KIB]
