"""Checkpoints that are kept, resuming from any of them, and a lower learning rate at a resume."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
import torch

from aa_datasets.shards import read_shards
from aa_model.checkpoints.store import read_checkpoint, read_part
from aa_model.cli import train as train_cli


def train(*arguments: object) -> int:
    return train_cli.main([str(a) for a in arguments])


def lr_column(run: Path) -> list[str]:
    with (run / "loss.csv").open() as file:
        return [row["lr"] for row in csv.DictReader(file)]


def test_a_run_resumes_from_any_kept_step_with_a_lower_rate_that_is_recorded(
    puppet_shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plain = tmp_path / "run", tmp_path / "plain"
    arguments = [*puppet_shards, "--stage", "image-encoder", "--preset", "tiny",
                 "--save-every", 1]  # fmt: skip
    assert train(*arguments, "--steps", 5, "--keep", 3, "--out", out, "--lr", 0.01) == 0
    assert sorted(p.name for p in (out / "kept").iterdir()) == [
        "step-000003", "step-000004", "step-000005",
    ]  # fmt: skip
    kept = out / "kept" / "step-000003"
    assert (
        read_checkpoint(kept)
        .parts["image_encoder"]
        .made_by.startswith("stage image-encoder, 3 steps")
    )
    read_part(kept, "image_encoder")  # its hash is right: later saves did not write into it
    assert train(*arguments, "--steps", 5, "--out", out, "--lr", 0.02, "--resume") == 2
    assert "was started with other options (lr was 0.01, not 0.02)" in capsys.readouterr().err
    assert train(*arguments, "--steps", 5, "--out", out, "--lr", 0.01, "--resume-step", 2) == 2
    assert "kept no checkpoint at step 2: kept are [3, 4, 5]" in capsys.readouterr().err
    assert train(*arguments, "--steps", 5, "--out", out, "--lr", 0.005, "--resume-step", 3) == 0
    assert lr_column(out) == ["0.01", "0.01", "0.01", "0.005", "0.005"]
    assert json.loads((out / "run.json").read_text())["lowered_lr"] == [0.01]
    # As if the run had been stopped there.
    assert train(*arguments, "--steps", 3, "--out", plain, "--lr", 0.01) == 0
    assert train(*arguments, "--steps", 5, "--out", plain, "--lr", 0.005, "--resume") == 0
    one, other = (read_part(folder, "image_encoder")[1] for folder in (out, plain))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_refused_return_leaves_the_newest_state_and_old_futures_are_dropped_first(
    puppet_shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = [*puppet_shards, "--stage", "image-encoder", "--preset", "tiny", "--save-every", 1,
                 "--out", out]  # fmt: skip
    assert train(*arguments, "--steps", 6, "--keep", 3, "--lr", 0.01) == 0  # 4, 5, 6
    assert train(*arguments, "--steps", 7, "--lr", 0.01, "--resume") == 0  # 7 is kept nowhere
    newest = (out / "training_state.pt").read_bytes()
    assert train(*arguments, "--steps", 7, "--lr", 0.02, "--resume-step", 4) == 2
    assert "lr was 0.01, not 0.02" in capsys.readouterr().err
    assert (out / "training_state.pt").read_bytes() == newest
    back = [*arguments, "--steps", 5, "--keep", 1, "--resume-step", 4]
    assert train(*back, "--lr", 0.005) == 0
    assert [p.name for p in (out / "kept").iterdir()] == ["step-000005"]  # not 6, of another future
    kept = torch.load(out / "kept" / "step-000005" / "training_state.pt", weights_only=True)
    assert kept["losses"][-1][2] == 0.005  # the rate


@pytest.mark.parametrize("preset", ["base-12gb", "tiny", "medium"])  # the last: CleanAttention
def test_a_dry_run_needs_no_weights(
    puppet_shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], preset: str
) -> None:
    arguments = ["--stage", "2", "--preset", preset, "--out", tmp_path / "none", "--dry-run"]
    assert train(*puppet_shards, *arguments) == 0
    said = capsys.readouterr().out
    assert "denoising_unet" in said
    assert "absent: give --init" in said
    assert "TFLOP in each process" in said
    peak_gb = re.search(r"memory at a step's peak on a GPU, counted: ([\d.]+) GB", said)
    assert peak_gb is not None
    if preset == "base-12gb":
        assert float(peak_gb[1]) == pytest.approx(10.98, rel=0.05)
    assert not (tmp_path / "none").exists()


def test_stage_2_trains_on_every_so_many_frames(
    puppet_shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Windows of 4 frames with stride 4 span 13 frames: no clip of ten is long enough."""
    assert all(sample.clip.num_frames == 10 for sample in read_shards(puppet_shards))
    for stage, init in (("autoencoder", []), ("image-encoder", []), ("1", ["autoencoder",
                        "image-encoder"])):  # fmt: skip
        options = ["--init", *(tmp_path / name for name in init)] if init else []
        assert train(*puppet_shards, "--stage", stage, "--preset", "tiny", "--steps", 1, "--out",
                     tmp_path / stage, *options) == 0  # fmt: skip
    arguments = [*puppet_shards, "--stage", "2", "--preset", "tiny", "--steps", 1, "--init",
                 tmp_path / "1"]  # fmt: skip
    assert train(*arguments, "--stride", 4, "--out", tmp_path / "a") == 2
    assert "has 13 frames" in capsys.readouterr().err
    assert train(*arguments, "--stride", 3, "--out", tmp_path / "b") == 0
    assert json.loads((tmp_path / "b" / "run.json").read_text())["training"]["stride"] == 3
