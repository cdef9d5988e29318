"""From the downloads to the paper's table, by the commands of docs/guides/tables_1_and_2.md.

Files have their true names and formats, at tiny sizes: puppets stand for videos, and networks of
a few channels with random weights for Stable Diffusion, CLIP and AnimateDiff. TikTok's poses are
found by recipe `whole_videos`, UBC's are given.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tomllib
from pathlib import Path

import cv2
import pytest
import torch

from aa_datasets.benchmarks.split import read_test_ids
from aa_datasets.clip import Clip
from aa_datasets.pose import write_pose
from aa_datasets.puppets.render import Puppet, render_puppet
from aa_datasets.shards import ShardSample, write_shard
from aa_datasets.video.canonical import encode_canonical
from aa_model.checkpoints.animatediff import to_animatediff
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.image_encoder import ImageEncoder
from aa_model.networks.parts import part_parameters
from aa_model.networks.reference_net import make_unet2d
from aa_model.networks.vae import make_vae
from aa_model.presets import TINY

FRAMES = {"tiktok": 16, "ubc": 2}  # FVD asks for 16; over 100 videos it takes half an hour
SCRIPTS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"][
    "scripts"
]


def _run(folder: Path, command: str, *words: object) -> str:
    module, function = SCRIPTS[command].split(":")
    code = f"import sys; from {module} import {function}; sys.exit({function}())"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stdout[-1000:]} {done.stderr[-3000:]}"
    return done.stdout


def _write_frames(folder: Path, puppet: Puppet, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(puppet.frames, 1):
        assert cv2.imwrite(str(folder / name.format(number)), frame[..., ::-1])


def _write_tiktok(folder: Path) -> list[object]:
    """DisCo's three layouts: the ten test videos, and two of the training videos."""
    copy = folder / "copy"
    for seed, video_id in enumerate((*read_test_ids("tiktok"), "00001", "00002")):
        puppet = render_puppet(seed % 3, seed, num_frames=FRAMES["tiktok"], size_hw=(216, 120))
        if video_id.startswith("00"):
            _write_frames(copy / video_id / "images", puppet, "{:04d}.png")
        elif video_id.startswith("201"):
            _write_frames(copy / video_id, puppet, "{:04d}.png")
        else:
            _write_frames(copy, puppet, f"TiktokDance_{video_id}_{{:05d}}png.png")
    return ["--allow-missing", "--copy", copy]


def _write_ubc(folder: Path) -> list[object]:
    """100 test videos as files, and their list: the packaged ids give its very bytes."""
    for name in ("copy", "poses"):
        (folder / name).mkdir()
    kinds = [render_puppet(s, s, num_frames=FRAMES["ubc"], size_hw=(94, 80)) for s in range(2)]
    contents = [encode_canonical(puppet.frames, 30) for puppet in kinds]
    ids = read_test_ids("ubc")
    for number, video_id in enumerate(ids):
        (folder / "copy" / f"{video_id}.mp4").write_bytes(contents[number % 2])
        write_pose(folder / "poses" / f"{video_id}.pose.npz", kinds[number % 2].pose)
    listed = "".join(f"https://m.media-amazon.com/images/I/{i}.mp4\n" for i in ids)
    (folder / "list.txt").write_text(listed)
    return ["--split", "test", "--list", folder / "list.txt", "--copy", folder / "copy"]


def _write_other_clips(path: Path) -> Path:
    """The UBC's training list is not ours to ship: other puppets stand for its videos."""
    samples = []
    for seed in range(2):
        puppet = render_puppet(seed, 9 + seed, num_frames=12, size_hw=(64, 64))
        clip = Clip(f"other_{seed}", f"other_{seed}", "puppets", "CC0-1.0", 0.0, 0.5, 24.0,
                    (64, 64), 12, True, "renderer", "train")  # fmt: skip
        samples.append(ShardSample(clip, encode_canonical(puppet.frames, 24), puppet.pose))
    write_shard(path, samples)
    return path


