"""Inception of 2015 (Szegedy et al. 2016, as TensorFlow released it): the features of FID.

The network of pytorch-fid: batch normalisation with epsilon 1e-3, average pools that do not count
the padding, and a maximum pool in the last block. Names are those of its weight file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aa_eval.weights.torch_file import load_tensors, read_torch_file

_Size: TypeAlias = "int | tuple[int, int]"
# Name, output channels, kernel, stride. Where the stride is 1 the output has the input's size.
_Layer: TypeAlias = tuple[str, int, _Size, int]
# Layers in turn. Where several names of one branch end in "a" and "b", both see the layer before.
_Branches: TypeAlias = tuple[tuple[_Layer, ...], ...]

_STEM: tuple[tuple[str, int, int, int, int, int], ...] = (
    ("Conv2d_1a_3x3", 3, 32, 3, 2, 0),
    ("Conv2d_2a_3x3", 32, 32, 3, 1, 0),
    ("Conv2d_2b_3x3", 32, 64, 3, 1, 1),
    ("Conv2d_3b_1x1", 64, 80, 1, 1, 0),
    ("Conv2d_4a_3x3", 80, 192, 3, 1, 0),
)
_POOLED = ("Conv2d_2b_3x3", "Conv2d_4a_3x3")  # a maximum pool follows


def _double(stride: int, last: int = 96) -> tuple[_Layer, ...]:
    return (
        ("branch3x3dbl_1", 64, 1, 1),
        ("branch3x3dbl_2", 96, 3, 1),
        ("branch3x3dbl_3", last, 3, stride),
    )


def _block_5(pool: int) -> _Branches:
    return (
        (("branch1x1", 64, 1, 1),),
        (("branch5x5_1", 48, 1, 1), ("branch5x5_2", 64, 5, 1)),
        _double(1),
        (("branch_pool", pool, 1, 1),),
    )


def _block_6(narrow: int) -> _Branches:
    across, down = (1, 7), (7, 1)
    return (
        (("branch1x1", 192, 1, 1),),
        (
            ("branch7x7_1", narrow, 1, 1),
            ("branch7x7_2", narrow, across, 1),
            ("branch7x7_3", 192, down, 1),
        ),
        (
            ("branch7x7dbl_1", narrow, 1, 1),
            ("branch7x7dbl_2", narrow, down, 1),
            ("branch7x7dbl_3", narrow, across, 1),
            ("branch7x7dbl_4", narrow, down, 1),
            ("branch7x7dbl_5", 192, across, 1),
        ),
        (("branch_pool", 192, 1, 1),),
    )


_BLOCK_7: _Branches = (
    (("branch1x1", 320, 1, 1),),
    (
        ("branch3x3_1", 384, 1, 1),
        ("branch3x3_2a", 384, (1, 3), 1),
        ("branch3x3_2b", 384, (3, 1), 1),
    ),
    (
        ("branch3x3dbl_1", 448, 1, 1),
        ("branch3x3dbl_2", 384, 3, 1),
        ("branch3x3dbl_3a", 384, (1, 3), 1),
        ("branch3x3dbl_3b", 384, (3, 1), 1),
    ),
    (("branch_pool", 192, 1, 1),),
)
_TO_7: _Branches = (
    (("branch3x3_1", 192, 1, 1), ("branch3x3_2", 320, 3, 2)),
    (
        ("branch7x7x3_1", 192, 1, 1),
        ("branch7x7x3_2", 192, (1, 7), 1),
        ("branch7x7x3_3", 192, (7, 1), 1),
        ("branch7x7x3_4", 192, 3, 2),
    ),
)
# Name -> input channels, branches, and the pool before the last of them: "average", "maximum", or
# "strided", a maximum pool that halves the picture and whose output stands as it is.
_MIXED: dict[str, tuple[int, _Branches, str]] = {
    "Mixed_5b": (192, _block_5(32), "average"),
    "Mixed_5c": (256, _block_5(64), "average"),
    "Mixed_5d": (288, _block_5(64), "average"),
    "Mixed_6a": (288, ((("branch3x3", 384, 3, 2),), _double(2)), "strided"),
    "Mixed_6b": (768, _block_6(128), "average"),
    "Mixed_6c": (768, _block_6(160), "average"),
    "Mixed_6d": (768, _block_6(160), "average"),
    "Mixed_6e": (768, _block_6(192), "average"),
    "Mixed_7a": (768, _TO_7, "strided"),
    "Mixed_7b": (1280, _BLOCK_7, "average"),
    "Mixed_7c": (2048, _BLOCK_7, "maximum"),
}


class _Unit(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: _Size, stride: int, padding: _Size):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    def __init__(self, inputs: int, branches: _Branches, pool: str) -> None:
        super().__init__()
        self.pool = pool
        self.names = [[name for name, *_ in branch] for branch in branches]
        for branch in branches:
            width = inputs
            for name, outputs, kernel, stride in branch:
                sides = (kernel, kernel) if isinstance(kernel, int) else kernel
                padding = (sides[0] // 2, sides[1] // 2) if stride == 1 else (0, 0)
                self.add_module(name, _Unit(width, outputs, sides, stride, padding))
                width = width if name.endswith("a") else outputs

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for names in self.names:
            y = x
            if names == ["branch_pool"] and self.pool == "average":
                y = F.avg_pool2d(x, 3, 1, padding=1, count_include_pad=False)
            elif names == ["branch_pool"]:
                y = F.max_pool2d(x, 3, 1, padding=1)
            for name in names:
                out = self.get_submodule(name)(y)
                if name.endswith("a"):
                    found.append(out)
                else:
                    y = out
            found.append(y)
        if self.pool == "strided":
            found.append(F.max_pool2d(x, 3, 2))
        return torch.cat(found, dim=1)


class Inception2015(nn.Module):
    """The network without its classifier. Use `load_inception`."""

    def __init__(self) -> None:
        super().__init__()
        for name, *sizes in _STEM:
            self.add_module(name, _Unit(*sizes))
        for name, (inputs, branches, pool) in _MIXED.items():
            self.add_module(name, _Mixed(inputs, branches, pool))

    def forward(self, windows: Tensor) -> Tensor:
        """Frames [B, 3, 1, H, W] in [-1, 1] -> [B, 2048]; FID's are 299 px on a side."""
        x = windows.squeeze(2)
        for name, module in self.named_children():
            x = module(x)
            if name in _POOLED:
                x = F.max_pool2d(x, 3, 2)
        return x.mean(dim=(2, 3))


def load_inception(path: Path, model: Inception2015) -> Inception2015:
    """Put the weights of pytorch-fid's file into `model`.

    Raises:
        WeightsUnavailable: the file is of another layout.
    """
    tensors = {k: v for k, v in read_torch_file(path, "").items() if not k.startswith("fc.")}
    load_tensors(model, tensors, path, optional=("num_batches_tracked",))
    return model
