"""Processes that share a batch draw, together, what one process with all of it draws."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aa_datasets.loader.batch import Batch
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.sharded_random import ShareOfWorld, draw_normal, draw_uniform
from aa_model.presets import TINY
from aa_model.training.stages import STAGES, make_loss, trained_parameters


def shares(world_size: int, clips: int, seed: int = 3) -> list[ShareOfWorld]:
    cpu = torch.device("cpu")
    found = [ShareOfWorld(cpu, rank, world_size, clips) for rank in range(world_size)]
    for generator in found:
        generator.manual_seed(seed)
    return found


@settings(max_examples=30)
@given(
    world_size=st.integers(1, 4), clips=st.integers(1, 3), rows=st.integers(1, 3),
    draw=st.sampled_from([draw_normal, draw_uniform]),
)  # fmt: skip
def test_together_the_shares_are_the_draw_of_one_process(
    world_size: int, clips: int, rows: int, draw: Callable[..., torch.Tensor]
) -> None:
    plain = torch.Generator().manual_seed(3)
    expected = draw((world_size * clips * rows, 5), plain).unflatten(0, (-1, rows))
    generators = shares(world_size, clips)
    for rank, generator in enumerate(generators):
        own = draw((clips * rows, 5), generator).unflatten(0, (-1, rows))
        assert torch.equal(own, expected[rank::world_size])
    states = [generator.get_state() for generator in (plain, *generators)]
    assert all(torch.equal(states[0], state) for state in states)


@pytest.mark.parametrize("name", ["1", "2"])
def test_mean_gradient_of_the_processes_is_that_of_the_whole_batch(
    make_tiny: Callable[..., AnimateAnyone], make_batch: Callable[..., Batch], name: str
) -> None:
    config = dataclasses.replace(
        TINY.training[name], reference_drop=0.4, noise_offset=0.1, min_snr_gamma=5.0
    )
    whole = make_batch(B=4, T=3)

    def gradients(batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        model = make_tiny(temporal=name == "2")
        trained = trained_parameters(model, STAGES[name])
        make_loss(model, STAGES[name], config)(batch, generator).backward()
        return {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in trained.items()}

    expected = gradients(whole, torch.Generator().manual_seed(3))
    found = []
    for rank, generator in enumerate(shares(2, clips=2)):
        own = Batch(*(x[rank::2] for x in (whole.reference, whole.target, whole.pose)), ("a", "b"))
        found.append(gradients(own, generator))
    for key, gradient in expected.items():
        assert torch.allclose((found[0][key] + found[1][key]) / 2, gradient, atol=1e-6), key
