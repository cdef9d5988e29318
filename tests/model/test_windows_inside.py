"""Windows inside of temporal attention only: an approximation that is asked for by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from diffusers.models.attention import FreeNoiseTransformerBlock
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from aa_model.inference.denoise import Conditions, GenerateConfig, denoise, encode_conditions
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.temporal import windows_inside
from aa_model.networks.windows import make_windows

Make = Callable[..., AnimateAnyone]
CONFIG = GenerateConfig(steps=1, guidance=1, merge="attention")


def _conditions(model: AnimateAnyone, T: int) -> Conditions:
    generator = torch.Generator().manual_seed(0)
    pictures = 2 * torch.rand(T + 1, 3, 32, 32, generator=generator) - 1
    with torch.no_grad():
        return encode_conditions(model, pictures[0], pictures[1:])


def _temporal(model: AnimateAnyone) -> list[AnimateDiffTransformer3D]:
    modules = model.denoising_unet.modules()
    return [module for module in modules if isinstance(module, AnimateDiffTransformer3D)]


@pytest.mark.parametrize("T", [1, 5, 8])
def test_a_video_of_one_window_is_made_as_ever(make_tiny: Make, T: int) -> None:
    model = make_tiny(temporal=True)
    conditions = _conditions(model, T)
    found, expected = (
        denoise(model, conditions, dataclasses.replace(CONFIG, merge=merge))
        for merge in ("attention", "mean")
    )
    assert torch.equal(found, expected)


@torch.no_grad()
@pytest.mark.parametrize("T", [12, 13, 20])
def test_one_block_equals_freenoises_where_its_last_window_is_whole(
    make_tiny: Make, T: int
) -> None:
    """Without the feed-forward layer, which FreeNoise puts behind the average. At 13 frames
    diffusers' block is another one: it fades the end out."""
    model = make_tiny(temporal=True)
    block = _temporal(model)[0].transformer_blocks[0]
    nn.init.zeros_(block.ff.net[-1].weight)
    nn.init.zeros_(block.ff.net[-1].bias)
    x = torch.randn(3, T, block.dim, generator=torch.Generator().manual_seed(1))
    with windows_inside(model.denoising_unet, make_windows(T, 8)):
        found: Tensor = _temporal(model)[0].transformer_blocks[0](x)
    freenoise = FreeNoiseTransformerBlock(
        block.dim, block.num_attention_heads, block.attention_head_dim,
        double_self_attention=block.double_self_attention, activation_fn=block.activation_fn,
        attention_bias=block.attention_bias, cross_attention_dim=block.cross_attention_dim,
        positional_embeddings=block.positional_embeddings,
        num_positional_embeddings=block.num_positional_embeddings,
        context_length=8, context_stride=4,
    )  # fmt: skip
    freenoise.load_state_dict(block.state_dict())
    expected: Tensor = freenoise.eval()(x)
    known = T if T % 4 == 0 else T - 8  # what the last window does not see
    assert torch.allclose(found[:, :known], expected[:, :known], atol=1e-5)
    assert torch.allclose(found, expected, atol=1e-5) == (known == T)


def test_every_frame_is_computed_once(make_tiny: Make) -> None:
    model = make_tiny(temporal=True)
    conditions = _conditions(model, 20)
    flops = {}
    for merge in ("attention", "mean"):
        with FlopCounterMode(display=False) as counter:
            video = denoise(model, conditions, dataclasses.replace(CONFIG, merge=merge))
        assert torch.isfinite(video).all()
        flops[merge] = counter.get_total_flops()
    assert flops["attention"] < 0.75 * flops["mean"]  # 4 windows of 8 hold 32 frames; 20 / 32


def test_frames_know_of_each_other_through_windows_alone(make_tiny: Make) -> None:
    """With one temporal layer that does anything, the last frame's noise reaches no frame that
    shares no window with it."""
    model = make_tiny(temporal=True)
    for module in _temporal(model)[1:]:
        nn.init.zeros_(module.proj_out.weight)
        nn.init.zeros_(module.proj_out.bias)
    conditions = _conditions(model, 20)
    videos = []
    for change in (0.0, 1.0):

        def alter(T: int, change: float = change) -> Tensor:
            noise = torch.zeros(1, T, 4, 8, 8)
            noise[:, -1] += change
            return noise

        with torch.no_grad(), windows_inside(model.denoising_unet, make_windows(20, 8)):
            videos.append(
                model(alter(20), torch.tensor([500]), conditions.image_tokens,
                      conditions.pose.of([range(20)]), conditions.reference, (0,))[0]
            )  # fmt: skip
    moved = (videos[0] - videos[1]).abs().amax(dim=(1, 2, 3))
    assert (moved[:12] == 0).all()
    assert (moved[12:] > 0).all()


def test_a_guided_video_reads_its_reference_in_every_frame(make_tiny: Make) -> None:
    model = make_tiny(temporal=True)
    guided = dataclasses.replace(CONFIG, guidance=2.0)
    conditions = _conditions(model, 20)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        reference = 2 * torch.rand(3, 32, 32, generator=generator) - 1
        changed = encode_conditions(model, reference, torch.zeros(1, 3, 32, 32)).reference
    video = denoise(model, conditions, guided)
    moved = denoise(model, dataclasses.replace(conditions, reference=changed), guided) - video
    assert (moved.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_afterwards_the_network_is_as_before(make_tiny: Make) -> None:
    model = make_tiny(temporal=True)
    before = [module.transformer_blocks for module in _temporal(model)]
    inside = windows_inside(model.denoising_unet, make_windows(9, 8))
    inside.__enter__()
    during = [module.transformer_blocks for module in _temporal(model)]
    assert all(d is not b for d, b in zip(during, before, strict=True))
    assert not inside.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)  # Ctrl-C in a step
    after = [module.transformer_blocks for module in _temporal(model)]
    assert all(a is b for a, b in zip(after, before, strict=True))
