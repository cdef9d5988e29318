"""Foreign video: files from anywhere, decoded by PyAV in a child process that can be killed.

A hostile or damaged file may make a decoder hang or eat the memory; only another process bounds it
(an alarm inside the process fires when the C call returns, if it ever does). Frames come out in
presentation order with the display rotation applied and discarded packets (edit lists) skipped,
and a file that ends in an error is refused, not shortened.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import av
import numpy as np
from numpy.typing import NDArray

from aa_datasets.errors import VideoError


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one decode may cost before it is killed."""

    stall_s: float = 30.0
    total_s: float = 600.0
    memory_bytes: int = 4 << 30
    max_pixels: int = 8192 * 4320


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a file says of itself, and `rotation_deg` that `iter_foreign_frames` applies.

    `size_hw` is after rotation. `fps` is the average rate. `num_frames_claimed` is the container's
    word (0 when it has none): only decoding tells the real count.
    """

    codec: str
    size_hw: tuple[int, int]
    fps: float
    num_frames_claimed: int
    duration_s: float
    rotation_deg: int


@dataclass(frozen=True, slots=True)
class ForeignFrame:
    """One decoded frame: uint8 RGB [H, W, 3], and its time in seconds from the first."""

    pixels: NDArray[np.uint8]
    time_s: float


def probe_video(path: Path, limits: DecodeLimits | None = None) -> VideoInfo:
    """Read a file's header in a child process.

    Raises:
        VideoError: missing, empty, no video in it, or the child hung or died.
    """
    messages = _from_child(path, "probe", limits or DecodeLimits(), None)
    info = next(messages)
    assert isinstance(info, VideoInfo)
    return info


def iter_foreign_frames(
    path: Path, limits: DecodeLimits | None = None, *, max_side_px: int | None = None
) -> Iterator[ForeignFrame]:
    """Decode every frame of a file in a child process, in presentation order.

    Args:
        path: any file that FFmpeg reads.
        limits: wall clock, memory and size at which the child is killed.
        max_side_px: scale frames down (area filter) so that no side exceeds this; None keeps them.

    Raises:
        VideoError: as `probe_video`; or the stream breaks off, changes size, or exceeds a limit.
    """
    yield from _from_child(path, "frames", limits or DecodeLimits(), max_side_px)


def _from_child(
    path: Path, task: str, limits: DecodeLimits, max_side_px: int | None
) -> Iterator[Any]:
    if not path.is_file():
        raise VideoError(f"{path} does not exist or is no file")
    if path.stat().st_size == 0:
        raise VideoError(f"{path.name} is empty (0 bytes)")
    # A fork server inherits no threads or locks, and forks in 10 ms what it imported once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(
        target=_child, args=(sender, str(path), task, limits, max_side_px), daemon=True
    )
    _start_without_main(child)
    sender.close()
    deadline = time.monotonic() + limits.total_s
    try:
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise VideoError(f"{path.name}: decoding took over {limits.total_s:g} s, killed")
            if not receiver.poll(min(limits.stall_s, left_s)):
                if left_s > limits.stall_s:
                    raise VideoError(f"{path.name}: no frame in {limits.stall_s:g} s, killed")
                continue
            try:
                message = receiver.recv()
            except EOFError:
                child.join()
                raise VideoError(
                    f"{path.name}: the decoder died (exit code {child.exitcode}), likely over "
                    f"its memory bound of {limits.memory_bytes >> 20} MiB or on a damaged file"
                ) from None
            if message is None:
                return
            if isinstance(message, str):
                raise VideoError(f"{path.name}: {message}")
            yield message
    finally:
        child.kill()
        child.join()
        receiver.close()


def _start_without_main(child: BaseProcess) -> None:
    """Start a child that does not import the caller's main module again (in a Ray worker that is
    Ray: half a second a file; in a script without a main guard it is the script itself)."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        child.start()
    finally:
        sys.modules["__main__"] = main


