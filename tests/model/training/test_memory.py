"""Memory of a step, counted without content, is what real tensors take."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.live_bytes import LiveBytes, autocast_as_on_cuda
from aa_model.networks.precision import freeze_as_bfloat16
from aa_model.presets import TINY
from aa_model.training.distillation_loss import Teacher
from aa_model.training.memory import training_autocast, training_memory
from aa_model.training.peak_memory import count_peak_memory
from aa_model.training.stages import STAGES, make_loss, trained_parameters
from aa_model.training.step_time import random_batch

LEAN = {"gradient_checkpointing": True, "autocast": True, "frozen_bfloat16": True}


@pytest.mark.parametrize("name", ["1", "2", "distill"])
@pytest.mark.parametrize("changes", [{}, {**LEAN, "accumulate": 2}])
def test_a_step_counted_without_content_is_the_real_steps(
    name: str, changes: dict[str, object]
) -> None:
    stage = STAGES[name]
    config = dataclasses.replace(
        TINY.training[name if name in TINY.training else "2"],
        reference_drop=0.0, cache_latents=False, **changes,
    )  # type: ignore[arg-type]  # fmt: skip
    model = AnimateAnyone(TINY.model, temporal=name != "1")
    trained = trained_parameters(model, stage)
    teacher = Teacher(model, config) if name == "distill" else None
    if config.frozen_bfloat16:
        freeze_as_bfloat16(model)
        model.enable_gradient_checkpointing()
        for parameter in trained.values():  # of the batch before
            parameter.grad = torch.zeros_like(parameter)
    memory = training_memory(model, config)
    held = memory.total - (0 if config.accumulate > 1 else memory.gradients)
    if teacher is not None and teacher.unet is not None:
        held += sum(p.numel() * p.element_size() for p in teacher.unet.parameters())
    loss = make_loss(model, stage, config, teacher=teacher)
    batch = random_batch(TINY.model, config, torch.device("cpu"))
    with autocast_as_on_cuda(), LiveBytes() as live:
        with training_autocast(torch.device("cpu"), config):
            value = loss(batch, torch.Generator().manual_seed(0))
        after = live.peak
        value.backward()
    del value
    counted = count_peak_memory(model, stage, config, teacher)
    assert counted.held == held
    assert counted.forward == pytest.approx(after, rel=0.02)
    assert counted.passes == pytest.approx(live.peak, rel=0.02)
    assert counted.total == counted.held + counted.passes
