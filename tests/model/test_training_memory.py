"""benchmarks/model_training_memory.py counts without content what real tensors take."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

import pytest
import torch

from aa_model.animate_anyone import AnimateAnyone
from aa_model.memory import training_memory
from aa_model.presets import TINY
from aa_model.stages import STAGES, make_loss, trained_parameters
from aa_model.step_time import random_batch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("stage", ["1", "2"])
def test_a_step_counted_without_content_is_the_real_steps(
    monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    live_bytes = importlib.import_module("live_bytes").LiveBytes
    held, forward, both = importlib.import_module("model_training_memory").count("tiny", stage)

    config = dataclasses.replace(TINY.training[stage], reference_drop=0.0)
    model = AnimateAnyone(TINY.model, temporal=stage == "2")
    for parameter in trained_parameters(model, STAGES[stage]).values():
        parameter.grad = torch.zeros_like(parameter)
    loss = make_loss(model, STAGES[stage], config)
    batch = random_batch(TINY.model, config, torch.device("cpu"))
    with live_bytes() as live:
        value = loss(batch, torch.Generator().manual_seed(0))
        after = live.peak
        value.backward()
    assert forward * 2**30 == pytest.approx(after, rel=0.02)
    assert both * 2**30 == pytest.approx(live.peak, rel=0.02)
    assert held * 2**30 == pytest.approx(training_memory(model, config).total)
