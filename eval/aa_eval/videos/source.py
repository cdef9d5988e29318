"""VideoSource: frames from a video file or from one image per frame, streamed and checked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO, cast

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc, VideoReformatter
from numpy.typing import NDArray

from aa_eval.errors import VideoError
from aa_eval.videos.images import EIGHT_BIT_RGB, image_size_and_kind, read_image
from aa_eval.videos.shards import TarMember, open_member
from aa_eval.videos.time_stamps import is_steady, require_end

VIDEO_SUFFIXES = (".mp4", ".gif", ".webm", ".mkv")
_FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2", "gif", "matroska,webm")  # FFmpeg's names of them
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_HDR_TRANSFERS = {ColorTrc.SMPTE2084: "PQ", ColorTrc.ARIB_STD_B67: "HLG"}
_WIDE_GAMUTS = {ColorPrimaries.BT2020: "BT.2020", ColorPrimaries.SMPTE432: "Display P3"}
_UNTOLD = 2  # FFmpeg's number of a tag that is not there
_OPAQUE = 255
_SQUARE_WITHIN = 0.02  # scaling to whole numbers of pixels leaves ratios such as 1.0023


@dataclass(frozen=True, slots=True)
class VideoSource:
    """Where the frames of one video lie, before anything is decoded.

    Attributes:
        video_id: what pairs a prediction with its reference.
        files: one video file, one shard that holds it, or one image per frame in order.
        numbers: the frames' numbers as their file names say; None for a video file.
        limit: read only so many frames; None for all.
        step: of a video file: read the first frame and every step-th after it.
        member: the video inside a shard; None where it is a file of its own.
        held: of one picture: for how many frames it stands.
    """

    video_id: str
    files: tuple[Path, ...]
    numbers: tuple[int, ...] | None = None
    limit: int | None = None
    step: int = 1
    member: TarMember | None = None
    held: int = 1

    @property
    def is_video_file(self) -> bool:
        return self.numbers is None

    @property
    def place(self) -> Path:
        """The video file, the shard that holds it, or the folder of the images."""
        return self.files[0] if self.is_video_file else self.files[0].parent

    @property
    def name(self) -> str:
        """What to call it in messages: its path, and its name inside a shard."""
        return f"{self.place}:{self.member.name}" if self.member else str(self.place)

    def is_same_file(self, other: VideoSource) -> bool:
        """Whether both are the same file, or have frames in common, through links of either kind.

        The first frame does not count: methods are given it.
        """
        ours, theirs = (
            {(at.st_dev, at.st_ino) for at in map(Path.stat, source.files[1:] or source.files)}
            for source in (self, other)
        )
        return self.member == other.member and not ours.isdisjoint(theirs)

    def at_numbers(self, keep: set[int]) -> VideoSource:
        """The frames with these numbers only (a source of images)."""
        assert self.numbers is not None
        pairs = [(f, n) for f, n in zip(self.files, self.numbers, strict=True) if n in keep]
        return replace(self, files=tuple(f for f, _ in pairs), numbers=tuple(n for _, n in pairs))

    def at_positions(self, keep: Sequence[int]) -> VideoSource:
        """The frames at these positions (0 is the first frame, whatever its number) only.

        Raises:
            VideoError: of a video file, which is only read from its start on, at even steps.
        """
        if self.numbers is not None:
            return self.at_numbers({self.numbers[position] for position in keep})
        step = keep[1] - keep[0] if len(keep) > 1 else 1
        if step < 1 or list(keep) != list(range(0, len(keep) * step, step)):
            raise VideoError(f"{self.name}: some of its frames are asked for: give it as images")
        return replace(self, limit=len(keep), step=step)

    def first(self, num_frames: int) -> VideoSource:
        """The first `num_frames` frames."""
        if self.numbers is not None:
            return self.at_numbers(set(self.numbers[:num_frames]))
        return replace(self, limit=num_frames)


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video's headers and packets say; of a video file one frame is decoded, too.

    Attributes:
        size_hw: height and width in pixels.
        num_frames: frames to be had (packets of a video file, images of a folder).
        fps: frames per second, on the average; None for images.
        steady: whether all frames last about as long as each other.
        kind: "8-bit colour", "16-bit grey", ...: bit depth and channels.
    """

    size_hw: tuple[int, int]
    num_frames: int
    fps: float | None
    kind: str
    steady: bool = True

    @property
    def is_eight_bit_rgb(self) -> bool:
        return self.kind == EIGHT_BIT_RGB


def probe(source: VideoSource) -> VideoInfo:
    """Size, frame count, rate and kind of a video, from headers and packets.

    Raises:
        VideoError: the file is missing, empty or truncated; or its images differ in size or kind.
    """
    return _probe_file(source) if source.is_video_file else _probe_images(source)


