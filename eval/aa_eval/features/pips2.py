"""PIPs++ (Zheng et al. 2023): tracks of points through a window of frames, for FVMD.

The network as the package fvmd 1.0.0 has it, whose weights it takes; names are those of its file.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aa_eval.metrics.motion_histogram import motion_histogram
from aa_eval.weights.torch_file import load_tensors, read_torch_file

STRIDE_PX = 8  # of the features
_WIDTH = 128  # of the features
_LEVELS, _RADIUS = 4, 3  # of the correlations
_ITERATIONS = 16
_GRID = 20  # points on a side, 8 px from the border
_MARGIN_PX = 8


class Pips2(nn.Module):
    """The network. Use `load_pips2`."""

    def __init__(self) -> None:
        super().__init__()
        self.fnet = _Encoder()
        self.delta_block = _Delta()
        self.norm = nn.GroupNorm(1, _WIDTH)  # unused, but in the file

    def forward(self, points: Tensor, frames: Tensor, iterations: int = _ITERATIONS) -> Tensor:
        """Tracks [T, N, 2], (x, y) in pixels, of points that are followed from the first frame.

        Args:
            points: [N, 2] in the first frame.
            frames: [T, 3, H, W] in [-1, 1]; H and W are multiples of 8.
            iterations: steps of refinement; the last quarter of them are halved.
        """
        count, num_points = len(frames), len(points)
        features = self.fnet(frames)
        places = (points / STRIDE_PX).expand(count, -1, -1).clone()
        start = places[0].clone()
        pyramid = [features]
        for _ in range(_LEVELS - 1):
            pyramid.append(F.avg_pool2d(pyramid[-1], 2, stride=2))
        first = _bilinear(features[:1], places[:1]).expand(count, -1, -1)
        targets = [first, first, first]
        for step in range(iterations):
            if step:  # what the points look like 2 and 4 frames ago
                for slot, back in ((1, 2), (2, 4)):
                    then = (torch.arange(count, device=frames.device) - back).clip(min=0)
                    targets[slot] = _bilinear(features[then], places[then])
            costs = torch.cat([_correlations(pyramid, t, places) for t in targets], dim=-1)
            moves = places[1:] - places[:-1]
            moves = torch.cat([moves, moves[-1:]])
            change = self.delta_block(costs.transpose(0, 1), moves.transpose(0, 1))
            change = change.view(num_points, count, 2).transpose(0, 1)
            places = places + (change * 0.5 if step > 3 * iterations // 4 else change)
            places[0] = start
        return places * STRIDE_PX


class MotionFeatures:
    """FVMD's features: histograms of how a grid of 400 points moves through each window."""

    def __init__(self, model: Pips2, iterations: int = _ITERATIONS) -> None:
        self._model, self._iterations = model, iterations

    def __call__(self, windows: Tensor) -> Tensor:
        """Windows [B, 3, 16, 256, 256] in [-1, 1] -> [B, 1024]."""
        height, width = windows.shape[-2:]
        steps = torch.arange(_GRID, device=windows.device) / (_GRID - 1)
        y, x = torch.meshgrid(
            _MARGIN_PX + steps * (height - 2 * _MARGIN_PX),
            _MARGIN_PX + steps * (width - 2 * _MARGIN_PX),
            indexing="ij",
        )
        points = torch.stack([x.flatten(), y.flatten()], dim=-1)
        with torch.inference_mode():
            tracks = [
                self._model(points, window.movedim(1, 0), self._iterations) for window in windows
            ]
        rows = [motion_histogram(of_window.cpu().numpy()) for of_window in tracks]
        return torch.stack([torch.from_numpy(row) for row in rows])


def load_pips2(path: Path, model: Pips2) -> Pips2:
    """Put the weights of pips2_weights.pth (of fvmd's releases) into `model`.

    Raises:
        WeightsUnavailable: the file is of another layout.
    """
    load_tensors(model, read_torch_file(path, "model_state_dict"), path)
    return model


