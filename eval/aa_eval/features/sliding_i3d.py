"""I3D over overlapping windows of one video: what neighbouring windows share is computed once.

What is shared is exact. A window of 16 frames has 8 outputs of the first convolution (7 frames,
stride 2, padded by 2 and 3). Five of them see no padding: the window two frames on has four of
them, too. Of the 8 outputs of Conv3d_2c three see nothing that padding has touched; of those of
Mixed_3b's 3x3x3 convolutions one; behind it none. So the stem up to Conv3d_2c is shared, which is
more than half of the network's work, and what is behind it is computed for each window. Where
padding is zero in time it is left out rather than multiplied.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from aa_eval.features.i3d import I3D, I3DUnit, pad_same


class SlidingI3D:
    """Logits of windows of one video, asked for in ascending order of their starts.

    The same as `i3d_logits` on each window but for the rounding of sums. The bits of a window's
    logits do not depend on which windows were asked for before.

    Args:
        model: of `make_i3d`.
    """

    def __init__(self, model: I3D) -> None:
        self._model = model
        stages = dict(model.stages.named_children())
        self._first = _unit(stages.pop("Conv3d_1a_7x7"))
        self._pool_2a = stages.pop("MaxPool3d_2a_3x3")
        self._conv_2b = stages.pop("Conv3d_2b_1x1")
        self._conv_2c = _unit(stages.pop("Conv3d_2c_3x3"))
        self._rest = list(stages.values())
        # Keyed by the global index of the first frame that the first convolution sees.
        self._early: dict[int, Tensor] = {}  # behind Conv3d_2b
        self._late: dict[int, Tensor] = {}  # behind Conv3d_2c

    def logits(self, window: Tensor, start: int) -> Tensor:
        """[1, 400] of one window.

        Args:
            window: float [1, 3, T, 224, 224] in [-1, 1].
            start: index of its first frame in the video; not below that of the call before.
        """
        with torch.inference_mode():
            x = self._stem(window, start)
            for stage in self._rest:
                x = stage(x)
            pooled = F.avg_pool3d(x, (self._model.pool_frames, 7, 7), stride=1)
            logits: Tensor = self._model.logits(pooled).mean(dim=(2, 3, 4))
        return logits

    def _stem(self, window: Tensor, start: int) -> Tensor:
        frames = window.shape[2]
        kernel, stride = self._first.kernel[0], self._first.stride[0]
        count = -(-frames // stride)
        before = max((count - 1) * stride + kernel - frames, 0) // 2
        padded = pad_same(window, (1, kernel, kernel), (1, stride, stride), 0.0)
        firsts = [stride * j - before for j in range(count)]  # in this window; < 0 is padding
        inside = [0 <= first <= frames - kernel for first in firsts]
        early = []
        for first, whole in zip(firsts, inside, strict=True):
            key = start + first
            if not whole or key not in self._early:
                low, high = max(first, 0), min(first + kernel, frames)
                x = _convolve(self._first, padded[:, :, low:high], low - first)
                x = self._conv_2b(self._pool_2a(x))
                if not whole:
                    early.append(x)
                    continue
                self._early[key] = x
            early.append(self._early[key])
        late = []
        for j in range(count):
            near = range(max(j - 1, 0), min(j + 2, count))
            whole = len(near) == 3 and all(inside[i] for i in near)
            key = start + firsts[j]
            if not whole or key not in self._late:
                x = torch.cat([early[i] for i in near], dim=2)
                x = pad_same(x, (1, 3, 3), (1, 1, 1), 0.0)
                x = _convolve(self._conv_2c, x, near[0] - (j - 1))
                if not whole:
                    late.append(x)
                    continue
                self._late[key] = x
            late.append(self._late[key])
        for kept in (self._early, self._late):
            for key in [key for key in kept if key <= start]:
                del kept[key]
        return torch.cat(late, dim=2)


def _convolve(unit: I3DUnit, frames: Tensor, skipped: int) -> Tensor:
    """One output in time of a unit from frames padded in space only; `skipped` taps saw padding."""
    weight = unit.conv.weight[:, :, skipped : skipped + frames.shape[2]]
    # with one output in time, taps are channels: CPUs have the faster code for two dimensions
    plane = F.conv2d(frames.flatten(1, 2), weight.flatten(1, 2), stride=unit.stride[1:])
    return unit.normalise(plane[:, :, None])


def _unit(module: torch.nn.Module) -> I3DUnit:
    assert isinstance(module, I3DUnit)
    return module