def _write_weights(folder: Path) -> None:
    """Folders and a file as Stable Diffusion, CLIP and AnimateDiff are published."""
    torch.manual_seed(0)
    make_unet2d(TINY.model).save_pretrained(folder / "stable-diffusion-v1-5" / "unet")
    make_vae(TINY.model).save_pretrained(folder / "stable-diffusion-v1-5" / "vae")
    ImageEncoder(TINY.model).clip.save_pretrained(folder / "image_encoder")
    network = AnimateAnyone(TINY.model, temporal=True)
    layers = {n: p.detach() for n, p in part_parameters(network, "temporal_layers").items()}
    torch.save(to_animatediff(layers, TINY.model.temporal.max_frames), folder / "mm.ckpt")


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize(
    ("benchmark", "table", "protocol"),
    [("tiktok", 2, "tiktok-disco-2023"), ("ubc", 1, "ubc-aa-inferred")],
)
def test_a_benchmark_goes_from_its_folders_to_the_papers_table(
    tmp_path: Path, benchmark: str, table: int, protocol: str
) -> None:
    data = tmp_path / "data" / benchmark
    fetch = ["fetch", benchmark, "--licence", "CC0-1.0", "--synthetic", "--size-hw", 32, 32]
    if benchmark == "tiktok":
        _run(tmp_path, "aa-datasets", *fetch, *_write_tiktok(tmp_path))
        _run(tmp_path, "aa-curate", "run", "whole_videos", "--workers", 2,
             "--sources", data / "sources-train.csv", "--sources", data / "sources-test.csv",
             "--out", data / "corpus")  # fmt: skip
        shards, training = data / "corpus" / "shards", [data / "corpus", "--split", "train"]
    else:
        _run(tmp_path, "aa-datasets", *fetch, *_write_ubc(tmp_path),
             "--poses", tmp_path / "poses", "--pose-from", "renderer")  # fmt: skip
        shards, training = data / "shards", [_write_other_clips(tmp_path / "train-000000.tar")]
    tests = sorted(shards.glob("test-*.tar"))
    _write_weights(tmp_path)
    _run(tmp_path, "aa-model", "import-sd", "--sd", "stable-diffusion-v1-5", "--image-encoder",
         "image_encoder", "--preset", "tiny", "--out", "runs/start")  # fmt: skip
    _run(tmp_path, "aa-model", "import", "--from", "animatediff", "mm.ckpt", "--preset", "tiny",
         "--out", "runs/motion")  # fmt: skip
    for stage, starts in (("1", ["runs/start"]), ("2", ["runs/1", "runs/motion"])):
        _run(tmp_path, "aa-train", *training, "--exclude-test-of", benchmark, "--preset", "tiny",
             "--stage", stage, "--steps", 1, "--init", *starts, "--out",
             f"runs/{stage}")  # fmt: skip
    before = tmp_path / "runs" / "2"
    _run(tmp_path, "aa-animate", "--checkpoint", before, "--benchmark", benchmark, "--shards",
         *tests, "--steps", 1, "--guidance", 1, "--out", data / "predictions")  # fmt: skip
    few = ["--allow", "test-frames"] if benchmark == "tiktok" else []  # 17 of each video
    _run(tmp_path, "aa-eval", "--benchmark", benchmark, "--baselines", "off", "--method", "puppets",
         "--out", "results", *few)  # fmt: skip
    results = {path.parent.name for path in (tmp_path / "results").rglob("result.json")}
    assert results == {protocol, "aa-clean-v2"}
    for name in sorted(results):
        assert "added: puppets under" in _run(tmp_path, "aa-leaderboard", "add", f"results/{name}")
    _run(tmp_path, "aa-leaderboard", "render", "--out", "site")
    with (tmp_path / "site" / "leaderboard.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["benchmark"] == benchmark]
    measured = [row for row in rows if row["kind"] == "measured"]
    assert {(row["protocol"], row["method"]) for row in measured} == {
        (name, "puppets") for name in results
    }
    for row in measured:
        assert 0 < float(row["ssim"]) < 1
        assert int(row["num_videos"]) == len(read_test_ids(benchmark))
    # Beneath the paper's own rows.
    table_text = _run(
        tmp_path, "aa-leaderboard", "table", table, "--format", "csv", "--board", "board"
    )
    paper = "Animate Anyone (Hu et al. 2023)"
    printed = {row["method"] for row in rows if (row["paper"], row["table"]) == (paper, str(table))}
    assert len(printed) > 3
    *lines, last = table_text.splitlines()
    assert {row.partition(",")[0] for row in lines} >= printed
    (ours,) = (row for row in measured if row["protocol"] == protocol)
    name = '"puppets (measured, checks overridden)"' if few else "puppets (measured)"
    assert last.startswith(f"{name},{float(ours['ssim']):.3f},")
