"""--draw-face: skeletons with faces, from stage 1 to the frames, as a word in the checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aa_datasets.draw_pose import draw_pose
from aa_datasets.pose import FACE, make_pose
from aa_datasets.puppets import render_puppet
from aa_model import train_cli
from aa_model.animate_anyone import AnimateAnyone
from aa_model.checkpoint import read_info, write_checkpoint
from aa_model.generate import GenerateConfig
from aa_model.pipeline import AnimatePipeline
from aa_model.presets import PRESETS


def test_trained_and_animated_with_faces(
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

    assert train("1", start, "faced", "--draw-face") == 0
    assert train("1", start, "bare") == 0
    for stage_1, face in (("faced", True), ("bare", False)):
        assert train("2", tmp_path / stage_1, f"{stage_1}-2") == 0
        assert read_info(tmp_path / f"{stage_1}-2").model.pose_guider.face is face

    puppet = render_puppet(1, 1, num_frames=3, size_hw=(32, 32))
    points, scores = puppet.pose.keypoints_px.copy(), puppet.pose.scores.copy()
    points[:, FACE], scores[:, FACE] = np.linspace(4, 28, 68)[:, None], 1
    with_face = make_pose(points, scores, puppet.pose.size_hw)
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

    assert train("2", tmp_path / "bare", "late", "--draw-face") == 2
    assert "trained on skeletons without faces" in capsys.readouterr().err
    assert train("1", start, "neither", "--draw-face", "--no-pose") == 2
    assert "leave one of --draw-face and --no-pose out" in capsys.readouterr().err


def test_moores_weights_are_shown_faces_and_the_papers_are_not() -> None:
    faced = {name for name, preset in PRESETS.items() if preset.model.pose_guider.face}
    assert faced == {"moore"}
