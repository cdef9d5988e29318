"""Inflated 3D ConvNet (I3D, Carreira and Zisserman 2017) on Kinetics-400: the features of FVD.

Equal to TensorFlow Hub's deepmind/i3d-kinetics-400/1 (output "Mean:0"): batch normalisation
without scale, TensorFlow's SAME padding, 400 logits averaged over time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aa_eval.errors import EvalError, MetricUnavailable
from aa_eval.weights.numpy_pickle import WeightTree, read_numpy_pickle
from aa_eval.weights.torch_file import load_tensors
from aa_eval.weights.weight_files import verify_weight

SIDE_PX = 224
NUM_LOGITS = 400
_MAX_ABS = 2.0  # bicubic overshoot stays below; [0, 255] does not

# Module name -> input channels, then the widths of 0: 1x1, 1: 1x1 and 3x3, 2: 1x1 and 3x3, 3: 1x1.
_MIXED = {
    "Mixed_3b": (192, 64, 96, 128, 16, 32, 32),
    "Mixed_3c": (256, 128, 128, 192, 32, 96, 64),
    "Mixed_4b": (480, 192, 96, 208, 16, 48, 64),
    "Mixed_4c": (512, 160, 112, 224, 24, 64, 64),
    "Mixed_4d": (512, 128, 128, 256, 24, 64, 64),
    "Mixed_4e": (512, 112, 144, 288, 32, 64, 64),
    "Mixed_4f": (528, 256, 160, 320, 32, 128, 128),
    "Mixed_5b": (832, 256, 160, 320, 32, 128, 128),
    "Mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}


class I3D(nn.Module):
    """The network; module names are those of the weight's tree. Use `make_i3d`.

    Args:
        bn_eps: epsilon of batch normalisation; 1e-3 is TensorFlow's, some ports have 1e-5.
        pool_frames: extent in time of the last average pool; 2 is TensorFlow's, some ports have 1.
    """

    def __init__(self, bn_eps: float = 1e-3, pool_frames: int = 2) -> None:
        super().__init__()
        self.pool_frames = pool_frames
        stages: dict[str, nn.Module] = {
            "Conv3d_1a_7x7": I3DUnit(3, 64, 7, 2, bn_eps),
            "MaxPool3d_2a_3x3": SamePool((1, 3, 3), (1, 2, 2)),
            "Conv3d_2b_1x1": I3DUnit(64, 64, 1, 1, bn_eps),
            "Conv3d_2c_3x3": I3DUnit(64, 192, 3, 1, bn_eps),
            "MaxPool3d_3a_3x3": SamePool((1, 3, 3), (1, 2, 2)),
        }
        for name, widths in _MIXED.items():
            if name == "Mixed_4b":
                stages["MaxPool3d_4a_3x3"] = SamePool((3, 3, 3), (2, 2, 2))
            if name == "Mixed_5b":
                stages["MaxPool3d_5a_2x2"] = SamePool((2, 2, 2), (2, 2, 2))
            stages[name] = _Mixed(widths, bn_eps)
        self.stages = nn.Sequential()
        for name, stage in stages.items():
            self.stages.add_module(name, stage)
        self.logits = nn.Conv3d(1024, NUM_LOGITS, 1)

    def forward(self, video: Tensor) -> Tensor:
        """[B, 3, T, 224, 224] in [-1, 1] -> [B, 400]."""
        features = self.stages(video)
        pooled = F.avg_pool3d(features, (self.pool_frames, 7, 7), stride=1)
        logits: Tensor = self.logits(pooled)
        return logits.mean(dim=(2, 3, 4))


def make_i3d(
    bn_eps: float = 1e-3,
    device: torch.device | str = "cpu",
    pool_frames: int = 2,
    path: Path | None = None,
) -> I3D:
    """I3D with the verified Kinetics-400 weight, in evaluation mode.

    Args:
        bn_eps, pool_frames: see `I3D`.
        device: where the network goes.
        path: a weight file to take instead of the installed one; its sha256 must be the same.

    Raises:
        WeightsUnavailable: the weight is missing, altered or does not fit.
    """
    path = verify_weight("i3d-k400", path)
    with torch.random.fork_rng(devices=[]):
        model = I3D(bn_eps, pool_frames)
    state = {_torch_name(key): value for key, value in _flatten(read_numpy_pickle(path)).items()}
    load_tensors(model, state, path)
    return model.to(device)


def i3d_logits(model: I3D, video: Tensor) -> Tensor:
    """Logits averaged over time, float32 [B, 400] on the model's device.

    Args:
        model: of `make_i3d`.
        video: float [B, T, 224, 224, 3] or [B, 3, T, 224, 224] RGB in [-1, 1].

    Raises:
        MetricUnavailable: fewer frames than the network's strides and last pool need (9 where
            pool_frames is 2).
        EvalError: another shape or type, or values far outside [-1, 1] or not finite.
    """
    shape = list(video.shape)
    if not video.is_floating_point() or video.ndim != 5:
        raise EvalError(f"I3D got {video.dtype} {shape}, expected float [B, T, 224, 224, 3]")
    if shape[2:] == [SIDE_PX, SIDE_PX, 3]:
        video = video.movedim(-1, 1)
    elif shape[1] != 3 or shape[3:] != [SIDE_PX, SIDE_PX]:
        raise EvalError(
            f"I3D got {shape}, expected [B, T, 224, 224, 3] or [B, 3, T, 224, 224]: resize first"
        )
    min_frames = 8 * (model.pool_frames - 1) + 1
    if video.shape[2] < min_frames:
        raise MetricUnavailable(f"I3D needs {min_frames} frames, the clip has {video.shape[2]}")
    largest = video.abs().amax().item() if video.numel() else 0.0
    if not largest <= _MAX_ABS:  # also where it is NaN
        raise EvalError(f"I3D got values up to {largest:g}, expected [-1, 1]: 2 x / 255 - 1")
    with torch.inference_mode():
        logits: Tensor = model(video.to(model.logits.weight))
    return logits


class I3DNetwork:
    """`i3d_logits` of one model, as a feature network."""

    def __init__(self, model: I3D) -> None:
        self.model = model

    def __call__(self, windows: Tensor) -> Tensor:
        return i3d_logits(self.model, windows)


class I3DUnit(nn.Module):
    """Convolution, batch normalisation without scale, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, eps: float) -> None:
        super().__init__()
        self.kernel, self.stride, self.eps = (kernel,) * 3, (stride,) * 3, eps
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.mean: Tensor
        self.var: Tensor
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("var", torch.ones(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.normalise(self.conv(pad_same(x, self.kernel, self.stride, 0.0)))

    def normalise(self, x: Tensor) -> Tensor:
        """What follows the convolution."""
        return F.relu_(F.batch_norm(x, self.mean, self.var, None, self.bias, eps=self.eps))


class SamePool(nn.Module):
    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        padded = pad_same(x, self.kernel, self.stride, float("-inf"))
        if padded.device.type != "cpu":
            return F.max_pool3d(padded, self.kernel, self.stride)
        # torch's own is not vectorised on CPUs: axis by axis gives the same bits far sooner
        for axis, (kernel, stride) in enumerate(
            zip(self.kernel, self.stride, strict=True), start=2
        ):
            padded = _max_along(padded, axis, kernel, stride)
        return padded


class _Mixed(nn.Module):
    """Four branches side by side: 1x1; 1x1 and 3x3; 1x1 and 3x3; max pool and 1x1."""

    def __init__(self, widths: tuple[int, ...], eps: float) -> None:
        super().__init__()
        inputs, b0, b1a, b1b, b2a, b2b, b3 = widths
        self.branches = nn.ModuleDict()
        for index, (narrow, wide) in enumerate(((b0, None), (b1a, b1b), (b2a, b2b))):
            branch = nn.Sequential()
            branch.add_module("Conv3d_0a_1x1", I3DUnit(inputs, narrow, 1, 1, eps))
            if wide is not None:
                branch.add_module("Conv3d_0b_3x3", I3DUnit(narrow, wide, 3, 1, eps))
            self.branches[f"Branch_{index}"] = branch
        pool = nn.Sequential()
        pool.add_module("MaxPool3d_0a_3x3", SamePool((3, 3, 3), (1, 1, 1)))
        pool.add_module("Conv3d_0b_1x1", I3DUnit(inputs, b3, 1, 1, eps))
        self.branches["Branch_3"] = pool

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches.values()], dim=1)


