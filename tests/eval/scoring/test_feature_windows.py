"""Windows: which there are under each rule, and that the stream gives what a plain loop gives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from aa_eval.features import networks
from aa_eval.features.networks import FeatureNetwork
from aa_eval.features.spec import VideoFeatures
from aa_eval.protocol import Protocol, read_protocol
from aa_eval.resize import resize
from aa_eval.scoring.feature_windows import (
    WindowFeatures,
    drawn_starts,
    needed_windows,
    window_starts,
)
from aa_eval.scoring.score_pairs import score_pairs
from aa_eval.videos.layout import find_videos
from aa_eval.videos.pairing import Pair, make_pairs

STYLEGANV = read_protocol("fvd-styleganv")
assert STYLEGANV.video_features is not None
SPEC = STYLEGANV.video_features


def toy(windows: torch.Tensor) -> torch.Tensor:
    """Mean colour, its change in time, and a product: [B, 3, T, H, W] -> [B, 5]."""
    colour = windows.double().mean(dim=(3, 4))
    change = (colour[:, :, 1:] - colour[:, :, :-1]).abs().sum(dim=(1, 2))
    mean = colour.mean(dim=2)
    return torch.cat([mean, change[:, None], (mean[:, 0] * mean[:, 1])[:, None]], dim=1)


@pytest.fixture
def toy_protocol(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Protocol]:
    """fvd-styleganv on a network of the user's own, as eval/README.md shows it."""
    own = FeatureNetwork(5, (16, 16), lambda: {"toy": "0" * 64}, lambda spec, device: toy)
    monkeypatch.setitem(networks.NETWORKS, "toy", own)

    def make(**fields: object) -> Protocol:
        spec = replace(SPEC, net="toy", size_hw=(16, 16), window_frames=4, **fields)  # type: ignore[arg-type]
        return replace(STYLEGANV, video_features=spec)

    return make


def random_frames(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 20, 12, 3), dtype=np.uint8)


def write_trees(folder: Path, lengths: list[int]) -> list[Pair]:
    for side, offset in (("gen", 50), ("gt", 0)):
        for index, count in enumerate(lengths):
            video = folder / side / f"video_{index}"
            video.mkdir(parents=True)
            # each video has a level of its own, so that the vectors are spread
            frames = random_frames(index + offset, count) // 4 + 15 * index + offset // 2
            for number, frame in enumerate(frames.astype(np.uint8)):
                Image.fromarray(frame).save(video / f"{number}.png")
    pairs, _ = make_pairs(find_videos(folder / "gen"), find_videos(folder / "gt"))
    return pairs


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 9), st.integers(1, 9))
def test_windows_are_the_runs_of_consecutive_numbers(
    kept: list[bool], length: int, stride: int
) -> None:
    numbers = [n for n, keep in enumerate(kept) if keep]
    every = window_starts(numbers, length, 1)
    # DisCo's definition: a file starts a window if all of the next `length` numbers exist
    assert [numbers[s] for s in every] == [
        n for n in numbers if all(n + k in numbers for k in range(length))
    ]
    assert set(window_starts(numbers, length, stride)) <= set(every)
    if len(numbers) == len(kept):  # no gap
        assert len(window_starts(numbers, length, stride)) == max(
            0, math.floor((len(numbers) - length) / stride) + 1
        )


def test_random_clips_are_drawn_by_video_and_run_alone() -> None:
    spec = replace(SPEC, runs=400)
    drawn = drawn_starts(spec, "a", range(20))
    assert set(drawn) == set(range(5))
    counts = np.bincount(drawn)
    assert counts.min() > 50  # 80 each on average; below 50 in one of 10^4 runs
    assert drawn[:7] == drawn_starts(replace(SPEC, runs=7), "a", range(20))
    assert drawn != drawn_starts(spec, "b", range(20))
    theirs = needed_windows(spec, "a", range(20), is_reference=True)
    assert theirs == [(start, start + 16) for start in range(5)]
    assert needed_windows(spec, "a", range(20), is_reference=False) == [(0, 16)]
    whole = replace(SPEC, window_rule="whole", window_frames=0, window_stride=0)
    assert needed_windows(whole, "a", (1, 2, 9), is_reference=True) == [(0, 3)]
    prefixes = replace(SPEC, window_rule="prefixes", window_frames=10)
    assert needed_windows(prefixes, "a", range(12), is_reference=False) == [
        (0, 10), (0, 11), (0, 12)
    ]  # fmt: skip
    assert needed_windows(prefixes, "a", range(9), is_reference=False) == []
    assert drawn_starts(spec, "a", range(15)) == []


