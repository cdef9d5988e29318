"""PSNR, L1 and SSIM against scikit-image, the scripts' own NumPy, closed forms, invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from skimage.color import rgb2gray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import peak_signal_noise_ratio as torchmetrics_psnr

from aa_eval.errors import MetricUnavailable
from aa_eval.metrics.l1 import l1, l1_per_pixel_count, l1_unit_range_float32
from aa_eval.metrics.psnr import psnr, psnr_float32, psnr_uint8_overflow
from aa_eval.metrics.ssim import (
    ssim_colour_gaussian,
    ssim_colour_gaussian_frame_range,
    ssim_grey_uniform7,
)

SSIMS = [ssim_grey_uniform7, ssim_colour_gaussian, ssim_colour_gaussian_frame_range]
PAIRS = arrays(np.uint8, (2, 2, 12, 13, 3))


def natural(seed: int, count: int = 3, size: tuple[int, int] = (33, 46)) -> np.ndarray:
    """Smooth noise over the whole range: frames with structure, as pictures have it."""
    draw = np.random.default_rng(seed)
    coarse = torch.from_numpy(draw.uniform(-40, 295, (count, 3, 6, 7)))
    fine = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic")
    return fine.clamp(0, 255).round().to(torch.uint8).movedim(1, -1).numpy()


@given(PAIRS)
@settings(max_examples=30)
def test_psnr_and_l1_of_any_frames(pair: np.ndarray) -> None:
    x, y = pair
    error = x.astype(np.float64) - y
    with np.errstate(divide="ignore"):
        theirs = [peak_signal_noise_ratio(b, a, data_range=255) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(psnr(x, y), theirs, rtol=1e-12)
    np.testing.assert_array_equal(psnr(x, y), psnr(y, x))
    np.testing.assert_allclose(psnr_float32(x, y), theirs, rtol=1e-6)
    mean = np.abs(error).reshape(2, -1).mean(axis=1)
    np.testing.assert_allclose(l1(x, y), mean, rtol=1e-12)
    np.testing.assert_allclose(l1_per_pixel_count(x, y), mean / (12 * 13), rtol=1e-12)
    np.testing.assert_allclose(l1_unit_range_float32(x, y), mean / 127.5, atol=1e-6)
    for metric in (psnr, l1):
        np.testing.assert_allclose(metric(x, y), metric(x.astype(float), y.astype(float)))


@given(PAIRS)
@settings(max_examples=30)
def test_overflow_psnr_is_the_first_releases_arithmetic(pair: np.ndarray) -> None:
    x, y = pair
    for ours, prediction, reference in zip(psnr_uint8_overflow(x, y), x, y, strict=True):
        mse = np.mean((prediction - reference) ** 2)  # uint8 all the way, as the script had it
        theirs = math.inf if mse == 0 else 20 * math.log10(255 / math.sqrt(mse))
        assert ours == pytest.approx(theirs, rel=1e-15)  # NumPy's logarithm has its own last bit
        assert ours > 24.168


def test_torchmetrics_gives_the_same_psnr() -> None:
    x, y = natural(0), natural(1)
    theirs = torchmetrics_psnr(
        torch.from_numpy(x).double(), torch.from_numpy(y).double(), data_range=255.0,
        reduction="none", dim=(1, 2, 3),
    )  # fmt: skip
    np.testing.assert_allclose(psnr(x, y), theirs.numpy(), rtol=1e-8)  # its range is a float32


def test_closed_forms_of_a_constant_error() -> None:
    x = np.full((1, 16, 16, 3), 100, dtype=np.uint8)
    y = x + np.uint8(16)
    assert psnr(x, y)[0] == pytest.approx(20 * math.log10(255 / 16))
    assert psnr_uint8_overflow(x, y)[0] == math.inf  # 16 squared is 256, which wraps to 0
    assert l1(x, y)[0] == 16
    one = x.copy()
    one[0, 3, 4, 1] += 5  # one sample changed
    assert psnr(one, x)[0] == pytest.approx(10 * math.log10(255**2 * 768 / 25))
    assert l1(one, x)[0] == pytest.approx(5 / 768)


@pytest.mark.parametrize("size", [(11, 11), (33, 46), (48, 20)])
def test_ssims_are_scikit_images(size: tuple[int, int]) -> None:
    x, y = natural(2, size=size), natural(3, size=size)
    gaussian = {
        "channel_axis": -1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False
    }  # fmt: skip
    for t, (a, b) in enumerate(zip(x, y, strict=True)):
        wang = structural_similarity(b, a, data_range=255, **gaussian)
        assert ssim_colour_gaussian(x, y)[t] == pytest.approx(wang, abs=1e-10)
        span = float(a.max()) - float(a.min())  # BDMM: of the predicted frame
        single = b.astype(np.float32), a.astype(np.float32)  # as its script: all in float32
        bdmm = structural_similarity(*single, data_range=span, **gaussian)
        assert ssim_colour_gaussian_frame_range(x, y)[t] == pytest.approx(bdmm, abs=2e-8)


def test_grey_ssim_is_scikit_images_on_grey_frames() -> None:
    # Three equal channels: their grey is the channel itself, whatever the weights of the colours.
    x, y = (np.repeat(natural(seed)[..., :1], 3, axis=-1) for seed in (4, 5))
    theirs = [structural_similarity(b[..., 0], a[..., 0]) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(ssim_grey_uniform7(x, y), theirs, atol=1e-12)


def test_grey_ssim_is_blind_to_colour_and_the_others_are_not() -> None:
    x = natural(6)
    grey = np.rint(255 * rgb2gray(x, channel_axis=-1))
    y = np.clip(np.repeat(grey[..., None], 3, axis=-1), 0, 255).astype(np.uint8)
    luma = np.array([0.299, 0.587, 0.114])
    y = np.repeat(np.rint(x @ luma)[..., None], 3, axis=-1).astype(np.uint8)
    assert ssim_grey_uniform7(y, x).min() > 0.999
    assert ssim_colour_gaussian(y, x).max() < 0.95


@pytest.mark.parametrize("metric", SSIMS)
def test_ssim_invariances(metric: type(ssim_grey_uniform7)) -> None:  # type: ignore[valid-type]
    x, y = natural(7, 2), natural(8, 2)
    single = metric is ssim_colour_gaussian_frame_range  # in float32
    close = {"rtol": 0, "atol": 1e-7 if single else 1e-12}
    np.testing.assert_allclose(metric(x, x), 1, **close)
    value = metric(x, y)
    assert (value < 0.99).all()
    np.testing.assert_allclose(metric(x[:, ::-1], y[:, ::-1]), value, **close)
    np.testing.assert_allclose(metric(x[:, :, ::-1], y[:, :, ::-1]), value, **close)
    np.testing.assert_allclose(metric(x[::-1], y[::-1]), value[::-1], atol=1e-15)
    square = [np.moveaxis(v, 1, 2) for v in (x, y)]
    np.testing.assert_allclose(metric(*square), value, **close)
    if metric is not ssim_colour_gaussian_frame_range:
        np.testing.assert_allclose(metric(y, x), value, atol=1e-12)


def test_what_has_no_ssim_is_unavailable() -> None:
    small = natural(9, 1, (6, 30))
    for metric in SSIMS:
        with pytest.raises(MetricUnavailable, match="30x6 are smaller than its"):
            metric(small, small)
    x = natural(9, 1)
    with pytest.raises(MetricUnavailable, match="constant: the script divides by its range"):
        ssim_colour_gaussian_frame_range(np.full_like(x, 128), x)


@pytest.mark.parametrize("width", [22_017, 22_018, 40_000])
def test_psnr_of_very_wide_frames_does_not_overflow(width: int) -> None:
    black = np.zeros((1, 1, width, 3), dtype=np.uint8)
    assert psnr(black, 255 - black)[0] == 0.0
