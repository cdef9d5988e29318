"""Foreign video: files from anywhere, decoded by PyAV in a child process that can be killed.

A hostile or damaged file may make a decoder hang or eat the memory; only another process bounds it
(an alarm inside the process fires when the C call returns, if it ever does). Frames come in
presentation order, as a player shows them: of the default video stream, with square pixels, turned
and mirrored by the display matrix, deinterlaced, and HDR tone-mapped to BT.709. Packets that an
edit list discards are skipped, and a file that ends in an error is refused, not shortened. Only
containers that hold their video themselves are opened: a playlist under a video's name would make
FFmpeg read the files it names.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aa_datasets.errors import KilledDecodeError, VideoError
from aa_datasets.video.foreign_child import (
    REORDER_S,
    SEEK_MARGIN_S,
    DecodeLimits,
    ForeignFrame,
    FrameHeader,
    PacketsDigest,
    Planes,
    StillAlive,
    SurveyFrame,
    VideoInfo,
    run,
)
from aa_datasets.video.frame_size import ScaleTo
from aa_datasets.video.packet_index import Jump, PacketIndex

__all__ = [
    "DecodeLimits",
    "ForeignFrame",
    "ForeignVideo",
    "Planes",
    "SurveyFrame",
    "VideoInfo",
    "iter_foreign_frames",
    "iter_survey_frames",
    "open_foreign",
    "probe_video",
]

# Most frames of a survey fit: with the usual 64 KiB, both processes wake for each piece of a frame.
_PIPE_BYTES = 1 << 18
_LONGEST_S = 6 * 3600.0  # of a video, whatever its header says
_without_main = threading.Lock()  # one thread at a time takes the main module away
_MOST_INDICES = 4  # that a process keeps: the clips of a file mostly follow each other
_indices: dict[tuple[str, int, int], PacketIndex | None] = {}
_indexing = threading.Lock()


def probe_video(path: Path | str, limits: DecodeLimits | None = None) -> VideoInfo:
    """Read a file's header in a child process.

    Raises:
        VideoError: missing, empty, no video in it, or the child died.
        KilledDecodeError: it took too long, or the system killed it.
    """
    path = Path(path)
    messages = _from_child(path, "probe", limits or DecodeLimits())
    info = next(messages)
    assert isinstance(info, VideoInfo)
    return info


def iter_foreign_frames(
    path: Path | str,
    limits: DecodeLimits | None = None,
    *,
    max_side_px: int | None = None,
    size_hw: tuple[int, int] | None = None,
    start_s: float = 0.0,
    end_s: float = float("inf"),
) -> Generator[ForeignFrame, None, None]:
    """Decode the frames of a file in a child process, in presentation order.

    Args:
        path: any file that FFmpeg reads.
        limits: wall clock, memory and size at which the child is killed.
        max_side_px: scale frames down (area filter) so that no side exceeds this; None keeps them.
        size_hw: scale them to this height and width instead, as displayed.
        start_s, end_s: only frames shown from `start_s` on and before `end_s`, in seconds from the
            file's first frame. What lies before is skipped: by the index of mp4 and Matroska; the
            packets of other files are listed once in a process. That a file is truncated behind
            `end_s` is not seen.

    Raises:
        VideoError: as `probe_video`; or the stream breaks off, changes size, or exceeds a limit.

    The child ends with the frames; `close()` them where they are not read to the end.
    """
    path = Path(path)
    span_s = (start_s, end_s)
    yield from _from_child(path, "frames", limits or DecodeLimits(), size_hw or max_side_px, span_s)


def iter_survey_frames(
    path: Path,
    limits: DecodeLimits | None = None,
    *,
    max_side_px: int | None = None,
    start_s: float = 0.0,
    end_s: float = float("inf"),
) -> Generator[SurveyFrame, None, None]:
    """`iter_foreign_frames` as planes, which measurements read."""
    span_s = (start_s, end_s)
    yield from _from_child(path, "planes", limits or DecodeLimits(), max_side_px, span_s)


@dataclass(frozen=True)
class ForeignVideo:
    """A file that is open in a child process: one for all, since starting it takes as long as
    decoding a short clip.

    Attributes:
        info: what the file says of itself.
        packets_sha256: of its video packets, which another container of the same video shares (not
            MPEG-TS: H.264 is packed otherwise there).
        frames: those of `iter_foreign_frames` as planes, decoded as they are asked for. The child
            ends with them; `close` them where they are not read to the end.
    """

    info: VideoInfo
    packets_sha256: str
    frames: Generator[SurveyFrame, None, None]


def open_foreign(
    path: Path,
    limits: DecodeLimits | None = None,
    *,
    max_side_px: int | None = None,
    start_s: float = 0.0,
    end_s: float = float("inf"),
) -> ForeignVideo:
    """Open a file once for header, hash and frames. Arguments are those of `iter_foreign_frames`.

    The planes' colours are those of their video's matrix, most often BT.601's or BT.709's.

    Raises:
        VideoError: as `probe_video`; the frames raise as those of `iter_foreign_frames`.
    """
    span_s = (start_s, end_s)
    messages = _from_child(path, "survey", limits or DecodeLimits(), max_side_px, span_s)
    info, digest = next(messages), next(messages)
    assert isinstance(info, VideoInfo)
    assert isinstance(digest, PacketsDigest)
    return ForeignVideo(info, digest.sha256, messages)


def _from_child(
    path: Path,
    task: str,
    limits: DecodeLimits,
    scale_to: ScaleTo = None,
    span_s: tuple[float, float] = (0.0, float("inf")),
) -> Generator[Any, None, None]:
    if not path.is_file():
        raise VideoError(f"{path} does not exist or is not a file")
    if path.stat().st_size == 0:
        raise VideoError(f"{path.name} is empty (0 bytes)")
    jump = _jump(path, span_s, limits) if span_s[0] > 2 * SEEK_MARGIN_S else None
    # A fork server inherits no threads or locks, and forks in 10 ms what it imported once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    if sys.platform == "linux":  # elsewhere pipes have one size, and Windows has no fcntl
        import fcntl

        with contextlib.suppress(OSError):  # a user's share of such memory may be used up
            fcntl.fcntl(receiver.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    child = context.Process(
        target=run, args=(sender, str(path), task, limits, scale_to, span_s, jump), daemon=True
    )
    _start_without_main(child)
    sender.close()
    # Only waiting counts, not what the consumer does between two frames.
    total_s = left_s = limits.total_s
    try:
        while True:
            if left_s <= 0:
                raise KilledDecodeError(
                    f"{path.name}: decoding took over {total_s:g} s, killed: the bounds are "
                    f"DecodeLimits(total_s={limits.total_s:g}, "
                    f"s_per_video_s={limits.s_per_video_s:g})"
                )
            asked_s = time.monotonic()
            there = receiver.poll(min(limits.stall_s, left_s))
            left_s -= time.monotonic() - asked_s
            if not there:
                if left_s > 0:
                    raise KilledDecodeError(
                        f"{path.name}: no frame in {limits.stall_s:g} s, killed"
                    )
                continue
            try:
                message = receiver.recv()
            except EOFError:
                child.join()
                if child.exitcode == -signal.SIGKILL:
                    raise KilledDecodeError(
                        f"{path.name}: the decoder was killed, likely by a system short of memory"
                    ) from None
                raise VideoError(
                    f"{path.name}: the decoder died (exit code {child.exitcode}), likely over "
                    f"its memory bound of {limits.memory_bytes >> 20} MiB or on a damaged file"
                ) from None
            if isinstance(message, StillAlive):
                continue
            if message is None:
                return
            if isinstance(message, str):
                raise VideoError(f"{path.name}: {message}")
            if isinstance(message, FrameHeader):
                pixels, *others = (
                    _read(receiver, shape, limits.stall_s, path.name) for shape in message.shapes
                )
                if task != "frames":
                    planes = Planes(pixels, *others)
                    yield SurveyFrame(planes, message.time_s, message.is_combed)
                else:
                    yield ForeignFrame(pixels, message.time_s)
                continue
            if isinstance(message, VideoInfo):
                length_s = min(message.duration_s, _LONGEST_S)
                longer_s = length_s * limits.s_per_video_s - total_s
                total_s, left_s = total_s + max(0.0, longer_s), left_s + max(0.0, longer_s)
            yield message
    finally:
        child.kill()
        child.join()
        receiver.close()


def _jump(path: Path, span_s: tuple[float, float], limits: DecodeLimits) -> Jump | None:
    """Where to jump to in a file whose container has no index; None reads it from the start."""
    stat = path.stat()
    key = (str(path), stat.st_size, stat.st_mtime_ns)
    with _indexing:
        if key not in _indices:
            while len(_indices) >= _MOST_INDICES:
                del _indices[next(iter(_indices))]
            try:
                _indices[key] = next(_from_child(path, "index", limits), None)
            except VideoError:  # its decoder says why
                _indices[key] = None
        index = _indices[key]
    if index is None:
        return None
    return index.jump(span_s[0] - SEEK_MARGIN_S, span_s[1] + REORDER_S)


def _read(
    receiver: Connection, shape: tuple[int, ...], stall_s: float, name: str
) -> NDArray[np.uint8]:
    """The bytes that follow a header."""
    pixels = np.empty(shape, np.uint8)
    left = pixels.data.cast("B")
    while left:
        if not receiver.poll(stall_s):
            raise KilledDecodeError(f"{name}: half a frame, and no more in {stall_s:g} s, killed")
        count = os.readv(receiver.fileno(), [left])
        if not count:
            raise VideoError(f"{name}: the decoder died in the middle of a frame")
        left = left[count:]
    return pixels


def _start_without_main(child: BaseProcess) -> None:
    """Start a child that does not import the caller's main module again (in a Ray worker that is
    Ray: half a second a file; in a script without a main guard it is the script itself)."""
    with _without_main:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            child.start()
        finally:
            sys.modules["__main__"] = main
