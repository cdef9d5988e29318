"""The held-out loss: the same for every run of the same weights, whatever else the run does."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from aa_model.checkpoints.store import write_checkpoint
from aa_model.cli import train as train_cli
from aa_model.networks.animate_anyone import AnimateAnyone


@pytest.fixture
def start(make_tiny: Callable[..., AnimateAnyone], tmp_path: Path) -> Path:
    parts = ("vae", "image_encoder", "reference_net", "denoising_unet", "pose_guider")
    write_checkpoint(tmp_path / "start", make_tiny(), dict.fromkeys(parts, "a test"))
    return tmp_path / "start"


def train(shard: Path, start: Path, out: Path, *arguments: object) -> int:
    words = [shard, "--stage", "1", "--preset", "tiny", "--init", start, "--out", out, *arguments]
    return train_cli.main([str(word) for word in words])


def curve(out: Path) -> list[dict[str, str]]:
    with (out / "held_out.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_held_out_loss_is_of_the_weights_alone_and_leaves_the_run_as_it_was(
    puppet_shards: list[Path], start: Path, tmp_path: Path
) -> None:
    shard, held_out = puppet_shards
    watch = ("--held-out", held_out, "--held-out-every", 2)
    assert train(shard, start, tmp_path / "plain") == 0
    assert train(shard, start, tmp_path / "watched", *watch) == 0
    for path in (tmp_path / "plain").glob("*.safetensors"):
        found = load_file(tmp_path / "watched" / path.name)
        assert all((tensor == found[name]).all() for name, tensor in load_file(path).items())
    rows = curve(tmp_path / "watched")
    assert [row["step"] for row in rows] == ["0", "2", "4"]
    assert list(rows[0]) == ["step", "loss", "at_100", "at_300", "at_500", "at_700", "at_900"]
    values = [float(rows[0][name]) for name in list(rows[0])[2:]]
    assert float(rows[0]["loss"]) == pytest.approx(sum(values) / 5, rel=1e-4)
    assert len({row["loss"] for row in rows}) == 3
    other = ("--min-snr-gamma", 5, "--noise-offset", 0.1, "--person-weight", 3, "--seed", 7,
             "--reference-drop", 0.9, "--num-frames", 3, "--batch-size", 1)  # fmt: skip
    assert train(shard, start, tmp_path / "other", *watch, *other, "--steps", 2) == 0
    assert curve(tmp_path / "other")[0] == rows[0]  # step 0: the same weights
    assert curve(tmp_path / "other")[1] != rows[1]


def test_a_resumed_run_writes_the_curve_of_the_undisturbed_one(
    puppet_shards: list[Path], start: Path, tmp_path: Path
) -> None:
    shard, held_out = puppet_shards
    watch = ("--held-out", held_out, "--held-out-every", 1, "--ema-decay", 0.5,
             "--held-out-clips", 2)  # fmt: skip
    assert train(shard, start, tmp_path / "whole", *watch, "--steps", 3) == 0
    assert train(shard, start, tmp_path / "cut", *watch, "--steps", 2) == 0
    assert train(shard, start, tmp_path / "cut", *watch, "--steps", 3, "--resume") == 0
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")


def test_clips_that_are_trained_on_are_no_held_out_ones(
    puppet_shards: list[Path], start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = ("--held-out", puppet_shards[0], "--held-out-every", 1)
    assert train(puppet_shards[0], start, tmp_path / "run", *watch) == 2
    assert "3 clips of --held-out are trained on, such as puppet_0" in capsys.readouterr().err
    assert train(puppet_shards[0], start, tmp_path / "run", *watch[:2]) == 2
    assert "belong together" in capsys.readouterr().err
