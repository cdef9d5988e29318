"""The benchmarks' test videos: never trained on, and animated whole under their own ids."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aa_datasets.benchmarks.split import read_test_ids
from aa_datasets.clip import Clip
from aa_datasets.puppets.render import render_puppet
from aa_datasets.shards import ShardSample, write_shard
from aa_datasets.video.canonical import encode_canonical
from aa_model.checkpoints.store import write_checkpoint
from aa_model.cli import animate as animate_cli
from aa_model.cli import train as train_cli
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import parts_of
from aa_model.presets import TINY

CLIP = Clip("clip_0", "source_0", "elsewhere", "MIT", 0.0, 1.0, 24.0, (32, 32), 2, True,
            "renderer", "train")  # fmt: skip


def clip(**fields: object) -> Clip:
    return dataclasses.replace(CLIP, **fields)


def write_clips(path: Path, clips: list[Clip]) -> Path:
    puppet = render_puppet(1, 2, num_frames=2, size_hw=(32, 32))
    video = encode_canonical(puppet.frames, 24.0)
    write_shard(path, [ShardSample(c, video, puppet.pose) for c in clips])
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = AnimateAnyone(TINY.model, temporal=True)
    write_checkpoint(tmp_path / "c", model, dict.fromkeys(parts_of(TINY.model), "a test"))
    return tmp_path / "c"


def test_test_videos_of_a_benchmark_stop_a_training_before_it_writes(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_clips(tmp_path / "train-0.tar", [clip()])
    bad = write_clips(tmp_path / "train-1.tar", [clip(clip_id="x", source="00338.mp4")])
    arguments = ["--preset", "tiny", "--stage", "1", "--init", checkpoint,
                 "--exclude-test-of", "tiktok", "--steps", 1, "--batch-size", 1,
                 "--out", tmp_path / "run"]  # fmt: skip
    assert train_cli.main([str(a) for a in (good, bad, *arguments)]) == 2
    assert "x is of test video 00338" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert train_cli.main([str(a) for a in (good, *arguments)]) == 0
    assert "none of 1 clips is of its test split" in capsys.readouterr().out


def test_a_benchmark_becomes_its_predictions_folder_and_goes_on_where_it_was(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = read_test_ids("tiktok")
    clips = [clip(clip_id=f"c_{i}", source=f"{x}.mp4", split="test") for i, x in enumerate(ids)]
    shard = write_clips(tmp_path / "test.tar", [*clips, clip(clip_id="another")])
    out = tmp_path / "predictions"
    command = ["--checkpoint", checkpoint, "--benchmark", "tiktok", "--shards", shard,
               "--out", out, "--steps", 1, "--guidance", 1]  # fmt: skip
    command = [str(a) for a in command]
    killed = out / f".{ids[0]}.1.tmp"  # by SIGKILL in the middle of a video
    killed.mkdir(parents=True)
    (killed / "0000.png").write_bytes(b"")
    assert animate_cli.main([*command, "--max-videos", "3"]) == 0
    settings = tmp_path / "predictions-settings.json"  # as it was before there were these options
    kept = json.loads(settings.read_text())
    assert (kept.pop("half"), kept.pop("scheduler")) == (None, None)
    settings.write_text(json.dumps(kept))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": 2 frames in")[0] for line in lines] == list(ids[:3])  # one line each
    assert {p.name for p in out.iterdir()} == set(ids[:3])
    first = (out / ids[0] / "0001.png").read_bytes()
    assert animate_cli.main([*command, "--dry-run"]) == 0
    foretold = capsys.readouterr().out
    assert foretold.count(": 2 frames") == 10
    assert foretold.count("already there") == 3
    assert {p.name for p in out.iterdir()} == set(ids[:3])
    assert animate_cli.main(command) == 0
    assert capsys.readouterr().out.count("already there") == 3
    assert {p.name for p in out.iterdir()} == set(ids)
    assert (out / ids[0] / "0001.png").read_bytes() == first
    with Image.open(out / ids[9] / "0001.png") as picture:
        assert np.asarray(picture).shape == (32, 32, 3)
    assert animate_cli.main([*command, "--seed", "1"]) == 2
    assert "were made with {'seed': 0}, not {'seed': 1}" in capsys.readouterr().err
    few = write_clips(tmp_path / "few.tar", clips[:9])
    command[command.index(str(shard))] = str(few)
    assert animate_cli.main(command) == 2
    assert f"1 of the 10 test videos of tiktok are in none of the shards: {ids[9]}" in (
        capsys.readouterr().err
    )
    assert animate_cli.main([*command[:4], "--out", str(out)]) == 2
    assert "--benchmark tiktok needs --shards" in capsys.readouterr().err
