"""What a step costs: measuring changes nothing, and counting agrees with the forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.flops import count_costs
from aa_model.presets import TINY
from aa_model.training.report import duration
from aa_model.training.stages import STAGES, trained_parameters
from aa_model.training.step_time import count_step_tflop, measure_step_s


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


def test_the_operations_of_a_step_are_three_forward_passes_of_what_is_trained() -> None:
    """A backward pass makes two products for each product of the forward pass; frozen networks
    have none. Twice the clips, or twice the batches a step, are twice the work."""
    with torch.device("meta"):
        model = AnimateAnyone(TINY.model)
    stage = STAGES["1"]
    trained_parameters(model, stage)
    config = dataclasses.replace(TINY.training["1"], batch_size=1, reference_drop=0.0)
    once = count_step_tflop(model, stage, config)
    for twice in ({"batch_size": 2}, {"accumulate": 2}):
        found = count_step_tflop(model, stage, dataclasses.replace(config, **twice))
        assert found == pytest.approx(2 * once)
    cost = count_costs(TINY.model, 1, TINY.model.size_hw, temporal=False)
    frozen = 2 * cost.encode + cost.image_encoder
    trained = cost.with_reference + cost.reference_net + cost.keys_values + cost.pose_guider
    assert once == pytest.approx(frozen + 3 * trained, rel=0.1)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.2 seconds"), (90, "1.5 minutes"), (2 * 86400, "2.0 days")]
)
def test_durations_are_said_in_the_largest_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text
