"""Learned perceptual image patch similarity (Zhang et al. 2018), version 0.1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from aa_eval.errors import MetricUnavailable, PairingError, WeightsUnavailable
from aa_eval.malloc import outside_the_heap
from aa_eval.metrics.masks import Mask
from aa_eval.weights.numpy_pickle import WeightTree, read_numpy_pickle
from aa_eval.weights.packed import ReLUConvolution
from aa_eval.weights.torch_file import read_torch_file
from aa_eval.weights.weight_files import find_member, verify_weight

LpipsFeatures: TypeAlias = list[Tensor]
# Below these the last layer of the backbone has no pixel left.
_MIN_SIDE_PX = {"alex": 31, "vgg": 16}
_STRIP_VALUES = 2**16
_FLAX_NAME = {"alex": "AlexNet_0", "vgg": "VGG16_0"}
# The convolutions of each part of a backbone as (outputs, kernel, stride, padding), each followed
# by a ReLU; the last one's output is compared. Between parts a maximum pool (kernel, stride) or
# none.
_PARTS: dict[str, tuple[list[tuple[int, int, int, int]], ...]] = {
    "alex": (
        [(64, 11, 4, 2)],
        [(192, 5, 1, 2)],
        [(384, 3, 1, 1)],
        [(256, 3, 1, 1)],
        [(256, 3, 1, 1)],
    ),
    "vgg": tuple([(width, 3, 1, 1)] * count for width, count in zip(
        (64, 128, 256, 512, 512), (2, 2, 3, 3, 3), strict=True
    )),
}  # fmt: skip
_POOLS = {"alex": ((3, 2), (3, 2), None, None), "vgg": ((2, 2),) * 4}
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class LPIPS(nn.Module):
    """The network of the package lpips, without a classifier and without torchvision.

    Attributes:
        pnet_type: "alex" or "vgg".
        net: the backbone, pictures [B, 3, H, W] -> its five layers, one after the other.
        heads: the weight of each layer's channels, [1, C, 1, 1], at least 0.
    """

    def __init__(self, net: Literal["alex", "vgg"]) -> None:
        super().__init__()
        self.pnet_type = net
        self.net = _Backbone(net)
        widths = [part[-1][0] for part in _PARTS[net]]
        self.heads = nn.ParameterList([torch.zeros(1, width, 1, 1) for width in widths])

    def layers(self, pictures: Tensor) -> Iterator[Tensor]:
        """What is compared of pictures [B, 3, H, W] in [-1, 1], before it is normalised."""
        shift, scale = (pictures.new_tensor(of).view(3, 1, 1) for of in (_SHIFT, _SCALE))
        found: Iterator[Tensor] = self.net((pictures - shift) / scale)
        return found

    def forward(self, a: Tensor, b: Tensor, normalize: bool = False) -> Tensor:
        """Distances [B, 1, 1, 1] of pictures [B, 3, H, W] in [-1, 1], or in [0, 1] if normalize."""
        if normalize:
            a, b = 2 * a - 1, 2 * b - 1
        total = torch.zeros((), device=a.device)
        for *sides, head in zip(self.layers(a), self.layers(b), self.heads, strict=True):
            ours, theirs = (x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10) for x in sides)
            weighted = F.conv2d((ours - theirs) ** 2, head)
            total = total + weighted.mean(dim=(2, 3), keepdim=True)
        return total


class _Backbone(nn.Module):
    def __init__(self, net: Literal["alex", "vgg"]) -> None:
        super().__init__()
        self.net: Literal["alex", "vgg"] = net
        self.pools = _POOLS[net]
        self.parts = nn.ModuleList()
        self._laid_out: list[list[ReLUConvolution]] = []
        inputs = 3
        for part in _PARTS[net]:
            layers = nn.Sequential()
            for outputs, kernel, stride, padding in part:
                layers.append(nn.Conv2d(inputs, outputs, kernel, stride, padding))
                layers.append(nn.ReLU(inplace=True))
                inputs = outputs
            self.parts.append(layers)

    def forward(self, x: Tensor) -> Iterator[Tensor]:
        if not self._laid_out:  # when the weights are there
            self._laid_out = [
                [
                    ReLUConvolution(layer.weight, layer.bias, (stride,) * 2, (padding,) * 2)
                    for layer, (_, _, stride, padding) in zip(
                        (m for m in part.modules() if isinstance(m, nn.Conv2d)), sizes, strict=True
                    )
                ]
                for part, sizes in zip(self.parts, _PARTS[self.net], strict=True)
            ]
        for part, pool in zip(self._laid_out, (None, *self.pools), strict=True):
            if pool is not None:
                x = F.max_pool2d(x, *pool)
            for layer in part:
                x = layer(x)
            yield x


def make_lpips(
    net: Literal["alex", "vgg"],
    device: torch.device | str = "cpu",
    path: Path | None = None,
) -> LPIPS:
    """The LPIPS network in evaluation mode; downloads nothing.

    Linear heads are those of the `lpips` package; the backbone comes from the verified weight.

    Args:
        net: backbone.
        device: where the network goes.
        path: a backbone file to take instead of the installed one; its sha256 must be the same.

    Raises:
        WeightsUnavailable: the backbone's file is missing, altered or does not fit.
    """
    path = verify_weight(f"lpips-{net}", path)
    tree = read_numpy_pickle(path)
    heads_at = find_member("lpips", f"lpips/weights/v0.1/{net}.pth")
    heads = read_torch_file(heads_at, "")
    with torch.random.fork_rng(devices=[]):  # its random start must not move the caller's numbers
        model = LPIPS(net)
    convolutions = [m for m in model.net.modules() if isinstance(m, nn.Conv2d)]
    backbone = tree.get(_FLAX_NAME[net])
    names = [f"Conv_{i}" for i in range(len(convolutions))]
    if not isinstance(backbone, dict) or sorted(backbone) != sorted(names):
        raise WeightsUnavailable(f"{path}: expected {_FLAX_NAME[net]}/{names[0]}..{names[-1]}")
    for convolution, name in zip(convolutions, names, strict=True):
        _load_convolution(convolution, backbone[name], f"{path}: {_FLAX_NAME[net]}/{name}")
    for index, head in enumerate(model.heads):
        name = f"lin{index}.model.1.weight"
        if name not in heads or heads[name].shape != head.shape:
            raise WeightsUnavailable(f"{heads_at}: lacks {name}, or has it in another shape")
        head.data.copy_(heads[name])
    return model.eval().requires_grad_(False).to(device)


def lpips_per_frame(
    model: LPIPS,
    prediction: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    input_range: Literal["-1..1", "0..1"] = "-1..1",
    batch: int = 8,
) -> NDArray[np.float64]:
    """LPIPS distance per frame; 0 for identical frames.

    Args:
        model: of `make_lpips`.
        prediction, reference: uint8 [T, H, W, 3] RGB.
        input_range: "-1..1" is what the network was made for; "0..1" is what scripts feed that
            forget the rescaling; its distances are not comparable.
        batch: frames in one pass.

    Raises:
        MetricUnavailable: frames are too small for the backbone.
        PairingError: the shapes differ, or are not [T, H, W, 3] uint8.
    """
    checked_frames(model, prediction, reference)
    values: list[float] = []
    for start in range(0, len(prediction), batch):
        part = slice(start, start + batch)
        ours, theirs = (
            lpips_features(model, side[part], input_range) for side in (prediction, reference)
        )
        values += [lpips_distance(a, b) for a, b in zip(ours, theirs, strict=True)]
    return np.asarray(values, dtype=np.float64)


def checked_frames(
    model: LPIPS, prediction: NDArray[np.uint8], reference: NDArray[np.uint8]
) -> None:
    """Refuse what `lpips_per_frame` cannot compare.

    Raises:
        MetricUnavailable: frames are too small for the backbone.
        PairingError: the shapes differ, or are not [T, H, W, 3] uint8.
    """
    for name, frames in (("prediction", prediction), ("reference", reference)):
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
            raise PairingError(
                f"{name} is {frames.dtype} {list(frames.shape)}, expected uint8 [T, H, W, 3]"
            )
    if prediction.shape != reference.shape:
        raise PairingError(
            f"prediction is {list(prediction.shape)}, reference {list(reference.shape)}: "
            "expected equal shapes"
        )
    net = model.pnet_type
    height, width = prediction.shape[1:3]
    if min(height, width) < _MIN_SIDE_PX[net]:
        raise MetricUnavailable(
            f"frames of {width}x{height} are smaller than the {_MIN_SIDE_PX[net]} px "
            f"that the {net} backbone needs"
        )


def lpips_features(
    model: LPIPS, frames: NDArray[np.uint8], input_range: Literal["-1..1", "0..1"]
) -> list[LpipsFeatures]:
    """What LPIPS compares of each frame: its backbone's layers, [C, h, w] each.

    Channels are normalised at each place and weighted by the root of the head's weight, so that
    the distance of two frames is the sum over layers of their mean squared distance. (Half
    precision would be wrong by 1e-4 of the distance of frames that are nearly alike.)

    Args:
        frames: uint8 [T, H, W, 3] RGB, in one pass.
    """
    device = next(model.parameters()).device
    x = torch.from_numpy(np.ascontiguousarray(frames)).to(device).movedim(-1, 1) / 255
    if input_range == "-1..1":
        x = x * 2 - 1
    layers = []
    with torch.inference_mode():
        for output, head in zip(model.layers(x), model.heads, strict=True):
            # as in `LPIPS.forward`
            length = output.square().sum(dim=1, keepdim=True).sqrt_().add_(1e-10)
            layers.append(torch.div(output, length, out=_room(output)).mul_(head[0].sqrt()))
    return [list(of_frame) for of_frame in zip(*layers, strict=True)]


def lpips_distance(a: LpipsFeatures, b: LpipsFeatures, mask: Mask | None = None) -> float:
    """LPIPS of two frames from their `lpips_features`.

    Args:
        mask: [H, W] of the frames: each place of a layer counts by the share of its cell of the
            picture that lies inside. What a place has seen reaches beyond its cell. NaN where
            nothing lies inside.
    """
    if mask is not None and not mask.any():
        return float("nan")
    total = 0.0
    for ours, theirs in zip(a, b, strict=True):
        channels, height, width = ours.shape
        share = None
        places: float = height * width
        if mask is not None:
            picture = torch.from_numpy(mask[None].astype(np.float32)).to(ours.device)
            share = F.adaptive_avg_pool2d(picture, (height, width))
            places = float(share.sum(dtype=torch.float64))
        rows = height
        if ours.device.type == "cpu":  # strips stay in the cache, and need no fresh memory
            rows = max(_STRIP_VALUES // (channels * width), 1)
        squares = torch.zeros((), dtype=torch.float64, device=ours.device)
        for top in range(0, height, rows):
            strip = slice(top, top + rows)
            error = (ours[:, strip] - theirs[:, strip]).square_()
            if share is not None:
                error *= share[:, strip]
            squares += error.sum(dtype=torch.float64)
        total += float(squares) / places
    return total


def _room(output: Tensor) -> Tensor:
    """Memory for what is kept of a layer's output [B, C, h, w]; channels last on a CPU."""
    if output.device.type != "cpu":
        return torch.empty_like(output)
    batch, channels, height, width = output.shape
    room = outside_the_heap((batch, height, width, channels), np.float32)
    return torch.from_numpy(room).movedim(-1, 1)


def _load_convolution(convolution: nn.Conv2d, node: Any, where: str) -> None:
    tensors: WeightTree = node if isinstance(node, dict) else {}
    kernel, bias = tensors.get("kernel"), tensors.get("bias")
    if tensors.keys() != {"kernel", "bias"} or isinstance(kernel, dict) or isinstance(bias, dict):
        raise WeightsUnavailable(f"{where} must hold the arrays kernel and bias, and nothing else")
    weight = torch.from_numpy(np.asarray(kernel, dtype=np.float32)).permute(3, 2, 0, 1)
    offset = torch.from_numpy(np.asarray(bias, dtype=np.float32))
    if weight.shape != convolution.weight.shape or convolution.bias is None:
        raise WeightsUnavailable(
            f"{where}: kernel (as OIHW) is {list(weight.shape)}, "
            f"expected {list(convolution.weight.shape)}"
        )
    if offset.shape != convolution.bias.shape:
        raise WeightsUnavailable(
            f"{where}: bias is {list(offset.shape)}, expected {list(convolution.bias.shape)}"
        )
    with torch.no_grad():
        convolution.weight.copy_(weight)
        convolution.bias.copy_(offset)
