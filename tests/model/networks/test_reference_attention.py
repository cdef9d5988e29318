"""Spatial attention against the paper's literal form, and the ways in which it can be lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from hypothesis import given, settings
from hypothesis import strategies as st

from aa_model.errors import ModelError, ReferenceLost
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.image_encoder import null_tokens
from aa_model.networks.reference_attention import (
    CrossAttention,
    ReferenceReader,
    SpatialAttention,
    install_reference_attention,
    project_features,
)

MakeModel = Callable[..., AnimateAnyone]


@settings(max_examples=20)
@given(
    T=st.integers(1, 3),
    h=st.integers(1, 5),
    w=st.integers(1, 5),
    heads=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 99),
)
def test_keys_and_values_of_both_equal_concatenation_along_w_cut_to_the_first_half(
    T: int, h: int, w: int, heads: int, seed: int
) -> None:
    torch.manual_seed(seed)
    C = 16
    attention = Attention(query_dim=C, heads=heads, dim_head=C // heads)
    target, reference = torch.randn(T, h, w, C), torch.randn(1, h, w, C)

    # Sec. 3.2, literally: concatenate along w, self-attention over all of it, take the first half.
    both = torch.cat([target, reference.expand(T, -1, -1, -1)], dim=2)
    attention.set_processor(AttnProcessor())
    expected = attention(both.flatten(1, 2)).view(T, h, 2 * w, C)[:, :, :w]

    attention.set_processor(SpatialAttention("layer"))
    reader = ReferenceReader({"layer": reference.flatten(1, 2)}, (0,), num_frames=T)
    found = attention(target.flatten(1, 2), reference=reader).view(T, h, w, C)
    assert torch.allclose(found, expected, atol=1e-6)


def test_cross_attention_over_one_token_is_that_tokens_value() -> None:
    torch.manual_seed(0)
    attention = Attention(query_dim=16, cross_attention_dim=12, heads=2, dim_head=8)
    x, token, tokens = torch.randn(3, 7, 16), torch.randn(3, 1, 12), torch.randn(3, 5, 12)
    attention.set_processor(AttnProcessor2_0())
    expected = [attention(x, encoder_hidden_states=t).detach() for t in (token, tokens)]
    attention.set_processor(CrossAttention())
    calls: list[int] = []
    attention.to_q.register_forward_hook(lambda m, i, o: calls.append(1))
    with torch.no_grad():
        found = [attention(x, encoder_hidden_states=t) for t in (token, tokens)]
    assert calls == [1]  # for one token no query is needed
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_training_with_one_token_has_the_gradients_of_diffusers_own_attention(
    make_tiny: MakeModel,
) -> None:
    """And none is left out, which would stop DistributedDataParallel."""

    def gradients(processor: Callable[[], object] | None) -> dict[str, torch.Tensor | None]:
        unet = make_tiny().denoising_unet
        install_reference_attention(unet)
        for name, module in unet.named_modules():
            if processor is not None and name.endswith(".attn2"):
                module.set_processor(processor())
        generator = torch.Generator().manual_seed(0)
        latents, token = (
            torch.randn(2, *shape, generator=generator) for shape in ((4, 8, 8), (1, 16))
        )
        calls: list[str] = []
        for name, module in unet.named_modules():
            if name.endswith(".attn2.to_q"):
                module.register_forward_hook(lambda m, i, o, name=name: calls.append(name))
        prediction = unet(latents, torch.tensor([3, 900]), token).sample
        prediction.square().sum().backward()
        assert bool(calls) == (processor is not None)
        return {name: p.grad for name, p in unet.named_parameters()}

    expected, found = gradients(AttnProcessor2_0), gradients(None)
    idle = [n for n in found if ".norm2." in n and "transformer" in n]
    idle += [n for n in found if ".attn2.to_q." in n or ".attn2.to_k." in n]
    assert idle
    for name, gradient in found.items():
        assert gradient is not None, name
        assert (not gradient.any()) == (name in idle), name
        scale = expected[name].abs().max()
        assert torch.allclose(gradient, expected[name], rtol=1e-4, atol=1e-5 * scale + 1e-6), name


def conditions(model: AnimateAnyone, B: int, T: int) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    h, w = model.config.latent_hw
    latents = torch.randn(B, T, model.config.vae.latent_channels, h, w)
    tokens = torch.randn(B, 1, model.config.unet.cross_attention_dim)
    pose = model.pose_features(torch.rand(B, T, 3, *model.config.size_hw))
    return latents, tokens, pose, torch.randn(B, latents.shape[2], h, w)


@torch.no_grad()
def test_rows_with_and_without_reference_in_one_batch_equal_separate_passes(
    make_tiny: MakeModel,
) -> None:
    model = make_tiny(temporal=True)
    latents, tokens, pose, reference = conditions(model, B=3, T=2)
    tokens[1] = null_tokens(tokens[1])
    features = model.reference_net(reference[:2], tokens[:2])
    timesteps = torch.tensor([10, 500, 990])
    together = model(latents, timesteps, tokens, pose, features, (1, None, 0))
    for row, which in enumerate((1, None, 0)):
        one = slice(row, row + 1)
        alone = model(latents[one], timesteps[one], tokens[one], pose[one], features, (which,))
        assert torch.allclose(together[one], alone, atol=2e-5)


@torch.no_grad()
def test_projected_keys_and_values_give_the_same_prediction(make_tiny: MakeModel) -> None:
    model = make_tiny(temporal=True)
    latents, tokens, pose, reference = conditions(model, B=1, T=3)
    features = model.reference_net(reference, tokens)
    projected = project_features(model.denoising_unet, features)
    arguments = (latents, torch.tensor([300]), tokens, pose)
    assert torch.allclose(
        model(*arguments, features, (0,)), model(*arguments, projected, (0,)), atol=1e-6
    )


@pytest.mark.slow
@torch.no_grad()
def test_a_denoising_pass_is_one_graph_to_torch_compile(make_tiny: MakeModel) -> None:
    """Pose behind conv_in, features as arguments, rows without a reference: no break (T9)."""
    model = make_tiny(temporal=True)
    latents, tokens, pose, reference = conditions(model, B=2, T=2)
    features = project_features(model.denoising_unet, model.reference_net(reference, tokens))
    arguments = (latents, torch.tensor([10, 900]), tokens, pose, features, (0, None))
    compiled = torch.compile(model, fullgraph=True, backend="eager")  # raises at a graph break
    assert torch.equal(compiled(*arguments), model(*arguments))


@torch.no_grad()
def test_each_video_reads_the_reference_that_is_named_for_it(make_tiny: MakeModel) -> None:
    model = make_tiny()
    latents, tokens, pose, reference = conditions(model, B=2, T=1)
    features = model.reference_net(reference, tokens)
    arguments = (latents, torch.tensor([300, 300]), tokens, pose, features)
    straight, crossed = model(*arguments, (0, 1)), model(*arguments, (1, 0))
    assert (straight - crossed).abs().max() > 1e-3
    none = model(*arguments, (None, None))
    assert (straight - none).abs().max() > 1e-3


def replace_all(model: AnimateAnyone) -> None:
    model.denoising_unet.set_attn_processor(AttnProcessor2_0())


def replace_one(model: AnimateAnyone) -> None:
    layer = model.denoising_unet.get_submodule(model.reference_net.layers[-1])
    layer.set_processor(AttnProcessor2_0())


def slice_attention(model: AnimateAnyone) -> None:
    for name in model.reference_net.layers:
        model.denoising_unet.get_submodule(name).set_attention_slice(1)


def fuse_projections(model: AnimateAnyone) -> None:
    model.denoising_unet.fuse_qkv_projections()


@pytest.mark.parametrize("spoil", [replace_all, replace_one, slice_attention, fuse_projections])
@pytest.mark.parametrize("temporal", [False, True])
@torch.no_grad()
def test_replaced_processors_raise_and_reinstalling_heals(
    make_tiny: MakeModel, spoil: Callable[[AnimateAnyone], None], temporal: bool
) -> None:
    model = make_tiny(temporal=temporal)
    latents, tokens, pose, reference = conditions(model, B=1, T=1)
    features = model.reference_net(reference, tokens)
    arguments = (latents, torch.tensor([5]), tokens, pose, features, (0,))
    expected = model(*arguments)
    spoil(model)
    with pytest.raises(ReferenceLost, match="did not read the reference"):
        model(*arguments)
    install_reference_attention(model.denoising_unet)
    assert torch.equal(model(*arguments), expected)


@torch.no_grad()
def test_a_layer_without_features_raises(make_tiny: MakeModel) -> None:
    """What is expected to read are the network's layers, not what it is given."""
    model = make_tiny()
    latents, tokens, pose, reference = conditions(model, B=1, T=1)
    features = model.reference_net(reference, tokens)
    lost = features.pop(model.reference_net.layers[1])
    assert lost.shape[0] == 1
    with pytest.raises(ReferenceLost, match=r"1 of .* did not read the reference"):
        model(latents, torch.tensor([5]), tokens, pose, features, (0,))


