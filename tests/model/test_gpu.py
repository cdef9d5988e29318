"""On a CUDA device: the CPU's numbers, and what only a GPU can get wrong. `pytest -m gpu`."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aa_datasets.loader.batch import Batch
from aa_datasets.puppets.render import render_puppet
from aa_model.cli import animate as animate_cli
from aa_model.cli import train as train_cli
from aa_model.config import GenerateConfig
from aa_model.inference.denoise import Conditions, denoise, encode_conditions
from aa_model.inference.pipeline import AnimatePipeline
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.presets import TINY
from aa_model.training.loop import TrainingState, train
from aa_model.training.stages import STAGES, make_loss, trained_parameters

pytestmark = pytest.mark.gpu
Make = Callable[..., AnimateAnyone]
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_tf32() -> Iterator[None]:
    """Convolutions are otherwise rounded to 10 bits, whatever the matrix products are."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def conditions_for(model: AnimateAnyone, T: int) -> Conditions:
    generator = torch.Generator().manual_seed(0)
    reference = 2 * torch.rand(3, 32, 32, generator=generator) - 1
    pose = 2 * torch.rand(T, 3, 32, 32, generator=generator) - 1
    with torch.no_grad():
        return encode_conditions(model, reference.to(model.device), pose.to(model.device))


@pytest.mark.parametrize("merge", ["edge", "mean"])
def test_a_long_video_is_the_cpus(make_tiny: Make, merge: str) -> None:
    model = make_tiny(temporal=True)
    config = GenerateConfig(steps=3, merge=merge, window_batch=2)  # type: ignore[arg-type]
    expected = denoise(model, conditions_for(model, 19), config)
    model.cuda()
    found = denoise(model, conditions_for(model, 19), config).cpu()
    assert (found - expected).abs().max() < 2e-4 * expected.abs().max()


def on(device: str, batch: Batch) -> Batch:
    reference, target, pose = (x.to(device) for x in (batch.reference, batch.target, batch.pose))
    return dataclasses.replace(batch, reference=reference, target=target, pose=pose)


@pytest.mark.parametrize(("stage", "T"), [("1", 2), ("2", 8)])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_steps_are_the_cpus(
    make_tiny: Make, make_batch: Callable[..., Batch], stage: str, T: int, checkpointing: bool
) -> None:
    """Noise is drawn by a CPU generator on both sides."""

    def losses(device: str) -> list[tuple[float, float]]:
        model = make_tiny(temporal=stage == "2")
        trained = trained_parameters(model, STAGES[stage])
        if checkpointing:
            model.enable_gradient_checkpointing()
        model.to(device)
        config = dataclasses.replace(TINY.training[stage], steps=3, lr=1e-3, noise_offset=0.1)
        state = TrainingState(trained, config, torch.Generator("cpu"))
        batches = iter([on(device, make_batch(2, T, seed)) for seed in range(3)])
        steps = train(state, make_loss(model, STAGES[stage], config), batches, config)
        return [(step.loss, step.grad_norm) for step in steps]

    expected, found = (torch.tensor(losses(device)) for device in ("cpu", "cuda"))
    assert torch.allclose(found, expected, rtol=2e-3)
    assert torch.allclose(found[0], expected[0], rtol=1e-4)  # before AdamW makes signs of noise


def test_checkpointing_takes_less_memory(make_tiny: Make, make_batch: Callable[..., Batch]) -> None:
    peaks = []
    for checkpointing in (False, True):
        model = make_tiny(temporal=True)
        trained_parameters(model, STAGES["2"])
        if checkpointing:
            model.enable_gradient_checkpointing()
        model.cuda()
        loss = make_loss(model, STAGES["2"], TINY.training["2"])
        batch = on("cuda", make_batch(4, 8))
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        torch.autograd.backward(loss(batch, torch.Generator("cuda")))
        peaks.append(torch.cuda.max_memory_allocated() - before)
    assert peaks[1] < 0.6 * peaks[0]


def test_a_resumed_run_goes_on_as_the_uninterrupted_one(
    puppet_shards: list[Path], tmp_path: Path
) -> None:
    """By the command; sums on a GPU are of no fixed order, so that the last digits may differ."""

    def run(out: str, *options: object) -> list[float]:
        arguments = [*puppet_shards, "--stage", "autoencoder", "--preset", "tiny", "--device",
                     "cuda", "--ema-decay", "0.9", "--out", tmp_path / out, *options]  # fmt: skip
        assert train_cli.main([str(a) for a in arguments]) == 0
        with (tmp_path / out / "loss.csv").open() as file:
            return [float(row["loss"]) for row in csv.DictReader(file)]

    whole = run("whole", "--steps", 6)
    run("parts", "--steps", 3)
    assert run("parts", "--steps", 6, "--resume") == pytest.approx(whole, rel=1e-3)


@pytest.mark.parametrize(("half", "worst"), [(False, 0.1), (True, 3.0)])
def test_a_video_of_the_demos_network_is_the_cpus(half: bool, worst: float) -> None:
    """In grey levels, in the mean over all pixels."""
    puppet = render_puppet(1_000_000, 1_000_000, num_frames=12, size_hw=(64, 64))
    config = GenerateConfig(steps=5)

    def video(device: str, dtype: torch.dtype) -> np.ndarray:
        pipeline = AnimatePipeline.from_pretrained(ROOT / "demo" / "learned", device, dtype)
        return np.asarray(pipeline(puppet.frames[0], puppet.pose, config).frames, np.float64)

    expected = video("cpu", torch.float32)
    found = video("cuda", torch.bfloat16 if half else torch.float32)
    assert np.abs(found - expected).mean() < worst


def test_the_command_animates_on_a_gpu(puppet_shards: list[Path], tmp_path: Path) -> None:
    arguments = ["--checkpoint", ROOT / "demo" / "learned", "--shards", puppet_shards[0], "--half",
                 "--device", "cuda", "--steps", 2, "--out", tmp_path / "predictions"]  # fmt: skip
    assert animate_cli.main([str(a) for a in arguments]) == 0
    assert len(list((tmp_path / "predictions").rglob("*.png"))) == 3 * 10


def test_more_positions_than_a_cuda_grid_has_blocks_along_an_axis() -> None:
    """Temporal attention's batch is every position of every window: 73,728 of eight at 768 px."""
    positions, heads, T, width = 70_000, 8, 24, 40
    generator = torch.Generator("cuda").manual_seed(0)
    q, k, v = (
        torch.randn(positions, heads, T, width, device="cuda", generator=generator).bfloat16()
        for _ in range(3)
    )
    found = F.scaled_dot_product_attention(q, k, v)
    last = F.scaled_dot_product_attention(*(x[-5:].float() for x in (q, k, v)))
    assert (found[-5:].float() - last).abs().max() < 0.02
