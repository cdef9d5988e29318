"""Each stage moves exactly what it should; what is dropped in training is dropped at inference."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from aa_datasets.loader.batch import Batch
from aa_model.inference.denoise import encode_conditions, predict
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import PARTS, part_parameters
from aa_model.presets import TINY
from aa_model.training.latent_cache import LatentCache
from aa_model.training.loop import TrainingState, train
from aa_model.training.stages import (
    STAGES,
    StageLoss,
    finish_stage,
    make_loss,
    trained_parameters,
)

Make = Callable[..., AnimateAnyone]
MakeBatch = Callable[..., Batch]


@pytest.mark.parametrize("name", ["autoencoder", "image-encoder", "1", "2", "personalize"])
def test_a_stage_moves_its_weights_and_no_others(
    make_tiny: Make, make_batch: MakeBatch, name: str
) -> None:
    # Not fresh: behind a projection that is zero, a weight would rightly stand still for a step.
    model, stage = make_tiny(temporal=name in ("2", "personalize")), STAGES[name]
    config = dataclasses.replace(
        TINY.training[name], weight_decay=0.0, lr_schedule="constant", reference_drop=0.0
    )
    expected = {id(p) for part in stage.trains for p in part_parameters(model, part).values()}
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    batches = itertools.repeat(make_batch(B=3, T=config.num_frames))
    state = TrainingState(trained_parameters(model, stage), config)
    list(train(state, make_loss(model, stage, config), batches, config))
    moved = {n for n, p in model.named_parameters() if not torch.equal(before[n], p)}
    should = {n for n, p in model.named_parameters() if id(p) in expected}
    # With one image token softmax is 1: queries and keys of cross-attention get no gradient (T7);
    # a constant added to all keys changes no softmax, nor does the class head of an encoder.
    single_token = {
        n
        for n in should
        if ".attn2." in n and n.endswith(("to_q.weight", "to_k.weight")) and "motion" not in n
    }
    norm_2 = {n for n in should if ".norm2." in n and "motion" not in n and "transformer" in n}
    still = should - moved - single_token - norm_2
    assert moved <= should
    assert {n for n in still if not n.endswith("k_proj.bias")} == set()


def test_a_stage_takes_or_trains_each_part_of_its_network_once() -> None:
    """What is in neither would start from random numbers, and nothing would say so."""
    for stage in STAGES.values():
        assert not set(stage.needs) & set(stage.trains)
    whole = {*STAGES["2"].needs, *STAGES["2"].trains}
    assert whole == set(PARTS)
    for name in ("personalize", "distill"):
        assert {*STAGES[name].needs, *STAGES[name].trains} == whole
        assert STAGES[name].fine_tunes
    one = {*STAGES["1"].needs, *STAGES["1"].trains}
    assert one == whole - {"temporal_layers", "controlnet"}
    controlnet = {*STAGES["1-controlnet"].needs, *STAGES["1-controlnet"].trains}
    assert controlnet == whole - {"temporal_layers", "reference_net"}
    assert {n for n, stage in STAGES.items() if stage.loader_stage == 2} == {
        n for n, stage in STAGES.items() if "temporal_layers" in (*stage.needs, *stage.trains)
    }
    assert not any(STAGES[n].fine_tunes for n in ("autoencoder", "image-encoder", "1", "2"))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_of_windows_gives_the_network_its_temporal_layers(
    make_tiny: Make, name: str
) -> None:
    config = TINY.model
    if name == "1-controlnet":
        config = dataclasses.replace(config, appearance="clip+controlnet")
    model, stage = make_tiny(config).train(), STAGES[name].of(config)
    trained = trained_parameters(model, stage)
    assert model.has_temporal_layers == (stage.loader_stage == 2)
    assert {key.split(".")[0] for key in trained} == set(stage.trains)
    assert {id(p) for p in model.parameters() if p.requires_grad} == set(map(id, trained.values()))
    assert not model.training, "dropout and the like stay off"


@pytest.mark.parametrize("name", ["1", "2"])
def test_gradient_reaches_every_part_that_is_trained(
    make_tiny: Make, make_batch: MakeBatch, name: str
) -> None:
    model, stage = make_tiny(temporal=name == "2"), STAGES[name]
    config = dataclasses.replace(TINY.training[name], reference_drop=0.0)
    trained = trained_parameters(model, stage)
    loss = make_loss(model, stage, config)
    loss(make_batch(T=config.num_frames), torch.Generator().manual_seed(0)).backward()
    assert all(p.grad is not None for p in trained.values())
    assert all(p.grad is None for n, p in model.named_parameters() if not p.requires_grad)
    for part in stage.trains:
        norms = [p.grad.norm() for n, p in trained.items() if n.startswith(f"{part}.")]
        assert max(norms) > 1e-6, part


@torch.no_grad()
def test_a_dropped_sample_sees_neither_the_reference_nor_its_tokens(
    make_tiny: Make, make_batch: MakeBatch
) -> None:
    model = make_tiny()
    config = TINY.training["1"]
    batch = make_batch(B=2)
    other = dataclasses.replace(batch, reference=-batch.reference)

    def loss(given: Batch, drop: float) -> float:
        c = dataclasses.replace(config, reference_drop=drop)
        generator = torch.Generator().manual_seed(0)
        return make_loss(model, STAGES["1"], c)(given, generator).item()

    assert loss(batch, 1.0) == loss(other, 1.0)
    assert loss(batch, 0.0) != loss(other, 0.0)
    pose_changed = dataclasses.replace(batch, pose=-batch.pose)
    assert loss(batch, 1.0) != loss(pose_changed, 1.0)  # the pose is kept


@torch.no_grad()
def test_a_dropped_sample_gets_the_tokens_that_inference_gives_without_a_reference(
    make_tiny: Make, make_batch: MakeBatch
) -> None:
    model = make_tiny()
    fed: list[Tensor] = []
    model.denoising_unet.register_forward_pre_hook(
        lambda module, args: fed.append(args[2]) if len(args) > 2 else None
    )
    config = dataclasses.replace(TINY.training["1"], reference_drop=0.5)
    make_loss(model, STAGES["1"], config)(make_batch(B=8), torch.Generator().manual_seed(1))
    pictures = torch.rand(2, 3, 32, 32) * 2 - 1
    conditions = encode_conditions(model, pictures[0], pictures[1:])
    noise = torch.zeros(1, 1, 4, 8, 8)
    predict(model, noise, 500, conditions, [range(1)], guidance=2.0)
    training, with_reference, without = fed
    assert torch.equal(with_reference, conditions.image_tokens)
    dropped = (training == without).flatten(1).all(1)
    assert 0 < int(dropped.sum()) < 8  # each for itself


def test_single_frames_of_a_clip_share_one_pass_of_reference_net(
    make_tiny: Make, make_batch: MakeBatch
) -> None:
    """Three frames of a clip give the loss of three clips of one frame, same reference."""
    model = make_tiny()
    config = dataclasses.replace(TINY.training["1"], reference_drop=0.0)
    loss = make_loss(model, STAGES["1"], config)
    shared = make_batch(B=2, T=3)
    apart = Batch(
        reference=shared.reference.repeat_interleave(3, dim=0),
        target=shared.target.flatten(0, 1)[:, None],
        pose=shared.pose.flatten(0, 1)[:, None],
        clip_ids=tuple(c for c in shared.clip_ids for _ in range(3)),
    )
    passes: list[int] = []
    model.reference_net.register_forward_pre_hook(lambda m, inputs: passes.append(len(inputs[0])))
    # The generator draws per clip first: with nothing dropped the later draws must be made equal.
    losses = []
    for batch, drawn_before in ((shared, 4), (apart, 0)):
        generator = torch.Generator().manual_seed(0)
        torch.rand(drawn_before, generator=generator)
        losses.append(loss(batch, generator).item())
    assert passes == [2, 6]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_autoencoder_stage_measures_the_scale_of_its_latents(
    make_tiny: Make, make_batch: MakeBatch
) -> None:
    model, batch = make_tiny(), make_batch(B=4)
    finish_stage(model, STAGES["autoencoder"], batch)
    images = torch.cat([batch.reference, batch.target.flatten(0, 1)])
    with torch.no_grad():
        assert model.encode(images).std().item() == pytest.approx(1, abs=1e-4)
        assert model.config.vae.scaling_factor != 1


@torch.no_grad()
def test_latent_cache_gives_the_vaes_latents_and_encodes_each_picture_once(
    make_tiny: Make, make_batch: MakeBatch
) -> None:
    model = make_tiny()
    images = make_batch(B=5).reference
    cache, calls = LatentCache(model), []
    model.vae.encoder.register_forward_hook(lambda *arguments: calls.append(1))
    generators = [torch.Generator().manual_seed(2) for _ in range(2)]
    assert torch.allclose(cache.encode(images), model.encode(images), atol=1e-6)
    again = cache.encode(images[[3, 1]], generators[0])
    assert torch.allclose(again, model.encode(images[[3, 1]], generators[1]), atol=1e-6)
    assert len(calls) == 5 + 1 + 1  # five by the cache, two batches by the model
    full = LatentCache(model, max_bytes=0)
    assert torch.equal(full.encode(images), cache.encode(images))
    assert full.num_bytes == 0


def test_gradient_checkpointing_of_a_controlnet_gives_the_same_gradients(
    make_tiny: Make, make_batch: MakeBatch
) -> None:
    config = dataclasses.replace(TINY.training["1"], reference_drop=0.0)
    network = dataclasses.replace(TINY.model, appearance="clip+controlnet")
    found = []
    for checkpointing in (False, True):
        model, stage = make_tiny(network), STAGES["1-controlnet"].of(network)
        trained = trained_parameters(model, stage)
        if checkpointing:
            model.enable_gradient_checkpointing()
        make_loss(model, stage, config)(make_batch(), torch.Generator().manual_seed(0)).backward()
        found.append([p.grad for p in trained.values()])
    assert any(gradient.any() for gradient in found[0])
    for expected, gradient in zip(*found, strict=True):
        assert torch.allclose(expected, gradient, atol=1e-6)


@pytest.mark.parametrize("name", ["1", "2"])
def test_gradient_checkpointing_gives_the_same_gradients_and_is_alive(
    make_tiny: Make, make_batch: MakeBatch, name: str
) -> None:
    config = dataclasses.replace(TINY.training[name], reference_drop=0.0)
    batch = make_batch(T=config.num_frames)

    def gradients_and_passes(checkpointing: bool) -> tuple[dict[str, torch.Tensor], Counter[str]]:
        model, stage = make_tiny(temporal=name == "2"), STAGES[name]
        trained = trained_parameters(model, stage)
        model.eval()  # trap T13: as `from_pretrained` leaves it
        if checkpointing:
            model.enable_gradient_checkpointing()
        passes: Counter[str] = Counter()
        for unet, net in (("denoising", model.denoising_unet), ("reference", model.reference_net)):
            for key, module in net.named_modules(prefix=unet):
                if key.endswith(
                    (".resnets.0.norm1", ".attentions.0.norm", "motion_modules.0.norm")
                ):
                    module.register_forward_hook(lambda m, i, o, key=key: passes.update([key]))
        make_loss(model, stage, config)(batch, torch.Generator().manual_seed(0)).backward()
        return {key: p.grad for key, p in trained.items()}, passes

    expected, once = gradients_and_passes(False)
    found, again = gradients_and_passes(True)
    for key, gradient in expected.items():
        assert torch.allclose(gradient, found[key], atol=1e-6), key
    recomputed = {key for key in again if again[key] == 2 * once[key]}
    trained_unets = ["denoising", "reference"] if name == "1" else ["denoising"]
    for unet in trained_unets:
        assert any(key.startswith(unet) and "resnets" in key for key in recomputed), unet
        spatial = {k for k in again if k.startswith(unet) and ".attentions" in k}
        if name == "2":  # what stands before the first motion module needs no gradient
            spatial.remove("denoising.down_blocks.0.attentions.0.norm")
        assert spatial <= recomputed, unet
    if name == "2":  # traps T5 and T6: motion modules of down and up blocks are among them
        assert {key for key in again if "motion" in key} <= recomputed


def test_the_loss_of_a_stage_has_the_networks_weights(
    make_tiny: Callable[..., AnimateAnyone],
) -> None:
    """DistributedDataParallel sees no others: what it does not see drifts apart."""
    model = make_tiny()
    held = {id(p) for p in StageLoss(model, lambda batch, generator: torch.zeros(())).parameters()}
    assert held == {id(p) for p in model.parameters()} != set()
