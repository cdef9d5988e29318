"""Windows of consecutive frames, and the stream that turns them into I3D features."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from aa_eval.features.i3d import I3D, i3d_logits
from aa_eval.protocol import VideoFeatures
from aa_eval.resize import resize

FEATURE_SIZE = 400


def window_starts(numbers: Sequence[int], length: int, stride: int) -> list[int]:
    """Indices at which a window of `length` frames with consecutive numbers begins.

    The stride counts anew after every gap. 24 frames give 9 windows of 16 at stride 1.
    """
    starts: list[int] = []
    run = 0
    for end in range(1, len(numbers) + 1):
        if end == len(numbers) or numbers[end] != numbers[end - 1] + 1:
            starts += range(run, end - length + 1, stride)
            run = end
    return starts


class WindowFeatures:
    """The features of one video, from frames pushed in order; one window of frames in memory.

    Each frame is resized once, however many windows hold it. A window equal to the one before it
    (a still picture) is not computed again.
    """

    def __init__(self, spec: VideoFeatures, model: I3D, starts: Sequence[int], device: str) -> None:
        self._spec = spec
        self._model = model
        self._device = device
        self._batch = 1 if device == "cpu" else 16
        self._ends = {start + spec.window_frames for start in starts}
        self._frames: deque[NDArray[np.float32]] = deque(maxlen=spec.window_frames)
        self._pushed = 0
        self._waiting: list[NDArray[np.float32]] = []
        self._last: NDArray[np.float32] | None = None
        self._rows: list[NDArray[np.float64]] = []  # one per distinct window
        self._row_of_window: list[int] = []

    def push(self, frames: NDArray[np.uint8]) -> None:
        """The next frames, uint8 [T, H, W, 3]."""
        if not self._ends:
            return
        for frame in resize(frames, self._spec.resize, self._spec.size_hw):
            self._frames.append(frame / np.float32(127.5) - np.float32(1))
            self._pushed += 1
            if self._pushed in self._ends:
                self._add(np.stack(self._frames))

    def finish(self) -> NDArray[np.float64]:
        """float64 [windows, 400]; call once, after the last frame."""
        self._run()
        if not self._row_of_window:
            return np.zeros((0, FEATURE_SIZE))
        return np.concatenate(self._rows)[self._row_of_window]

    def _add(self, window: NDArray[np.float32]) -> None:
        if self._last is None or not np.array_equal(window, self._last):
            self._waiting.append(window)
            self._last = window
        done = sum(len(rows) for rows in self._rows)
        self._row_of_window.append(done + len(self._waiting) - 1)
        if len(self._waiting) == self._batch:
            self._run()

    def _run(self) -> None:
        if not self._waiting:
            return
        windows = torch.from_numpy(np.stack(self._waiting)).permute(0, 4, 1, 2, 3)
        self._waiting = []
        logits = i3d_logits(self._model, windows.to(self._device))
        self._rows.append(logits.detach().cpu().double().numpy())