def test_replaced_processors_of_reference_net_raise(make_tiny: MakeModel) -> None:
    model = make_tiny()
    _, tokens, _, reference = conditions(model, B=1, T=1)
    model.reference_net.unet.set_attn_processor(AttnProcessor2_0())
    with pytest.raises(ReferenceLost, match="ReferenceNet gave no features"):
        model.reference_net(reference, tokens)


def test_nothing_of_a_pass_stays_on_a_module(make_tiny: MakeModel) -> None:
    model = make_tiny(temporal=True)
    latents, tokens, pose, reference = conditions(model, B=1, T=2)
    features = model.reference_net(reference, tokens)
    model(latents, torch.tensor([5]), tokens, pose, features, (0,))
    for unet in (model.reference_net.unet, model.denoising_unet):
        for name in model.reference_net.layers:
            assert vars(unet.get_submodule(name).processor) == {"layer": name}


def test_motion_modules_keep_their_own_processors(make_tiny: MakeModel) -> None:
    unet = make_tiny(temporal=True).denoising_unet
    temporal = [m for n, m in unet.named_modules() if n.endswith(".attn1") and "motion" in n]
    assert temporal
    assert not any(isinstance(m.processor, SpatialAttention) for m in temporal)


def test_a_reference_must_be_named_for_every_video(make_tiny: MakeModel) -> None:
    model = make_tiny()
    latents, tokens, pose, _ = conditions(model, B=2, T=1)
    with pytest.raises(ModelError, match="1 references were named for 2 videos"):
        model(latents, torch.tensor([5, 5]), tokens, pose, {}, (None,))
