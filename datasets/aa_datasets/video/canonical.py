"""Canonical video: how clips are stored in shards, written and read back by PyAV.

Closed GOPs at a constant rate make random access exact: a jump to the key frame of a frame, and at
most 11 frames more. decord reads it, too (`decoder="decord"`); a contract test compares pixels.
"""

from __future__ import annotations

import io
import itertools
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from aa_datasets.errors import VideoError

Decoder: TypeAlias = Literal["pyav", "decord"]

GOP_FRAMES = 12  # a random 24-frame window decodes at most 11 frames that it does not need
_CRF = 16  # visually lossless for training targets
# FFmpeg's plain code and that for vector instructions round otherwise.
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def encode_canonical(frames: Iterable[NDArray[np.uint8]], fps: float, crf: int = _CRF) -> bytes:
    """Encode uint8 RGB [H, W, 3] frames as canonical H.264 in mp4.

    Closed GOPs of 12, no B-frames, constant rate, index in front: the same frames give the same
    bytes on any x86-64 processor, by one version of FFmpeg and x264. H and W must be even
    (yuv420p).

    Raises:
        VideoError: no frames, odd size, or frames of several sizes.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise VideoError("no frames to encode: a video needs at least one")
    height, width = first.shape[:2]
    if height % 2 or width % 2:
        raise VideoError(
            f"cannot encode {width}x{height} frames as yuv420p: "
            "crop or resize to even width and height"
        )
    # A file and not memory: moving the index to the front reopens what was written.
    with tempfile.TemporaryDirectory(prefix="aa-encode-") as folder:
        path = Path(folder, "clip.mp4")
        with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
            container.flags |= cast(int, av.container.Flags.bitexact.value)
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
            _configure(stream, (height, width), crf)
            reformatter = VideoReformatter()  # one for all frames: each would set up its own
            for frame in itertools.chain([first], frames):
                if frame.shape != first.shape:
                    raise VideoError(f"frame of shape {frame.shape} in a video of {first.shape}")
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                yuv = reformatter.reformat(
                    picture,
                    format="yuv420p",
                    dst_colorspace=Colorspace.ITU709,
                    interpolation=_EXACT,
                    threads=1,
                )
                container.mux(stream.encode(yuv))
            container.mux(stream.encode(None))
        return path.read_bytes()


def _configure(stream: av.VideoStream, size_hw: tuple[int, int], crf: int) -> None:
    stream.height, stream.width = size_hw
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.thread_count = 1
    flags = av.codec.context.Flags
    context.flags |= flags.bitexact.value | flags.closed_gop.value
    # Tagged BT.709, limited range, so that every decoder makes the same RGB of it.
    context.color_primaries = context.color_trc = context.colorspace = 1
    context.color_range = 1
    stream.options = {
        "crf": str(crf),
        "preset": "veryfast",
        # x264 chooses among algorithms by the processor otherwise; with AVX-512 its mbtree even
        # reads uninitialised memory (x264 165), at some widths: other bytes from run to run.
        "x264-params": f"keyint={GOP_FRAMES}:min-keyint={GOP_FRAMES}:scenecut=0:bframes=0:"
        "threads=1:deterministic=1:cpu-independent=1",
    }


def read_canonical(
    mp4: bytes | Path | str,
    indices: NDArray[np.int64] | None = None,
    *,
    num_frames: int | None = None,
    decoder: Decoder = "pyav",
) -> NDArray[np.uint8]:
    """Decode frames of a canonical video.

    Args:
        mp4: the file or its bytes, as written by `encode_canonical`.
        indices: which frames, in which order; None reads all.
        num_frames: how many frames the record of this clip promises; checked when given.
        decoder: both give the same pixels; PyAV takes 0.6 to 0.75 of decord's time.

    Returns:
        uint8 RGB [T, H, W, 3].

    Raises:
        VideoError: not decodable, or of another length than promised.
    """
    mp4 = Path(mp4) if isinstance(mp4, str) else mp4
    read = _read_by_pyav if decoder == "pyav" else _read_by_decord
    return read(mp4, indices, num_frames)


def _read_by_pyav(
    mp4: bytes | Path, indices: NDArray[np.int64] | None, num_frames: int | None
) -> NDArray[np.uint8]:
    name = _name(mp4)
    try:
        with av.open(str(mp4) if isinstance(mp4, Path) else io.BytesIO(mp4), "r") as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            stream.codec_context.options = {"err_detect": "explode"}  # FFmpeg conceals otherwise
            wanted = _checked(name, stream.frames, num_frames, indices)
            ordered, inverse = np.unique(wanted, return_inverse=True)
            frames = np.empty((len(ordered), stream.height, stream.width, 3), np.uint8)
            reformatter = VideoReformatter()  # one for all frames: each would set up its own
            for place, frame in enumerate(_seek_frames(container, stream, ordered.tolist(), name)):
                rgb = reformatter.reformat(frame, format="rgb24", threads=1)
                frames[place] = rgb.to_ndarray()
    except (av.error.FFmpegError, IndexError) as error:
        raise VideoError(f"{name} cannot be decoded as a canonical video: {error}") from error
    return frames if np.array_equal(ordered, wanted) else frames[inverse]


def _seek_frames(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    numbers: list[int],
    name: str,
) -> Iterator[av.VideoFrame]:
    """Yield frames by rising number; jumps to the key frame of each, and decodes from there."""
    assert stream.time_base is not None
    ticks = 1 / ((stream.average_rate or 1) * stream.time_base)  # from frame to frame
    decoded: Iterator[av.VideoFrame] = iter(())
    following = -1  # the number of the frame that is decoded next
    for number in numbers:
        key = number - number % GOP_FRAMES
        if not key <= following <= number:
            container.seek(int(key * ticks), stream=stream)
            decoded, following = container.decode(stream), key
        while following <= number:
            frame = next(decoded, None)
            found = None if frame is None or frame.pts is None else round(frame.pts / ticks)
            if frame is None or found != following or frame.is_corrupt:
                raise VideoError(
                    f"{name} cannot be decoded as a canonical video: frame {following} is missing "
                    f"or corrupt (found {found})"
                )
            if following == number:
                yield frame
            following += 1


def _read_by_decord(
    mp4: bytes | Path, indices: NDArray[np.int64] | None, num_frames: int | None
) -> NDArray[np.uint8]:
    import cv2  # noqa: F401  first: decord's zlib shadows cv2's, which then reads and writes no PNG
    import decord

    name = _name(mp4)
    try:
        # One thread a reader, and errors instead of silently repeated frames (fault_tol=1).
        reader = decord.VideoReader(
            str(mp4) if isinstance(mp4, Path) else io.BytesIO(mp4), num_threads=1, fault_tol=1
        )
        wanted = _checked(name, len(reader), num_frames, indices)
        ordered, inverse = np.unique(wanted, return_inverse=True)
        frames = np.asarray(_InPlace(reader.get_batch(ordered)))
    except (decord.DECORDError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        if "DECORDArrayCopyFromTo" in reason:
            # Its picture rows of 16, 24, 48 and 72 pixels have a padding that it does not expect.
            warnings.warn(f"decord cannot read {name}, read by PyAV", RuntimeWarning, stacklevel=3)
            return _read_by_pyav(mp4, indices, num_frames)
        raise VideoError(f"{name} cannot be decoded as a canonical video: {reason}") from error
    return frames if np.array_equal(ordered, wanted) else frames[inverse]


class _InPlace:
    """Lets NumPy read decord's frames in place: its own `asnumpy` copies them into new pages, which
    costs a tenth of decoding."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch  # whose memory it is
        self.__array_interface__ = {
            "version": 3,
            "shape": batch.shape,
            "typestr": "|u1",
            "data": (batch.handle.contents.data, False),
        }


def _name(mp4: bytes | Path) -> str:
    return mp4.name if isinstance(mp4, Path) else f"video of {len(mp4)} bytes"


def _checked(
    name: str, found: int, promised: int | None, indices: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Return the indices asked for, if the length is as promised and they are inside it."""
    if promised is not None and found != promised:
        raise VideoError(
            f"{name} has {found} frames, its record says {promised}: "
            "the shard is damaged, rebuild it"
        )
    wanted = np.arange(found) if indices is None else np.asarray(indices)
    if wanted.size == 0 or wanted.min() < 0 or wanted.max() >= found:
        raise VideoError(f"{name} has frames 0 to {found - 1}, asked for {wanted}")
    return wanted
