"""One real clip as phones, cameras and DVDs would have written it: files that readers get wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorTrc
from numpy.typing import NDArray
from PIL import Image

FPS, NUM_FRAMES, SIZE_HW = 30, 36, (512, 288)
Frames = Sequence[NDArray[np.uint8]]
Configure = Callable[[av.VideoStream], None]


def write_media(clip: Path, folder: Path) -> None:
    """Write base.mp4 and its ten odd twins into `folder`.

    Args:
        clip: a portrait clip at 60 frames/s, of 72 frames or more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fields = _read(clip, 2 * NUM_FRAMES)
    base = fields[::2]
    bars = ((0, 0), (350, 350), (0, 0))  # what fills 16:9
    wide = [_resized(frame, (512, 512)) for frame in base]
    _write(folder / "base.mp4", base)
    _write(folder / "mirror.mp4", [frame[:, ::-1] for frame in base])
    _reflect(folder / "mirror.mp4")
    _write(folder / "sar.mkv", wide, _pixel_aspect(Fraction(9, 16)))
    _write(
        folder / "sar_dvd.mpg",
        [_resized(np.pad(_resized(f, (576, 324)), bars), (576, 720)) for f in base],
        _pixel_aspect(Fraction(64, 45)),
        codec="mpeg2video",
        options={"qscale": "2"},
        fps=25,
    )
    _write(folder / "interlaced.mp4", _woven(fields), _interlaced)
    _write(folder / "gap2s.mp4", base, gap_s=2)
    turned = [np.rot90(frame, 1) for frame in base]
    _write_hdr(folder / "hlg_rot.mov", turned, ColorTrc.ARIB_STD_B67, rotate=-90)
    _write_hdr(folder / "pq.mp4", base, ColorTrc.SMPTE2084)
    _write(folder / "cover_first.mkv", base, before=("mjpeg", base[:1]))
    small = [np.full((48, 64, 3), 10, np.uint8)] * NUM_FRAMES
    _write(folder / "twotracks.mp4", base, before=("libx264", small))


def _read(clip: Path, count: int) -> list[NDArray[np.uint8]]:
    with av.open(str(clip)) as container:
        frames = (frame.to_image() for frame in container.decode(video=0))
        return [_resized(np.asarray(frame), SIZE_HW) for frame in itertools.islice(frames, count)]


def _resized(frame: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(frame).resize(size_hw[::-1], Image.Resampling.LANCZOS))


def _pixel_aspect(ratio: Fraction) -> Configure:
    def configure(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = ratio

    return configure


def _interlaced(stream: av.VideoStream) -> None:
    flags = av.codec.context.Flags
    stream.codec_context.flags |= flags.interlaced_dct.value | flags.interlaced_me.value
    stream.options = {"crf": "12", "x264-params": "tff=1"}


def _woven(fields: Frames) -> list[NDArray[np.uint8]]:
    """Each frame of two moments, the earlier one in the top field."""
    woven = []
    for top, bottom in zip(fields[::2], fields[1::2], strict=True):
        frame = top.copy()
        frame[1::2] = bottom[1::2]
        woven.append(frame)
    return woven


def _write(
    path: Path,
    frames: Frames | Sequence[av.VideoFrame],
    configure: Configure = lambda stream: None,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    fps: int = FPS,
    gap_s: float = 0,
    before: tuple[str, Frames] | None = None,
) -> None:
    """One video; `gap_s` in the middle of its time; `before` is another track, which is first."""
    with av.open(str(path), "w") as container:
        tracks = []
        if before is not None:
            other = container.add_stream(before[0], rate=fps)
            other.pix_fmt = "yuvj420p" if before[0] == "mjpeg" else pix_fmt
            other.disposition = av.stream.Disposition(0)
            tracks.append((other, _pictures(before[1])))
        stream = container.add_stream(codec, rate=fps, options=options or {"crf": "12"})
        stream.pix_fmt = pix_fmt
        if before is not None:
            stream.disposition = av.stream.Disposition.default
        configure(stream)
        tracks.append((stream, _pictures(frames)))
        for track, pictures in tracks:
            track.width, track.height = pictures[0].width, pictures[0].height
        for track, pictures in tracks:
            for number, frame in enumerate(pictures):
                late = gap_s if number >= len(pictures) // 2 else 0
                frame.pts, frame.time_base = round(number + late * fps), Fraction(1, fps)
                container.mux(track.encode(frame))
            container.mux(track.encode(None))


def _pictures(frames: Frames | Sequence[av.VideoFrame]) -> list[av.VideoFrame]:
    return [
        f if isinstance(f, av.VideoFrame)
        else av.VideoFrame.from_ndarray(np.ascontiguousarray(f), format="rgb24")
        for f in frames
    ]  # fmt: skip


def _reflect(path: Path) -> None:
    """Write the display matrix of selfie apps: x is shown at -x, up to a shift."""
    mp4 = bytearray(path.read_bytes())
    at = mp4.index(b"tkhd") + 44
    mp4[at : at + 4] = (-1 << 16).to_bytes(4, "big", signed=True)
    path.write_bytes(mp4)


def _write_hdr(path: Path, frames: Frames, trc: ColorTrc, rotate: int = 0) -> None:
    """10-bit HEVC of BT.2020 that shows these BT.709 frames at 100 cd/m2 (BT.2087, BT.2100)."""

    def configure(stream: av.VideoStream) -> None:
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = int(trc), 9, 9
        context.color_range = 1
        stream.options = {"crf": "8", "preset": "ultrafast", "x265-params": "log-level=none"}
        if rotate:
            stream.set_display_rotation(rotate)

    made = []
    for frame in frames:
        codes = _to_hdr(frame, trc)
        weights = np.array([0.2627, 0.6780, 0.0593])
        luma = codes @ weights
        blue, red = (codes[..., 2] - luma) / 1.8814, (codes[..., 0] - luma) / 1.4746
        picture = av.VideoFrame(frame.shape[1], frame.shape[0], "yuv420p10le")
        picture.color_trc, picture.color_primaries, picture.colorspace = int(trc), 9, 9
        picture.color_range = 1
        halves = [c.reshape(c.shape[0] // 2, 2, c.shape[1] // 2, 2).mean((1, 3))
                  for c in (blue, red)]  # fmt: skip
        levels = [64 + 876 * luma, *(512 + 896 * half for half in halves)]
        for plane, level in zip(picture.planes, levels, strict=True):
            samples = np.zeros((plane.height, plane.line_size // 2), "<u2")
            samples[:, : plane.width] = level.round()
            plane.update(samples.tobytes())
        made.append(picture)
    _write(path, made, configure, codec="libx265", pix_fmt="yuv420p10le")


def _to_hdr(frame: NDArray[np.uint8], trc: ColorTrc) -> NDArray[np.float64]:
    """PQ or HLG codes in [0, 1], in BT.2020's primaries; [H, W, 3]."""
    to_2020 = np.array(
        [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    )
    nits = 100 * (frame / 255) ** 2.4 @ to_2020.T
    if trc == ColorTrc.SMPTE2084:
        power = (nits / 10000) ** 0.1593017578125
        return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)
    # On a display of 1000 cd/m2, whose system gamma is 1.2.
    shown = np.maximum(nits / 1000, 1e-9)
    luminance = shown @ np.array([0.2627, 0.6780, 0.0593])
    scene = shown * luminance[..., None] ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)
