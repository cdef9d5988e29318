"""A small heat-map network for the 18 body joints of puppets.

Public keypoint networks do not know puppets. This one is trained where the pose is exact, so that
"does the generated puppet strike the pose?" is answered by a network that takes no part in
generating it.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from aa_datasets.pose import BODY, BODY_JOINTS, NUM_JOINTS, Pose, make_pose
from aa_datasets.pose_estimator import Person
from aa_model.checkpoints.store import copy_tensors
from aa_model.errors import CheckpointError

INPUT_PX = 128
_HEATMAP = 64  # cells along each side of a heat map
_CELL_PX = INPUT_PX / _HEATMAP
_WINDOW = 2  # cells on each side of the peak that refine it
_BATCH = 32  # frames


class KeypointNet(nn.Module):
    """A U-Net from pictures to one heat map per joint; 0.5 M weights."""

    def __init__(self, channels: tuple[int, ...] = (24, 48, 72, 96)) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels[0], 5, stride=2, padding=2)
        self.down = nn.ModuleList(_block(a, b, stride=2) for a, b in pairwise(channels))
        up = channels[::-1]
        self.up = nn.ModuleList(_block(a + b, b) for a, b in pairwise(up))
        self.head = nn.Conv2d(channels[0], len(BODY_JOINTS), 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """pictures [N, 3, 128, 128] in [-1, 1] -> heat map logits [N, 18, 64, 64]."""
        x = F.silu(self.stem(pictures))
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(x)
        for block in self.up:
            skip = skips.pop()
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0), skip], dim=1))
        logits: Tensor = self.head(x)
        return logits


def keypoint_loss(
    net: KeypointNet, pictures: Tensor, keypoints_px: Tensor, sigma_cells: float = 1.25
) -> Tensor:
    """Cross-entropy between each heat map and a Gaussian around its joint.

    Args:
        keypoints_px: [N, 18, 2] in pixels of the 128 x 128 picture; NaN joints, and those outside
            the picture, teach nothing.
    """
    logits = net(pictures).float().flatten(2)
    cells = (keypoints_px + 0.5) / _CELL_PX - 0.5
    inside = ((cells > -0.5) & (cells < _HEATMAP - 0.5)).all(-1)  # False for NaN
    axis = torch.arange(_HEATMAP, device=logits.device)
    distance = axis - torch.nan_to_num(cells)[..., None]
    weights = torch.exp(-distance.square() / (2 * sigma_cells**2))  # [N, 18, (x, y), 64]
    target = (weights[:, :, 1, :, None] * weights[:, :, 0, None, :]).flatten(2)
    target = target / target.sum(-1, keepdim=True).clamp_min(1e-12)
    entropy = -(target * F.log_softmax(logits, dim=-1)).sum(-1)
    return (entropy * inside).sum() / inside.sum().clamp_min(1)


@torch.no_grad()
def detect_keypoints(
    net: KeypointNet, frames: NDArray[np.uint8], batch: int = _BATCH
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where the joints are.

    Args:
        frames: uint8 [T, H, W, 3] of any size; squeezed to 128 x 128.

    Returns:
        keypoints_px float32 [T, 18, 2] in pixels of `frames`, and scores [T, 18] in [0, 1]: the
        heat map's mass around its peak. Every joint gets a place; the score says how sure it is.
    """
    H, W = frames.shape[1:3]
    pictures = torch.from_numpy(resize_frames(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
    found = [_decode(net(part)) for part in torch.split(pictures, batch)]
    keypoints, scores = (torch.cat(parts) for parts in zip(*found, strict=True))
    to_frame = torch.tensor([W / INPUT_PX, H / INPUT_PX])
    keypoints = (keypoints + 0.5) * to_frame - 0.5
    return keypoints.numpy().astype(np.float32), scores.clamp(0, 1).numpy().astype(np.float32)


def read_keypoint_net(path: Path) -> KeypointNet:
    """Load what `aa-model puppet-keypoints train` wrote.

    Raises:
        CheckpointError: the file is missing, not safetensors, or of another network.
    """
    net = KeypointNet()
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not the weights of a puppet keypoint network ({error}): make them with "
            "aa-model puppet-keypoints train"
        ) from error
    copy_tensors(dict(net.named_parameters()), tensors, str(path))
    return net.eval()


class PuppetEstimator:
    """The keypoint network as a `PoseEstimator`: body joints, of one puppet."""

    name = "puppet-keypoints"

    def __init__(self, net: KeypointNet) -> None:
        self._net = net

    def people(self, frame: NDArray[np.uint8]) -> list[Person]:
        """One person, whatever the frame shows: the joints' scores say how sure it is."""
        tracker = self.track()
        tracker.see(frame)
        return [Person(area=1.0, wobble=0.0, scores=tracker.pose().scores[0])]

    def track(self, person: int = 0) -> PuppetTracker:
        return PuppetTracker(self._net)  # which knows of one only


class PuppetTracker:
    """Body joints of every frame, in batches."""

    def __init__(self, net: KeypointNet) -> None:
        self._net = net
        self._size_hw = (0, 0)
        self._waiting: list[NDArray[np.uint8]] = []
        self._keypoints_px: list[NDArray[np.float32]] = []
        self._scores: list[NDArray[np.float32]] = []

    def see(self, frame: NDArray[np.uint8]) -> None:
        height, width = self._size_hw = frame.shape[0], frame.shape[1]
        # Padded at the right or the bottom: the network would squeeze a frame that is not square.
        side = max(height, width)
        padding = ((0, side - height), (0, side - width), (0, 0))
        self._waiting.append(np.pad(frame, padding, mode="edge"))
        if len(self._waiting) == _BATCH:
            self._detect()

    def pose(self) -> Pose:
        self._detect()
        joints = len(BODY_JOINTS)
        keypoints_px = np.concatenate([np.zeros((0, joints, 2)), *self._keypoints_px])
        scores = np.concatenate([np.zeros((0, joints)), *self._scores])
        return body_pose(keypoints_px, scores, self._size_hw)

    def _detect(self) -> None:
        if self._waiting:
            keypoints_px, scores = detect_keypoints(self._net, np.stack(self._waiting))
            self._keypoints_px.append(keypoints_px)
            self._scores.append(scores)
            self._waiting.clear()


def body_pose(
    keypoints_px: NDArray[np.floating], scores: NDArray[np.floating], size_hw: tuple[int, int]
) -> Pose:
    """A Pose of [T, 18, 2] body joints; hands and face are absent."""
    T = len(scores)
    all_px = np.full((T, NUM_JOINTS, 2), np.nan)
    all_scores = np.zeros((T, NUM_JOINTS))
    all_px[:, BODY], all_scores[:, BODY] = keypoints_px, scores
    return make_pose(all_px, all_scores, size_hw)


def resize_frames(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [T, H, W, 3] squeezed to the network's 128 x 128."""
    if frames.shape[1:3] == (INPUT_PX, INPUT_PX):
        return np.array(frames)
    shrinks = frames.shape[1] > INPUT_PX
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(f, (INPUT_PX, INPUT_PX), interpolation=method) for f in frames])


def _decode(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Peak of each heat map, refined by the mean of the mass around it, in input pixels."""
    N, J, H, W = logits.shape
    mass = logits.float().flatten(2).softmax(-1)
    peak = mass.argmax(-1)
    near_y = (torch.arange(H)[None, None] - (peak // W)[..., None]).abs() <= _WINDOW
    near_x = (torch.arange(W)[None, None] - (peak % W)[..., None]).abs() <= _WINDOW
    near = mass.view(N, J, H, W) * near_y[..., :, None] * near_x[..., None, :]
    score = near.sum((-2, -1))
    x = (near.sum(-2) * torch.arange(W)).sum(-1) / score
    y = (near.sum(-1) * torch.arange(H)).sum(-1) / score
    cells = torch.stack([x, y], dim=-1)
    return (cells + 0.5) * _CELL_PX - 0.5, score


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1),
        nn.GroupNorm(8, outputs),
        nn.SiLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.GroupNorm(8, outputs),
        nn.SiLU(),
    )
