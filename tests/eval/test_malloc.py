"""Memory: what outlives a frame has pages of its own, and the heap has no holes by it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from aa_eval.malloc import keep_freed_memory, outside_the_heap
from aa_eval.metrics.lpips import lpips_features, make_lpips
from aa_eval.protocol import read_protocol
from aa_eval.scoring.feature_windows import WindowFeatures

linux = pytest.mark.skipif(sys.platform != "linux", reason="skipped: reads /proc")


def is_in_the_heap(address: int) -> bool:
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split()[0].split("-") for line in lines if line.endswith("[heap]")]
    return any(int(low, 16) <= address < int(high, 16) for low, high in spans)


@pytest.fixture
def roomy_heap() -> None:
    """A heap with a hole of 32 MiB, which anything below would be put into."""
    keep_freed_memory()
    hole, _above = np.zeros(2**23, np.float32), [np.zeros(1000) for _ in range(100)]
    del hole


@pytest.mark.parametrize("shape", [(0, 3), (5,), (3, 224, 224), (2, 1024, 1024)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_it_is_an_array_of_zeros(shape: tuple[int, ...], dtype: type[np.float32]) -> None:
    array = outside_the_heap(shape, dtype)
    assert (array.shape, array.dtype) == (shape, dtype)
    assert not array.any()
    array += 1
    assert array.all()


@linux
@pytest.mark.weights
@pytest.mark.usefixtures("roomy_heap")
def test_features_of_lpips_are_outside() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), dtype=np.uint8)
    (layers,) = lpips_features(make_lpips("alex"), frame, "-1..1")
    assert not any(is_in_the_heap(layer.data_ptr()) for layer in layers)


@linux
@pytest.mark.usefixtures("roomy_heap")
def test_frames_of_open_windows_are_outside_and_a_still_picture_is_kept_once() -> None:
    spec = read_protocol("aa-clean-v2").video_features
    assert spec is not None
    stream = WindowFeatures(spec, pytest.fail, [(0, 9)], "cpu")
    frames = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)
    stream.push(np.concatenate([frames, frames[-1:], frames[-1:]]))
    places = {frame.__array_interface__["data"][0] for frame in stream._frames}
    assert len(places) == len(frames)
    assert not any(map(is_in_the_heap, places))
