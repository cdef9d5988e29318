"""I3D over overlapping windows of one video: what neighbouring windows share is computed once.

What is shared is exact but for the rounding of sums. A window of 16 frames has 8 outputs of the
first convolution (7 frames, stride 2, padded by 2 and 3). Five of them see no padding: the window
two frames on has four of them, too. Of the 8 outputs of Conv3d_2c three see nothing that padding
has touched; of those of Mixed_3b's 3x3x3 convolutions one; behind it none. So whole outputs are
shared up to Conv3d_2c.

Outputs that padding has touched are shared in part, since a convolution is a sum over its taps in
time. What Conv3d_2c's taps make of an untouched frame serves all outputs near it. The sixth to
eighth output of the first convolution lack the last taps only: their sums are the beginnings of
the whole output that later windows need. Where padding is zero in time it is left out rather than
multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from aa_eval.features.i3d import I3D, I3DUnit, pad_same


@dataclass(frozen=True, slots=True)
class _Output:
    """One output in time, [1, C, h, w].

    Attributes:
        key: global index of the first frame that the first convolution sees for it; None where
            padding has touched the output, so that no other window has it.
    """

    key: int | None
    value: Tensor


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
        self._pool_3a = stages.pop("MaxPool3d_3a_3x3")
        self._rest = list(stages.values())
        # By `_Output.key`. Sums of the first taps of Conv3d_1a, and of how many:
        self._begun: dict[int, tuple[int, Tensor]] = {}
        self._early: dict[int, Tensor] = {}  # behind Conv3d_2b
        self._taps: dict[int, dict[int, Tensor]] = {}  # `_early` under each tap of Conv3d_2c
        self._late: dict[int, Tensor] = {}  # behind MaxPool3d_3a

    def logits(self, window: Tensor, start: int) -> Tensor:
        """[1, 400] of one window.

        Args:
            window: float [1, 3, T, 224, 224] in [-1, 1].
            start: index of its first frame in the video; not below that of the call before.
        """
        with torch.inference_mode():
            for kept in (self._begun, self._early, self._taps, self._late):
                for key in [key for key in kept if key < start]:
                    del kept[key]
            x = torch.stack(self._behind_3a(self._behind_2b(window, start)), dim=2)
            for stage in self._rest:
                x = stage(x)
            pooled = F.avg_pool3d(x, (self._model.pool_frames, 7, 7), stride=1)
            logits: Tensor = self._model.logits(pooled).mean(dim=(2, 3, 4))
        return logits

    def _behind_2b(self, window: Tensor, start: int) -> list[_Output]:
        frames = window.shape[2]
        kernel, stride = self._first.kernel[0], self._first.stride[0]
        count = -(-frames // stride)
        before = max((count - 1) * stride + kernel - frames, 0) // 2
        padded = pad_same(window, (1, kernel, kernel), (1, stride, stride), 0.0)
        firsts = range(-before, count * stride - before, stride)  # in this window; < 0 is padding
        # sums round by their order: the same steps, whatever windows there were before
        steps = sorted({min(kernel, frames - first) for first in firsts})
        outputs = []
        for first in firsts:
            taps = range(max(-first, 0), min(kernel, frames - first))
            key = start + first if len(taps) == kernel else None
            if key is not None and key in self._early:
                outputs.append(_Output(key, self._early[key]))
                continue
            if taps.start > 0:
                total = self._convolve_first(padded, first, taps)
            else:
                done, total = self._begun.get(start + first, (0, torch.zeros(())))
                for end in steps:
                    if done < end <= taps.stop:
                        total = total + self._convolve_first(padded, first, range(done, end))
                        done = end
                self._begun[start + first] = (done, total)
            x = self._conv_2b(self._pool_2a(self._first.normalise(total[:, :, None])))[:, :, 0]
            if key is not None:
                self._early[key] = x
                del self._begun[key]
            outputs.append(_Output(key, x))
        return outputs

    def _convolve_first(self, padded: Tensor, first: int, taps: range) -> Tensor:
        # with one output in time, taps are channels: CPUs have the faster code for two dimensions
        frames = padded[:, :, first + taps.start : first + taps.stop].flatten(1, 2)
        weight = self._first.conv.weight[:, :, taps.start : taps.stop].flatten(1, 2)
        return F.conv2d(frames, weight, stride=self._first.stride[1:])

    def _behind_3a(self, early: list[_Output]) -> list[Tensor]:
        taps = [self._taps_of(output, i, len(early)) for i, output in enumerate(early)]
        late = []
        for i, output in enumerate(early):
            near = range(max(i - 1, 0), min(i + 2, len(early)))
            whole = len(near) == 3 and all(early[j].key is not None for j in near)
            key = output.key if whole else None
            if key is not None and key in self._late:
                late.append(self._late[key])
                continue
            total = reduce(torch.add, [taps[j][j - i + 1] for j in near])
            x = self._pool_3a(self._conv_2c.normalise(total[:, :, None]))[:, :, 0]
            if key is not None:
                self._late[key] = x
            late.append(x)
        return late

    def _taps_of(self, output: _Output, place: int, count: int) -> dict[int, Tensor]:
        """What tap k of Conv3d_2c adds to output place + 1 - k, for each k that has one."""
        if output.key is not None and output.key in self._taps:
            return self._taps[output.key]
        used = range(0 if place + 1 < count else 1, 3 if place > 0 else 2)
        weight = self._conv_2c.conv.weight.movedim(2, 0)[used.start : used.stop].flatten(0, 1)
        products = F.conv2d(output.value, weight, padding=1).chunk(len(used), dim=1)
        taps = dict(zip(used, products, strict=True))
        if output.key is not None:
            self._taps[output.key] = taps
        return taps


def _unit(module: torch.nn.Module) -> I3DUnit:
    assert isinstance(module, I3DUnit)
    return module
