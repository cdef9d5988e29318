"""DeepCache: what is skipped, what is kept apart, and what it refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import nn

from aa_model.config import GenerateConfig, ModelConfig
from aa_model.errors import ConfigError, ModelError
from aa_model.inference.denoise import Conditions, denoise, encode_conditions
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.deep_cache import DeepCache
from aa_model.presets import TINY

Make = Callable[..., AnimateAnyone]
CONFIG = GenerateConfig(steps=4, guidance=2.0)
# Two layers on the way down and three on the way up, as Stable Diffusion has them.
TWO_LAYERS = dataclasses.replace(
    TINY.model, unet=dataclasses.replace(TINY.model.unet, layers_per_block=2)
)


def conditions_for(model: AnimateAnyone, T: int) -> Conditions:
    generator = torch.Generator().manual_seed(0)
    reference = 2 * torch.rand(3, 32, 32, generator=generator) - 1
    pose = 2 * torch.rand(T, 3, 32, 32, generator=generator) - 1
    with torch.no_grad():
        return encode_conditions(model, reference, pose)


def count_calls(module: nn.Module) -> list[int]:
    calls: list[int] = []
    module.register_forward_hook(lambda m, i, o: calls.append(1))
    return calls


@pytest.mark.parametrize("network", [TINY.model, TWO_LAYERS])
@pytest.mark.parametrize("temporal", [True, False])
def test_interval_1_is_the_plain_way_bit_for_bit_and_longer_ones_are_not(
    make_tiny: Make, network: ModelConfig, temporal: bool
) -> None:
    model = make_tiny(network, temporal=temporal)
    conditions = conditions_for(model, T=4)
    plain = denoise(model, conditions, CONFIG)
    once = denoise(model, conditions, dataclasses.replace(CONFIG, deep_cache=1))
    twice = denoise(model, conditions, dataclasses.replace(CONFIG, deep_cache=2))
    assert torch.equal(plain, once)
    assert not torch.equal(plain, twice)
    assert torch.equal(plain, denoise(model, conditions, CONFIG))  # nothing is left behind


@pytest.mark.parametrize(("steps", "interval", "full"), [(4, 2, 2), (5, 2, 3), (5, 3, 2)])
def test_deep_layers_run_in_every_nth_step_only(
    make_tiny: Make, steps: int, interval: int, full: int
) -> None:
    model = make_tiny(TWO_LAYERS, temporal=True)
    unet = model.denoising_unet
    deep = [
        unet.mid_block, unet.down_blocks[1], unet.up_blocks[0], unet.down_blocks[0].resnets[1],
        unet.down_blocks[0].attentions[1], unet.up_blocks[1].motion_modules[0],
    ]  # fmt: skip
    shallow = [
        unet.conv_in, unet.down_blocks[0].resnets[0], unet.up_blocks[1].resnets[1],
        unet.up_blocks[1].motion_modules[2],
    ]  # fmt: skip
    seen = [count_calls(module) for module in (*deep, *shallow)]
    config = dataclasses.replace(CONFIG, steps=steps, deep_cache=interval)
    denoise(model, conditions_for(model, T=20), config)  # windows from 0, 6 and 12
    windows, passes = 3, 2
    assert [len(calls) for calls in seen] == [
        *[full * windows * passes] * len(deep),
        *[steps * windows * passes] * len(shallow),
    ]


@pytest.mark.parametrize("network", [TINY.model, TWO_LAYERS])
def test_a_shallow_pass_at_once_after_a_full_one_gives_the_same(
    make_tiny: Make, network: ModelConfig
) -> None:
    """What is kept is of these very inputs, so nothing is approximated: each pass has its own."""
    model = make_tiny(network, temporal=True)
    conditions = conditions_for(model, T=8)
    latents = torch.randn(1, 8, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    pose, timesteps = conditions.pose.of([range(8)]), torch.tensor([500])
    cache = DeepCache(model, interval=2)

    def run(step: int, which: int | None) -> torch.Tensor:
        with torch.no_grad(), cache.network(step, which) as network:
            assert (network is model) == (step == 0), "the second pass is a shallow one"
            seen = conditions.reference if which is not None else {}
            out: torch.Tensor = network(
                latents, timesteps, conditions.image_tokens, pose, seen, (which,)
            )
            return out

    full = [run(0, which) for which in (0, None)]
    assert (full[0] - full[1]).abs().max() > 1e-3
    for expected, which in zip(full, (0, None), strict=True):
        torch.testing.assert_close(run(1, which), expected, rtol=0, atol=1e-6)


def test_windows_in_one_batch_or_one_by_one_give_the_same(make_tiny: Make) -> None:
    model = make_tiny(TWO_LAYERS, temporal=True)
    conditions = conditions_for(model, T=20)
    config = dataclasses.replace(CONFIG, deep_cache=2)
    one = denoise(model, conditions, config)
    all_ = denoise(model, conditions, dataclasses.replace(config, window_batch=8))
    torch.testing.assert_close(one, all_, rtol=0, atol=1e-4)


def test_guidance_that_begins_late_begins_with_a_full_pass(make_tiny: Make) -> None:
    model = make_tiny(TWO_LAYERS, temporal=True)
    middle = count_calls(model.denoising_unet.mid_block)
    config = dataclasses.replace(CONFIG, deep_cache=3, guidance_interval=(0.25, 1.0))
    denoise(model, conditions_for(model, T=4), config)
    assert len(middle) == 2 + 2  # with the reference in steps 0 and 3, without it in 1 and 3


def test_what_cannot_be_is_refused_by_name(make_tiny: Make) -> None:
    with pytest.raises(ConfigError, match="--deep-cache"):
        GenerateConfig(steps=4, deep_cache=4)
    with pytest.raises(ConfigError, match="deep_cache is 0"):
        GenerateConfig(deep_cache=0)
    controlnet = dataclasses.replace(TINY.model, appearance="controlnet")
    with pytest.raises(ModelError, match="--deep-cache: a ControlNet"):
        DeepCache(make_tiny(controlnet), 2)
    model = make_tiny(temporal=True)
    model.denoising_unet.enable_group_offload(
        torch.device("cpu"), offload_type="block_level", num_blocks_per_group=1
    )
    with pytest.raises(ModelError, match="--deep-cache: group offloading"):
        DeepCache(model, 2)
