"""What runs in the child process of `foreign_video`: FFmpeg on a file that nobody vouches for."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import av
import numpy as np
from numpy.typing import NDArray

from aa_datasets.errors import VideoError
from aa_datasets.video.foreign_messages import (
    DecodeLimits,
    FrameHeader,
    PacketsDigest,
    StillAlive,
    VideoInfo,
)
from aa_datasets.video.foreign_pixels import RgbForm, SurveyForm
from aa_datasets.video.frame_size import CanonicalForm, ScaleTo

# FFmpeg's demuxers that read one file and no other; concat, hls, dash, image2 and the like are out.
CONTAINERS = ("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "ogg", "asf", "gif")
# Those whose index makes a jump exact enough to be checked; the others are read from the start.
_INDEXED = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
_SEEK_MARGIN_S = (
    2.0  # before the wanted frame: what follows a key frame of an open GOP may be broken
)

_REORDER_S = 1.0  # AVI has no presentation times: with B-frames they come out of order


def run(
    sender: Connection,
    path: str,
    task: str,
    limits: DecodeLimits,
    scale_to: ScaleTo,
    span_s: tuple[float, float],
    also: CanonicalForm | None,
) -> None:
    """Do one task and send what it finds: VideoInfo ("probe"), frames and a None ("frames"), or
    VideoInfo, PacketsDigest, a survey's frames and a None ("survey"); a string is an error. Limits
    this process for good."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    av.logging.set_level(av.logging.PANIC)
    alive = _Pulse(sender, limits.stall_s / 4)
    try:
        if task in ("probe", "survey"):
            sender.send(_probe(path, limits))
        if task == "survey":
            sender.send(_hash_packets(path, alive))
        if task in ("frames", "survey"):
            form = RgbForm(scale_to) if task == "frames" else SurveyForm(scale_to, also)
            for pictures, time_s in _decode(path, limits, form, span_s, alive):
                sender.send(FrameHeader(tuple(pixels.shape for pixels in pictures), time_s))
                for pixels in pictures:
                    _write(sender, pixels)
            sender.send(None)
    except VideoError as error:
        sender.send(str(error))
    except (av.error.FFmpegError, MemoryError, ValueError) as error:
        sender.send(f"cannot be decoded ({type(error).__name__}: {error})")
    except BrokenPipeError:
        pass  # the parent has seen enough


class _Pulse:
    """Tells now and then that work goes on."""

    def __init__(self, sender: Connection, every_s: float) -> None:
        self._sender, self._every_s, self._last_s = sender, every_s, time.monotonic()

    def beat(self) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s > self._every_s:
            self._sender.send(StillAlive())
            self._last_s = now_s


def _write(sender: Connection, pixels: NDArray[np.uint8]) -> None:
    left = np.ascontiguousarray(pixels).data.cast("B")
    while left:
        left = left[os.write(sender.fileno(), left) :]


def _open(path: str) -> av.container.InputContainer:
    with open(path, "rb") as file:  # noqa: PTH123  # no import of pathlib's machinery in the child
        beginning = file.read(64).lstrip()
    if beginning.startswith((b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD")):
        raise VideoError("is a playlist, which may name other files: give the video itself")
    options = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
    try:
        return av.open(path, options=options)
    except av.error.ArgumentError:
        expected = ", ".join(CONTAINERS)
        raise VideoError(f"is damaged, or in no container that is read ({expected})") from None


def _hash_packets(path: str, alive: _Pulse) -> PacketsDigest:
    digest = hashlib.sha256()
    with _open(path) as container:
        for packet in container.demux(_video_stream(container)):
            digest.update(bytes(packet))
            alive.beat()
    return PacketsDigest(digest.hexdigest())


def _probe(path: str, limits: DecodeLimits) -> VideoInfo:
    with _open(path) as container:
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
            fps=_fps(stream),
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


def _decode(
    path: str,
    limits: DecodeLimits,
    form: RgbForm | SurveyForm,
    span_s: tuple[float, float],
    alive: _Pulse,
) -> Iterator[tuple[list[NDArray[np.uint8]], float]]:
    """Each frame in its form, and its time."""
    size_hw: tuple[int, int] | None = None
    origin_s = _origin_of_jump(path, span_s[0])
    jumped = origin_s is not None
    count = 0
    with _open(path) as container:
        stream = _video_stream(container)
        fps = _fps(stream)
        # After a jump the frames before it are not counted: the header's word cannot be checked.
        claimed = 0 if jumped else stream.frames
        if origin_s is not None:
            _jump(container, stream, origin_s + span_s[0])
        for packet in container.demux(stream):
            if packet.is_discard:
                claimed -= 1
            if packet.is_corrupt:
                raise VideoError(f"packet after frame {count} is corrupt")
            for frame in packet.decode():
                alive.beat()
                time_s = frame.time if frame.time is not None else 0.0
                if jumped and origin_s is not None and time_s - origin_s < span_s[0]:
                    continue
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
                origin_s = time_s if origin_s is None else origin_s
                if time_s - origin_s >= span_s[1] + _REORDER_S:
                    return
                if span_s[0] <= time_s - origin_s < span_s[1]:
                    yield form.pictures(frame, count, fps), time_s - origin_s
                count += 1
    if count == 0 and not jumped:
        raise VideoError("holds a video stream without a single frame")
    if claimed > 0 and count < claimed:
        raise VideoError(f"is truncated: {count} frames decode, its header says {claimed}")


def _origin_of_jump(path: str, start_s: float) -> float | None:
    """The time stamp of the first frame if a jump to `start_s` lands before it, else None.

    A jump into an odd file may land anywhere; where it lands too late, all is read instead.
    """
    if start_s <= 2 * _SEEK_MARGIN_S:
        return None
    with _open(path) as container:
        if container.format.name not in _INDEXED:
            return None
        stream = _video_stream(container)
        first = next(container.decode(stream), None)
        if first is None or first.time is None:
            return None
        _jump(container, stream, first.time + start_s)
        landed = next(container.decode(stream), None)
        if landed is None or landed.time is None or landed.time > first.time + start_s:
            return None
        return float(first.time)


def _jump(
    container: av.container.InputContainer, stream: av.VideoStream, time_stamp_s: float
) -> None:
    """To the key frame before; the decoder is flushed."""
    assert stream.time_base is not None
    container.seek(int((time_stamp_s - _SEEK_MARGIN_S) / stream.time_base), stream=stream)


def _fps(stream: av.VideoStream) -> float:
    return float(stream.average_rate or 0)