def _max_along(x: Tensor, axis: int, kernel: int, stride: int) -> Tensor:
    span = x.shape[axis] - kernel + 1
    steps = [x.narrow(axis, offset, span) for offset in range(kernel)]
    if stride > 1:
        steps = [step[(slice(None),) * axis + (slice(None, None, stride),)] for step in steps]
    largest = torch.maximum(steps[0], steps[1]) if kernel > 1 else steps[0]
    for step in steps[2:]:
        torch.maximum(largest, step, out=largest)
    return largest


def pad_same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], value: float) -> Tensor:
    """TensorFlow's SAME: as many outputs as ceil(n / stride); an odd pixel is added at the end."""
    pads: list[int] = []
    for n, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value) if any(pads) else x


def _flatten(tree: WeightTree, prefix: str = "") -> dict[str, Tensor]:
    flat: dict[str, Tensor] = {}
    for key, node in tree.items():
        if isinstance(node, dict):
            flat |= _flatten(node, f"{prefix}{key}/")
        else:
            tensor = torch.from_numpy(np.asarray(node, dtype=np.float32))
            if key == "kernel":  # T, H, W, I, O
                tensor = tensor.permute(4, 3, 0, 1, 2)
            flat[prefix + key] = tensor.flatten() if key in ("mean", "var") else tensor
    return flat


def _torch_name(key: str) -> str:
    """params/Mixed_3b/Branch_0/.../Conv_0/kernel -> stages.Mixed_3b.branches.Branch_0...."""
    parts = key.split("/")[1:]
    if parts[0] == "Logits":
        return "logits." + parts[-1].replace("kernel", "weight")
    inside = [f"branches.{part}" if part.startswith("Branch_") else part for part in parts[:-2]]
    leaf = "conv.weight" if parts[-1] == "kernel" else parts[-1]
    return ".".join(["stages", *inside, leaf])
