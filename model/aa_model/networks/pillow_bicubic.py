"""Pillow's bicubic resize on any device, bit for bit: what CLIP's own processor squeezes with.

torch's bicubic differs by a level here and there, which moves CLIP's tokens; Pillow itself would
take pictures off the device and back in every step of training.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ONE = 1 << 22  # Pillow's weights of 8-bit pictures are whole multiples of 2^-22


def pillow_bicubic(levels: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Resize uint8 [N, C, H, W] to `size_hw`, antialiased when it shrinks.

    Rows first, then columns, each rounded to 8 bits. All sums are whole numbers below 2^53, so that
    float64 holds them exactly in whatever order a device adds.
    """
    across = torch.from_numpy(_weights(levels.shape[-1], size_hw[1])).to(levels.device)
    down = torch.from_numpy(_weights(levels.shape[-2], size_hw[0])).to(levels.device)
    # One by one: float64 takes eight times the room of the pictures.
    resized = [_levels(down @ _levels(picture.double() @ across.T)) for picture in levels]
    return torch.stack(resized).to(torch.uint8)


def _levels(sums: Tensor) -> Tensor:
    return (sums / _ONE + 0.5).floor().clamp(0, 255)


@cache
def _weights(source: int, target: int) -> NDArray[np.float64]:
    """[target, source] of whole numbers; each row adds up to about 2^22.

    Kept as an array: a tensor would keep the mode that it was first made in (inference, fake).
    """
    scale = source / target
    stretch = max(scale, 1.0)
    weights = np.zeros((target, source))
    for i in range(target):
        centre = (i + 0.5) * scale
        low = max(int(centre - 2 * stretch + 0.5), 0)
        high = min(int(centre + 2 * stretch + 0.5), source)
        of_pixels = _cubic((np.arange(low, high, dtype=np.float64) - centre + 0.5) / stretch)
        exact = of_pixels / of_pixels.sum() * _ONE
        weights[i, low:high] = np.trunc(exact + np.copysign(0.5, exact))
    return weights


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel (1981) with a = -0.5, which ends at 2."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = -0.5 * (((x - 5) * x + 8) * x - 4)
    return np.asarray(np.where(x < 1, near, np.where(x < 2, far, 0.0)))
