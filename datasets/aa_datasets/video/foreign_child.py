"""The child process of `foreign`: decodes a file that may be hostile, and sends its frames."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from multiprocessing.connection import Connection
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from aa_datasets.errors import VideoError
from aa_datasets.video.frame_size import ScaleTo
from aa_datasets.video.packet_index import AstrayError, Jump, PacketIndex
from aa_datasets.video.shown import (
    ColourTags,
    Form,
    PlanesForm,
    RgbForm,
    Shape,
    combed,
    corrected,
    orientation_of,
)
from aa_datasets.video.tone_map import HDR_TRANSFERS

# FFmpeg's demuxers that read one file and no other; concat, hls, dash, image2 and the like are out.
CONTAINERS = ("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "ogg", "asf", "gif")
# Those whose own index makes a jump exact enough to be checked; of the others we make one.
_INDEXED = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
# Before the wanted frame: what follows a key frame of an open GOP may be broken.
SEEK_MARGIN_S = 2.0
REORDER_S = 1.0  # AVI has no presentation times: with B-frames they come out of order
_PICTURE_CODECS = frozenset({"mjpeg", "png", "bmp", "gif", "webp", "tiff"})
_SAME_RATE = 0.02  # two rates that differ by less are one
_GAP = 5  # times the median distance of two frames, or more


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one decode may cost before it is killed.

    Attributes:
        stall_s: without a frame.
        total_s: of waiting for frames, whatever the video's length.
        s_per_video_s: of waiting for frames for each second of the video, where that is longer than
            `total_s`: 4K at 60 fps in HEVC decodes several times slower than it plays.
        memory_bytes: of the child's address space.
        max_pixels: of a frame.
    """

    stall_s: float = 30.0
    total_s: float = 600.0
    s_per_video_s: float = 10.0
    memory_bytes: int = 4 << 30
    max_pixels: int = 8192 * 4320


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a file says of itself, and what the reader does about it.

    Attributes:
        codec: FFmpeg's name, such as "h264".
        size_hw: as displayed: with square pixels, turned as the display matrix asks.
        fps: frames per second; gaps in time do not count.
        num_frames_claimed: by the container; 0 if it does not say. Only decoding tells.
        duration_s: by the container.
        sample_aspect_ratio: width of a stored pixel over its height; frames come with square ones.
        is_interlaced: the first frame holds two fields; frames come deinterlaced.
        is_hdr: PQ or HLG; frames come tone-mapped to BT.709.
        longest_gap_s: longest time between two frames, by the packets' time stamps.
    """

    codec: str
    size_hw: tuple[int, int]
    fps: float
    num_frames_claimed: int
    duration_s: float
    sample_aspect_ratio: float = 1.0
    is_interlaced: bool = False
    is_hdr: bool = False
    longest_gap_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ForeignFrame:
    """One decoded frame: uint8 RGB [H, W, 3], and its time in seconds from the first."""

    pixels: NDArray[np.uint8]
    time_s: float


@dataclass(frozen=True, slots=True)
class Planes:
    """A frame as videos store it, in full range. Most measurements read the luma, and converting to
    RGB would take as long as scaling down.

    Attributes:
        luma: uint8 [H, W], 0 to 255.
        blue, red: uint8 [h, w], what is added to the luma (Cb and Cr, 128 is none), at half the
            sides, rounded up.
    """

    luma: NDArray[np.uint8]
    blue: NDArray[np.uint8]
    red: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SurveyFrame:
    """One decoded frame, and its time in seconds from the first.

    Attributes:
        is_combed: its two fields show different times, though it is not marked as interlaced.
    """

    planes: Planes
    time_s: float
    is_combed: bool = False


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """Announces a frame on the pipe, in one or several arrays, whose bytes follow.

    Pickling would copy them on both sides, into a buffer of the frame's size for each 64 KiB.
    """

    shapes: tuple[tuple[int, ...], ...]
    time_s: float
    is_combed: bool


@dataclass(frozen=True, slots=True)
class StillAlive:
    """The child is at work without a frame: it reads packets, or decodes what precedes a span."""


@dataclass(frozen=True, slots=True)
class PacketsDigest:
    """The sha256 of the video packets."""

    sha256: str


def run(
    sender: Connection,
    path: str,
    task: str,
    limits: DecodeLimits,
    scale_to: ScaleTo,
    span_s: tuple[float, float],
    jump: Jump | None,
) -> None:
    """Do one task and send what it finds. Limits this process for good.

    "index" sends a PacketIndex, or a None; "probe" sends a VideoInfo; "frames" and "planes" send
    frames and a None; "survey" sends VideoInfo, PacketsDigest, frames as planes and a None. A
    string is an error.
    """
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    av.logging.set_level(av.logging.PANIC)
    alive = _Pulse(sender, limits.stall_s / 4)
    try:
        if task == "index":
            sender.send(_index(path, alive))
        if task in ("probe", "survey"):
            sender.send(_probe(path, limits, alive))
        if task == "survey":
            sender.send(_hash_packets(path, alive))
        if task in ("frames", "planes", "survey"):
            form = RgbForm(scale_to) if task == "frames" else PlanesForm(scale_to)
            for found in _decode(path, limits, form, span_s, jump, alive):
                shapes = tuple(pixels.shape for pixels in found.pictures)
                sender.send(FrameHeader(shapes, found.time_s, found.is_combed))
                for pixels in found.pictures:
                    _write(sender, pixels)
            sender.send(None)
    except VideoError as error:
        sender.send(str(error))
    except (av.error.FFmpegError, MemoryError, ValueError) as error:
        sender.send(f"cannot be decoded ({type(error).__name__}: {error})")
    except BrokenPipeError:
        pass  # the parent has seen enough


class _Pulse:
    """Tells the parent now and then that this process is at work."""

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


def _index(path: str, alive: _Pulse) -> PacketIndex | None:
    with _open(path) as container:
        if container.format.name in _INDEXED:
            return None
        first = next(container.decode(_video_stream(container)), None)
    if first is None or first.time is None:
        return None
    with _open(path) as container:
        stream = _video_stream(container)
        assert stream.time_base is not None
        packets = _each_with_pulse(container.demux(stream), alive)
        return PacketIndex.of(first.time, float(stream.time_base), packets)


def _each_with_pulse(
    packets: Iterator[av.Packet[av.VideoStream]], alive: _Pulse
) -> Iterator[av.Packet[av.VideoStream]]:
    for packet in packets:
        yield packet
        alive.beat()


def _probe(path: str, limits: DecodeLimits, alive: _Pulse) -> VideoInfo:
    with _open(path) as container:
        stream = _video_stream(container)
        tags = ColourTags.of(stream)
        first = next(container.decode(stream), None)
        if first is None:
            raise VideoError("holds a video stream without a single frame")
        tags.complete(first)
        shape = _shape_of(first, stream, limits)
        duration_s = float((stream.duration or 0) * (stream.time_base or 0))
        info = VideoInfo(
            codec=stream.codec_context.name,
            size_hw=shape.shown_hw(first.height, first.width),
            fps=float(stream.average_rate or 0),
            num_frames_claimed=_claimed(container, stream),
            duration_s=duration_s or float((container.duration or 0) / av.time_base),
            sample_aspect_ratio=shape.sample_aspect_ratio,
            is_interlaced=first.interlaced_frame,
            is_hdr=first.color_trc in HDR_TRANSFERS,
        )
        rates = (stream.average_rate, stream.guessed_rate)
    return _with_counted_rate(info, path, rates, alive)


def _with_counted_rate(
    info: VideoInfo, path: str, rates: tuple[Fraction | None, ...], alive: _Pulse
) -> VideoInfo:
    """Count the packets' times: headers leave the rate out, or say one where frames are missing."""
    times_s = []
    with _open(path) as container:
        for packet in container.demux(_video_stream(container)):
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None and packet.time_base is not None and not packet.is_discard:
                times_s.append(float(stamp * packet.time_base))
            alive.beat()
    distances_s = np.diff(np.unique(times_s))
    if not len(distances_s):
        return replace(info, fps=float(rates[0] or rates[1] or 0))
    usual_s = distances_s[distances_s < _GAP * np.median(distances_s)]
    counted = 1 / float(usual_s.mean())
    # A rate in the header is exact (30000/1001) where time stamps are rounded. More packets than
    # both of its rates promise are not all frames: fields of one, or pictures that are not shown.
    told = [float(rate) for rate in rates if rate]
    exact = [rate for rate in told if _is_same(rate, counted)]
    surplus = told[:1] if told and counted > max(told) else []
    fps = [*exact, *surplus, counted][0]
    return replace(info, fps=fps, longest_gap_s=float(distances_s.max()))


