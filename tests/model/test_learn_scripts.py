"""The scripts of demo/learn: puppets straight into shards, and the ceiling of an autoencoder."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from aa_datasets.puppets.render import render_puppet
from aa_datasets.shards import read_shards
from aa_datasets.video.canonical import read_canonical
from aa_model.checkpoints.store import write_checkpoint
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.presets import TINY

SCRIPTS = Path(__file__).parents[2] / "demo" / "learn"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"demo_learn_{name}", SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("puppets")
    load("puppet_shards").main(folder, count=2, first_seed=70, split="validation")
    return folder


def test_the_shards_hold_the_puppets_of_these_seeds_and_finished_ones_are_kept(
    shards: Path,
) -> None:
    (path,) = shards.glob("*.tar")
    written = path.stat().st_mtime_ns
    load("puppet_shards").main(shards, count=2, first_seed=70, split="validation")
    assert path.stat().st_mtime_ns == written
    first, second = read_shards([path])
    assert [first.clip.clip_id, second.clip.clip_id] == ["puppet_0000070", "puppet_0000071"]
    assert (first.clip.split, first.clip.synthetic) == ("validation", True)
    puppet = render_puppet(71, 71, num_frames=30, fps=15.0, size_hw=(256, 256))
    frames = read_canonical(second.mp4)
    assert frames.shape == puppet.frames.shape
    assert np.abs(frames.astype(int) - puppet.frames).mean() < 3
    assert np.array_equal(second.pose.keypoints_px, puppet.pose.keypoints_px, equal_nan=True)


@pytest.mark.weights
def test_the_ceiling_is_printed_and_drawn(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    write_checkpoint(tmp_path / "vae", AnimateAnyone(TINY.model), {"vae": "a test"})
    picture = tmp_path / "frames.png"
    load("autoencoder").main(tmp_path / "vae", *shards.glob("*.tar"), every=15, picture=picture)
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("4 frames of 32x32")
    assert [line.split()[0] for line in said[1:]] == ["psnr", "lpips_vgg", "lpips_alex", "ssim"]
    assert picture.stat().st_size > 0
