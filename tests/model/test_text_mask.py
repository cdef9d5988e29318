"""The loss under a text mask: no error, no gradient, and nothing else changes."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from aa_datasets.loader.batch import Batch
from aa_datasets.shards import read_shards, write_shard
from aa_model.checkpoints.store import write_checkpoint
from aa_model.cli import train as train_cli
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.presets import TINY
from aa_model.training.diffusion_loss import mean_of_counted
from aa_model.training.stages import STAGES, make_loss

Make = Callable[..., AnimateAnyone]
MakeBatch = Callable[..., Batch]


@given(seed=st.integers(0, 2**31), cell=st.integers(1, 8), share=st.floats(0, 1))
@settings(max_examples=50)
def test_a_latent_touched_by_text_counts_nothing(seed: int, cell: int, share: float) -> None:
    """Against a loop over the latents."""
    generator = torch.Generator().manual_seed(seed)
    V, T, C, h, w = 3, 2, 2, 3, 4
    error = torch.rand((V, T, C, h, w), generator=generator, dtype=torch.float64)
    text = torch.rand((V, 1, h * cell, w * cell), generator=generator) < share / cell**2
    found = mean_of_counted(error, ~text)
    for v in range(V):
        counted = [
            error[v, :, :, y, x]
            for y in range(h)
            for x in range(w)
            if not text[v, 0, y * cell : (y + 1) * cell, x * cell : (x + 1) * cell].any()
        ]
        expected = torch.stack(counted).mean().item() if counted else 0.0
        assert found[v].item() == pytest.approx(expected, abs=1e-12)


def test_no_gradient_under_the_mask_and_the_plain_one_beside_it() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randn((2, 3, 4, 6, 6), generator=generator, requires_grad=True)
    target = torch.randn(prediction.shape, generator=generator)
    mask = torch.ones((2, 1, 48, 48), dtype=torch.bool)
    mask[0, :, 40:, :] = False  # the last row of latents
    mask[1, :, 3, 17] = False  # one pixel: its latent
    masked = mean_of_counted(F.mse_loss(prediction, target, reduction="none"), mask)
    (gradient,) = torch.autograd.grad(masked.sum(), prediction)
    assert not gradient[0, :, :, 5].any()
    assert not gradient[1, :, :, 0, 2].any()
    assert gradient[0, :, :, :5].all()
    plain = 2 * (prediction - target) / (3 * 4 * 30)
    assert torch.allclose(gradient[0, :, :, :5], plain[0, :, :, :5], atol=1e-7)
    assert int((gradient[1] == 0).sum()) == 3 * 4


def test_a_video_wholly_under_text_gives_zero_and_no_nan() -> None:
    error = torch.ones((2, 1, 1, 2, 2), requires_grad=True)
    mask = torch.zeros((2, 1, 2, 2), dtype=torch.bool)
    mask[1] = True
    found = mean_of_counted(error, mask)
    assert found.tolist() == [0, 1]
    (gradient,) = torch.autograd.grad(found.sum(), error)
    assert torch.isfinite(gradient).all()


@torch.no_grad()
@pytest.mark.parametrize("name", ["1", "2"])
def test_the_stages_loss_heeds_the_batchs_mask(
    make_tiny: Make, make_batch: MakeBatch, name: str
) -> None:
    """All True is the loss without a mask; what stands under the mask of one clip is not asked."""
    model = make_tiny(temporal=name == "2")
    config = dataclasses.replace(TINY.training[name], reference_drop=0.0, noise_offset=0.0)
    frames = max(2, config.num_frames)  # stage 1 makes videos of the frames: each has its mask
    batch = make_batch(B=2, T=frames)
    height, width = batch.target.shape[-2:]
    errors: list[torch.Tensor] = []

    def loss(mask: torch.Tensor | None) -> float:
        errors.clear()
        compute = make_loss(model, STAGES[name], config, lambda _, error: errors.append(error))
        masked = dataclasses.replace(batch, loss_mask=mask)
        return compute(masked, torch.Generator().manual_seed(0)).item()

    nothing_masked = torch.ones((2, 1, height, width), dtype=torch.bool)
    plain = loss(None)
    (without,) = errors
    assert loss(nothing_masked) == pytest.approx(plain, rel=1e-6)
    second = nothing_masked.clone()
    second[1, :, : height // 2] = False
    loss(second)
    (found,) = errors
    of_first = len(found) // 2
    assert torch.allclose(found[:of_first], without[:of_first], rtol=1e-5)
    assert not torch.isclose(found[of_first:], without[of_first:], rtol=1e-4).any()
    all_masked = ~nothing_masked
    assert loss(all_masked) == 0


def test_the_command_masks_what_curation_found_and_only_when_asked(
    make_tiny: Make, puppet_shards: list[Path], tmp_path: Path
) -> None:
    """Clips wholly under text: a loss of zero, by the record in the shard alone."""
    start = tmp_path / "start"
    write_checkpoint(start, make_tiny(), dict.fromkeys(("vae", "image_encoder"), "test"))
    samples = []
    for sample in read_shards(puppet_shards):
        height, width = sample.clip.size_hw
        clip = dataclasses.replace(sample.clip, text_px=((0, 0, width, height),))
        samples.append(dataclasses.replace(sample, clip=clip))
    shard = tmp_path / "text.tar"
    write_shard(shard, samples)

    def loss(out: str, *options: str) -> float:
        arguments = [shard, "--stage", "1", "--preset", "tiny", "--init", start,
                     "--out", tmp_path / out, "--steps", "1", *options]  # fmt: skip
        assert train_cli.main([str(a) for a in arguments]) == 0
        with (tmp_path / out / "loss.csv").open() as file:
            return float(next(csv.DictReader(file))["loss"])

    assert loss("masked", "--text-mask") == 0
    assert loss("plain") > 0.01