def iter_frames(source: VideoSource) -> Iterator[NDArray[np.uint8]]:
    """The frames in order, uint8 [H, W, 3] RGB, one in memory at a time.

    Alpha is dropped, grey and palette become RGB, 16 bits become 8 by dropping the low byte:
    whether that is wanted, `aa_eval.videos.pairing` has asked before.

    Raises:
        VideoError: a frame cannot be decoded, or fewer come out than the file holds.
    """
    if source.is_video_file:
        return _iter_file(source)
    return (frame for file in source.files for frame in repeat(read_image(file), source.held))


def iter_frames_backwards(source: VideoSource) -> Iterator[NDArray[np.uint8]]:
    """The frames of `iter_frames`, last first; of a video file by way of a temporary raw copy.

    Raises:
        VideoError: as `iter_frames`.
    """
    if not source.is_video_file:
        yield from map(read_image, source.files[::-1])
        return
    with tempfile.TemporaryFile() as raw:
        shape, count = (0, 0, 3), 0
        for frame in _iter_file(source):
            shape = frame.shape
            raw.write(frame.tobytes())
            count += 1
        size = int(np.prod(shape))
        for index in reversed(range(count)):
            raw.seek(index * size)
            yield np.frombuffer(raw.read(size), dtype=np.uint8).reshape(shape)


@contextmanager
def _open(source: VideoSource, **options: str) -> Iterator[Any]:
    """The file's container, with its one video stream; `options` are those of FFmpeg's demuxer."""
    path, name = source.place, source.name
    if not path.is_file():
        raise VideoError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: empty file (0 bytes): write it again")
    member = source.member
    with open_member(path, member) if member else nullcontext(str(path)) as file:
        try:
            container = av.open(file, options=options)
        except (av.error.FFmpegError, OSError) as error:
            raise VideoError(
                f"{name}: cannot be opened as a video ({_short(error)}): it is corrupt or cut "
                "off; write it again"
            ) from error
        with container:
            if container.format.name not in _FORMATS:
                raise VideoError(
                    f"{name}: is {container.format.long_name}, expected mp4, gif, webm or mkv"
                )
            count = len(container.streams.video)
            if count != 1:
                raise VideoError(
                    f"{name}: holds {count} video streams, expected 1 (a cover picture is one, "
                    "too): keep the one that is meant"
                )
            yield container


