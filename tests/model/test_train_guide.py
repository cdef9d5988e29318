"""docs/guides/train.md: each command, in order, on files of the true layout at tiny sizes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from aa_datasets.clip import Clip
from aa_datasets.pose import write_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.shards import ShardSample, write_shard
from aa_datasets.video.canonical import encode_canonical, read_canonical
from aa_model.checkpoints.animatediff import to_animatediff
from aa_model.checkpoints.lora import LORA_FILE
from aa_model.checkpoints.store import read_checkpoint
from aa_model.cli import animate, model, train
from aa_model.config import ModelConfig, VaeConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.image_encoder import ImageEncoder
from aa_model.networks.parts import part_parameters
from aa_model.networks.reference_net import make_unet2d
from aa_model.networks.vae import make_vae
from aa_model.presets import BASE_24GB, TINY

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs" / "guides" / "train.md"
MAINS = {"aa-train": train.main, "aa-model": model.main, "aa-animate": animate.main}
# Downscale by 8, as Stable Diffusion's; the rest of the network is as small as it can be.
SIZES = ModelConfig(
    **{f: getattr(TINY.model, f) for f in ("preset", "unet", "image_encoder", "noise")},
    size_hw=(64, 64),
    vae=VaeConfig("kl", (8, 8, 8, 8), 1, latent_channels=4, norm_num_groups=4,
                  scaling_factor=0.18215),
    temporal=replace(BASE_24GB.model.temporal),
    pose_guider=BASE_24GB.model.pose_guider,
)  # fmt: skip


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four downloads, a corpus, a held-out shard, a photo and a dance."""
    folder = tmp_path_factory.mktemp("train_guide")
    torch.manual_seed(0)
    sd = folder / "stable-diffusion-v1-5"
    make_unet2d(SIZES).save_pretrained(sd / "unet")
    make_vae(SIZES).save_pretrained(sd / "vae")
    make_vae(SIZES).save_pretrained(folder / "sd-vae-ft-mse")
    ImageEncoder(SIZES).clip.save_pretrained(folder / "image_encoder")
    layers = part_parameters(AnimateAnyone(SIZES, temporal=True), "temporal_layers")
    written = to_animatediff({n: p.detach() for n, p in layers.items()}, 32)
    torch.save({"state_dict": written}, folder / "mm_sd_v15_v2.ckpt")
    (folder / "corpus" / "shards").mkdir(parents=True)
    for path, first in (("corpus/shards/train-000000.tar", 0), ("held-out.tar", 9)):
        samples = []
        for i in range(first, first + 2):
            size_hw = (64, 40) if i % 2 else (40, 64)
            puppet = render_puppet(i, i, num_frames=10, size_hw=size_hw)
            clip = Clip(f"p{i}", f"p{i}", "puppets", "MIT", 0.0, 10 / 24, 24.0, size_hw, 10, True,
                        "renderer", "train")  # fmt: skip
            samples.append(ShardSample(clip, encode_canonical(puppet.frames, 24.0), puppet.pose))
        write_shard(folder / path, samples)
    Image.fromarray(puppet.frames[0]).save(folder / "me.png")
    write_pose(folder / "dance.npz", puppet.pose)
    return folder


def commands() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    text = "\n".join(blocks).replace("\\\n", " ")
    return [shlex.split(line) for line in text.splitlines() if line.strip()]


def in_small(words: list[str]) -> list[str]:
    """The same command with one step of small pictures on the CPU, in this process."""
    if words[0] == "accelerate":
        words = ["aa-train", *words[words.index("aa_model.cli.train") + 1 :]]
    if words[1] == "import":  # AnimateDiff's file does not say of which UNet it is
        return [*words, "--preset", "tiny"]
    if words[1] == "precompute":
        return [*words, "--size", "64x64", "--device", "cpu"]
    if words[0] == "aa-animate":
        steps = [] if "--steps" in words else ["--steps", "1"]
        return [*words, *steps, "--device", "cpu", "--max-frames", "4", "--no-align"]
    if words[0] != "aa-train":
        return words
    values = {"--steps": "1", "--batch-size": "1", "--accumulate": "1", "--warmup-steps": "0"}
    if words[words.index("--stage") + 1] != "1":
        values |= {"--num-frames": "3"}
    if "buckets" in words:
        words = [w for word in words for w in (["64x40", "40x64"] if word == "buckets" else [word])]
    else:
        values |= {"--size": "64x64"}
    for option, value in values.items():
        if option in words:
            words[words.index(option) + 1] = value
        else:
            words = [*words, option, value]
    return [*words, "--device", "cpu"]


def test_every_command_of_the_page_runs(
    downloads: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("peft")
    monkeypatch.chdir(downloads)
    for words in commands():
        command, *rest = in_small(words)
        run: Callable[[list[str]], int] = MAINS[command]
        assert run(rest) == 0, (shlex.join(words), capsys.readouterr().err[-600:])
    for name in ("me.mp4", "fast.mp4"):
        assert read_canonical(Path(name)).shape == (4, 64, 64, 3)
    stage_2 = read_checkpoint(Path("runs/stage2"))
    assert stage_2.model.noise.prediction_type == "v_prediction"
    assert stage_2.model.temporal.trained_frames == 3
    assert read_checkpoint(Path("runs/stage1-shapes")).model.more_sizes_hw == ((40, 64),)
    assert read_checkpoint(Path("runs/fast")).model.distilled_guidance == 3
    assert (Path("runs/mine") / LORA_FILE).is_file()
    assert (Path("runs/stage1-watched") / "held_out.csv").is_file()
