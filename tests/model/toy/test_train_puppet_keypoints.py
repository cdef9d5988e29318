"""The puppet keypoint network: decoding is exact, it learns, and its files are checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aa_model.cli.model import main
from aa_model.inference.puppet_keypoints import (
    KeypointNet,
    _decode,
    detect_keypoints,
    keypoint_loss,
)
from aa_model.toy.train_puppet_keypoints import KeypointBatches, read_training_frames


@settings(max_examples=30)
@given(x=st.floats(4, 123), y=st.floats(4, 123))
def test_a_gaussian_heat_map_decodes_to_its_centre(x: float, y: float) -> None:
    cells = (torch.tensor([x, y]) + 0.5) / 2 - 0.5
    axis = torch.arange(64)
    squared = (axis[None, :] - cells[0]) ** 2 + (axis[:, None] - cells[1]) ** 2
    found, score = _decode((-squared / (2 * 0.8**2))[None, None])
    assert torch.allclose(found[0, 0], torch.tensor([x, y]), atol=0.25)
    assert score.item() > 0.9


def test_loss_is_least_where_the_network_is_right_and_ignores_absent_joints() -> None:
    class Says(KeypointNet):
        def __init__(self, at: tuple[int, int]) -> None:
            super().__init__()
            self.at = at

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(len(pictures), 18, 64, 64)
            logits[:, :, self.at[1], self.at[0]] = 10
            return logits

    keypoints = torch.tensor([20.5, 40.5]).expand(1, 18, 2).clone()
    right, wrong = (
        keypoint_loss(Says(at), torch.zeros(1, 3, 128, 128), keypoints)
        for at in ((10, 20), (20, 10))
    )
    assert right < wrong
    absent = torch.full((1, 18, 2), torch.nan)
    assert keypoint_loss(Says((0, 0)), torch.zeros(1, 3, 128, 128), absent) == 0


def test_augmentation_moves_picture_and_joints_together(puppet_shards: list[Path]) -> None:
    frame = np.zeros((1, 128, 128, 3), np.uint8)
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(40, 88, (1, 18, 2)).astype(np.float32)
    x, y = np.round(keypoints[0, 0]).astype(int)
    keypoints[0, 0] = x, y
    frame[0, y - 1 : y + 2, x - 1 : x + 2] = 255
    pictures, joints = next(KeypointBatches(frame, keypoints, batch_size=8, seed=1))
    for picture, joint in zip(pictures, joints, strict=True):
        light = (picture.sum(0) - picture.sum(0).median()).clamp_min(0.2).sub(0.2).numpy()
        rows, columns = np.indices(light.shape)
        centre = np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()
        assert np.abs(centre - joint[0].numpy()).max() < 1


def test_keypoints_come_in_pixels_of_the_given_frames() -> None:
    torch.manual_seed(0)
    net = KeypointNet().eval()
    frames = np.random.default_rng(0).integers(0, 255, (2, 128, 128, 3), dtype=np.uint8)
    small, scores = detect_keypoints(net, frames)
    large, _ = detect_keypoints(net, frames.repeat(2, 1).repeat(3, 2))
    assert scores.shape == (2, 18)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert np.allclose(large, (small + 0.5) * [3, 2] - 0.5, atol=0.1)


def test_train_then_detect_by_command(
    puppet_shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames, keypoints = read_training_frames(puppet_shards)
    assert frames.shape == (18, 128, 128, 3)
    assert keypoints.shape == (18, 18, 2)
    weights = tmp_path / "weights.safetensors"
    shards = [str(p) for p in puppet_shards]
    command = ["puppet-keypoints", "train", *shards, "--out", str(weights)]
    assert main([*command, "--steps", "12", "--batch-size", "4"]) == 0
    tree = tmp_path / "frames" / "video"
    tree.mkdir(parents=True)
    for i in range(3):
        Image.fromarray(frames[i]).save(tree / f"{i:04d}.png")
    out = tmp_path / "out"
    command = ["puppet-keypoints", "detect", "--weights", str(weights), "--out", str(out)]
    assert main([*command, str(tree.parent), shards[0]]) == 0
    assert {p.stem for p in out.iterdir()} == {"video", "puppet_0", "puppet_1", "puppet_2"}
    found = np.load(out / "video.npz")
    assert found["keypoints_px"].shape == (3, 18, 2)
    assert found["keypoints_px"].dtype == np.float32
    assert found["size_hw"].tolist() == [128, 128]

    weights.write_bytes(weights.read_bytes()[:-100])
    assert main([*command, shards[0]]) == 2
    assert "is not the weights of a puppet keypoint network" in capsys.readouterr().err


def test_the_network_learns_a_picture(puppet_shards: list[Path]) -> None:
    frames, keypoints = read_training_frames(puppet_shards)
    pictures = torch.from_numpy(frames[:1]).permute(0, 3, 1, 2) / 127.5 - 1
    torch.manual_seed(0)
    net = KeypointNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        keypoint_loss(net, pictures, torch.from_numpy(keypoints[:1])).backward()
        optimizer.step()
    found, _ = detect_keypoints(net.eval(), frames[:1])
    inside = ((keypoints[:1] > 0) & (keypoints[:1] < 127)).all(-1)
    assert np.linalg.norm(found - keypoints[:1], axis=-1)[inside].mean() < 5
