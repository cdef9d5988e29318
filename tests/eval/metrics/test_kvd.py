"""Kernel distance against torchmetrics, a plain double sum, and what unbiased means."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.image.kid import poly_mmd

from aa_eval.errors import MetricUnavailable
from aa_eval.metrics.kvd import kernel_distance


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
