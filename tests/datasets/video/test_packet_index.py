from __future__ import annotations

import dataclasses
import zlib
from pathlib import Path

import av
import numpy as np
import pytest

from aa_datasets.video import foreign
from aa_datasets.video.foreign import DecodeLimits, ForeignFrame, iter_foreign_frames
from aa_datasets.video.packet_index import AstrayError, PacketIndex

FILES = [
    *(("a.ts", "libx264"), ("a.ts", "mpeg2video"), ("a.m2ts", "libx264"), ("a.mpg", "mpeg2video")),
    *(("a.mpg", "mpeg1video"), ("a.avi", "libx264"), ("a.avi", "mpeg4"), ("a.flv", "libx264")),
    ("a.wmv", "wmv2"),
]


def _write(path: Path, codec: str, num_frames: int = 300) -> Path:
    """Blocks that change from frame to frame, in open GOPs with B-frames where the codec has them;
    all that a file of 12 s needs for jumps to be found wanting."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.gop_size = 40
        if codec != "wmv2":
            stream.max_b_frames = 2
        if codec == "libx264":
            stream.options = {"x264-params": "open-gop=1:scenecut=0:bframes=2"}
        for _ in range(num_frames):
            picture = np.kron(rng.integers(0, 255, (12, 16, 3), np.uint8), np.ones((8, 8, 1)))
            frame = av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _index(path: Path) -> PacketIndex:
    index = next(foreign._from_child(path, "index", DecodeLimits()))
    assert isinstance(index, PacketIndex)
    return index


def _same(found: list[ForeignFrame], wanted: list[ForeignFrame]) -> None:
    assert [f.time_s for f in found] == [f.time_s for f in wanted]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)


@pytest.fixture(scope="module", params=FILES, ids="-".join)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name, codec = request.param
    return _write(tmp_path_factory.mktemp("files") / name, codec)


def test_the_same_packets_with_the_same_stamps_follow_a_jump(path: Path) -> None:
    index = _index(path)
    assert len(index.crc32) == 300
    jumps = 0
    for before_s in np.arange(0.0, 12.0, 0.75):
        jump = index.jump(before_s, np.inf)
        if jump is None:
            continue
        jumps += 1
        with av.open(str(path)) as container:
            found = [p for p in jump.packets(container, container.streams.video[0]) if p.size]
        first = len(index.crc32) - len(found)
        assert [zlib.crc32(p) for p in found] == index.crc32[first:].tolist()
        assert [p.dts for p in found] == index.dts[first:].tolist()
        assert [p.pts for p in found] == index.pts[first:].tolist()
        assert found[0].is_keyframe
        # From a key frame that precedes the span, and not much more: within two of these GOPs.
        landed_s = index.dts[first] * index.time_base_s - index.first_s
        assert before_s - 2 * 41 / 25 - 0.1 <= landed_s <= before_s
    assert jumps > 10


def test_a_span_behind_a_jump_holds_the_frames_of_a_whole_decode(path: Path) -> None:
    whole = list(iter_foreign_frames(path))
    assert len(whole) == 300
    for start_s, end_s in ((5.0, 6.0), (8.01, 8.5), (11.0, np.inf)):
        wanted = [frame for frame in whole if start_s <= frame.time_s < end_s]
        _same(list(iter_foreign_frames(path, start_s=start_s, end_s=end_s)), wanted)


def test_a_jump_that_goes_astray_costs_time_and_no_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is noticed at once, or when half of the span has been handed over."""
    path = _write(tmp_path / "a.ts", "libx264")
    wanted = [frame for frame in iter_foreign_frames(path) if 7 <= frame.time_s < 10]
    right = _index(path)
    stat = path.stat()
    key = (str(path), stat.st_size, stat.st_mtime_ns)
    for wrong in (slice(0, None), slice(212, 213)):
        crc32 = right.crc32.copy()
        crc32[wrong] ^= 1
        index = dataclasses.replace(right, crc32=crc32)
        jump = index.jump(5.0, 11.0)
        assert jump is not None
        with av.open(str(path)) as container, pytest.raises(AstrayError):
            list(jump.packets(container, container.streams.video[0]))
        monkeypatch.setitem(foreign._indices, key, index)
        _same(list(iter_foreign_frames(path, start_s=7, end_s=10)), wanted)


@pytest.mark.parametrize(
    ("dts", "listed"), [([0, 1, 2, 3], True), ([0, 1, 0, 1], False), ([0, None, 2, 3], False)]
)
def test_files_whose_times_do_not_rise_are_read_from_the_start(
    dts: list[int | None], listed: bool
) -> None:
    """As where recordings were joined: a time does not tell a place."""
    packets = [av.Packet(bytes([number])) for number in range(4)]
    for packet, stamp in zip(packets, dts, strict=True):
        packet.dts = stamp
    assert (PacketIndex.of(0.0, 0.04, packets) is not None) == listed


def test_a_file_is_listed_once_and_again_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "_indices", {})
    path = _write(tmp_path / "a.ts", "libx264", 250)
    for start_s in (5.0, 7.0):
        list(iter_foreign_frames(path, start_s=start_s))
    assert len(foreign._indices) == 1
    _write(path, "libx264", 200)
    assert len(list(iter_foreign_frames(path, start_s=5.0))) == 75
    assert len(foreign._indices) == 2
