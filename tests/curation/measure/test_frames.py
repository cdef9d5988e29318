from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aa_curation.measure.frame_stats import cropped_planes
from aa_curation.measure.frames import cropped, iter_frames_at, resized, thinned_fps, ticks_s
from aa_curation.measure.shots import Span
from aa_datasets.errors import VideoError
from aa_datasets.video.canonical import encode_canonical
from aa_datasets.video.foreign import Planes
from aa_datasets.video.frame_size import canonical_size


def _numbered(num_frames: int) -> list[np.ndarray]:
    """Frames whose grey level tells their number."""
    return [np.full((64, 64, 3), 20 + 4 * i, np.uint8) for i in range(num_frames)]


def _numbers(path: Path, times_s: np.ndarray, fps: float) -> list[int]:
    frames = iter_frames_at(path, times_s, fps, crop_px=None, max_side_px=1920)
    return [round((float(frame.mean()) - 20) / 4) for frame in frames]


@pytest.mark.parametrize(("fps", "to", "step"), [(60, 30, 2), (50, 25, 2), (24, 24, 1)])
def test_thinning_keeps_every_nth_frame(tmp_path: Path, fps: int, to: float, step: int) -> None:
    path = tmp_path / "numbered.mp4"
    path.write_bytes(encode_canonical(_numbered(48), fps))
    assert thinned_fps(fps, 30) == to
    ticks = ticks_s(Span(0, 48 / fps), to)
    assert _numbers(path, ticks, fps) == list(range(0, 48, step))


def test_a_span_begins_and_ends_on_its_frames(tmp_path: Path) -> None:
    path = tmp_path / "numbered.mp4"
    path.write_bytes(encode_canonical(_numbered(48), 24))
    assert _numbers(path, ticks_s(Span(0.5, 1.0), 24), 24) == list(range(12, 24))


def test_rounded_time_stamps_of_matroska_lose_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "numbered.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for frame in _numbered(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    assert _numbers(path, ticks_s(Span(0, 40 / 30), 30), 30) == list(range(40))


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_of_a_varying_rate_each_time_gets_the_frame_that_is_shown_then(
    tmp_path: Path, container: str
) -> None:
    path = tmp_path / f"varying.{container}"
    generator = np.random.default_rng(3)
    gaps_ms = generator.choice([17, 33, 50, 120, 400], size=39)
    begins_ms = np.concatenate([[0], np.cumsum(gaps_ms)])
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264")
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for pixels, begin_ms in zip(_numbered(40), begins_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = int(begin_ms), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    fps = 39_000 / int(begins_ms[-1])  # frames are counted, whatever the header claims
    ticks = ticks_s(Span(0, float(begins_ms[-1]) / 1000), 30)
    early_ms = 250 / fps  # a quarter of a frame
    expected = [int(np.sum(begins_ms <= 1000 * tick + early_ms)) - 1 for tick in ticks]
    assert len(set(expected)) < len(expected)  # some are shown for several ticks
    assert _numbers(path, ticks, fps) == expected


def test_common_rates_are_never_raised_and_never_above_the_bound() -> None:
    assert thinned_fps(30000 / 1001, 30) == 30000 / 1001
    assert thinned_fps(120, 30) == 30
    assert thinned_fps(24, 30) == 24


@given(st.integers(32, 4000), st.integers(32, 4000), st.integers(64, 1024))
def test_canonical_sizes_are_even_and_keep_the_shape(
    height: int, width: int, short_side_px: int
) -> None:
    h, w = canonical_size((height, width), short_side_px)
    assert h % 2 == w % 2 == 0
    assert min(h, w) <= max(short_side_px, min(height, width)) + 1
    assert h <= height + 1
    assert w <= width + 1
    scale = min(1, short_side_px / min(height, width))
    assert abs(h - height * scale) <= 1
    assert abs(w - width * scale) <= 1


def test_a_crop_outside_of_the_frame_is_refused() -> None:
    frame = np.zeros((10, 20, 3), np.uint8)
    assert cropped(frame, (2, 1, 20, 10)).shape == (9, 18, 3)
    with pytest.raises(VideoError, match="outside of its 20x10 frames"):
        cropped(frame, (0, 0, 21, 10))


@pytest.mark.parametrize("crop_px", [(0, 0, 21, 10), (0, 0, 20, 11), (30, 20, 40, 30)])
def test_a_crop_outside_of_the_planes_is_refused(crop_px: tuple[int, int, int, int]) -> None:
    half = np.zeros((5, 10), np.uint8)
    planes = Planes(np.zeros((10, 20), np.uint8), half, half)
    with pytest.raises(VideoError, match="outside of its 20x10 frames"):
        cropped_planes(planes, crop_px)


@given(st.tuples(*[st.integers(0, 20)] * 2), st.tuples(*[st.integers(0, 10)] * 2))
def test_cropped_planes_are_of_one_picture(xs: tuple[int, int], ys: tuple[int, int]) -> None:
    (x0, x1), (y0, y1) = sorted(xs), sorted(ys)
    if x0 == x1 or y0 == y1:
        return
    luma = np.arange(200, dtype=np.uint8).reshape(10, 20)
    planes = Planes(luma, luma[::2, ::2].copy(), luma[::2, ::2].copy())
    found = cropped_planes(planes, (x0, y0, x1, y1))
    np.testing.assert_array_equal(found.luma, luma[y0:y1, x0:x1])
    for plane in (found.blue, found.red):  # every pixel's colour is there, and no stranger's
        wanted = luma[y0 // 2 * 2 : y1 : 2, x0 // 2 * 2 : x1 : 2]
        np.testing.assert_array_equal(plane, wanted)


def test_a_smaller_frame_is_the_mean_of_what_it_covers() -> None:
    """One white pixel in three: area gives a third of the light, whatever the pixel's place."""
    frame = np.zeros((12, 18, 3), np.uint8)
    frame[:, ::3] = 255
    small = resized(frame, (4, 6))
    assert small.shape == (4, 6, 3)
    np.testing.assert_array_equal(small, 85)
    assert resized(frame, (12, 18)) is frame
