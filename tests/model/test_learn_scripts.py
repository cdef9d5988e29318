"""The scripts of the demo: puppets straight into shards, an autoencoder's ceiling, pictures."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from aa_datasets.clip import Clip
from aa_datasets.export import export_frames
from aa_datasets.puppets.render import render_puppet
from aa_datasets.shards import ShardSample, read_shards, write_shard
from aa_datasets.video.canonical import encode_canonical, read_canonical
from aa_eval import MetricValue, Result, write_result
from aa_model.checkpoints.store import write_checkpoint
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.presets import TINY

DEMO = Path(__file__).parents[2] / "demo"


def load(name: str) -> ModuleType:
    path = DEMO / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"demo_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("puppets")
    load("learn/puppet_shards").main(folder, count=2, first_seed=70, split="validation")
    return folder


def test_the_shards_hold_the_puppets_of_these_seeds_and_finished_ones_are_kept(
    shards: Path,
) -> None:
    (path,) = shards.glob("*.tar")
    written = path.stat().st_mtime_ns
    load("learn/puppet_shards").main(shards, count=2, first_seed=70, split="validation")
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
    load("learn/autoencoder").main(
        tmp_path / "vae", *shards.glob("*.tar"), every=15, picture=picture
    )
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("4 frames of 32x32")
    assert [line.split()[0] for line in said[1:]] == ["psnr", "lpips_vgg", "lpips_alex", "ssim"]
    assert picture.stat().st_size > 0


@pytest.fixture(scope="module")
def demo_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What demo/run.sh leaves of four puppets and a person, who is a puppet here."""
    out = tmp_path_factory.mktemp("demo-out")
    for seed, count, shard, kinds in (
        (70, 4, "corpus/shards/test-000000", ("references-puppets", "puppets")),
        (80, 1, "parts/rest", ("references-real", "real", "real-before")),
    ):
        load("learn/puppet_shards").main(out / str(seed), count=count, first_seed=seed)
        (tar,) = (out / str(seed)).glob("*.tar")
        (out / shard).parent.mkdir(parents=True)
        for suffix in (".tar", ".json"):
            tar.with_suffix(suffix).rename(out / f"{shard}{suffix}")
        for kind in kinds:
            list(export_frames([out / f"{shard}.tar"], out / kind, (64, 64), 3))
    return out


def test_the_moving_picture_shows_every_frame_and_is_small(demo_out: Path, tmp_path: Path) -> None:
    load("picture").moving(tmp_path / "demo.webp", demo_out)
    assert (tmp_path / "demo.webp").stat().st_size < 3 * 2**20
    with Image.open(tmp_path / "demo.webp") as picture:
        assert (picture.n_frames, picture.width) == (3, 2 * 4 * 128 + 16)


def test_the_pictures_say_what_is_missing(demo_out: Path, tmp_path: Path) -> None:
    picture = load("picture")
    with pytest.raises(SystemExit, match=r"give the folder that demo/run\.sh wrote"):
        picture.moving(tmp_path / "demo.webp", tmp_path)
    with pytest.raises(SystemExit, match="give the shards"):
        picture.clips(tmp_path / "clips.png")
    frame = next((demo_out / "real").glob("*/0000.png"))
    frame.rename(tmp_path / "kept.png")
    with pytest.raises(SystemExit, match=r"puppet_0000080: 2 generated frames .* 3 true ones"):
        picture.moving(tmp_path / "demo.webp", demo_out)
    (tmp_path / "kept.png").rename(frame)


def test_validation_prefers_the_lowest_sum_of_both_lpips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, alex, vgg in (("steps-2", 0.2, 0.2), ("steps-5", 0.1, 0.25), ("steps-10", 0.09, 0.3)):
        values = {
            key: MetricValue(value, None, None, None, 10, None)
            for key, value in (("lpips_alex", alex), ("lpips_vgg", vgg))
        }
        result = Result(
            3, name, "measured", None, "aa-clean-v2", "2", "0", values, {}, {}, {}, {}, 1, 10, {},
            {}, (), "a test", "2026-11-30T00:00:00+00:00",
        )  # fmt: skip
        write_result(tmp_path / name, result)
    load("learn/measure_table").choose(tmp_path)
    assert capsys.readouterr().out == "steps-5\n"


@pytest.mark.parametrize("script", ["run.sh", "learn.sh", "learn/measure.sh"])
def test_a_wrong_argument_is_answered_by_the_usage(script: str) -> None:
    done = subprocess.run([DEMO / script, "--wrong"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: demo/{script}")


def test_the_later_windows_of_a_clip_hold_no_frame_of_its_first_part(tmp_path: Path) -> None:
    puppet = render_puppet(3, 3, num_frames=50, fps=15.0, size_hw=(64, 64))
    clip = Clip(
        "person", "person", "a test", "CC0-1.0", 2.0, 2.0 + 50 / 15, 15.0, (64, 64), 50,
        synthetic=False, pose_from="renderer", split="train",
    )  # fmt: skip
    sample = ShardSample(clip, encode_canonical(puppet.frames, 15.0), puppet.pose)
    write_shard(tmp_path / "in.tar", [sample])
    load("parts").main(tmp_path / "out", tmp_path / "in.tar")
    (first,) = read_shards([tmp_path / "out" / "first.tar"])
    rest = list(read_shards([tmp_path / "out" / "rest.tar"]))
    assert (first.clip.num_frames, first.clip.split) == (30, "train-real")
    assert [part.clip.clip_id for part in rest] == ["person-rest-1", "person-rest-2"]
    assert [part.clip.start_s for part in rest] == pytest.approx([4.0, 4.0 + 10 / 15])
    whole = np.concatenate([part.pose.keypoints_px for part in (first, *rest)])
    assert np.array_equal(whole, puppet.pose.keypoints_px, equal_nan=True)
    true = puppet.frames.astype(int)
    nearest = [
        np.abs(frame - true).mean((1, 2, 3)).argmin() for frame in read_canonical(rest[1].mp4)
    ]
    assert nearest == list(range(40, 50))
