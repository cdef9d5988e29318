"""aa-train as processes: two share a batch, one is killed; both end where one undisturbed does."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from aa_model.checkpoints.store import write_checkpoint
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.presets import TINY

pytestmark = pytest.mark.slow
TRAINED = ("reference_net", "denoising_unet", "pose_guider")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("start")
    parts = dict.fromkeys(("vae", "image_encoder"), "a test")
    write_checkpoint(folder, AnimateAnyone(TINY.model), parts)
    return folder


def arguments(shards: list[Path], start: Path, out: Path, *more: object) -> list[str]:
    found = [*shards, "--stage", "1", "--preset", "tiny", "--init", start, "--out", out,
             "--device", "cpu", "--reference-drop", 0.4, "--noise-offset", 0.1, *more]  # fmt: skip
    return [str(a) for a in found]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
COMMAND = [sys.executable, "-m", "aa_model.cli.train"]


def launch_two(*args: str) -> list[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
            "--master-port", str(port), "-m", "aa_model.cli.train", *args]  # fmt: skip


def rows(folder: Path, name: str) -> list[dict[str, float]]:
    with (folder / name).open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_two_processes_equal_one_with_twice_the_batch(
    puppet_shards: list[Path], start: Path, tmp_path: Path
) -> None:
    common = ["--steps", 3, "--accumulate", 2, "--num-frames", 2]
    one = arguments(puppet_shards, start, tmp_path / "one", *common, "--batch-size", 2)
    subprocess.run([*COMMAND, *one], check=True, env=ENVIRONMENT, timeout=300)
    two = arguments(puppet_shards, start, tmp_path / "two", *common, "--batch-size", 1)
    subprocess.run(launch_two(*two), check=True, env=ENVIRONMENT, timeout=500)
    assert json.loads((tmp_path / "two" / "run.json").read_text())["processes"] == 2
    curves = [rows(tmp_path / name, "loss.csv") for name in ("one", "two")]
    for a, b in zip(*curves, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-2)
    # Of all 12 clips, whichever process they went through.
    one_by_timestep, two_by_timestep = (
        rows(tmp_path / name, "loss_by_timestep.csv")[0] for name in ("one", "two")
    )
    assert two_by_timestep == pytest.approx(one_by_timestep, rel=1e-3, nan_ok=True)
    # AdamW's first steps make a full step of a gradient that is only rounding, so means.
    for part in TRAINED:
        a, b = (load_file(tmp_path / name / f"{part}.safetensors") for name in ("one", "two"))
        difference = torch.cat([(a[name] - b[name]).abs().flatten() for name in a])
        assert difference.median() < 1e-6
        assert (difference > 1e-4).float().mean() < 0.05


def test_two_processes_killed_and_resumed_equal_two_undisturbed_ones(
    puppet_shards: list[Path], start: Path, tmp_path: Path
) -> None:
    common = ["--steps", 30, "--save-every", 3, "--batch-size", 1, "--ema-decay", 0.9]
    whole, out = tmp_path / "whole", tmp_path / "killed"
    plain = arguments(puppet_shards, start, whole, *common)
    subprocess.run(launch_two(*plain), check=True, env=ENVIRONMENT, timeout=300)
    again = [*arguments(puppet_shards, start, out, *common), "--resume"]
    process = subprocess.Popen(launch_two(*again), env=ENVIRONMENT)
    deadline = time.monotonic() + 200
    while not (out / "training_state.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    # Each has a session of its own: killing the launcher's group would leave them at work.
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, workers)):
        os.kill(pid, signal.SIGKILL)
    assert len(workers) == 2
    assert (out / "training_state.pt").exists()
    assert process.wait(timeout=100) == -signal.SIGKILL
    subprocess.run(launch_two(*again), check=True, env=ENVIRONMENT, timeout=300)
    assert_same_run(whole, out)


def assert_same_run(a: Path, b: Path) -> None:
    for part in TRAINED:
        weights, others = (load_file(folder / f"{part}.safetensors") for folder in (a, b))
        assert all(torch.equal(weights[name], others[name]) for name in weights), part
    for name in ("loss.csv", "loss_by_timestep.csv"):
        assert (a / name).read_bytes() == (b / name).read_bytes()


def test_a_run_killed_at_any_moment_and_resumed_equals_the_undisturbed_one(
    puppet_shards: list[Path], start: Path, tmp_path: Path
) -> None:
    common = ["--steps", 40, "--save-every", 3, "--batch-size", 1, "--ema-decay", 0.9]
    whole, out = tmp_path / "whole", tmp_path / "killed"
    plain = arguments(puppet_shards, start, whole, *common)
    subprocess.run([*COMMAND, *plain], check=True, env=ENVIRONMENT, timeout=300)
    kills = 0
    command = [*COMMAND, *arguments(puppet_shards, start, out, *common), "--resume"]
    # Kill shortly after a save, later each time: before, within and behind the files it writes.
    for delay_s in (0.0, 0.05, 0.3):
        state = out / "training_state.pt"
        seen = state.stat().st_mtime_ns if state.exists() else 0
        process = subprocess.Popen(command, env=ENVIRONMENT)
        deadline = time.monotonic() + 200
        while process.poll() is None and time.monotonic() < deadline:
            if state.exists() and state.stat().st_mtime_ns != seen:
                time.sleep(delay_s)
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.005)
        kills += process.wait(timeout=100) == -signal.SIGKILL
    assert kills >= 2
    subprocess.run(command, check=True, env=ENVIRONMENT, timeout=300)
    assert_same_run(whole, out)


def launch_sharded(*args: str) -> list[str]:
    """Two processes of `accelerate launch` with the configuration that is shipped."""
    config = Path(__file__).parents[3] / "examples" / "accelerate_fsdp2.yaml"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config),
            "--num_processes", "2", "--mixed_precision", "no", "--main_process_port", str(port),
            "-m", "aa_model.cli.train", *args]  # fmt: skip


def test_two_processes_that_share_the_weights_equal_two_that_hold_them(
    puppet_shards: list[Path], start: Path, tmp_path: Path
) -> None:
    shard, held_out = puppet_shards
    common = ["--batch-size", 1, "--accumulate", 2, "--ema-decay", 0.5, "--save-every", 1,
              "--held-out", held_out, "--held-out-every", 1, "--held-out-clips", 3]  # fmt: skip
    whole = arguments([shard], start, tmp_path / "whole", *common, "--steps", 3)
    subprocess.run(launch_two(*whole), check=True, env=ENVIRONMENT, timeout=500)
    sharded = arguments([shard], start, tmp_path / "sharded", *common, "--steps", 2)
    subprocess.run(launch_sharded(*sharded), check=True, env=ENVIRONMENT, timeout=500)
    again = arguments([shard], start, tmp_path / "sharded", *common, "--steps", 3, "--resume")
    subprocess.run(launch_sharded(*again), check=True, env=ENVIRONMENT, timeout=500)
    for name in ("loss.csv", "held_out.csv"):
        a, b = (rows(tmp_path / folder, name) for folder in ("whole", "sharded"))
        assert [row["step"] for row in b] == [row["step"] for row in a]
        for one, other in zip(a, b, strict=True):
            assert other == pytest.approx(one, rel=2e-3)
    for part in TRAINED:
        a, b = (load_file(tmp_path / f / f"{part}.safetensors") for f in ("whole", "sharded"))
        assert {n: t.shape for n, t in a.items()} == {n: t.shape for n, t in b.items()}
        difference = torch.cat([(a[name] - b[name]).abs().flatten() for name in a])
        assert difference.median() < 1e-6
    # One process alone, with their batch, resumes from what they saved together.
    alone = arguments([shard], start, tmp_path / "sharded", *common[2:], "--batch-size", 2,
                      "--steps", 4, "--resume")  # fmt: skip
    subprocess.run([*COMMAND, *alone], check=True, env=ENVIRONMENT, timeout=300)
    assert len(rows(tmp_path / "sharded", "loss.csv")) == 4
