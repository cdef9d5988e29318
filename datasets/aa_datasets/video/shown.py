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
from aa_datasets.video.tone_map import HDR_TRANSFERS, needs_tone_map, write_table

Note = TypeVar("Note")

# Rounded alike with and without vector instructions, which costs nothing next to scaling. What is
# not scaled is converted as decord does it, so that our own videos have the same pixels by both.
_EXACT = Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_UNTOLD, _BT2020 = 2, 9  # of transfer, primaries and matrix alike


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


class ColourTags(NamedTuple):
    """What a container says of a stream's colours, in FFmpeg's numbers."""

    trc: int
    primaries: int
    matrix: int
    range: int

    @classmethod
    def of(cls, stream: av.VideoStream) -> ColourTags:
        """Read them before a frame is decoded: HEVC's decoder drops what its stream leaves out."""
        told = stream.codec_context
        return cls(told.color_trc, told.color_primaries, int(told.colorspace), told.color_range)

    def complete(self, frame: av.VideoFrame) -> None:
        """Tag a frame with what its own stream leaves out; HDR is BT.2020 unless it says other."""
        trc = _first_told(frame.color_trc, self.trc)
        assumed = _BT2020 if trc in HDR_TRANSFERS else _UNTOLD
        frame.color_trc = trc
        frame.color_primaries = _first_told(frame.color_primaries, self.primaries, assumed)
        frame.colorspace = _first_told(int(frame.colorspace), self.matrix, assumed)
        frame.color_range = frame.color_range or self.range


def _first_told(*tags: int) -> int:
    return next((tag for tag in tags if tag != _UNTOLD), _UNTOLD)


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


def combed(
    frames: Iterable[tuple[av.VideoFrame, Note]],
) -> Iterator[tuple[av.VideoFrame, tuple[Note, bool]]]:
    """Note of each frame whether its two fields show different times, as FFmpeg's `idet` sees by
    the frames before and after it."""
    graph: av.filter.Graph | None = None
    made_for: tuple[object, ...] = ()
    waiting: deque[tuple[av.VideoFrame, Note]] = deque()

    def told() -> Iterator[tuple[av.VideoFrame, tuple[Note, bool]]]:
        for seen, (frame, note) in _ready(graph, waiting) if graph else ():
            found = seen.metadata["lavfi.idet.single.current_frame"]
            yield frame, (note, found in {"tff", "bff"})

    for frame, note in frames:
        form = (frame.width, frame.height, frame.format.name)
        if form != made_for:
            if graph is not None:
                graph.push(None)
            yield from told()
            graph, source = _graph_from(frame)
            graph.link_nodes(source, graph.add("idet"), graph.add("buffersink")).configure()
            made_for = form
        assert graph is not None
        waiting.append((frame, note))
        graph.push(frame)
        yield from told()
    if graph is not None:
        graph.push(None)
        yield from told()


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


def _graph_from(frame: av.VideoFrame) -> tuple[av.filter.Graph, av.filter.FilterContext]:
    """A graph for frames like this one, and its source."""
    graph = av.filter.Graph()
    graph.threads = 1
    return graph, graph.add(
        "buffer",
        f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/90000:"
        f"colorspace={int(frame.colorspace)}:range={int(frame.color_range)}",
    )


def _make_graph(frame: av.VideoFrame, hdr: tuple[int, int] | None) -> av.filter.Graph:
    graph, source = _graph_from(frame)
    # One frame for each frame; those that are not marked as interlaced pass.
    nodes = [source, graph.add("bwdif", mode="send_frame", deint="interlaced")]
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