def _probe_file(source: VideoSource) -> VideoInfo:
    name = source.name
    with _open(source) as container:
        stream = container.streams.video[0]
        packets = _packets(container, stream, name)
        times_s = sorted(
            float(p.pts * p.time_base) for p in packets if p.pts is not None and not p.is_discard
        )
        shown = sum(not packet.is_discard for packet in packets)  # an edit list discards some
        if len(packets) < stream.frames:
            with _open(source, ignore_editlist="1") as whole:
                there = len(_packets(whole, whole.streams.video[0], name))
            if there < stream.frames:
                raise VideoError(
                    f"{name}: truncated: its header promises {stream.frames} frames, {there} are "
                    "there; write it again"
                )
        if not shown:
            raise VideoError(f"{name}: holds no frame")
        with _bytes_of(source) as file:
            require_end(name, file, container, times_s)
        rate = stream.average_rate or stream.guessed_rate
        size_hw = (stream.codec_context.height, stream.codec_context.width)
        fps = float(rate) if rate else None
        tags = {key.lower(): value for key, value in stream.metadata.items()}
        alpha = tags.get("alpha_mode") == "1"  # of VP8 and VP9; their decoders drop it
        kind = _kind(stream.codec_context.format, name, alpha)
    _require_plain_pictures(source)
    shown = -(-shown // source.step)
    count = shown if source.limit is None else min(shown, source.limit)
    return VideoInfo(size_hw, count, fps, kind, is_steady(times_s))


def _packets(container: Any, stream: Any, name: str) -> list[Any]:
    try:
        return [packet for packet in container.demux(stream) if packet.size]
    except av.error.FFmpegError as error:
        raise VideoError(f"{name}: truncated or corrupt ({_short(error)})") from error


def _require_plain_pictures(source: VideoSource) -> None:
    """Refuse, by its first frame, a video whose stored pixels are not those that players show.

    Metrics compare stored pixels. Which of the two is meant is not guessed, and not corrected on
    one side: a filter between the file and the metric would be a step that no protocol names.
    """
    with _open(source) as container:
        stream = container.streams.video[0]
        ratio = float(stream.sample_aspect_ratio or 1)
        # Before a frame is decoded: HEVC's decoder drops tags that the container alone has.
        trc, primaries = stream.codec_context.color_trc, stream.codec_context.color_primaries
        try:
            frame = next(container.decode(video=0), None)
        except av.error.FFmpegError:
            return  # what cannot be decoded is refused with its place when it is read
        if frame is None:
            return
        name = source.name
        _require_opaque(frame, name)
        if any(data.type.name == "DISPLAYMATRIX" for data in frame.side_data):
            raise VideoError(
                f"{name}: its header asks players to rotate or mirror it ({frame.rotation:g} "
                "degrees): re-encode it upright, as `ffmpeg -i IN OUT.mp4` does"
            )
        _require_progressive(frame, name)
        trc = frame.color_trc if frame.color_trc != _UNTOLD else trc
        if trc in _HDR_TRANSFERS:
            raise VideoError(
                f"{name}: is HDR ({_HDR_TRANSFERS[ColorTrc(trc)]}), expected BT.709: tone-map it "
                "(FFmpeg's filters zscale and tonemap), and write it again"
            )
        primaries = frame.color_primaries if frame.color_primaries != _UNTOLD else primaries
        if primaries in _WIDE_GAMUTS:
            raise VideoError(
                f"{name}: its colours are {_WIDE_GAMUTS[ColorPrimaries(primaries)]}, expected "
                "BT.709: convert them (FFmpeg's filter zscale=p=709:t=709:m=709), and write it "
                "again"
            )
        if abs(ratio - 1) > _SQUARE_WITHIN:
            raise VideoError(
                f"{name}: its pixels are {ratio:.4g} times as wide as high, expected square ones: "
                "write it as it is shown (`ffmpeg -i IN -vf scale=iw*sar:ih,setsar=1 OUT.mp4`) or, "
                "if the stored pixels are meant, without the ratio (`-vf setsar=1`)"
            )


def _require_progressive(frame: av.VideoFrame, name: str) -> None:
    if frame.interlaced_frame:
        raise VideoError(
            f"{name}: is interlaced: deinterlace it (`ffmpeg -i IN -vf bwdif=0 OUT.mp4`)"
        )


def _require_opaque(frame: av.VideoFrame, name: str) -> None:
    """Refuse the holes of a GIF; its format says alpha of every one, with holes or without."""
    may_have = name.lower().endswith(".gif") and frame.format.name == "bgra"
    if may_have and frame.to_ndarray()[..., 3].min() < _OPAQUE:
        raise VideoError(f"{name}: has transparent pixels: write it with its background")


def _bytes_of(source: VideoSource) -> BinaryIO:
    """A video file's own bytes, inside a shard or not."""
    member = source.member
    return open_member(source.place, member) if member else source.place.open("rb")


def _kind(pixels: Any, name: str, alpha: bool) -> str:
    if pixels is None:
        raise VideoError(f"{name}: no frame can be decoded: corrupt")
    bits = max(component.bits for component in pixels.components)
    if name.lower().endswith(".gif") or (pixels.has_palette and bits == 8):
        return EIGHT_BIT_RGB  # a GIF is a palette of 8-bit colours by its nature
    colour = "grey" if len(pixels.components) == 1 else "colour"
    alpha = alpha or len(pixels.components) in (2, 4)
    return f"{bits}-bit {colour}" + (" with alpha" if alpha else "")


def _iter_file(source: VideoSource) -> Iterator[NDArray[np.uint8]]:
    name = source.name
    info = _probe_file(source)
    expected, size_hw = info.num_frames, info.size_hw
    decoded = read = 0
    with _open(source) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"err_detect": "explode"}
        reformatter = VideoReformatter()  # one for all frames: each would set up its own
        try:
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    raise VideoError(f"{name}: frame {decoded} is corrupt: write the file again")
                _require_progressive(frame, name)  # a recording may begin with plain frames
                if (frame.height, frame.width) != size_hw:
                    raise VideoError(
                        f"{name}: frame {decoded} is {frame.width}x{frame.height}, but the header "
                        f"says {size_hw[1]}x{size_hw[0]}: one video has one size"
                    )
                _require_opaque(frame, name)
                decoded += 1
                if (decoded - 1) % source.step:
                    continue
                rgb = reformatter.reformat(frame, format="rgb24")
                yield cast(NDArray[np.uint8], rgb.to_ndarray())
                read += 1
                if read == source.limit:
                    return
        except av.error.FFmpegError as error:
            raise VideoError(
                f"{name}: corrupt after frame {decoded} ({_short(error)}): write it again"
            ) from error
    if read < expected:
        raise VideoError(
            f"{name}: {read} of {expected} frames can be decoded: corrupt; write it again"
        )


def _probe_images(source: VideoSource) -> VideoInfo:
    first: VideoInfo | None = None
    for path in source.files:
        size_hw, kind = image_size_and_kind(path)
        info = VideoInfo(size_hw, len(source.files) * source.held, None, kind)
        first = first or info
        if info != first:
            raise VideoError(
                f"{path}: {_words(info)}, but the frames before it are {_words(first)}: "
                "one video has one size and one kind of pixel"
            )
    if first is None:
        raise VideoError(f"{source.video_id}: no frame")
    return first


def _words(info: VideoInfo) -> str:
    return f"{info.size_hw[1]}x{info.size_hw[0]} {info.kind}"


def _short(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)