def _child(
    sender: Connection, path: str, task: str, limits: DecodeLimits, max_side_px: int | None
) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    av.logging.set_level(av.logging.PANIC)
    try:
        if task == "probe":
            sender.send(_probe(path, limits))
        else:
            for frame in _decode(path, limits, max_side_px):
                sender.send(frame)
            sender.send(None)
    except VideoError as error:
        sender.send(str(error))
    except (av.error.FFmpegError, MemoryError, ValueError) as error:
        sender.send(f"cannot be decoded ({type(error).__name__}: {error})")
    except BrokenPipeError:
        pass  # the parent has seen enough


def _probe(path: str, limits: DecodeLimits) -> VideoInfo:
    with av.open(path) as container:
        stream = _video_stream(container)
        height, width = stream.height, stream.width
        if height * width > limits.max_pixels:
            raise VideoError(f"{width}x{height} is over the limit of {limits.max_pixels} pixels")
        first = next(container.decode(stream), None)
        if first is None:
            raise VideoError("holds a video stream without a single frame")
        rotation_deg = round(first.rotation) % 360
        if rotation_deg in (90, 270):
            height, width = width, height
        duration_s = float((stream.duration or 0) * (stream.time_base or 0))
        return VideoInfo(
            codec=stream.codec_context.name,
            size_hw=(height, width),
            fps=float(stream.average_rate or 0),
            num_frames_claimed=stream.frames,
            duration_s=duration_s or float((container.duration or 0) / av.time_base),
            rotation_deg=rotation_deg,
        )


def _video_stream(container: av.container.InputContainer) -> av.VideoStream:
    if not container.streams.video:
        raise VideoError("holds no video stream")
    stream = container.streams.video[0]
    stream.thread_count = 1  # more threads cost 10-65 % more CPU and win nothing on busy cores
    return stream


def _decode(path: str, limits: DecodeLimits, max_side_px: int | None) -> Iterator[ForeignFrame]:
    size_hw: tuple[int, int] | None = None
    start_s: float | None = None
    count = 0
    with av.open(path) as container:
        stream = _video_stream(container)
        claimed = stream.frames
        for packet in container.demux(stream):
            if packet.is_discard:
                claimed -= 1
            if packet.is_corrupt:
                raise VideoError(f"packet after frame {count} is corrupt")
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise VideoError(f"frame {count} is corrupt")
                if packet.is_discard:
                    continue
                if size_hw is None:
                    size_hw = (frame.height, frame.width)
                    if frame.height * frame.width > limits.max_pixels:
                        raise VideoError(
                            f"{frame.width}x{frame.height} is over the limit of "
                            f"{limits.max_pixels} pixels"
                        )
                if (frame.height, frame.width) != size_hw:
                    raise VideoError(
                        f"changes size at frame {count}: {size_hw[1]}x{size_hw[0]} to "
                        f"{frame.width}x{frame.height}"
                    )
                time_s = frame.time if frame.time is not None else 0.0
                start_s = time_s if start_s is None else start_s
                yield ForeignFrame(_pixels(frame, max_side_px), time_s - start_s)
                count += 1
    if count == 0:
        raise VideoError("holds a video stream without a single frame")
    if claimed > 0 and count < claimed:
        raise VideoError(f"is truncated: {count} frames decode, its header says {claimed}")


def _pixels(frame: av.VideoFrame, max_side_px: int | None) -> NDArray[np.uint8]:
    scale = 1.0 if max_side_px is None else min(1.0, max_side_px / max(frame.height, frame.width))
    if scale < 1:
        frame = frame.reformat(
            width=max(2, round(frame.width * scale)),
            height=max(2, round(frame.height * scale)),
            format="rgb24",
            interpolation="AREA",
        )
    pixels = cast(NDArray[np.uint8], frame.to_ndarray(format="rgb24"))
    # The display matrix, in degrees counter-clockwise: as np.rot90 counts.
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
