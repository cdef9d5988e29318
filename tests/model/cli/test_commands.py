"""aa-train, aa-animate and aa-model from shards to pictures, and their errors in one line."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from aa_datasets.pose import write_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.shards import read_shards, write_shard
from aa_datasets.video.canonical import read_canonical
from aa_model.checkpoints.store import read_checkpoint
from aa_model.cli import animate as animate_cli
from aa_model.cli import model as cli
from aa_model.cli import train as train_cli
from aa_model.presets import PRESETS
from aa_model.training.options import TrainOptions
from aa_model.training.run import train_stage
from aa_model.training.samples import TrainingSamples


def train(*arguments: object) -> int:
    return train_cli.main([str(a) for a in arguments])


def read_frames(folder: Path) -> NDArray[np.uint8]:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.iterdir())])


@pytest.fixture(scope="module")
def trained(puppet_shards: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All four stages of the tiny preset, a few steps each."""
    folder = tmp_path_factory.mktemp("runs")
    runs = {name: folder / name for name in ("autoencoder", "image-encoder", "1", "2")}
    init = {"1": ["autoencoder", "image-encoder"], "2": ["1"]}
    for name, out in runs.items():
        options: list[object] = ["--init", *(runs[i] for i in init[name])] if name in init else []
        options += ["--lr", "0.01"]  # so that a few steps move the output visibly
        code = train(*puppet_shards, "--stage", name, "--preset", "tiny", "--out", out, *options)
        assert code == 0
    return runs


