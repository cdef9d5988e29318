"""--no-pose and --draw-face: from stage 1 to the frames, as words in the checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from aa_datasets.pose import FACE, Pose, make_pose
from aa_datasets.pose_drawing import draw_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.shards import read_shards, write_shard
from aa_model.checkpoints.store import read_checkpoint, write_checkpoint
from aa_model.cli import train as train_cli
from aa_model.config import GenerateConfig, PoseGuiderConfig
from aa_model.inference.pipeline import AnimatePipeline
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.presets import PRESETS, TINY


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


@pytest.fixture
def train(
    make_tiny: Callable[..., AnimateAnyone], puppet_shards: list[Path], tmp_path: Path
) -> Callable[..., int]:
    """One step of a stage, from the checkpoint "start" or what another call has written."""
    start = tmp_path / "start"
    write_checkpoint(start, make_tiny(), dict.fromkeys(("vae", "image_encoder"), "test"))

    def run(
        stage: str, init: str, out: str, *options: str, shards: list[Path] = puppet_shards
    ) -> int:
        arguments = [
            *shards,
            "--stage",
            stage,
            "--preset",
            "tiny",
            "--init",
            tmp_path / init,
            "--out",
            tmp_path / out,
            "--steps",
            "1",
            *options,
        ]
        return train_cli.main([str(a) for a in arguments])

    return run


def test_trained_and_animated_without_poses(
    train: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("1", "start", "one", "--no-pose") == 0
    assert train("2", "one", "two") == 0
    info = read_checkpoint(tmp_path / "two")
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

    assert train("1", "start", "posed") == 0
    assert train("2", "posed", "three", "--no-pose") == 2
    assert "was trained with poses" in capsys.readouterr().err


def _with_face(pose: Pose) -> Pose:
    points, scores = pose.keypoints_px.copy(), pose.scores.copy()
    points[:, FACE], scores[:, FACE] = np.linspace(4, 28, 68)[:, None], 1
    return make_pose(points, scores, pose.size_hw)


def test_training_sees_faces_where_it_is_asked_for(
    train: Callable[..., int], puppet_shards: list[Path], tmp_path: Path
) -> None:
    faced = tmp_path / "train-000000.tar"
    samples = read_shards(puppet_shards)
    write_shard(faced, [dataclasses.replace(s, pose=_with_face(s.pose)) for s in samples])

    def trained(shards: list[Path], *options: str) -> dict[str, torch.Tensor]:
        out = "-".join(["run", shards[0].parent.name, *options])
        assert train("1", "start", out, *options, shards=shards) == 0
        return load_file(tmp_path / out / "pose_guider.safetensors")

    def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
        return all(torch.equal(a[name], b[name]) for name in a)

    bare = trained(puppet_shards)
    assert same(bare, trained([faced]))
    assert not same(bare, trained([faced], "--draw-face"))


def test_trained_and_animated_with_faces(
    train: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("1", "start", "faced", "--draw-face") == 0
    assert train("1", "start", "bare") == 0
    for stage_1, face in (("faced", True), ("bare", False)):
        assert train("2", stage_1, f"{stage_1}-2") == 0
        assert read_checkpoint(tmp_path / f"{stage_1}-2").model.pose_guider.face is face

    puppet = render_puppet(1, 1, num_frames=3, size_hw=(32, 32))
    with_face = _with_face(puppet.pose)
    changed = {}
    for name in ("faced-2", "bare-2"):
        pipeline = AnimatePipeline.from_pretrained(tmp_path / name)
        face = name == "faced-2"
        np.testing.assert_array_equal(
            pipeline.draw(with_face), draw_pose(with_face, (32, 32), face=face)
        )
        config = GenerateConfig(steps=2)
        frames = [
            pipeline(puppet.frames[0], pose, config).frames for pose in (puppet.pose, with_face)
        ]
        changed[name] = not np.array_equal(*frames)
    assert changed == {"faced-2": True, "bare-2": False}

    for stage in ("1", "2"):
        assert train(stage, "bare-2", "late", "--draw-face") == 2
        assert "trained on skeletons without faces" in capsys.readouterr().err
    assert train("image-encoder", "start", "eye", "--draw-face") == 2
    assert "stage image-encoder sees no skeletons" in capsys.readouterr().err
    assert train("1", "start", "neither", "--draw-face", "--no-pose") == 2
    assert "leave one of --draw-face and --no-pose out" in capsys.readouterr().err


def test_moores_weights_are_shown_faces_and_the_papers_are_not() -> None:
    faced = {name for name, preset in PRESETS.items() if preset.model.pose_guider.face}
    assert faced == {"moore"}