class _Residual2d(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(F.instance_norm(self.conv1(x)))
        y = F.relu(F.instance_norm(self.conv2(y)))
        if self.downsample is not None:
            x = F.instance_norm(self.downsample(x))
        return F.relu(x + y)


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3)
        inputs = 64
        for index, (width, stride) in enumerate(((64, 1), (96, 2), (128, 2), (128, 2)), start=1):
            layer = nn.Sequential(_Residual2d(inputs, width, stride), _Residual2d(width, width, 1))
            self.add_module(f"layer{index}", layer)
            inputs = width
        self.conv2 = nn.Conv2d(64 + 96 + 128 + 128, 2 * _WIDTH, 3, padding=1)
        self.conv3 = nn.Conv2d(2 * _WIDTH, _WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        size_hw = (x.shape[2] // STRIDE_PX, x.shape[3] // STRIDE_PX)
        x = F.relu(F.instance_norm(self.conv1(x)))
        levels = []
        for index in range(1, 5):
            x = self.get_submodule(f"layer{index}")(x)
            levels.append(F.interpolate(x, size_hw, mode="bilinear", align_corners=True))
        x = F.relu(F.instance_norm(self.conv2(torch.cat(levels, dim=1))))
        found: Tensor = self.conv3(x)
        return found


class _SameConv1d(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(x)
        return found


class _Residual1d(nn.Module):
    def __init__(self, inputs: int, outputs: int, is_first: bool) -> None:
        super().__init__()
        self.more, self.is_first = outputs - inputs, is_first
        self.conv1 = _SameConv1d(inputs, outputs)
        self.conv2 = _SameConv1d(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.is_first else F.relu(F.instance_norm(x))
        y = F.relu(F.instance_norm(self.conv1(y)))
        y = self.conv2(y)
        # channels that the input lacks are zeros, half of them on each side
        found: Tensor = y + F.pad(x, (0, 0, self.more // 2, self.more - self.more // 2))
        return found


class _Delta(nn.Module):
    """From correlations and moves of each point to how its places change."""

    def __init__(self) -> None:
        super().__init__()
        costs = 3 * _LEVELS * (2 * _RADIUS + 1) ** 2
        self.first_block_conv = _SameConv1d(costs + _WIDTH + 2, _WIDTH)
        self.basicblock_list = nn.ModuleList()
        width = _WIDTH
        for index in range(8):
            wider = 2 * width if index and index % 2 == 0 else width
            self.basicblock_list.append(_Residual1d(width, wider, index == 0))
            width = wider
        self.dense = nn.Linear(width, 2)

    def forward(self, costs: Tensor, moves: Tensor) -> Tensor:
        x = torch.cat([costs, _waves(moves), moves], dim=2).transpose(1, 2)
        x = F.relu(self.first_block_conv(x))
        for block in self.basicblock_list:
            x = block(x)
        found: Tensor = self.dense(F.relu(x).transpose(1, 2))
        return found


def _waves(moves: Tensor) -> Tensor:
    """Sines and cosines of x and y under 32 frequencies: [N, T, 2] -> [N, T, 128]."""
    quarter = _WIDTH // 4
    frequencies = 1 / 10000 ** (torch.arange(quarter, device=moves.device) / (quarter - 1))
    x, y = (moves[..., axis, None] * frequencies for axis in (0, 1))
    return torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=-1)


def _correlations(pyramid: list[Tensor], targets: Tensor, places: Tensor) -> Tensor:
    """How alike each target [T, N, C] is to what lies about its place: [T, N, 4 * 49]."""
    count, num_points, channels = targets.shape
    steps = torch.linspace(-_RADIUS, _RADIUS, 2 * _RADIUS + 1, device=places.device)
    around = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)
    found = []
    for level, features in enumerate(pyramid):
        height, width = features.shape[2:]
        maps = torch.matmul(targets, features.flatten(2)) / channels**0.5
        at = places.reshape(-1, 1, 1, 2) / 2**level + around
        scale = at.new_tensor([width - 1, height - 1])
        maps = maps.view(count * num_points, 1, height, width)
        sampled = F.grid_sample(maps, 2 * at / scale - 1, align_corners=True)
        found.append(sampled.view(count, num_points, -1))
    return torch.cat(found, dim=-1)


def _bilinear(features: Tensor, places: Tensor) -> Tensor:
    """Features [T, C, H, W] at places [T, N, 2]: [T, N, C].

    Beyond the border the outermost values stand for both neighbours, but weights are of the place
    itself, so that one left of the picture counts them twice: as fvmd's package has it.
    """
    height, width = features.shape[2:]
    flat = features.flatten(2).transpose(1, 2)
    low = places.floor()
    part = places - low
    total = torch.zeros((), device=features.device)
    for down in (0, 1):
        for right in (0, 1):
            column = (low[..., 0] + right).clamp(0, width - 1).long()
            row = (low[..., 1] + down).clamp(0, height - 1).long()
            x_weight = part[..., 0] if right else 1 - part[..., 0]
            y_weight = part[..., 1] if down else 1 - part[..., 1]
            index = (row * width + column)[..., None].expand(-1, -1, flat.shape[2])
            total = total + (x_weight * y_weight)[..., None] * flat.gather(1, index)
    return total
