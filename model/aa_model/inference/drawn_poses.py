"""PosePictures: the drawn skeletons of a video, kept as the pixels that are not black.

Lines cover a few per cent of a picture; a pixel that is kept takes 7 bytes instead of 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aa_model.errors import ModelError
from aa_model.inference.image_input import to_pixels


class PosePictures:
    """T pictures of one size.

    Args:
        pictures: uint8 RGB [H, W, 3] each; one is held at a time.
        device: where they are wanted.

    Raises:
        ModelError: there are none.
    """

    def __init__(
        self, pictures: Iterable[NDArray[np.uint8]], device: torch.device | str = "cpu"
    ) -> None:
        self._device = device
        self._drawn: list[tuple[NDArray[np.int32], NDArray[np.uint8]]] = []
        for picture in pictures:
            self.size_hw = picture.shape[:2]
            pixels = picture.reshape(-1, 3)
            places = np.flatnonzero(pixels.any(axis=1)).astype(np.int32)
            self._drawn.append((places, pixels[places]))
        if not self._drawn:
            raise ModelError("the pose has no frames: there is nothing to animate")

    def __len__(self) -> int:
        return len(self._drawn)

    def of(self, frames: Sequence[int]) -> Tensor:
        """These pictures, float32 [n, 3, H, W] in [-1, 1]."""
        height, width = self.size_hw
        pixels = np.zeros((len(frames), height * width, 3), np.uint8)
        for canvas, frame in zip(pixels, frames, strict=True):
            places, colours = self._drawn[frame]
            canvas[places] = colours
        return to_pixels(pixels.reshape(-1, height, width, 3)).to(self._device)
