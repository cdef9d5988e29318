"""A small heat-map network for the 18 body joints of puppets, to measure poses of generated videos.

No public keypoint network knows puppets. This one is trained where the pose is exact, so that "does
the generated puppet strike the pose?" can be asked of a network that has no part in generating it.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from aa_datasets.pose import BODY_JOINTS

NUM_BODY_JOINTS = len(BODY_JOINTS)  # 18
INPUT_PX = 128
_HEATMAP = 64  # cells along each side of a heat map
_CELL_PX = INPUT_PX / _HEATMAP
_WINDOW = 2  # cells on each side of the peak that refine it


class KeypointNet(nn.Module):
    """A U-Net from pictures to one heat map per joint; 0.5 M weights."""

    def __init__(self, channels: tuple[int, ...] = (24, 48, 72, 96)) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels[0], 5, stride=2, padding=2)
        self.down = nn.ModuleList(_block(a, b, stride=2) for a, b in pairwise(channels))
        up = channels[::-1]
        self.up = nn.ModuleList(_block(a + b, b) for a, b in pairwise(up))
        self.head = nn.Conv2d(channels[0], NUM_BODY_JOINTS, 1)

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
    net: KeypointNet, frames: NDArray[np.uint8], batch: int = 32
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