def _is_same(rate: float, other: float) -> bool:
    return abs(rate - other) < _SAME_RATE * other


def _shape_of(first: av.VideoFrame, stream: av.VideoStream, limits: DecodeLimits) -> Shape:
    shape = Shape(orientation_of(first), float(stream.sample_aspect_ratio or 1))
    height, width = shape.square_hw(first.height, first.width)
    if max(height * width, first.height * first.width) > limits.max_pixels:
        raise VideoError(f"{width}x{height} is over the limit of {limits.max_pixels} pixels")
    return shape


def _video_stream(container: av.container.InputContainer) -> av.VideoStream:
    """The stream that a player shows: no cover picture; the default one, else the largest."""
    flags = av.stream.Disposition
    pictures = flags.attached_pic | flags.timed_thumbnails | flags.still_image
    streams = [s for s in container.streams.video if not s.disposition & pictures]
    if not streams:
        what = "only cover pictures" if container.streams.video else "no video stream"
        raise VideoError(f"holds {what}")
    stream = max(
        streams,
        key=lambda s: (
            s.codec_context.name not in _PICTURE_CODECS,
            bool(s.disposition & flags.default),
            s.width * s.height,
            -s.index,
        ),
    )
    stream.thread_count = 1  # more threads cost 10-65 % more CPU and win nothing on busy cores
    return stream


