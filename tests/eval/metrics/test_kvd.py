"""Kernel distance against torchmetrics, a plain double sum, and what unbiased means."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.image.kid import poly_mmd

from aa_eval.errors import MetricUnavailable
from aa_eval.metrics.kvd import kernel_distance, kernel_distance_of_videos


@pytest.mark.parametrize(("n", "d"), [(2, 400), (9, 400), (200, 16)])
def test_equals_torchmetrics(n: int, d: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=(n, d)), rng.normal(loc=0.3, size=(n, d))
    expected = poly_mmd(torch.from_numpy(a), torch.from_numpy(b)).item()
    assert kernel_distance(a, b) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(max_examples=40)
@given(st.integers(2, 8), st.integers(2, 8), st.integers(1, 6), st.integers(0, 999))
def test_equals_the_double_sum_and_is_symmetric(n1: int, n2: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n1, d)), rng.normal(size=(n2, d))

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return float((sum(x * y) / d + 1) ** 3)

    within = [
        sum(k(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j)
        / (len(x) * (len(x) - 1))
        for x in (a, b)
    ]
    between = sum(k(x, y) for x in a for y in b) / (n1 * n2)
    expected = sum(within) - 2 * between
    assert kernel_distance(a, b) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert kernel_distance(b, a) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_mean_over_draws_of_one_distribution_is_zero() -> None:
    rng = np.random.default_rng(0)
    values = [
        kernel_distance(rng.normal(size=(6, 10)), rng.normal(size=(15, 10))) for _ in range(2000)
    ]
    standard_error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * standard_error
    assert min(values) < 0 < max(values)


def test_too_few_rows_are_unavailable() -> None:
    with pytest.raises(MetricUnavailable, match="at least 2"):
        kernel_distance(np.zeros((1, 4)), np.zeros((5, 4)))


def of_videos(draw: np.random.Generator, videos: int, windows: int, dim: int) -> np.ndarray:
    """Vectors [videos * windows, dim]; those of one video lie close together, as real ones do."""
    centres = draw.normal(size=(videos, 1, dim))
    return (centres + 0.3 * draw.normal(size=(videos, windows, dim))).reshape(-1, dim)


@settings(max_examples=25)
@given(st.integers(2, 6), st.integers(1, 4), st.integers(1, 40), st.integers(0, 999))
def test_a_copy_of_the_truth_has_exactly_no_distance(
    videos: int, windows: int, dim: int, seed: int
) -> None:
    truth = of_videos(np.random.default_rng(seed), videos, windows, dim)
    numbers = np.repeat(np.arange(videos), windows)
    assert kernel_distance_of_videos(truth, truth.copy(), numbers, numbers) == 0.0


@pytest.mark.parametrize("kind", ["noise", "shrunk", "one frame", "shifted"])
def test_nothing_beats_the_truth_in_expectation(kind: str) -> None:
    """Predictions of the very videos; by the distance of all pairs, "shrunk" beats the truth."""
    draw = np.random.default_rng(0)
    numbers = np.repeat(np.arange(6), 3)
    fair, paired = [], []
    for _ in range(400):
        truth = of_videos(draw, 6, 3, 20)
        changed = {
            "noise": truth + 0.4 * draw.normal(size=truth.shape),
            "shrunk": 0.9 * truth,
            "one frame": np.repeat(truth[::3], 3, axis=0),
            "shifted": truth + 0.3,
        }[kind]
        fair.append(kernel_distance_of_videos(changed, truth, numbers, numbers))
        paired.append(kernel_distance(changed, truth))
    standard_error = np.std(fair) / np.sqrt(len(fair))
    assert np.mean(fair) > -3 * standard_error
    if kind == "shrunk":
        assert np.mean(paired) < 0


def test_pairs_of_different_videos_by_a_plain_double_sum() -> None:
    draw = np.random.default_rng(1)
    a, b = of_videos(draw, 4, 2, 5), of_videos(draw, 4, 2, 5)
    numbers = np.repeat(np.arange(4), 2)

    def mean(x: np.ndarray, y: np.ndarray) -> float:
        terms = [
            (float(x[i] @ y[j]) / 5 + 1) ** 3
            for i in range(8)
            for j in range(8)
            if numbers[i] != numbers[j]
        ]
        return sum(terms) / len(terms)

    expected = mean(a, a) + mean(b, b) - 2 * mean(a, b)
    assert kernel_distance_of_videos(a, b, numbers, numbers) == pytest.approx(expected, rel=1e-10)
    with pytest.raises(MetricUnavailable, match="windows of 1 video"):
        kernel_distance_of_videos(a, b, 0 * numbers, numbers)