def test_four_stages_make_a_whole_checkpoint_with_its_history(trained: dict[str, Path]) -> None:
    parts = read_checkpoint(trained["2"]).parts
    made_by = {part: record.made_by for part, record in parts.items()}
    assert re.fullmatch(r"stage autoencoder, 4 steps, \d+ s", made_by["vae"])
    assert made_by["reference_net"].startswith("stage 1, 4 steps")
    assert made_by["temporal_layers"].startswith("stage 2, 4 steps")
    with (trained["2"] / "loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert all(np.isfinite(float(row["loss"])) for row in rows)
    assert json.loads((trained["1"] / "run.json").read_text())["training"]["batch_size"] == 2


def test_stage_2_leaves_every_other_part_as_it_was(trained: dict[str, Path]) -> None:
    before, after = (read_checkpoint(trained[name]).parts for name in ("1", "2"))
    assert {p: r.sha256 for p, r in before.items()}.items() <= {
        p: r.sha256 for p, r in after.items()
    }.items()
    one, two = (read_checkpoint(trained[name]).model for name in ("1", "2"))
    assert two == replace(one, temporal=replace(one.temporal, trained_frames=4))
    assert read_checkpoint(trained["1"]).model.vae.scaling_factor != 1


def test_personalize_moves_the_networks_and_keeps_encoders_and_temporal_layers(
    trained: dict[str, Path], puppet_shards: list[Path], tmp_path: Path
) -> None:
    assert train(*puppet_shards, "--stage", "personalize", "--preset", "tiny", "--out",
                 tmp_path / "me", "--init", trained["2"]) == 0  # fmt: skip
    before, after = (read_checkpoint(run).parts for run in (trained["2"], tmp_path / "me"))
    moved = {part for part in before if before[part].sha256 != after[part].sha256}
    assert moved == {"reference_net", "denoising_unet", "pose_guider"}
    assert after["denoising_unet"].made_by.startswith("stage personalize, 4 steps")
    assert read_checkpoint(tmp_path / "me").model == read_checkpoint(trained["2"]).model


def test_personalize_starts_from_a_whole_network(
    trained: dict[str, Path],
    puppet_shards: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(*puppet_shards, "--stage", "personalize", "--preset", "tiny", "--out",
                 tmp_path / "me", "--init", trained["1"]) == 2  # fmt: skip
    assert "personalize needs temporal_layers, which no --init folder holds: train --stage 2" in (
        capsys.readouterr().err
    )


def test_an_interrupted_run_resumed_equals_the_whole(
    trained: dict[str, Path],
    puppet_shards: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    arguments = [*puppet_shards, "--stage", "1", "--preset", "tiny", "--out", out, "--lr", "0.01",
                 "--init", trained["autoencoder"], trained["image-encoder"]]  # fmt: skip
    assert train(*arguments, "--steps", 2) == 0
    assert train(*arguments, "--steps", 4) == 2  # a run is there
    run_json = (out / "run.json").read_bytes()
    assert train(*arguments, "--steps", 4, "--resume", "--noise-offset", 0.1) == 2
    assert "was started with other options (noise_offset was 0.0, not 0.1)" in (
        capsys.readouterr().err
    )
    assert (out / "run.json").read_bytes() == run_json
    encoder = json.loads(run_json)["frozen"]["image_encoder"].encode()
    (out / "run.json").write_bytes(run_json.replace(encoder, b"0" * 64))  # started with another
    assert train(*arguments, "--steps", 4, "--resume") == 2
    assert "was started with other options (frozen." in capsys.readouterr().err
    older = json.loads(run_json)
    del older["model"]["pose_guider"]["face"]  # begun before there was the option: its default
    (out / "run.json").write_text(json.dumps(older))
    assert train(*arguments, "--steps", 4, "--resume") == 0
    for part in ("reference_net", "denoising_unet", "pose_guider"):
        whole = load_file(trained["1"] / f"{part}.safetensors")
        found = load_file(out / f"{part}.safetensors")
        for name, tensor in whole.items():
            assert torch.equal(tensor, found[name]), name


def test_a_window_beyond_the_positions_is_refused(
    trained: dict[str, Path],
    puppet_shards: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [
        "--stage",
        "2",
        "--preset",
        "tiny",
        "--init",
        trained["1"],
        "--out",
        tmp_path / "o",
    ]
    assert train(*puppet_shards, *arguments, "--num-frames", 9) == 2
    assert "9 frames a clip: the temporal layers have positions for 8" in capsys.readouterr().err


def test_what_is_saved_is_the_average_of_the_weights(
    trained: dict[str, Path], puppet_shards: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    arguments = ["--stage", "1", "--preset", "tiny", "--out", out, "--lr", "0.01", "--init",
                 trained["autoencoder"], trained["image-encoder"]]  # fmt: skip
    assert train(*puppet_shards, *arguments, "--ema-decay", 0.5) == 0
    state = torch.load(out / "training_state.pt", weights_only=True)
    averages = dict(zip(state["weights"], state["ema"]["shadow_params"], strict=True))
    saved = load_file(out / "pose_guider.safetensors")
    assert saved
    for name, tensor in saved.items():
        (average,) = (a for key, a in averages.items() if key.endswith(f"pose_guider.{name}"))
        assert torch.equal(tensor, average), name
    assert any(not torch.equal(w, averages[name]) for name, w in state["weights"].items())


def test_a_loss_that_is_no_number_stops_names_the_clips_and_saves(
    puppet_shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = ["--stage", "autoencoder", "--preset", "tiny", "--out", out, "--lr", "1e30"]
    assert train(*puppet_shards, *arguments, "--max-grad-norm", "1e30") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("aa-train: error: step 2: loss")
    assert re.search(r"the last clips were puppet_\d, puppet_\d", error)
    assert "stage autoencoder, 1 steps" in read_checkpoint(out).parts["vae"].made_by


@pytest.mark.parametrize("stage", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_samples_show_the_run_from_step_0_and_do_not_disturb_it(
    trained: dict[str, Path],
    puppet_shards: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    stage: str,
) -> None:
    out = tmp_path / "run"
    init = [trained["1"]] if stage == "2" else [trained["autoencoder"], trained["image-encoder"]]
    arguments = ["--stage", stage, "--preset", "tiny", "--out", out, "--lr", "0.01"]
    held_out = ["--samples-from", puppet_shards[1]] if stage == "1" else []
    arguments += ["--samples-every", 4, *held_out, "--init", *init]
    assert train(*puppet_shards, *arguments) == 0
    clips = (3, 4) if held_out else (0, 1)
    names = {f"step-{step:06d}-puppet_{i}.png" for step in (0, 4) for i in clips}
    assert {path.name for path in (out / "samples").iterdir()} == names | {"probes.csv"}
    with (out / "samples" / "probes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "4"]
    if stage == "1":  # the pose guider starts at zero: the pose is ignored, and then is not
        assert float(rows[0]["pose_swapped"]) == 0
        assert float(rows[-1]["pose_swapped"]) > 0
    assert all(float(row["reference_swapped"]) > 0 for row in rows)
    assert all(float(row["flicker"]) > float(row["flicker_true"]) for row in rows)
    if stage == "2":  # temporal layers start at zero: they do nothing, and then do something
        without = [row["flicker_without_temporal_layers"] for row in rows]
        assert rows[0]["flicker"] == without[0]
        assert rows[1]["flicker"] != without[1]
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("samples of")]
    assert [line.split(":")[0] for line in said] == ["samples of step 0", "samples of step 4"]
    assert f"flickers by {float(rows[1]['flicker']):.2f} " in said[1]
    assert ("without the temporal layers" in said[1]) == (stage == "2")
    for part in read_checkpoint(trained[stage]).parts:
        whole = load_file(trained[stage] / f"{part}.safetensors")
        found = load_file(out / f"{part}.safetensors")
        assert all(torch.equal(tensor, found[name]) for name, tensor in whole.items()), part


def test_a_corpus_and_a_split_of_it_are_trained_on(
    trained: dict[str, Path],
    puppet_shards: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    corpus = tmp_path / "corpus"
    (corpus / "shards").mkdir(parents=True)
    for path in puppet_shards:
        samples = list(read_shards([path]))
        held_out = "test" if path == puppet_shards[0] else "train"
        write_shard(
            corpus / "shards" / f"{held_out}-000000.tar",
            [replace(s, clip=replace(s.clip, split=held_out)) for s in samples],
        )
    arguments = ["--stage", "2", "--preset", "tiny", "--init", trained["1"], "--steps", "1"]
    assert train(corpus, *arguments, "--out", tmp_path / "all", "--dry-run") == 0
    assert "warning: 3 of 6 clips are of another split than train" in capsys.readouterr().out
    assert train(corpus, *arguments, "--out", tmp_path / "run", "--split", "train") == 0
    assert "warning" not in capsys.readouterr().out
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (run["split"], len(run["shards"])) == ("train", 2)
    # Only the latents of its own shards are asked for.
    assert train("precompute", corpus / "shards/train-000000.tar", "--preset", "tiny",
                 "--init", trained["1"]) == 0  # fmt: skip
    assert train(corpus, *arguments, "--out", tmp_path / "latents", "--split", "train",
                 "--precomputed-latents") == 0  # fmt: skip
    state = torch.load(tmp_path / "run" / "training_state.pt", weights_only=True)
    assert state["loader"]["num_clips"] == 3


def test_probes_of_a_run_that_goes_on_from_an_earlier_save_are_there_once(tmp_path: Path) -> None:
    samples = object.__new__(TrainingSamples)
    samples.folder = tmp_path
    for step, change in ((0, 1.0), (10, 2.0), (20, 3.0), (10, 4.0)):
        samples._write_probes(step, {"pose_swapped": change})
    assert (tmp_path / "probes.csv").read_text().splitlines() == [
        "step,pose_swapped", "0,1.0000", "10,4.0000",
    ]  # fmt: skip


def test_dry_run_prints_what_is_trained_and_writes_nothing(
    trained: dict[str, Path],
    puppet_shards: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "none"
    arguments = ["--stage", "2", "--preset", "tiny", "--out", out, "--init", trained["1"]]
    assert train(*puppet_shards, *arguments, "--dry-run") == 0
    assert not out.exists()
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "trained" in lines["temporal_layers"]
    assert all("frozen" in lines[p] for p in ("vae", "reference_net", "denoising_unet"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage", "1"], "stage 1 needs vae, image_encoder"),
        (
            ["--stage", "1", "--init", "nowhere"],
            "nowhere is not a checkpoint: the folder does not exist",
        ),
    ],
)
def test_training_without_its_parts_is_one_line_and_exit_2(
    puppet_shards: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    code = train(*puppet_shards, "--preset", "tiny", "--out", tmp_path / "x", *arguments)
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("aa-train: error: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("stage", ["autoencoder", "1", "2"])
def test_a_missing_shard_is_said_before_anything_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    """Stages 1 and 2 lack their --init as well."""
    arguments = ["--stage", stage, "--preset", "tiny", "--out", tmp_path / "x"]
    assert train(tmp_path / "no.tar", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"aa-train: error: no shard {tmp_path / 'no.tar'}")


def test_a_training_that_ends_in_its_warm_up_is_an_error_and_can_be_resumed(
    puppet_shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = [*puppet_shards, "--stage", "autoencoder", "--preset", "tiny", "--out", out,
                 "--warmup-steps", 3]  # fmt: skip
    assert train(*arguments, "--steps", 3) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "training ended after 3 steps, inside its warm-up of 3" in error
    assert "--resume continues" in error
    assert train(*arguments, "--steps", 4, "--resume") == 0
    with (out / "loss.csv").open() as file:
        rates = [float(row["lr"]) for row in csv.DictReader(file)]
    assert rates == [0.00025, 0.0005, 0.00075, 0.001]  # the last of them is the first full one


def test_the_time_that_is_foretold_heeds_the_time_limit(
    puppet_shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*puppet_shards, "--stage", "autoencoder", "--preset", "tiny"]
    assert train(*arguments, "--out", tmp_path / "a", "--steps", 10**6, "--time-limit-s", 0.2) == 0
    said = capsys.readouterr().out
    assert re.search(r"the time limit leaves 0\.2 seconds: about \d+ of the 1000000 steps", said)
    assert "1000000 steps take" not in said
    assert train(*arguments, "--out", tmp_path / "b", "--steps", 1) == 0
    assert "1 step takes about" in capsys.readouterr().out


def test_help_shows_the_numbers_of_the_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--stage", "2", "--preset=small", "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Training (defaults: small, stage 2)" in shown
    assert "[default: 1000]" in shown
    assert train("--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "base-24gb, stage 1" in shown
    assert "[default: 30000]" in shown


def test_training_from_python_is_the_commands(
    trained: dict[str, Path], puppet_shards: list[Path], tmp_path: Path
) -> None:
    config = replace(PRESETS["tiny"].training["1"], lr=0.01)
    steps = train_stage(
        TrainOptions(
            tuple(puppet_shards), stage="1", preset="tiny", out=tmp_path / "run", training=config,
            init=(trained["autoencoder"], trained["image-encoder"]),
        )
    )  # fmt: skip
    assert [step.step for step in steps] == [1, 2, 3, 4]
    before, after = (read_checkpoint(folder).parts for folder in (trained["1"], tmp_path / "run"))
    assert {p: r.sha256 for p, r in before.items()} == {p: r.sha256 for p, r in after.items()}


def test_shards_become_frames_videos_and_strips(
    trained: dict[str, Path],
    puppet_shards: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "predictions"
    arguments = ["--checkpoint", trained["2"], "--shards", puppet_shards[0], "--out", out,
                 "--steps", 2]  # fmt: skip
    arguments = [str(a) for a in arguments]
    assert animate_cli.main(arguments) == 0
    assert {p.name for p in out.iterdir()} == {"puppet_0", "puppet_1", "puppet_2"}
    assert len(list((out / "puppet_0").glob("*.png"))) == 10
    with Image.open(out / "puppet_0" / "0000.png") as picture:
        assert picture.size == (32, 32)
    video = read_canonical(tmp_path / "predictions-videos" / "puppet_1.mp4")
    assert video.shape == (10, 32, 32, 3)
    with Image.open(tmp_path / "predictions-strips" / "puppet_2.png") as strip:
        # Pictures of 32 x 32 are shown four times as large.
        assert strip.size == (4 * 128 + 3 * 4, 5 * 128 + 4 * 4)
    capsys.readouterr()
    assert animate_cli.main(arguments) == 0
    assert capsys.readouterr().out.count("already there") == 3

    first = read_frames(out / "puppet_0")
    for probe in (["--swap", "reference"], ["--swap", "pose"], ["--no-temporal"]):
        other = tmp_path / probe[-1].strip("-")
        command = [*arguments[:4], "--out", str(other), "--steps", "2", *probe]
        assert animate_cli.main([str(a) for a in command]) == 0
        assert not np.array_equal(first, read_frames(other / "puppet_0"))


def test_one_photo_becomes_a_video(
    trained: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    puppet = render_puppet(7, 7, num_frames=9, size_hw=(48, 64))
    Image.fromarray(puppet.frames[0]).save(tmp_path / "photo.png")
    write_pose(tmp_path / "pose.npz", puppet.pose)
    arguments = ["--checkpoint", trained["2"], "--reference", tmp_path / "photo.png",
                 "--pose", tmp_path / "pose.npz", "--out", tmp_path / "out.mp4", "--steps", "2",
                 "--reference-pose", tmp_path / "pose.npz", "--max-frames", "5"]  # fmt: skip
    assert animate_cli.main([str(a) for a in arguments]) == 0
    video = (tmp_path / "out.mp4").read_bytes()
    assert read_canonical(video).shape == (5, 32, 32, 3)
    assert animate_cli.main([*map(str, arguments), "--scheduler", "DDIMScheduler"]) == 0
    assert (tmp_path / "out.mp4").read_bytes() == video  # the one that is taken anyway
    assert animate_cli.main([*map(str, arguments), "--scheduler", "UniPCMultistepScheduler"]) == 0
    assert (tmp_path / "out.mp4").read_bytes() != video
    too_many = ["1001" if a == "2" else str(a) for a in arguments]
    assert animate_cli.main(too_many) == 2
    assert "1001 denoising steps: expected 1 to 1000" in capsys.readouterr().err
    for name, message in (
        ("UNetMotionModel", "'UNetMotionModel' is not a scheduler of diffusers"),
        ("DDIMInverseScheduler", "that denoises: give a class"),
    ):
        assert animate_cli.main([*map(str, arguments), "--scheduler", name]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --reference PICTURE and --pose NPZ_OR_VIDEO, or --shards"),
        (["--shards", "a.tar", "--pose", "b.npz"], "not both"),
        (["--reference", "missing.png", "--pose", "b.npz"], "missing.png"),
        (["--reference", "missing.png", "--pose", "b.npz", "--dry-run"], "no file missing.png"),
        (["--reference", "a.png", "--pose", "b.npz", "--swap", "pose"], "--swap is for --shards"),
        (["--reference", "a.png", "--pose", "b.npz", "--no-temporal"], "temporal is for --shards"),
        (["--shards", "a.tar", "--half", "--autocast"], "--half leaves no float32"),
        (["--shards", "a.tar", "--fps", "12"], "--fps is not for --shards"),
        (
            ["--reference", "a.png", "--pose-video", "b.mp4", "--pose-detector", "dwpose"],
            "--pose-detector finds skeletons",
        ),
        (
            ["--reference", "a.png", "--pose", "b.npz", "--no-align", "--reference-pose", "c.npz"],
            "--reference-pose is for the alignment",
        ),
    ],
)
def test_animate_errors_are_one_line_and_exit_2(
    trained: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    fixed = ["--checkpoint", str(trained["2"]), "--out", str(tmp_path / "o.mp4")]
    assert animate_cli.main([*fixed, *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("aa-animate: error: ")
    assert message in error


def test_info_and_export(
    trained: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(trained["2"]), "--out", str(tmp_path / "half")]) == 0
    assert cli.main(["info", str(tmp_path / "half")]) == 0
    text = capsys.readouterr().out
    assert "every hash is right" in text
    assert text.count("float16") == 6
    assert cli.main(["info", str(trained["autoencoder"])]) == 0
    assert "absent: image_encoder, reference_net" in capsys.readouterr().out
    path = tmp_path / "half" / "vae.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert cli.main(["info", str(tmp_path / "half")]) == 2
    assert capsys.readouterr().err.startswith("aa-model: error: ")
