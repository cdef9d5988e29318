"""--tensorboard and --wandb: what TensorBoard's own reader finds, and what an offline run holds."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from aa_model.checkpoints.store import write_checkpoint
from aa_model.cli import train as train_cli
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.presets import TINY
from aa_model.training.loop import Step
from aa_model.training.options import TrainOptions
from aa_model.training.trackers import RunLog, make_trackers


def read_events(folder: Path) -> EventAccumulator:
    everything = {"scalars": 0, "images": 0}
    return EventAccumulator(str(folder), size_guidance=everything).Reload()


def test_a_run_is_shown_from_step_0_with_the_numbers_of_its_csv_files(
    make_tiny: Callable[..., AnimateAnyone], puppet_shards: list[Path], tmp_path: Path
) -> None:
    start, out = tmp_path / "start", tmp_path / "run"
    write_checkpoint(start, make_tiny(), dict.fromkeys(("vae", "image_encoder"), "test"))
    arguments = [*puppet_shards, "--stage", "1", "--preset", "tiny", "--init", start, "--out", out,
                 "--samples-every", "2", "--steps", "2", "--tensorboard"]  # fmt: skip
    assert train_cli.main([str(a) for a in arguments]) == 0
    events = read_events(out / "tensorboard")
    with (out / "loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    for tag in ("loss", "lr", "grad_norm"):
        found = events.Scalars(f"train/{tag}")
        assert [event.step for event in found] == [1, 2]
        expected = [float(row[tag]) for row in rows]
        assert [event.value for event in found] == pytest.approx(expected, rel=1e-3)
    assert all(event.value > 0 for event in events.Scalars("train/images_per_s"))
    with (out / "samples" / "probes.csv").open() as file:
        probes = list(csv.DictReader(file))
    for probe in ("reference_swapped", "pose_swapped"):
        found = {event.step: event.value for event in events.Scalars(f"probe/{probe}")}
        assert found == pytest.approx({int(r["step"]): float(r[probe]) for r in probes}, abs=1e-4)
    buckets = [tag for tag in events.Tags()["scalars"] if tag.startswith("loss_by_timestep/")]
    with (out / "loss_by_timestep.csv").open() as file:
        (row,) = csv.reader(file.readlines()[1:])
    assert len(buckets) == sum(value != "nan" for value in row[1:])

    for clip in ("puppet_0", "puppet_1"):
        assert [event.step for event in events.Images(f"strip/{clip}")] == [0, 2]
        first = events.Images(f"video/{clip}")[0]
        with Image.open(io.BytesIO(first.encoded_image_string)) as gif:
            assert gif.n_frames == 8
            assert gif.size == (4 * 32, 32)  # reference, pose, generated, truth


def test_a_resumed_run_takes_the_place_of_the_steps_after_its_last_save(tmp_path: Path) -> None:
    for begin, end, loss in ((0, 5, 1.0), (3, 6, 2.0)):
        options = TrainOptions((), stage="1", preset="tiny", out=tmp_path, tensorboard=True)
        log = RunLog(make_trackers(options, TINY.training["1"], begin))
        for step in range(begin + 1, end + 1):
            log.write_step(Step(step, loss, lr=0.1, grad_norm=1.0), images_per_s=9.0)
        log.close()
    found = [
        (event.step, event.value)
        for event in read_events(tmp_path / "tensorboard").Scalars("train/loss")
    ]
    assert found == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.0), (6, 2.0)]


def test_weights_and_biases_gets_an_offline_run_and_its_lack_of_a_key_is_said(
    make_tiny: Callable[..., AnimateAnyone],
    puppet_shards: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("wandb")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_SILENT", "true")
    start, out = tmp_path / "start", tmp_path / "run"
    write_checkpoint(start, make_tiny(), dict.fromkeys(("vae", "image_encoder"), "test"))
    arguments = [*puppet_shards[:1], "--stage", "1", "--preset", "tiny", "--init", start, "--out",
                 out, "--steps", "1", "--samples-every", 1, "--wandb", "puppets"]  # fmt: skip
    assert train_cli.main([str(a) for a in arguments]) == 2
    assert "WANDB_MODE=offline" in capsys.readouterr().err
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert train_cli.main([*map(str, arguments), "--resume"]) == 0
    (run,) = (out / "wandb").glob("offline-run-*")
    (record,) = run.glob("run-*.wandb")
    deadline = time.monotonic() + 60
    while b"train/loss" not in (content := record.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.2)  # a process of wandb's writes it
    for word in (b"train/loss", b"probe/reference_swapped", b"puppets"):
        assert word in content
    assert len(list(run.glob("files/*.gif"))) == 4  # two clips, before and after the step
