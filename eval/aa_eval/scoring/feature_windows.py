"""Windows of consecutive frames: which there are, and the stream that turns them into vectors."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aa_eval.features.networks import NETWORKS
from aa_eval.features.spec import VideoFeatures
from aa_eval.resize import resize
from aa_eval.scoring.malloc import give_back_freed_memory

if TYPE_CHECKING:
    from torch import Tensor


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


def drawn_starts(spec: VideoFeatures, video_id: str, numbers: Sequence[int]) -> list[int]:
    """The reference's window in each of `spec.runs` draws; empty where the video is too short.

    The draw is a hash of run and video: it depends on no other video, and on no library's
    generator.
    """
    starts = window_starts(numbers, spec.window_frames, 1)
    if not starts:
        return []
    digests = (hashlib.sha256(f"{run}:{video_id}".encode()).digest() for run in range(spec.runs))
    return [starts[int.from_bytes(digest[:8]) % len(starts)] for digest in digests]


def needed_starts(
    spec: VideoFeatures, video_id: str, numbers: Sequence[int], is_reference: bool
) -> list[int]:
    """Windows of one side that the window rule asks for, each once, in order."""
    if spec.window_rule == "stride":
        return window_starts(numbers, spec.window_frames, spec.window_stride)
    if is_reference:
        return sorted(set(drawn_starts(spec, video_id, numbers)))
    return window_starts(numbers, spec.window_frames, 1)[:1]


class WindowFeatures:
    """The features of one video, from frames pushed in order; one window of frames in memory.

    Each frame is resized once, however many windows hold it. A window equal to the one before it
    (a still picture) is not computed again.

    Args:
        spec: how frames become windows.
        network: gives the network, windows [B, 3, T, H, W] in [-1, 1] -> vectors [B, d]; called
            when there is a window.
        starts: indices of the windows' first frames, ascending.
        device: windows are sent there.
    """

    def __init__(
        self,
        spec: VideoFeatures,
        network: Callable[[], Callable[[Tensor], Tensor]],
        starts: Sequence[int],
        device: str,
    ) -> None:
        self._spec = spec
        self._network = network
        self._device = device
        self._batch = 1 if device == "cpu" else 16
        self._slides = (
            device == "cpu"
            and NETWORKS[spec.net].slide is not None
            and any(2 * (b - a) <= spec.window_frames for a, b in pairwise(starts))
        )
        self._slide: Callable[[Tensor, int], Tensor] | None = None
        self._ends = {start + spec.window_frames for start in starts}
        self._last_end = max(self._ends, default=0)
        self._frames: deque[NDArray[np.float32]] = deque(maxlen=spec.window_frames)
        self._pushed = 0
        self._waiting: list[NDArray[np.float32]] = []
        self._last: NDArray[np.float32] | None = None
        self._rows: list[NDArray[np.float64]] = []  # one per distinct window
        self._row_of_window: list[int] = []

    def push(self, frames: NDArray[np.uint8]) -> None:
        """The next frames, uint8 [T, H, W, 3]."""
        if self._pushed >= self._last_end:
            return
        for frame in resize(frames, self._spec.resize, self._spec.size_hw):
            self._frames.append(frame / np.float32(127.5) - np.float32(1))
            self._pushed += 1
            if self._pushed in self._ends:
                self._add(np.stack(self._frames))

    def finish(self) -> NDArray[np.float64]:
        """float64 [windows, d]; call once, after the last frame."""
        self._run()
        if not self._row_of_window:
            return np.zeros((0, NETWORKS[self._spec.net].dim))
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
        import torch  # takes seconds to import: only where something is computed

        windows = torch.from_numpy(np.stack(self._waiting)).permute(0, 4, 1, 2, 3)
        self._waiting = []
        network = self._network()
        slide = NETWORKS[self._spec.net].slide
        if self._slides and slide is not None:
            self._slide = self._slide or slide(network)
            vectors = self._slide(windows, self._pushed - self._spec.window_frames)
        else:
            vectors = network(windows.to(self._device))
        self._rows.append(vectors.detach().cpu().double().numpy())
        give_back_freed_memory()
