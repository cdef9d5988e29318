"""I3D (Carreira & Zisserman 2017), RGB, Kinetics-400: the network of the Frechet Video Distance.

The layers, their SAME padding and the batch norm without gamma are those of DeepMind's
kinetics-i3d; the weights are its TF-Hub module `i3d-kinetics-400/1`. The feature is the mean over
time of the 400 logits.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from aa_eval.weights import flatten, read_weight, unpickle_arrays

WEIGHT = "i3d-kinetics-400"
SIZE_HW = (224, 224)
FEATURE_SIZE = 400

# Output channels of the four branches: 1x1, (1x1, 3x3), (1x1, 3x3), pooled 1x1.
_MIXED = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}


class Unit3D(nn.Module):
    """Convolution with TensorFlow's SAME padding, batch norm (no gamma), ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, bn_eps: float
    ) -> None:
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride, bias=False)
        self.norm = nn.BatchNorm3d(out_channels, eps=bn_eps)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(_pad_same(x, self.kernel, self.stride))
        return F.relu(self.norm(x), inplace=True)


class Mixed(nn.Module):
    """Inception block: four branches, concatenated over channels."""

    def __init__(self, in_channels: int, out: tuple[int, ...], bn_eps: float) -> None:
        super().__init__()
        self.b0 = Unit3D(in_channels, out[0], 1, 1, bn_eps)
        self.b1a = Unit3D(in_channels, out[1], 1, 1, bn_eps)
        self.b1b = Unit3D(out[1], out[2], 3, 1, bn_eps)
        self.b2a = Unit3D(in_channels, out[3], 1, 1, bn_eps)
        self.b2b = Unit3D(out[3], out[4], 3, 1, bn_eps)
        self.b3b = Unit3D(in_channels, out[5], 1, 1, bn_eps)

    def forward(self, x: Tensor) -> Tensor:
        pooled = _max_pool_same(x, (3, 3, 3), (1, 1, 1))
        branches = (self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled))
        return torch.cat(branches, dim=1)


class I3D(nn.Module):
    """video [B, 3, T, 224, 224] in [-1, 1] -> mean logits [B, 400].

    Args:
        bn_eps: 1e-3 is the original's (and DisCo's); the VideoGPT port uses 1e-5.
        pool_frames: frames under the last average pool: 2 is the original's and needs T >= 9;
            DisCo has 1.
    """

    def __init__(self, bn_eps: float = 1e-3, pool_frames: int = 2) -> None:
        super().__init__()
        self.pool_frames = pool_frames
        self.conv_1a = Unit3D(3, 64, 7, 2, bn_eps)
        self.conv_2b = Unit3D(64, 64, 1, 1, bn_eps)
        self.conv_2c = Unit3D(64, 192, 3, 1, bn_eps)
        channels = 192
        self.mixed = nn.ModuleDict()
        for name, out in _MIXED.items():
            self.mixed[name] = Mixed(channels, out, bn_eps)
            channels = out[0] + out[2] + out[4] + out[5]
        self.logits = nn.Conv3d(channels, FEATURE_SIZE, 1)

    def forward(self, video: Tensor) -> Tensor:
        x = self.conv_1a(video)
        x = _max_pool_same(x, (1, 3, 3), (1, 2, 2))
        x = self.conv_2c(self.conv_2b(x))
        x = _max_pool_same(x, (1, 3, 3), (1, 2, 2))
        for name, block in self.mixed.items():
            if name == "Mixed_4b":
                x = _max_pool_same(x, (3, 3, 3), (2, 2, 2))
            if name == "Mixed_5b":
                x = _max_pool_same(x, (2, 2, 2), (2, 2, 2))
            x = block(x)
        x = F.avg_pool3d(x, (self.pool_frames, 7, 7), stride=1)
        return self.logits(x).flatten(2).mean(dim=2)


def make_i3d(bn_eps: float = 1e-3, pool_frames: int = 2) -> I3D:
    """I3D with the verified Kinetics-400 weights, in evaluation mode.

    Raises:
        WeightsError: the weights are missing or altered.
    """
    network = I3D(bn_eps, pool_frames).eval().requires_grad_(False)
    network.load_state_dict(_state_dict(flatten(unpickle_arrays(read_weight(WEIGHT)))))
    return network


def i3d_features(network: I3D, clip: NDArray[np.float32]) -> NDArray[np.float32]:
    """The feature [400] of one clip float32 [T, 224, 224, 3] in [0, 255]."""
    video = torch.from_numpy(clip).permute(3, 0, 1, 2)[None] / 127.5 - 1
    with torch.inference_mode():
        return np.asarray(network(video)[0].numpy())


def _state_dict(arrays: dict[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    """Flax's names and (T, H, W, I, O) kernels into this module's names and (O, I, T, H, W)."""
    units = {
        "conv_1a": "Conv3d_1a_7x7",
        "conv_2b": "Conv3d_2b_1x1",
        "conv_2c": "Conv3d_2c_3x3",
    }
    for mixed in _MIXED:
        units |= {
            f"mixed.{mixed}.b0": f"{mixed}/Branch_0/Conv3d_0a_1x1",
            f"mixed.{mixed}.b1a": f"{mixed}/Branch_1/Conv3d_0a_1x1",
            f"mixed.{mixed}.b1b": f"{mixed}/Branch_1/Conv3d_0b_3x3",
            f"mixed.{mixed}.b2a": f"{mixed}/Branch_2/Conv3d_0a_1x1",
            f"mixed.{mixed}.b2b": f"{mixed}/Branch_2/Conv3d_0b_3x3",
            f"mixed.{mixed}.b3b": f"{mixed}/Branch_3/Conv3d_0b_1x1",
        }
    state: dict[str, Tensor] = {}
    for ours, theirs in units.items():
        norm = f"{theirs}/BatchNorm_0"
        bias = torch.from_numpy(arrays[f"params/{norm}/bias"].copy())
        state |= {
            f"{ours}.conv.weight": _kernel(arrays[f"params/{theirs}/Conv_0/kernel"]),
            f"{ours}.norm.weight": torch.ones_like(bias),
            f"{ours}.norm.bias": bias,
            f"{ours}.norm.running_mean": torch.from_numpy(
                arrays[f"batch_stats/{norm}/mean"].copy()
            ),
            f"{ours}.norm.running_var": torch.from_numpy(arrays[f"batch_stats/{norm}/var"].copy()),
            f"{ours}.norm.num_batches_tracked": torch.tensor(0),
        }
    head = "params/Logits/Conv3d_0c_1x1/Conv_0"
    state["logits.weight"] = _kernel(arrays[f"{head}/kernel"])
    state["logits.bias"] = torch.from_numpy(arrays[f"{head}/bias"].copy())
    return state


def _kernel(array: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array.transpose(4, 3, 0, 1, 2)))


def _pad_same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    pads: list[int] = []
    for size, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max(k - s if size % s == 0 else k - size % s, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads) if any(pads) else x


def _max_pool_same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    # zeros pad as well as -inf would: every input here has passed a ReLU
    return F.max_pool3d(_pad_same(x, kernel, stride), kernel, stride)
