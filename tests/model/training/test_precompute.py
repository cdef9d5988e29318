"""aa-train precompute: what is stored trains as what is encoded; other encoders' is refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from aa_datasets.loader.latents import read_latents_record
from aa_datasets.shards import read_record
from aa_model.checkpoints.store import find_parts, resolve_config, write_checkpoint
from aa_model.cli import train as train_cli
from aa_model.inference.image_input import to_pixels
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.presets import TINY
from aa_model.training.precompute import latents_key

Make = Callable[..., AnimateAnyone]


def aa_train(*arguments: object) -> int:
    return train_cli.main([str(a) for a in arguments])


@pytest.fixture
def start(make_tiny: Make, tmp_path: Path) -> Path:
    """A whole tiny checkpoint to start from."""
    parts = ("vae", "image_encoder", "reference_net", "denoising_unet", "pose_guider")
    write_checkpoint(tmp_path / "start", make_tiny(), dict.fromkeys(parts, "test"))
    return tmp_path / "start"


@pytest.fixture
def shards(puppet_shards: list[Path], tmp_path: Path) -> list[Path]:
    """Copies, beside which latents may be written."""
    for path in puppet_shards:
        for name in (path, path.with_suffix(".json")):
            shutil.copy(name, tmp_path / name.name)
    return [tmp_path / path.name for path in puppet_shards]


def losses(out: Path) -> list[float]:
    with (out / "loss.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("stage", "more"),
    [("1", []), ("2", []), ("1", ["--autocast"]), ("1", ["--size", "48x24"])],
)
def test_training_from_what_is_stored_equals_encoding_on_the_fly(
    start: Path,
    shards: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    more: list[str],
) -> None:
    before = [path.read_bytes() for path in shards]
    size = more if "--size" in more else []
    assert aa_train("precompute", *shards, "--preset", "tiny", "--init", start, *size) == 0
    assert [path.read_bytes() for path in shards] == before
    arguments = [*shards, "--stage", stage, "--preset", "tiny", "--init", start, "--num-frames", 3]
    arguments += ["--reference-drop", 0.4, "--steps", 3, *more]
    assert aa_train(*arguments, "--out", tmp_path / "fly") == 0
    calls: list[int] = []
    encode = AnimateAnyone.encode
    monkeypatch.setattr(AnimateAnyone, "encode", lambda *a: calls.append(1) or encode(*a))
    assert aa_train(*arguments, "--out", tmp_path / "stored", "--precomputed-latents") == 0
    assert calls == []
    expected = losses(tmp_path / "fly")
    assert len(expected) == 3
    assert losses(tmp_path / "stored") == pytest.approx(expected, rel=2e-5)


@torch.no_grad()
def test_each_row_is_what_the_encoders_make_of_its_frame(
    make_tiny: Make, start: Path, shards: list[Path]
) -> None:
    assert aa_train("precompute", *shards, "--preset", "tiny", "--init", start) == 0
    model = make_tiny()
    from aa_datasets.loader.crop_resize import resize_frames
    from aa_datasets.shards import read_entry
    from aa_datasets.video.canonical import read_canonical

    sources = find_parts([start])
    key = latents_key(resolve_config(TINY.model, sources), sources)
    for path in shards:
        record = read_record(path)
        rows = np.load(path.with_suffix(".latents.npy"))
        first_rows = read_latents_record(path, record, key, whole=True).first_rows
        assert len(rows) == sum(entry.clip.num_frames for entry in record.clips)
        for entry in record.clips:
            frame = read_canonical(read_entry(path, entry).mp4, np.array([7]))
            image = to_pixels(resize_frames(frame, (32, 32)))
            row = rows[first_rows[entry.clip.clip_id] + 7]
            mean, _ = np.split(row["moments"], 2)
            assert mean == pytest.approx(model.encode(image)[0].numpy(), abs=1e-5)
            assert row["tokens"] == pytest.approx(model.image_tokens(image)[0].numpy(), abs=1e-5)


def test_finished_shards_are_skipped_and_an_unfinished_one_is_made_again(
    start: Path, shards: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["precompute", *shards, "--preset", "tiny", "--init", start]
    assert aa_train(*arguments) == 0
    expected = [path.with_suffix(".latents.npy").read_bytes() for path in shards]
    shards[1].with_suffix(".latents.json").unlink()  # as a kill before the record leaves it
    first = shards[0].with_suffix(".latents.npy").stat().st_mtime_ns
    capsys.readouterr()
    assert aa_train(*arguments) == 0
    assert f"{shards[0].name}: already there" in capsys.readouterr().out
    assert shards[0].with_suffix(".latents.npy").stat().st_mtime_ns == first
    assert [path.with_suffix(".latents.npy").read_bytes() for path in shards] == expected


def test_latents_of_other_weights_sizes_or_shards_are_refused_by_name(
    make_tiny: Make,
    start: Path,
    shards: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train = [*shards, "--stage", "1", "--preset", "tiny", "--precomputed-latents"]

    def refusal(*arguments: object) -> str:
        capsys.readouterr()
        assert aa_train(*arguments) == 2
        return capsys.readouterr().err

    none = refusal(*train, "--init", start, "--out", tmp_path / "a")
    assert "run `aa-train precompute`" in none
    command = ["precompute", *shards, "--preset", "tiny"]
    assert aa_train(*command, "--init", start) == 0

    other = tmp_path / "other"
    write_checkpoint(other, make_tiny(seed=1), {"vae": "another"})
    found = refusal(*train, "--init", start, other, "--out", tmp_path / "b")
    assert "made with vae " in found
    assert "image_encoder" not in found
    assert "made with vae " in refusal(*command, "--init", start, other)
    assert aa_train(*command, "--init", start, other, "--replace") == 0
    assert aa_train(*train, "--init", start, other, "--out", tmp_path / "c", "--steps", 1) == 0

    record = shards[0].with_suffix(".latents.json")
    row = json.loads(record.read_text())
    for field, value, message in (
        ("key", {**row["key"], "width_px": 64}, "made with width_px 64, this run has width_px 32"),
        ("shard_sha256", "0" * 64, f"was made of another {shards[0].name}"),
        ("num_bytes", 7, "was altered"),
    ):
        record.write_text(json.dumps({**row, field: value}))
        assert message in refusal(*train, "--init", start, other, "--out", tmp_path / "d")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage", "autoencoder"], "stage autoencoder would ignore it: leave it out"),
        (["--stage", "1", "--appearance", "clip+controlnet"], "reads the reference's pixels"),
    ],
)
def test_where_pictures_are_needed_stored_latents_are_refused(
    puppet_shards: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    fixed = [*puppet_shards, "--preset", "tiny", "--out", tmp_path / "x", "--precomputed-latents"]
    assert aa_train(*fixed, *arguments) == 2
    assert message in capsys.readouterr().err
