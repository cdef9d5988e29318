"""LoRA: the updates alone are trained, are the same when merged, and diffusers reads them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from aa_datasets.loader.batch import Batch
from aa_model.checkpoints.lora import LORA_FILE
from aa_model.checkpoints.store import read_checkpoint, read_model, write_checkpoint
from aa_model.cli import train as train_cli
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import parts_of
from aa_model.presets import TINY
from aa_model.training.stages import STAGES, make_loss, trained_parameters

pytest.importorskip("peft")


@pytest.fixture
def start(make_tiny: Callable[..., AnimateAnyone], tmp_path: Path) -> Path:
    made_by = dict.fromkeys(parts_of(TINY.model), "a test")
    write_checkpoint(tmp_path / "start", make_tiny(temporal=True), made_by)
    return tmp_path / "start"


def train(
    shards: list[Path], start: Path, out: Path, stage: str, *arguments: object, rank: int = 4
) -> int:
    words = [*shards, "--stage", stage, "--preset", "tiny", "--init", start, "--out", out,
             "--lora-rank", rank, *arguments]  # fmt: skip
    return train_cli.main([str(word) for word in words])


@pytest.mark.parametrize(
    ("stage", "moved"), [("1", {"reference_net", "denoising_unet"}), ("2", {"temporal_layers"})]
)
def test_a_run_trains_the_updates_alone_and_its_checkpoint_has_them_merged(
    puppet_shards: list[Path], start: Path, tmp_path: Path, stage: str, moved: set[str]
) -> None:
    shard, held_out = puppet_shards
    out = tmp_path / "run"
    watch = ("--held-out", held_out, "--held-out-every", 12, "--lr", 0.02, "--ema-decay", 0.5)
    assert train([shard], start, out, stage, "--steps", 12, *watch) == 0
    with (out / "held_out.csv").open() as file:
        first, last = (float(row["loss"]) for row in csv.DictReader(file))
    assert last < first
    before, after = (read_checkpoint(folder).parts for folder in (start, out))
    changed = {part for part in after if after[part].sha256 != before[part].sha256}
    assert changed == moved
    assert all("LoRA merged" in after[part].made_by for part in moved)
    names = set(load_file(out / LORA_FILE))
    assert all(name.startswith(("reference_net.", "denoising_unet.")) for name in names)
    assert all(("motion_modules" in name) == (stage == "2") for name in names)
    assert len({name.rpartition(".lora_")[0] for name in names}) * 2 == len(names)


def test_merged_equals_unmerged_and_diffusers_reads_the_file(
    puppet_shards: list[Path], start: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    parts = ("--lora-parts", "denoising_unet", "temporal_layers", "--lora-alpha", 6)
    assert train(puppet_shards, start, out, "2", "--steps", 3, "--lr", 0.05, *parts) == 0
    base, merged, apart = read_model(start), read_model(out), read_model(start)
    apart.denoising_unet.load_lora_adapter(str(out), prefix="denoising_unet", weight_name=LORA_FILE)
    generator = torch.Generator().manual_seed(0)
    inputs = (
        torch.randn(1, 3, 4, 8, 8, generator=generator),
        torch.tensor([500]),
        torch.randn(1, 1, 16, generator=generator),
        None,
        {},
        (None,),
    )
    with torch.no_grad():
        found = [model(*inputs) for model in (base, merged, apart)]
    assert (found[0] - found[1]).abs().max() > 1e-2
    assert torch.allclose(found[1], found[2], atol=1e-5)
    with safe_open(out / LORA_FILE, "pt") as file:
        metadata = json.loads(file.metadata()["lora_adapter_metadata"])
    assert (metadata["denoising_unet.r"], metadata["denoising_unet.lora_alpha"]) == (4, 6)


def test_new_updates_change_nothing_and_every_one_of_them_learns(
    make_tiny: Callable[..., AnimateAnyone], make_batch: Callable[..., Batch]
) -> None:
    config = replace(TINY.training["1"], lora_rank=2, reference_drop=0.0)
    plain, adapted, stage = make_tiny(), make_tiny(), STAGES["1"].with_lora(())
    trained = trained_parameters(adapted, stage, config)
    losses = []
    for model in (plain, adapted):
        generator = torch.Generator().manual_seed(1)
        loss = make_loss(model, stage, config)(make_batch(), generator)
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    loss.backward()
    downs = {n: p for n, p in trained.items() if ".lora_B." in n}
    assert downs
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in downs.values())


def test_a_resumed_run_of_updates_equals_the_undisturbed_one(
    puppet_shards: list[Path], start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert train(puppet_shards, start, whole, "1", "--steps", 3) == 0
    assert train(puppet_shards, start, cut, "1", "--steps", 1) == 0
    assert train(puppet_shards, start, cut, "1", "--steps", 3, "--resume", rank=8) == 2
    assert "lora_rank was 4, not 8" in capsys.readouterr().err
    assert train(puppet_shards, start, cut, "1", "--steps", 3, "--resume") == 0
    name = "reference_net.safetensors"
    assert (whole / name).read_bytes() == (cut / name).read_bytes()
    a, b = (load_file(folder / LORA_FILE) for folder in (whole, cut))
    assert all(torch.equal(tensor, b[name]) for name, tensor in a.items())


@pytest.mark.parametrize(
    ("stage", "arguments", "message"),
    [
        ("autoencoder", [], "--lora-rank is an option of stage 1, 2, personalize, distill"),
        ("1", ["--lora-parts", "temporal_layers"], "stage 1 has no temporal_layers to adapt"),
    ],
)
def test_updates_of_what_is_not_there_are_refused(
    puppet_shards: list[Path],
    start: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    stage: str,
    arguments: list[object],
    message: str,
) -> None:
    assert train(puppet_shards, start, tmp_path / "x", stage, *arguments) == 2
    assert message in capsys.readouterr().err
