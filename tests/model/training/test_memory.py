"""benchmarks/model/training_memory.py counts without content what real tensors take."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

import pytest
import torch

from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.precision import freeze_as_bfloat16
from aa_model.presets import TINY
from aa_model.training.memory import training_autocast, training_memory
from aa_model.training.stages import STAGES, make_loss, trained_parameters
from aa_model.training.step_time import random_batch

BENCHMARKS = Path(__file__).parents[3] / "benchmarks" / "model"
LEAN = {"gradient_checkpointing": True, "autocast": True, "frozen_bfloat16": True}


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["1", "2"])
@pytest.mark.parametrize("changes", [{}, {**LEAN, "accumulate": 2}])
def test_a_step_counted_without_content_is_the_real_steps(
    monkeypatch: pytest.MonkeyPatch, stage: str, changes: dict[str, object]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    live_bytes = importlib.import_module("live_bytes").LiveBytes
    m = importlib.import_module("training_memory")
    held, forward, both = m.count("tiny", stage, **changes)

    config = dataclasses.replace(TINY.training[stage], reference_drop=0.0, **changes)  # type: ignore[arg-type]
    model = AnimateAnyone(TINY.model, temporal=stage == "2")
    trained = trained_parameters(model, STAGES[stage])
    if config.frozen_bfloat16:
        freeze_as_bfloat16(model)
        model.enable_gradient_checkpointing()
        for parameter in trained.values():  # of the batch before
            parameter.grad = torch.zeros_like(parameter)
    loss = make_loss(model, STAGES[stage], config)
    batch = random_batch(TINY.model, config, torch.device("cpu"))
    with m.autocast_as_on_cuda(), live_bytes() as live:
        with training_autocast(torch.device("cpu"), config):
            value = loss(batch, torch.Generator().manual_seed(0))
        after = live.peak
        value.backward()
    assert forward * 2**30 == pytest.approx(after, rel=0.02)
    assert both * 2**30 == pytest.approx(live.peak, rel=0.02)
    memory = training_memory(model, config)
    without = 0 if config.accumulate > 1 else memory.gradients
    assert held * 2**30 == pytest.approx(memory.total - without)
