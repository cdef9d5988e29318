"""From a decoded frame to the picture that a player shows, and the forms it is handed over in.

Displays have square pixels and BT.709, show whole frames, and turn or mirror what a phone recorded
sideways. FFmpeg's own filters deinterlace and tone-map; size and orientation are applied with the
scaling that follows.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from aa_datasets.video.frame_size import ScaleTo, scaled_size
from aa_datasets.video.tone_map import needs_tone_map, write_table

Note = TypeVar("Note")

# Rounded alike with and without vector instructions, which costs nothing next to scaling. What is
# not scaled is converted as decord does it, so that our own videos have the same pixels by both.
_EXACT = Interpolation.ACCURATE_RND | Interpolation.BITEXACT


class Orientation(NamedTuple):
    """How a display matrix turns the stored picture: exchange rows and columns, then mirror."""

    transposed: bool = False
    left_right: bool = False
    upside_down: bool = False

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.transposed:
            pixels = pixels.swapaxes(0, 1)
        return pixels[:: -1 if self.upside_down else 1, :: -1 if self.left_right else 1]

    def size_hw(self, height: int, width: int) -> tuple[int, int]:
        return (width, height) if self.transposed else (height, width)


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """Read the display matrix of a frame, to the nearest quarter turn."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return Orientation()
    # x' = a x + c y and y' = b x + d y, where y points down (ISO/IEC 14496-12, 6.2.2).
    a, b, _, c, d, *_ = np.frombuffer(memoryview(cast(Any, side_data)), np.int32).tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


class Shape(NamedTuple):
    """How the frames of one stream are shown.

    Attributes:
        orientation: of all frames, by the first one.
        sample_aspect_ratio: width of a stored pixel over its height.
    """

    orientation: Orientation
    sample_aspect_ratio: float

    def square_hw(self, height: int, width: int) -> tuple[int, int]:
        """Size as stored, with square pixels; the height stays."""
        return height, max(1, round(width * self.sample_aspect_ratio))

    def shown_hw(self, height: int, width: int) -> tuple[int, int]:
        """Size as displayed, of frames of this stored size."""
        return self.orientation.size_hw(*self.square_hw(height, width))


def corrected(
    frames: Iterable[tuple[av.VideoFrame, Note]],
) -> Iterator[tuple[av.VideoFrame, Note]]:
    """Deinterlace what is interlaced and tone-map HDR; other frames pass as they are.

    Each frame comes out once, in order, with the note that it went in with. From the first
    interlaced frame on, each waits for the next one.
    """
    graph: av.filter.Graph | None = None
    made_for: tuple[object, ...] = ()
    notes: deque[Note] = deque()
    for frame, note in frames:
        tags = (frame.color_trc, frame.color_primaries)
        tone_mapped = needs_tone_map(*tags)
        if graph is None and not frame.interlaced_frame and not tone_mapped:
            yield frame, note
            continue
        colours = (int(frame.colorspace), int(frame.color_range))
        form = (frame.width, frame.height, frame.format.name, *colours, *tags)
        if graph is None or form != made_for:
            yield from _finished(graph, notes)
            graph, made_for = _make_graph(frame, tags if tone_mapped else None), form
        notes.append(note)
        graph.push(frame)
        yield from _ready(graph, notes)
    yield from _finished(graph, notes)


def _finished(
    graph: av.filter.Graph | None, notes: deque[Note]
) -> Iterator[tuple[av.VideoFrame, Note]]:
    if graph is not None:
        graph.push(None)
        yield from _ready(graph, notes)
        notes.clear()


def _ready(graph: av.filter.Graph, notes: deque[Note]) -> Iterator[tuple[av.VideoFrame, Note]]:
    while notes:
        try:
            frame = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield frame, notes.popleft()


def _make_graph(frame: av.VideoFrame, hdr: tuple[int, int] | None) -> av.filter.Graph:
    graph = av.filter.Graph()
    graph.threads = 1
    nodes = [
        graph.add(
            "buffer",
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/90000:"
            f"colorspace={int(frame.colorspace)}:range={int(frame.color_range)}",
        ),
        # One frame for each frame; those that are not marked as interlaced pass.
        graph.add("bwdif", mode="send_frame", deint="interlaced"),
    ]
    with tempfile.TemporaryDirectory(prefix="aa-colours-") as folder:
        if hdr is not None:
            table = Path(folder, "bt709.cube")
            write_table(table, *hdr)
            nodes.append(graph.add("scale", flags="accurate_rnd+bitexact+full_chroma_int"))
            nodes.append(graph.add("format", "gbrp16le"))
            nodes.append(graph.add("lut3d", file=str(table), interp="tetrahedral"))
            nodes.append(graph.add("format", "gbrp"))
        graph.link_nodes(*nodes, graph.add("buffersink")).configure()  # reads the table
    return graph


class Form(Protocol):
    """The arrays that a frame is handed over as."""

    def pictures(self, frame: av.VideoFrame, shape: Shape) -> list[NDArray[np.uint8]]: ...


class RgbForm:
    """One array a frame: RGB [H, W, 3]."""

    def __init__(self, scale_to: ScaleTo) -> None:
        self._scale_to = scale_to
        # One for all frames of a size: to set one up takes as long as a frame.
        self._reformatter = VideoReformatter()

    def pictures(self, frame: av.VideoFrame, shape: Shape) -> list[NDArray[np.uint8]]:
        scaled = _scaled(frame, shape, self._scale_to, self._reformatter, "rgb24")
        return [shape.orientation.apply(cast(NDArray[np.uint8], scaled.to_ndarray()))]


class PlanesForm:
    """Three arrays a frame, those of `Planes`."""

    def __init__(self, scale_to: ScaleTo) -> None:
        self._scale_to, self._reformatter = scale_to, VideoReformatter()

    def pictures(self, frame: av.VideoFrame, shape: Shape) -> list[NDArray[np.uint8]]:
        planar = _scaled(
            frame, shape, self._scale_to, self._reformatter, "yuv420p", ColorRange.JPEG
        )
        return [shape.orientation.apply(_plane(plane)) for plane in planar.planes]


def _scaled(
    frame: av.VideoFrame,
    shape: Shape,
    scale_to: ScaleTo,
    reformatter: VideoReformatter,
    pixel_format: str,
    color_range: ColorRange | None = None,
) -> av.VideoFrame:
    shown_hw = scaled_size(shape.shown_hw(frame.height, frame.width), scale_to)
    height, width = shape.orientation.size_hw(*shown_hw)
    how: Interpolation | None = None
    if (height, width) != (frame.height, frame.width):
        larger = height > frame.height or width > frame.width  # area would repeat pixels
        how = (Interpolation.BICUBIC if larger else Interpolation.AREA) | _EXACT
    return reformatter.reformat(
        frame,
        width,
        height,
        pixel_format,
        interpolation=how,
        dst_color_range=color_range,
        threads=1,  # the default is all cores, which other workers use
    )


def _plane(plane: av.video.plane.VideoPlane) -> NDArray[np.uint8]:
    rows: NDArray[np.uint8] = np.frombuffer(memoryview(plane), np.uint8)
    return rows.reshape(-1, plane.line_size)[: plane.height, : plane.width]
