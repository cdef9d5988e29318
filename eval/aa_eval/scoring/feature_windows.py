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
from aa_eval.malloc import give_back_freed_memory, outside_the_heap
from aa_eval.resize import resize
from aa_eval.videos.reencode import X264RoundTrip

if TYPE_CHECKING:
    from torch import Tensor


def window_starts(numbers: Sequence[int], length: int, stride: int) -> list[int]:
    """Indices at which a window of `length` frames with consecutive numbers begins.

    The stride restarts after every gap. 24 frames give 9 windows of 16 at stride 1.
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


def needed_windows(
    spec: VideoFeatures, video_id: str, numbers: Sequence[int], is_reference: bool
) -> list[tuple[int, int]]:
    """(first, end) of the windows of one side that the window rule asks for, each once, in order.

    The end is not part of a window.
    """
    if spec.window_rule == "whole":
        return [(0, len(numbers))]
    if spec.window_rule == "prefixes":
        return [(0, end) for end in range(spec.window_frames, len(numbers) + 1)]
    if spec.window_rule == "stride":
        starts = window_starts(numbers, spec.window_frames, spec.window_stride)
    elif is_reference:
        starts = sorted(set(drawn_starts(spec, video_id, numbers)))
    else:
        starts = window_starts(numbers, spec.window_frames, 1)[:1]
    return [(start, start + spec.window_frames) for start in starts]


class WindowFeatures:
    """The features of one video, from frames pushed in order; the open windows are in memory.

    Each frame is resized once, however many windows hold it. A window equal to the one before it
    (a still picture) is not computed again.

    Args:
        spec: how frames become windows.
        network: gives the network, windows [B, 3, T, H, W] in [-1, 1] -> vectors [B, d]; called
            when there is a window.
        windows: (first, end) of each, ascending.
        device: windows are sent there.
    """

    def __init__(
        self,
        spec: VideoFeatures,
        network: Callable[[], Callable[[Tensor], Tensor]],
        windows: Sequence[tuple[int, int]],
        device: str,
    ) -> None:
        self._spec = spec
        self._network = network
        self._device = device
        one_length = len({end - first for first, end in windows}) <= 1
        self._batch = 16 if device != "cpu" and one_length else 1
        self._slides = (
            device == "cpu"
            and NETWORKS[spec.net].slide is not None
            and one_length
            and any(2 * (b - a) <= spec.window_frames for (a, _), (b, _) in pairwise(windows))
        )
        self._slide: Callable[[Tensor, int], Tensor] | None = None
        self._windows = deque(windows)
        self._frames: deque[NDArray[np.float32]] = deque()  # from `_first` on
        self._first = 0
        self._pushed = 0
        self._round_trip = X264RoundTrip() if spec.reencode != "none" else None
        self._waiting: list[NDArray[np.float32]] = []
        self._latest: tuple[NDArray[np.uint8], NDArray[np.float32]] | None = None
        self._still_from = 0  # the first of the latest frames that are all equal
        self._last: tuple[int, int] | None = None  # the window that was computed
        self._rows: list[NDArray[np.float64]] = []  # one per distinct window
        self._row_of_window: list[int] = []

    def push(self, frames: NDArray[np.uint8]) -> None:
        """The next frames, uint8 [T, H, W, 3]."""
        if self._round_trip is None:
            self._push(frames)
        elif self._windows:
            for frame in frames:
                self._round_trip.push(frame)

    def _push(self, frames: NDArray[np.uint8]) -> None:
        if not self._windows:
            return
        for frame in frames:
            if self._latest is None or not np.array_equal(frame, self._latest[0]):
                (resized,) = resize(frame[None], self._spec.resize, self._spec.size_hw)
                kept = outside_the_heap(resized.shape, np.float32)
                np.divide(resized, np.float32(127.5), out=kept)
                kept -= np.float32(1)
                self._latest = frame, kept
                self._still_from = self._pushed
            self._frames.append(self._latest[1])  # of a still picture the same array
            self._pushed += 1
            while self._windows and self._windows[0][1] == self._pushed:
                self._add(*self._windows.popleft())
            first_needed = self._windows[0][0] if self._windows else self._pushed
            while self._first < min(first_needed, self._pushed):
                self._frames.popleft()
                self._first += 1

    def finish(self) -> NDArray[np.float64]:
        """float64 [windows, d]; call once, after the last frame."""
        if self._round_trip is not None:
            for frame in self._round_trip.frames():
                self._push(frame[None])
        self._run()
        if not self._row_of_window:
            return np.zeros((0, NETWORKS[self._spec.net].dim))
        return np.concatenate(self._rows)[self._row_of_window]

    def _add(self, start: int, end: int) -> None:
        if (
            self._last is None
            or self._still_from > self._last[0]
            or end - start != self._last[1] - self._last[0]
        ):
            self._waiting.append(np.stack(list(self._frames)[start - self._first :]))
            self._last = start, end
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
            assert self._last is not None  # the batch is one window
            vectors = self._slide(windows, self._last[0])
        else:
            vectors = network(windows.to(self._device))
        self._rows.append(vectors.detach().cpu().double().numpy())
        give_back_freed_memory()
