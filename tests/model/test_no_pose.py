"""--no-pose: image to video, from stage 1 to the frames, as a word in the checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from aa_datasets.puppets import render_puppet
from aa_model import train_cli
from aa_model.animate_anyone import AnimateAnyone
from aa_model.checkpoint import read_info, write_checkpoint
from aa_model.config import PoseGuiderConfig
from aa_model.generate import GenerateConfig
from aa_model.pipeline import AnimatePipeline
from aa_model.presets import TINY


@torch.no_grad()
@pytest.mark.parametrize("layout", ["paper", "controlnet"])
def test_without_a_pose_guider_the_prediction_is_that_of_no_pose(layout: str) -> None:
    guider = PoseGuiderConfig(layout, (8, 8, 16), (2, 2, 1) if layout == "paper" else (2, 2))
    config = dataclasses.replace(TINY.model, pose_guider=guider)
    torch.manual_seed(0)
    whole = AnimateAnyone(config, temporal=True).eval()
    without = AnimateAnyone(dataclasses.replace(config, use_pose=False), temporal=True).eval()
    found = without.load_state_dict(whole.state_dict(), strict=False)
    assert all(key.startswith("pose_guider.") for key in found.unexpected_keys)
    assert found.unexpected_keys
    assert not found.missing_keys
    latents, tokens, pose = (
        torch.randn(1, 2, 4, 8, 8),
        torch.randn(1, 1, 16),
        torch.randn(1, 2, 3, 32, 32),
    )
    rest = (latents, torch.tensor([5]), tokens)
    expected = whole(*rest, None, {}, (None,))
    assert torch.equal(without(*rest, without.pose_features(pose), {}, (None,)), expected)


def test_trained_and_animated_without_poses(
    make_tiny: Callable[..., AnimateAnyone],
    puppet_shards: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    start = tmp_path / "start"
    write_checkpoint(start, make_tiny(), dict.fromkeys(("vae", "image_encoder"), "test"))

    def train(stage: str, init: Path, out: str, *options: str) -> int:
        arguments = [*puppet_shards, "--stage", stage, "--preset", "tiny", "--init", init,
                     "--out", tmp_path / out, "--steps", "1", *options]  # fmt: skip
        return train_cli.main([str(a) for a in arguments])

    assert train("1", start, "one", "--no-pose") == 0
    assert train("2", tmp_path / "one", "two") == 0
    info = read_info(tmp_path / "two")
    assert not info.model.use_pose
    assert "pose_guider" not in info.parts
    assert not (tmp_path / "two" / "pose_guider.safetensors").exists()
    pipeline = AnimatePipeline.from_pretrained(tmp_path / "two")
    a, b = (render_puppet(i, i, num_frames=3, size_hw=(32, 32)) for i in (1, 2))
    config = GenerateConfig(steps=2)
    frames = pipeline(a.frames[0], a.pose, config).frames
    assert frames.shape == (3, 32, 32, 3)
    assert np.array_equal(frames, pipeline(a.frames[0], b.pose, config).frames)
    assert not np.array_equal(frames, pipeline(b.frames[0], a.pose, config).frames)

    assert train("1", start, "posed") == 0
    assert train("2", tmp_path / "posed", "three", "--no-pose") == 2
    assert "was trained with poses" in capsys.readouterr().err