def _claimed(container: av.container.InputContainer, stream: av.VideoStream) -> int:
    """How many frames the container promises. AVI counts an empty one for each that a camera
    dropped, which its index leaves out."""
    if container.format.name == "avi":
        entries = stream.index_entries
        if len(entries) and entries[-1].timestamp + 1 >= stream.frames:
            return len(entries)
    return stream.frames


class _Note(NamedTuple):
    """What is known of a frame once it is decoded.

    Attributes:
        shape: how it is shown.
        time_s: from the first frame; None if it is not handed over.
    """

    shape: Shape
    time_s: float | None


class _Found(NamedTuple):
    pictures: list[NDArray[np.uint8]]
    time_s: float
    is_combed: bool


def _decode(
    path: str,
    limits: DecodeLimits,
    form: Form,
    span_s: tuple[float, float],
    jump: Jump | None,
    alive: _Pulse,
) -> Iterator[_Found]:
    """Yield each frame of the span in its form, and its time from the first frame."""
    origin_s = jump.first_s if jump else _origin_of_jump(path, span_s[0])
    count = 0
    try:
        for found in _attempt(path, limits, form, span_s, origin_s, jump, alive):
            yield found
            count += 1
    except AstrayError:  # all is read instead, and what was handed over is passed
        whole = _attempt(path, limits, form, span_s, None, None, alive)
        yield from itertools.islice(whole, count, None)


def _attempt(
    path: str,
    limits: DecodeLimits,
    form: Form,
    span_s: tuple[float, float],
    origin_s: float | None,
    jump: Jump | None,
    alive: _Pulse,
) -> Iterator[_Found]:
    with _open(path) as container:
        shown = corrected(_frames(container, limits, span_s, origin_s, jump, alive))
        told = (
            combed(shown) if isinstance(form, PlanesForm) else ((f, (n, False)) for f, n in shown)
        )
        for frame, (note, is_combed) in told:
            if note.time_s is not None:
                yield _Found(form.pictures(frame, note.shape), note.time_s, is_combed)


def _frames(
    container: av.container.InputContainer,
    limits: DecodeLimits,
    span_s: tuple[float, float],
    origin_s: float | None,
    jump: Jump | None,
    alive: _Pulse,
) -> Iterator[tuple[av.VideoFrame, _Note]]:
    """Decode up to the end of the span; before it, too, since filters look at neighbours."""
    stream = _video_stream(container)
    tags = ColourTags.of(stream)
    shape: Shape | None = None
    size_hw = (0, 0)
    count = 0
    jumped = origin_s is not None
    # After a jump the frames before it are not counted: the header's word cannot be checked.
    claimed = 0 if jumped else _claimed(container, stream)
    if origin_s is not None and jump is None:
        _jump(container, stream, origin_s + span_s[0])
    for packet in jump.packets(container, stream) if jump else container.demux(stream):
        if packet.is_discard:
            claimed -= 1
        if packet.is_corrupt:
            raise VideoError(f"packet after frame {count} is corrupt")
        for frame in packet.decode():
            alive.beat()
            tags.complete(frame)
            time_s = frame.time if frame.time is not None else 0.0
            if shape is None:
                shape, size_hw = _shape_of(frame, stream, limits), (frame.height, frame.width)
            if jumped and origin_s is not None and time_s - origin_s < span_s[0]:
                yield frame, _Note(shape, None)
                continue
            if frame.is_corrupt:
                error = AstrayError if jumped else VideoError  # it may lack what was jumped over
                raise error(f"frame {count} is corrupt")
            if packet.is_discard:
                continue
            if (frame.height, frame.width) != size_hw:
                raise VideoError(
                    f"changes size at frame {count}: {size_hw[1]}x{size_hw[0]} to "
                    f"{frame.width}x{frame.height}"
                )
            origin_s = time_s if origin_s is None else origin_s
            since_s = time_s - origin_s
            if since_s >= span_s[1] + REORDER_S:
                return
            yield frame, _Note(shape, since_s if span_s[0] <= since_s < span_s[1] else None)
            count += 1
    if count == 0 and not jumped:
        raise VideoError("holds a video stream without a single frame")
    if claimed > 0 and count < claimed:
        raise VideoError(f"is truncated: {count} frames decode, its header says {claimed}")


def _origin_of_jump(path: str, start_s: float) -> float | None:
    """The time stamp of the first frame if a jump to `start_s` lands before it, else None.

    A jump into an odd file may land anywhere; where it lands too late, all is read instead.
    """
    if start_s <= 2 * SEEK_MARGIN_S:
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
    container.seek(int((time_stamp_s - SEEK_MARGIN_S) / stream.time_base), stream=stream)
