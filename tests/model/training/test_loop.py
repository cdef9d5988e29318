"""The loop: exact resume, averages, learning rate, divergence."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from aa_datasets.loader.batch import Batch
from aa_model.config import TrainConfig
from aa_model.errors import ModelError, TrainingDiverged
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.presets import TINY
from aa_model.training.loop import Step, TrainingState, learning_rate, train
from aa_model.training.stages import STAGES, make_loss, trained_parameters

Make = Callable[..., AnimateAnyone]
MakeBatch = Callable[..., Batch]


def run(
    model: AnimateAnyone, make_batch: MakeBatch, config: TrainConfig, state: TrainingState, to: int
) -> list[Step]:
    batches = (make_batch(seed=i) for i in range(state.step, to))
    steps = []
    for step in train(state, make_loss(model, STAGES["1"], config), batches, config):
        steps.append(step)
        if step.step == to:
            break
    return steps


def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    make_tiny: Make, make_batch: MakeBatch
) -> None:
    config = dataclasses.replace(
        TINY.training["1"],
        steps=6,
        ema_decay=0.9,
        lr_schedule="cosine",
        noise_offset=0.1,
        reference_drop=0.5,
        cache_latents=True,
    )
    model = make_tiny()
    whole = TrainingState(trained_parameters(model, STAGES["1"]), config)
    expected = run(model, make_batch, config, whole, 6)

    first = make_tiny()
    state = TrainingState(trained_parameters(first, STAGES["1"]), config)
    steps = run(first, make_batch, config, state, 3)
    file = io.BytesIO()
    torch.save(state.state_dict(), file)

    second = make_tiny(seed=99)
    for a, b in zip(second.parameters(), make_tiny().parameters(), strict=True):
        a.data.copy_(b)  # what is frozen comes from the checkpoint
    resumed = TrainingState(trained_parameters(second, STAGES["1"]), config)
    resumed.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    steps += run(second, make_batch, config, resumed, 6)
    assert steps == expected
    for (name, a), b in zip(whole.trained.items(), resumed.trained.values(), strict=True):
        assert torch.equal(a, b), name
    with whole.averaged(), resumed.averaged():
        for (name, a), b in zip(whole.trained.items(), resumed.trained.values(), strict=True):
            assert torch.equal(a, b), name


def parabola(lr: float = 0.1, **fields: object) -> tuple[nn.Parameter, TrainingState, TrainConfig]:
    weight = nn.Parameter(torch.tensor([3.0]))
    config = TrainConfig(steps=50, batch_size=1, lr=lr, weight_decay=0.0, **fields)  # type: ignore[arg-type]
    return weight, TrainingState({"weight": weight}, config), config


def endless() -> object:
    while True:
        yield None


def test_the_loop_minimises_and_reports_the_loss_before_the_step() -> None:
    weight, state, config = parabola()
    steps = list(train(state, lambda b, g: weight.square().sum(), endless(), config))
    assert steps[0] == Step(1, 9.0, 0.1, 6.0)
    assert [s.step for s in steps] == list(range(1, 51))
    assert steps[-1].loss < 0.1


def test_inside_averaged_the_weights_are_their_average_and_then_again_themselves() -> None:
    weight, state, config = parabola(ema_decay=0.5)
    list(train(state, lambda b, g: weight.square().sum(), endless(), config))
    now = weight.item()
    with state.averaged():
        assert weight.item() != now
    assert weight.item() == now


def test_a_loaded_average_lies_where_the_weights_are() -> None:
    """A state is loaded on the CPU; diffusers leaves the average there. (`meta` plays the GPU.)"""

    def state(device: str) -> TrainingState:
        weights = {"weight": nn.Parameter(torch.ones(2, device=device))}
        config = TrainConfig(steps=1, batch_size=1, lr=1e-3, ema_decay=0.9, optimizer="adafactor")
        return TrainingState(weights, config, torch.Generator())

    there = state("meta")
    there.load_state_dict(state("cpu").state_dict())
    assert there.ema is not None
    assert {p.device.type for p in there.ema.shadow_params} == {"meta"}


def test_accumulated_batches_make_the_step_of_one_large_batch(
    make_tiny: Make, make_batch: MakeBatch
) -> None:
    """Two batches of two clips against one of four; every clip has noise of its own."""
    clips = [make_batch(B=1, seed=i) for i in range(8)]

    def steps(size: int, accumulate: int) -> tuple[list[Step], TrainingState]:
        model, stage = make_tiny(), STAGES["1"]
        config = dataclasses.replace(
            TINY.training["1"], steps=2, accumulate=accumulate, reference_drop=0.0
        )
        one = make_loss(model, stage, config)

        def loss(batch: list[int], generator: torch.Generator) -> Tensor:
            losses = [one(clips[i], torch.Generator().manual_seed(i)) for i in batch]
            return torch.stack(losses).mean()

        state = TrainingState(trained_parameters(model, stage), config)
        batches = iter([list(range(i, i + size)) for i in range(0, 8, size)])
        return list(train(state, loss, batches, config)), state

    (expected, whole), (found, parts) = steps(4, 1), steps(2, 2)
    for a, b in zip(expected, found, strict=True):
        assert b.loss == pytest.approx(a.loss, rel=1e-5)
        assert b.grad_norm == pytest.approx(a.grad_norm, rel=1e-4)
    moments = [[s["exp_avg"] for s in t.optimizer.state.values()] for t in (whole, parts)]
    for a, b in zip(*moments, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_before_it_reaches_the_weights(bad: float) -> None:
    weight, state, config = parabola()

    def loss(batch: object, generator: torch.Generator) -> Tensor:
        return (weight * (bad if state.step == 2 else 1.0)).sum()

    with pytest.raises(TrainingDiverged, match="step 3: loss"):
        list(train(state, loss, endless(), config))
    assert state.step == 2
    assert torch.isfinite(weight).all()


def test_time_limit_stops_the_run() -> None:
    weight, state, config = parabola()
    found = list(train(state, lambda b, g: weight.sum(), endless(), config, time_limit_s=0.0))
    assert found == []


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    config = TrainConfig(steps=100, batch_size=1, lr=1.0, warmup_steps=9, lr_schedule="cosine")
    assert learning_rate(config, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(config, 9, 0.0) == pytest.approx(1.0)
    assert learning_rate(config, 50, 0.5) == pytest.approx(0.5)
    assert learning_rate(config, 100, 1.0) == pytest.approx(0.0)
    constant = dataclasses.replace(config, lr_schedule="constant")
    assert learning_rate(constant, 99, 1.0) == 1.0


def test_a_state_of_other_weights_is_refused() -> None:
    _, state, config = parabola()
    other = TrainingState({"bias": nn.Parameter(torch.zeros(1))}, config)
    with pytest.raises(ModelError, match="trains other weights"):
        other.load_state_dict(state.state_dict())
