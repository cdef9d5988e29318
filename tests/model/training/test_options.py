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
    "cache_latents": True, "precomputed_latents": True, "crop_px": 16,
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
        ("1", ["--crop-px", 16], "--crop-px is an option of stage autoencoder"),
        ("2", ["--temperature", 0.2], "--temperature is an option of stage image-encoder"),
        ("1", ["--stride", 4], "--stride is an option of stage 2"),
        ("autoencoder", ["--noise-offset", 0.1], "--noise-offset is an option of stage 1"),
        ("autoencoder", ["--appearance", "clip"], "shows no reference: leave out --appearance"),
        ("image-encoder", ["--no-pose"], "sees no skeletons: leave out --no-pose"),
        ("1", ["--too-short-at-most", 0.1], "leave out --too-short-at-most"),
        ("image-encoder", ["--draw-face"], "leave out --draw-face"),
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
