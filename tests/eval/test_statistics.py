"""Intervals and p-values against scipy, closed forms and their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, permutation_test

from aa_eval.statistics import cluster_bootstrap, paired_bootstrap, sign_flip_test


def test_bootstrap_is_scipys_percentile_interval() -> None:
    means = np.random.default_rng(1).normal(20, 3, 12)
    interval = cluster_bootstrap(means, np.ones(12))
    assert interval is not None
    theirs = bootstrap(
        (means,), np.mean, n_resamples=20_000, method="percentile", random_state=2
    ).confidence_interval
    np.testing.assert_allclose(interval, theirs, atol=0.1)
    assert interval == cluster_bootstrap(means, np.ones(12), seed=0)


def test_weights_count_like_repeated_frames() -> None:
    low, high = cluster_bootstrap(np.array([0.0, 1.0]), np.array([1.0, 3.0])) or (None, None)
    assert (low, high) == (0.0, 1.0)
    assert cluster_bootstrap(np.array([5.0]), np.ones(1)) is None
    assert paired_bootstrap(np.full(6, 0.25)) == (0.25, 0.25)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    draws = np.random.default_rng(3).normal(0, 1, (150, 30))
    intervals = [cluster_bootstrap(draw, np.ones(30), seed=i) for i, draw in enumerate(draws)]
    covered = np.mean([low <= 0 <= high for low, high in filter(None, intervals)])
    assert 0.87 <= covered <= 1.0


@given(st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=2, max_size=9))
@settings(deadline=None, max_examples=40)
def test_sign_flip_is_scipys_exact_permutation_test(differences: list[float]) -> None:
    d = np.asarray(differences)
    theirs = permutation_test(
        (d, np.zeros_like(d)), lambda x, y: abs(np.mean(x - y)), permutation_type="samples",
        alternative="greater", n_resamples=np.inf, vectorized=False,
    ).pvalue  # fmt: skip
    assert sign_flip_test(d) == pytest.approx(theirs, abs=1e-12)


def test_sign_flip_closed_forms() -> None:
    assert sign_flip_test(np.ones(10)) == 2 / 2**10
    assert sign_flip_test(np.zeros(5)) == 1.0
    assert sign_flip_test(np.ones(40)) == 1 / 10_001  # drawn: never 0
