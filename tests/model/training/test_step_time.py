"""The measurement before the first step: it takes time, and changes nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.presets import TINY
from aa_model.training.report import duration
from aa_model.training.stages import STAGES, trained_parameters
from aa_model.training.step_time import measure_step_s


@pytest.mark.parametrize("precomputed", [False, True])
def test_measuring_a_step_leaves_no_trace(
    make_tiny: Callable[..., AnimateAnyone], precomputed: bool
) -> None:
    stage = STAGES["2"]
    model = make_tiny(temporal=True)
    trained = trained_parameters(model, stage)
    config = dataclasses.replace(TINY.training["2"], precomputed_latents=precomputed)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random, passes = torch.get_rng_state(), []
    model.denoising_unet.register_forward_hook(lambda *a: passes.append(torch.is_grad_enabled()))
    assert measure_step_s(model, stage, config, torch.device("cpu")) > 0
    assert passes == [True, True]
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in trained.values())


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.2 seconds"), (90, "1.5 minutes"), (2 * 86400, "2.0 days")]
)
def test_durations_are_said_in_the_largest_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text
