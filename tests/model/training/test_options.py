"""Options of training: what a stage would ignore is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from aa_model.cli import train as train_cli
from aa_model.config import _STAGES_OF, ConfigError, StageName, TrainConfig
from aa_model.presets import PRESETS
from aa_model.training.options import preset_training

OTHER_VALUES: dict[str, object] = {
    "num_frames": 3, "early_num_frames": 1, "stride": 2, "gradient_checkpointing": True,
    "cache_latents": True, "precomputed_latents": True, "crop_px": 16, "compile": True,
    "lora_rank": 4, "lora_alpha": 2.0, "lora_parts": ("denoising_unet",), "distill_solver_steps": 9,
}  # fmt: skip


def train(*arguments: object) -> int:
    return train_cli.main([str(a) for a in arguments])


@pytest.mark.parametrize("name", _STAGES_OF)
@pytest.mark.parametrize("stage", get_args(StageName))
def test_an_option_of_another_stage_is_refused_by_name(stage: str, name: str) -> None:
    value = OTHER_VALUES.get(name, 0.25)
    base = TrainConfig(steps=1, batch_size=1, lr=1e-3, num_frames=1)
    if name == "early_num_frames" and stage in _STAGES_OF["num_frames"]:
        base = replace(base, num_frames=2)
    config = replace(base, num_frames=1) if name == "early_num_frames" else base
    if name in ("lora_alpha", "lora_parts"):  # they need a rank, which is refused first
        pytest.skip("refused with --lora-rank")
    config = replace(config, **{name: value})
    if stage in _STAGES_OF[name]:
        config.check_stage(stage)
        return
    option = f"--{name.replace('_', '-')}"
    with pytest.raises(ConfigError, match=f"^{option} is an option of stage .*stage {stage} would"):
        config.check_stage(stage)


@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_has_values_that_its_stage_ignores(preset: str) -> None:
    for stage in get_args(StageName):
        config = preset_training(preset, stage)
        if config is not None:
            config.check_stage(stage)


@pytest.mark.parametrize(
    ("stage", "arguments", "message"),
    [
        ("1", ["--lora-alpha", 2], "--lora-alpha and --lora-parts need --lora-rank"),
        ("2", ["--distill-guidance", 3], "--distill-guidance is an option of stage distill"),
        ("distill", ["--noise-offset", 0.1], "--noise-offset is an option of stage 1"),
        ("1", ["--crop-px", 16], "--crop-px is an option of stage autoencoder"),
        ("2", ["--temperature", 0.2], "--temperature is an option of stage image-encoder"),
        ("1", ["--stride", 4], "--stride is an option of stage 2"),
        ("autoencoder", ["--noise-offset", 0.1], "--noise-offset is an option of stage 1"),
        ("autoencoder", ["--appearance", "clip"], "shows no reference: leave out --appearance"),
        ("image-encoder", ["--no-pose"], "sees no skeletons: leave out --no-pose"),
        ("1", ["--too-short-at-most", 0.1], "leave out --too-short-at-most"),
        ("image-encoder", ["--draw-face"], "leave out --draw-face"),
        ("1", ["--held-out-clips", 3], "--held-out-clips needs --held-out"),
        ("autoencoder", ["--text-mask"], "leave out --text-mask"),
        ("image-encoder", ["--samples-every", 5], "leave out --samples-every"),
        ("1", [], "train --stage autoencoder, --stage image-encoder first"),
        ("2", [], "train --stage autoencoder, --stage image-encoder, --stage 1 first"),
        ("personalize", [], "--stage image-encoder, --stage 2, --stage 1 first"),
    ],
)
def test_what_cannot_be_heeded_is_one_line_that_names_it(
    puppet_shards: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    stage: str,
    arguments: list[object],
    message: str,
) -> None:
    out = tmp_path / "run"
    code = train(*puppet_shards, "--preset", "tiny", "--stage", stage, "--out", out, *arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert (code, out.exists()) == (2, False)
    assert message in line


def test_a_kl_weight_of_latents_without_one_is_refused(
    puppet_shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = train(*puppet_shards, "--preset", "small", "--stage", "autoencoder", "--out",
                 tmp_path / "run", "--kl-weight", 0.1, "--dry-run")  # fmt: skip
    assert code == 2
    assert "leave out --kl-weight" in capsys.readouterr().err


def test_the_options_of_a_run_are_written_into_its_folder_and_read_back(
    puppet_shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = (*puppet_shards, "--stage", "autoencoder", "--preset", "tiny", "--crop-px", 16,
              "--kl-weight", 0.5, "--steps", 2, "--size", "32x48", "--split", "train")  # fmt: skip
    assert train(*common, "--out", tmp_path / "a") == 0
    written = (tmp_path / "a" / "options.toml").read_text()
    assert 'preset = "tiny"' in written
    assert "crop-px = 16" in written
    assert train("--options", tmp_path / "a" / "options.toml", "--out", tmp_path / "b") == 0
    again = (tmp_path / "b" / "options.toml").read_text()
    assert again == written.replace(f'"{tmp_path}/a"', f'"{tmp_path}/b"')
    vae = "vae.safetensors"
    assert (tmp_path / "a" / vae).read_bytes() == (tmp_path / "b" / vae).read_bytes()
    command = ("--options", tmp_path / "a" / "options.toml", "--out", tmp_path / "c")
    assert train(*command, "--steps", 1, "--no-pose") == 2  # what is given here is heeded, too
    assert "leave out --no-pose" in capsys.readouterr().err
    assert train(*command, "--steps", 1) == 0
    assert len((tmp_path / "c" / "loss.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("steps = 3\nsteqs = 4\n", "steqs"),
        ("steps = [", "is not TOML"),
        ('steps = "many"\n', "[steps]"),
        (None, "No such file"),
    ],
)
def test_a_file_of_options_that_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_text(content)
    code = train("a.tar", "--stage", "1", "--preset", "tiny", "--out", tmp_path / "x",
                 "--options", path)  # fmt: skip
    (line,) = capsys.readouterr().err.splitlines()
    assert (code, message in line) == (2, True), line
