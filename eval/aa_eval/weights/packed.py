"""Convolutions whose weights are laid out once for a CPU's kernels, not at every call."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class ReLUConvolution:
    """The ReLU of a convolution, in two or three dimensions.

    torch lays a weight out for oneDNN's kernels at every call: of I3D's later layers that takes two
    thirds of the time. Here it is done once for each size of the input, by the operators that
    torch.compile uses; elsewhere than on a CPU, or where torch lacks them, torch's own run.

    Args:
        weight: [out, in, ...]; what it holds must not change afterwards.
        stride, padding: of each dimension.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
    ) -> None:
        self._weight, self._bias = weight, bias
        self._stride, self._padding = stride, padding
        self._laid_out: tuple[tuple[int, ...], Tensor] | None = None  # for inputs of this shape

    def __call__(self, x: Tensor) -> Tensor:
        """[B, in, ...] -> [B, out, ...]."""
        if x.device.type != "cpu" or torch.is_grad_enabled() or not _HAS_OPERATORS:
            convolve = F.conv3d if self._weight.ndim == 5 else F.conv2d
            return F.relu_(convolve(x, self._weight, self._bias, self._stride, self._padding))
        form = torch.channels_last_3d if self._weight.ndim == 5 else torch.channels_last
        x = x.contiguous(memory_format=form)
        ones = [1] * len(self._stride)
        how = [list(self._padding), list(self._stride), ones, 1]
        shape = tuple(x.shape)
        if self._laid_out is None or self._laid_out[0] != shape:
            laid_out = torch.ops.mkldnn._reorder_convolution_weight(self._weight, *how, list(shape))
            self._laid_out = shape, laid_out
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._laid_out[1], self._bias, *how, "relu", [], ""
        )
        return found


_HAS_OPERATORS = torch.backends.mkldnn.is_available() and all(  # type: ignore[no-untyped-call]
    hasattr(torch.ops.mkldnn, name)
    for name in ("_reorder_convolution_weight", "_convolution_pointwise")
)