@pytest.mark.parametrize("chunk", [1, 3, 30])
def test_stream_gives_what_a_plain_loop_gives(
    toy_protocol: Callable[..., Protocol], chunk: int
) -> None:
    spec = toy_protocol().video_features
    assert spec is not None
    frames = random_frames(3, 30)
    frames[10:20] = frames[10]  # a still stretch: equal windows
    starts = [0, 1, 9, 11, 12, 13, 25]
    stream = WindowFeatures(spec, lambda: toy, [(s, s + 4) for s in starts], "cpu")
    for start in range(0, 30, chunk):
        stream.push(frames[start : start + chunk])
    x = torch.from_numpy(resize(frames, "bilinear", (16, 16))).movedim(-1, 0) / 127.5 - 1
    plain = torch.cat([toy(x[None, :, s : s + 4]) for s in starts])
    np.testing.assert_allclose(stream.finish(), plain.numpy(), atol=1e-6)


def test_a_still_picture_is_computed_once_for_each_length(
    toy_protocol: Callable[..., Protocol],
) -> None:
    spec = toy_protocol().video_features
    assert spec is not None
    seen: list[int] = []

    def network(windows: torch.Tensor) -> torch.Tensor:
        seen.append(windows.shape[2])
        return toy(windows)

    stream = WindowFeatures(spec, lambda: network, [(0, 4), (0, 5), (0, 6), (1, 7)], "cpu")
    stream.push(np.repeat(random_frames(5, 1), 7, axis=0))
    assert len(stream.finish()) == 4
    assert seen == [4, 5, 6]


def test_styleganv_fvd_is_its_scripts_arithmetic(
    toy_protocol: Callable[..., Protocol], tmp_path: Path
) -> None:
    protocol = toy_protocol(runs=3)
    pairs = write_trees(tmp_path, [9, 4, 12, 3, 7, 8, 5, 6])  # the fourth is too short
    (evaluation,) = score_pairs(pairs, [protocol], method="m")
    fvd = evaluation.metrics["fvd"]
    spec = protocol.video_features
    assert spec is not None

    def clip(pair: Pair, side: str, start: int) -> np.ndarray:
        files = [tmp_path / side / pair.video_id / f"{start + t}.png" for t in range(4)]
        frames = np.stack([np.asarray(Image.open(file)) for file in files])
        video = torch.from_numpy(frames).float().movedim(-1, 1)
        small = torch.nn.functional.interpolate(video, size=(16, 16), mode="bilinear")
        return toy((2 * small / 255 - 1).movedim(1, 0)[None]).numpy()[0]

    values = []
    for run in range(3):
        real, fake = [], []
        for pair in pairs:
            if drawn := drawn_starts(spec, pair.video_id, pair.frame_numbers):
                real.append(clip(pair, "gt", drawn[run]))
                fake.append(clip(pair, "gen", 0))
        means, covariances = [], []
        for x in (np.stack(fake), np.stack(real)):  # sums over N, as its FeatureStats does
            mean = x.sum(axis=0) / len(x)
            means.append(mean)
            covariances.append(x.T @ x / len(x) - np.outer(mean, mean))
        root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
        trace = np.trace(sum(covariances) - 2 * root)
        values.append(np.real(np.square(means[0] - means[1]).sum() + trace))
    assert fvd.value == pytest.approx(np.mean(values), rel=1e-6)
    assert fvd.n == 7
    assert "mean of 3 draws" in (fvd.note or "")
    assert "videos without a window of 4 frames: 1" in (fvd.note or "")


@pytest.mark.weights
def test_fvd_tf_gives_tensorflows_value(tmp_path: Path) -> None:
    # Black against white, 10 frames, two videos of each: no covariance is left. The value is that
    # of TensorFlow's own code, which resizes from any size.
    protocol = read_protocol("fvd-tf")
    assert isinstance(protocol.video_features, VideoFeatures)
    ten = replace(protocol.video_features, window_frames=10, window_stride=10)
    for side, level in (("gen", 0), ("gt", 255)):
        for video in "ab":
            (tmp_path / side / video).mkdir(parents=True)
            for number in range(10):
                frame = Image.new("RGB", (12, 9), (level,) * 3)
                frame.save(tmp_path / side / video / f"{number}.png")
    pairs, _ = make_pairs(find_videos(tmp_path / "gen"), find_videos(tmp_path / "gt"))
    (evaluation,) = score_pairs(pairs, [replace(protocol, video_features=ten)], method="m")
    assert evaluation.metrics["fvd"].value == pytest.approx(569.77, abs=1e-2)
