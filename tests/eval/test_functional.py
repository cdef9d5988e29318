"""The plain functions: numbers of their definitions, with a small network in I3D's place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from aa_eval import functional
from aa_eval.errors import MetricUnavailable, PairingError, ProtocolError
from aa_eval.features.networks import NETWORKS, FeatureNetwork
from aa_eval.features.spec import VideoFeatures
from aa_eval.metrics.frechet import frechet_distance
from aa_eval.metrics.kvd import kernel_distance_of_videos
from aa_eval.metrics.lpips import lpips_per_frame, make_lpips
from aa_eval.protocol import read_protocol

Frames = NDArray[np.uint8]


def _mean_and_motion(windows: Tensor) -> Tensor:
    """[B, 3, T, H, W] -> [B, 4]: the mean colour, and how much of red changes."""
    change = (windows[:, 0, 1:] - windows[:, 0, :-1]).abs().mean((1, 2, 3))
    return torch.cat([windows.mean((2, 3, 4)), change[:, None]], dim=1)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[VideoFeatures, str]]]:
    """What the small network was made for, each time."""
    made: list[tuple[VideoFeatures, str]] = []

    def make(spec: VideoFeatures, device: str) -> object:
        made.append((spec, device))
        return _mean_and_motion

    small = FeatureNetwork(4, (224, 224), dict, make)  # type: ignore[arg-type]
    monkeypatch.setitem(NETWORKS, "i3d-kinetics-400", small)
    functional._network.cache_clear()
    yield made
    functional._network.cache_clear()


def _videos(seed: int, lengths: tuple[int, ...]) -> list[Frames]:
    draw = np.random.default_rng(seed)
    return [draw.integers(0, 256, (T, 224, 224, 3), dtype=np.uint8) for T in lengths]


def _vectors(videos: list[Frames]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Of the windows of 16 frames that do not overlap, with the number of their video."""
    rows, numbers = [], []
    for number, frames in enumerate(videos):
        for start in range(0, len(frames) - 15, 16):
            window = torch.from_numpy(
                frames[start : start + 16] / np.float32(127.5) - np.float32(1)
            )
            rows.append(_mean_and_motion(window.permute(3, 0, 1, 2)[None])[0].double().numpy())
            numbers.append(number)
    return np.stack(rows), np.array(numbers)


def test_fvd_and_kvd_are_those_of_all_windows_of_all_videos(
    network: list[tuple[VideoFeatures, str]],
) -> None:
    ours, theirs = _videos(0, (33, 16, 40)), _videos(1, (16, 48, 20))
    (a, of_a), (b, of_b) = _vectors(ours), _vectors(theirs)
    assert (len(a), len(b)) == (5, 5)
    assert functional.fvd(ours, theirs) == pytest.approx(frechet_distance(a, b), rel=1e-4)
    assert functional.fvd(ours[:1], theirs) == pytest.approx(frechet_distance(a[:2], b), rel=1e-4)
    kvd = kernel_distance_of_videos(a, b, of_a, of_b)
    assert functional.kvd(ours, theirs) == pytest.approx(kvd, abs=1e-6)
    assert functional.kvd(ours, ours) == 0
    assert functional.fvd(ours, ours) == pytest.approx(0, abs=1e-9)
    assert network == [(read_protocol("aa-clean-v2").video_features, "cpu")], "made once"


def test_too_few_windows_and_protocols_without_them_are_refused(
    network: list[tuple[VideoFeatures, str]],
) -> None:
    with pytest.raises(MetricUnavailable, match="at least 2 windows"):
        functional.fvd(_videos(0, (31,)), _videos(1, (32,)))
    with pytest.raises(MetricUnavailable, match="pairs of different videos need 2"):
        functional.kvd(_videos(0, (32,)), _videos(1, (32,)))
    for name in ("aa-cross-v1", "fvd-styleganv"):  # no set metric; windows that are drawn
        with pytest.raises(ProtocolError, match=f"protocol {name}: has no windows of its own: cho"):
            functional.fvd(_videos(0, (16,)), _videos(1, (16,)), name)


@pytest.mark.weights
@pytest.mark.parametrize("input_range", ["-1..1", "0..1"])
def test_lpips_is_the_named_network_in_the_named_range(input_range: str) -> None:
    ours, theirs = (v[:, :64, :64] for v in _videos(0, (2, 2)))
    expected = lpips_per_frame(make_lpips("alex"), ours, theirs, input_range)  # type: ignore[arg-type]
    found = functional.lpips(ours, theirs, "alex", input_range)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    if input_range == "-1..1":
        np.testing.assert_allclose(functional.lpips(ours, theirs), expected, rtol=1e-6)
    with pytest.raises(PairingError):
        functional.lpips(ours, theirs[:1])
