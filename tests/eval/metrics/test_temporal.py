"""Temporal metrics against scikit-image, lpips and closed forms; gaps and the cut into chunks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from aa_eval.errors import MetricUnavailable
from aa_eval.metrics.lpips import make_lpips
from aa_eval.metrics.temporal import (
    dtssd,
    flicker,
    flicker_own,
    ssim_of_differences,
    tof,
    warp_error,
)
from aa_eval.protocol import Protocol, read_protocol
from aa_eval.scoring.lpips_features import Perceptual
from aa_eval.scoring.optical_flow import OpticalFlowILK
from aa_eval.scoring.score_pairs import score_pairs
from aa_eval.videos.layout import find_videos
from aa_eval.videos.pairing import make_pairs


def noise(seed: int, count: int = 4, side: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def moving(count: int, step_px: int, side: int = 64) -> np.ndarray:
    """A smooth texture that moves to the right by whole pixels."""
    texture = gaussian_filter(np.random.default_rng(5).random((side, 3 * side, 3)), (3, 3, 0))
    texture = (255 * (texture - texture.min()) / np.ptp(texture)).astype(np.uint8)
    starts = [side - step_px * t for t in range(count)]
    return np.stack([texture[:, start : start + side] for start in starts])


def test_an_error_that_stands_still_costs_nothing_and_one_that_blinks_does() -> None:
    reference = noise(0) // 2
    still, blinking = reference + np.uint8(40), reference.copy()
    blinking[1::2] += 40
    for metric in (dtssd, flicker, ssim_of_differences):
        assert np.isnan(metric(still, reference)[0])
    np.testing.assert_array_equal(dtssd(still, reference)[1:], 0)
    np.testing.assert_allclose(ssim_of_differences(still, reference)[1:], 1, atol=1e-12)
    np.testing.assert_allclose(dtssd(blinking, reference)[1:], 40)


def test_flicker_counts_what_stands_still_in_the_reference_only() -> None:
    reference = np.repeat(noise(1, 1), 3, axis=0) // 2 + np.uint8(9)
    prediction = reference.copy()
    prediction[1, :, :16] += 30  # half of the picture goes up by 30 and down again
    np.testing.assert_allclose(flicker(prediction, reference)[1:], 15)
    np.testing.assert_array_equal(flicker(reference, reference)[1:], 0)
    reference[1:, :, :16] += 100  # and now it moves in the reference
    np.testing.assert_allclose(flicker(prediction, reference)[1:], [0, 15])
    reference[1:] += 100
    assert np.isnan(flicker(prediction, reference)[1])


def test_ssim_of_differences_is_scikit_images() -> None:
    ours, theirs = noise(2), noise(3)
    expected = [
        structural_similarity(
            *(np.diff(v[t : t + 2].astype(np.float64), axis=0)[0] for v in (ours, theirs)),
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=510,
            channel_axis=-1,
        )
        for t in range(3)
    ]  # fmt: skip
    np.testing.assert_allclose(ssim_of_differences(ours, theirs)[1:], expected, rtol=1e-9)


def test_flows_of_known_motion() -> None:
    reference, faster, stands = moving(3, 2), moving(3, 3), moving(1, 0).repeat(3, axis=0)
    flow = OpticalFlowILK()
    inner = flow(reference[1], reference[0])[:, 12:-12, 12:-12]
    np.testing.assert_allclose(inner.mean(axis=(1, 2)), [0, -2], atol=0.1)
    np.testing.assert_array_equal(tof(reference, reference, flow)[1:], 0)
    assert tof(faster, reference, flow)[1:] == pytest.approx(1, abs=0.4)
    assert tof(stands, reference, flow)[1:] == pytest.approx(2, abs=0.5)
    true, wrong = (warp_error(v, reference, flow)[1:] for v in (reference, stands))
    assert (true < 0.05 * wrong).all()


@pytest.mark.parametrize(("apart_px", "is_seen"), [(0.85, True), (0.95, False)])
def test_what_is_occluded_is_where_the_flows_to_and_fro_do_not_cancel(
    apart_px: float, is_seen: bool
) -> None:
    """Sundaram et al. 2010: |w + w'|^2 <= 0.01 (|w|^2 + |w'|^2) + 0.5, here with |w| = 4."""
    frames = noise(4, 2)

    def flow(frame: np.ndarray, before: np.ndarray) -> np.ndarray:
        across = -4.0 if np.array_equal(frame, frames[1]) else 4.0 - apart_px
        return np.stack([np.zeros((32, 32)), np.full((32, 32), across)])

    (found,) = warp_error(frames, frames, flow)[1:]
    assert np.isfinite(found) == is_seen


def still_flow(*lengths_px: float):  # type: ignore[no-untyped-def]
    """A flow to the right of these lengths, one a row of the picture."""

    def flow(frame: np.ndarray, before: np.ndarray) -> np.ndarray:
        across = np.resize(np.array(lengths_px), frame.shape[0])[:, None]
        return np.stack([np.zeros(frame.shape[:2]), np.broadcast_to(across, frame.shape[:2])])

    return flow


def test_ones_own_flicker_counts_what_moves_by_less_than_half_a_pixel() -> None:
    frames = np.zeros((3, 2, 4, 3), np.uint8)
    frames[1, 0], frames[1, 1] = 30, 80
    frames[2, 0, :, 0] = 30  # one channel stays up: the other two go down
    np.testing.assert_allclose(flicker_own(frames, still_flow(0.49, 0.5))[1:], [30, 20])
    np.testing.assert_allclose(flicker_own(frames, still_flow(0.5, 0.0))[1:], [80, 80])
    assert np.isnan(flicker_own(frames, still_flow(0.5))).all()
    assert np.isnan(flicker_own(frames, still_flow(0.0))[0])


def test_two_levels_are_coding_noise_and_three_are_motion() -> None:
    reference = np.full((2, 4, 4, 3), 9, np.uint8)
    reference[1, 0, :, 1], reference[1, 1, :, 2], reference[1, 2, :, 0] = 11, 12, 6
    prediction = np.zeros_like(reference)
    prediction[1] = np.array([10, 200, 200, 30], np.uint8)[:, None, None]
    assert flicker(prediction, reference)[1] == 20, "rows of 10 and 30 stand still"


def test_dtssd_and_tof_are_their_formulas() -> None:
    ours, theirs = noise(11, 3), noise(12, 3)
    changes = [np.diff(side.astype(np.float64), axis=0) for side in (ours, theirs)]
    expected = np.sqrt(np.square(changes[0] - changes[1]).mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(dtssd(ours, theirs)[1:], expected)

    def flow(frame: np.ndarray, before: np.ndarray) -> np.ndarray:
        down = 3.0 if np.array_equal(frame, ours[1]) and np.array_equal(before, ours[0]) else 0.0
        across = -4.0 if np.array_equal(frame, theirs[2]) else 0.0
        return np.stack([np.full((32, 32), down), np.full((32, 32), across)])

    np.testing.assert_allclose(tof(ours, theirs, flow), [np.nan, 3, 4])


def test_a_warp_follows_the_flow_and_leaves_out_what_came_in_at_the_border() -> None:
    """Columns of 0, 10, 20, ... move to the right by a pixel and a half."""
    before = np.broadcast_to(10 * np.arange(12, dtype=np.uint8)[:, None], (8, 12, 3))
    after = np.clip(before.astype(np.float64) - 15 + 51, 0, 255).astype(np.uint8)
    frames = np.stack([before, after])

    def flow(frame: np.ndarray, _: np.ndarray) -> np.ndarray:
        across = -1.5 if np.array_equal(frame, frames[1]) else 1.5
        return np.stack([np.zeros((8, 12)), np.full((8, 12), across)])

    assert warp_error(frames, frames, flow)[1] == pytest.approx((51 / 255) ** 2)
    assert np.isnan(warp_error(frames, frames, flow)[0])

    def away(frame: np.ndarray, before_: np.ndarray) -> np.ndarray:
        return 20 * flow(frame, before_)

    assert np.isnan(warp_error(frames, frames, away)[1]), "all of it came from outside"


@pytest.mark.weights
def test_tlpips_is_the_difference_of_the_packages_distances() -> None:
    model = make_lpips("alex")
    ours, theirs = noise(6), noise(7)
    x, y = (torch.from_numpy(v).permute(0, 3, 1, 2).float() / 255 for v in (ours, theirs))
    with torch.no_grad():
        change = [model(v[:-1], v[1:], normalize=True).flatten() for v in (x, y)]
    distances = Perceptual(model, "-1..1", None, {})
    found = distances.temporal(ours, theirs)
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], (change[0] - change[1]).abs().numpy(), atol=1e-6)
    for distance in (distances.temporal, distances.per_frame):
        with pytest.raises(MetricUnavailable, match="smaller than the 31 px"):
            distance(ours[:, :30], theirs[:, :30])


@pytest.fixture
def cheap() -> Protocol:
    protocol = read_protocol("aa-temporal-v1")
    return replace(protocol, metrics=protocol.metrics[:3])


def write(folder: Path, frames: np.ndarray, numbers: list[int]) -> None:
    folder.mkdir(parents=True)
    for number, frame in zip(numbers, frames, strict=True):
        Image.fromarray(frame).save(folder / f"{number}.png")


def test_a_whole_run_equals_the_functions_and_no_change_crosses_a_gap(
    tmp_path: Path, cheap: Protocol
) -> None:
    ours, theirs = noise(8, 19), noise(9, 19)
    numbers = [*range(9), *range(20, 30)]
    for name, frames in (("gen", ours), ("gt", theirs)):
        write(tmp_path / name / "a", frames, numbers)
    folders = find_videos(tmp_path / "gen"), find_videos(tmp_path / "gt")
    pairs, _ = make_pairs(*folders, frozenset({"numbering-gap"}))
    method, white = score_pairs(pairs, [cheap], method="m", baselines=["white"])
    expected = {"dtssd": dtssd(ours, theirs), "ssim_differences": ssim_of_differences(ours, theirs)}
    for key, values in expected.items():
        values[9] = np.nan
        np.testing.assert_array_equal(method.per_frame["a"][key], values)
        assert method.metrics[key].n == 17
    assert method.metrics["flicker"].unavailable == "no frame could be scored"
    changes = np.diff(theirs.astype(np.float64), axis=0)
    rms = np.sqrt(np.square(changes).mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(white.per_frame["a"]["dtssd"][1:9], rms[:8])
