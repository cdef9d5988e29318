"""Optical flow between two frames, that of the pairs asked for lately kept."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

_KEPT = 6  # pairs: the reference's, to and fro, are asked for by every method and metric


class OpticalFlowILK:
    """Iterative Lucas-Kanade (Le Besnerais and Champagnat 2005), scikit-image's, radius 7.

    On the mean of R, G and B, in [0, 1], at the frames' own size.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[bytes, bytes], NDArray[np.float64]] = OrderedDict()

    def __call__(self, frame: NDArray[np.uint8], before: NDArray[np.uint8]) -> NDArray[np.float64]:
        """float64 [2, H, W], (down, right) in pixels: where `frame`'s pixels lie in `before`."""
        if np.array_equal(frame, before):  # a still picture: the same zeros, half a second sooner
            return np.zeros((2, *frame.shape[:2]))
        # takes a second to import: only where it is asked
        from skimage.registration import optical_flow_ilk

        key = (frame.tobytes(), before.tobytes())
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        grey = [image.mean(axis=-1, dtype=np.float64) / 255 for image in (frame, before)]
        flow = np.asarray(optical_flow_ilk(*grey, radius=7, dtype=np.float64), dtype=np.float64)
        self._kept[key] = flow
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return flow
