"""Convolutions whose weights are laid out once for a CPU's kernels, not at every call."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class ReLUConvolution:
    """The ReLU of a convolution in two dimensions.

    torch lays a weight out for oneDNN's kernels at every call. Here it is done once for each size
    of the input, by the operators that torch.compile uses; elsewhere than on a CPU, or where torch
    lacks them, torch's own run. Not for I3D: in three dimensions the kernels that then run round
    up to nine times more coarsely, and FVD left the published scripts' values by 4e-6.

    Args:
        weight: [out, in, h, w]; what it holds must not change afterwards.
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
        self._shape: tuple[int, ...] | None = None  # of the inputs that the weight is laid out for

    def __call__(self, x: Tensor) -> Tensor:
        """[B, in, h, w] -> [B, out, h', w']."""
        if x.device.type != "cpu" or torch.is_grad_enabled() or not _HAS_OPERATORS:
            return F.relu_(F.conv2d(x, self._plain(), self._bias, self._stride, self._padding))
        x = x.contiguous(memory_format=torch.channels_last)
        how = [list(self._padding), list(self._stride), [1, 1], 1]
        if self._shape != x.shape:
            lay_out = torch.ops.mkldnn._reorder_convolution_weight
            self._weight = lay_out(self._plain(), *how, list(x.shape))  # the plain one is let go
            self._shape = tuple(x.shape)
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._weight, self._bias, *how, "relu", [], ""
        )
        return found

    def _plain(self) -> Tensor:
        return self._weight.to_dense() if self._weight.is_mkldnn else self._weight


_HAS_OPERATORS = torch.backends.mkldnn.is_available() and all(  # type: ignore[no-untyped-call]
    hasattr(torch.ops.mkldnn, name)
    for name in ("_reorder_convolution_weight", "_convolution_pointwise")
)
