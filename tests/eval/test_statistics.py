"""Intervals and p-values against scipy, closed forms and their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, permutation_test

from aa_eval.metrics.frechet import frechet_distance
from aa_eval.metrics.kvd import kernel_distance
from aa_eval.statistics import (
    Values,
    cluster_bootstrap,
    distance_spread,
    holm,
    paired_bootstrap,
    sign_flip_test,
    split_half_distance,
    why_no_interval,
)


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
    means, weights = np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 2.0])
    low, high = cluster_bootstrap(means, weights) or (None, None)
    assert (low, high) == (0.0, 2.0)
    plain = cluster_bootstrap(means, np.ones(3))
    assert cluster_bootstrap(means, np.full(3, 7.0)) == pytest.approx(plain)
    assert paired_bootstrap(np.full(6, 0.25)) == (0.25, 0.25)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    draws = np.random.default_rng(3).normal(0, 1, (150, 30))
    intervals = [cluster_bootstrap(draw, np.ones(30), seed=i) for i, draw in enumerate(draws)]
    covered = np.mean([low <= 0 <= high for low, high in filter(None, intervals)])
    assert 0.87 <= covered <= 1.0


@given(st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=2, max_size=9))
@settings(max_examples=40)
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


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(max_examples=60)
def test_holm_is_its_definition(p_values: list[float]) -> None:
    corrected = holm(p_values)
    count = len(p_values)
    for level in (0.01, 0.05, 0.2, 0.7):  # step down: reject while p <= level / (tests left)
        rejected: list[int] = []
        for rank, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
            if (count - rank) * p_values[index] > level:
                break
            rejected.append(index)
        assert sorted(rejected) == [i for i in range(count) if corrected[i] <= level]
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.asarray(corrected)[order]) >= 0).all()


def _frechet(a: np.ndarray, b: np.ndarray, *_: np.ndarray) -> float:
    return frechet_distance(a, b)


def _kernel(a: np.ndarray, b: np.ndarray, *_: np.ndarray) -> float:
    return kernel_distance(a, b)


def videos(seed: int, count: int, shift: float = 0.0) -> list[np.ndarray]:
    """Per video two to five vectors about a centre of its own, 3 dimensions."""
    draw = np.random.default_rng(seed)
    return [
        draw.normal(0, 1, 3) + shift + draw.normal(0, 0.3, (draw.integers(2, 6), 3))
        for _ in range(count)
    ]


def test_spread_of_a_distance_is_about_that_of_new_samples() -> None:
    # The truth by brute force: the same distance on 150 fresh draws of 40 videos each.
    fresh = [
        kernel_distance(np.concatenate(videos(s, 40, 1.0)), np.concatenate(videos(s + 500, 40)))
        for s in range(150)
    ]
    spread = distance_spread(videos(0, 40, 1.0), videos(500, 40), _kernel)
    assert spread is not None
    assert 0.5 < spread / np.std(fresh) < 2
    assert spread == distance_spread(videos(0, 40, 1.0), videos(500, 40), _kernel)


@pytest.mark.parametrize(
    ("count", "dim", "covers_population"), [(40, 3, (0.85, 1.0)), (12, 8, (0.0, 0.6))]
)
def test_interval_of_fvd_covers_what_so_many_videos_give_and_the_truth_only_with_many(
    count: int, dim: int, covers_population: tuple[float, float]
) -> None:
    # Gaussian videos (a centre of variance 1, windows of 0.3 about it), the means 0.5 apart in
    # each dimension: equal covariances leave the closed form |mu|^2. At N windows the distance is
    # that plus a bias, which no bootstrap knows of.
    population = 0.25 * dim

    def sides(seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        draw = np.random.default_rng(seed)
        centres = draw.normal(0, 1, (2, count, 1, dim)) + np.array([0, 0.5])[:, None, None, None]
        windows = centres + draw.normal(0, 0.3, (2, count, 4, dim))
        return list(windows[0]), list(windows[1])

    def value(seed: int) -> float:
        return frechet_distance(*(np.concatenate(side) for side in sides(seed)))

    expected = np.mean([value(seed) for seed in range(1000, 1300)])
    samples = range(40)
    values = np.array([value(seed) for seed in samples])
    spreads = [distance_spread(*sides(seed), _frechet, seed=seed) for seed in samples]
    reach = 1.96 * np.array(spreads, dtype=float)
    # 95 % of 40 samples are 38 +- 1.4
    assert np.mean(np.abs(values - expected) <= reach) >= 0.85
    low, high = covers_population
    assert low <= np.mean(np.abs(values - population) <= reach) <= high


def test_spread_needs_three_videos_and_skips_those_without_windows() -> None:
    a, b = videos(1, 5), videos(2, 5)
    empty = np.zeros((0, 3))
    assert distance_spread(a[:2], b[:2], _frechet) is None
    assert distance_spread([*a[:2], empty], [*b[:2], empty], _frechet) is None
    with_empty = distance_spread([*a, empty], [*b, empty], _frechet)
    assert with_empty == distance_spread(a, b, _frechet)
    # the same video over and over: every draw is the same set but for its number
    assert distance_spread([a[0]] * 4, [b[0]] * 4, _frechet) == pytest.approx(0, abs=1e-9)


def test_split_halves_shrink_with_the_sample() -> None:
    small, large = (split_half_distance(videos(3, n), _frechet) for n in (8, 400))
    assert small is not None
    assert large is not None
    assert 0 < large < small / 4
    assert split_half_distance([x[:1] for x in videos(3, 3)], _frechet) is None


def test_two_videos_have_no_interval() -> None:
    # by resampling it would be just the two values
    assert cluster_bootstrap(np.array([1.0, 3.0]), np.ones(2)) is None
    assert cluster_bootstrap(np.array([1.0, 3.0, 2.0]), np.ones(3)) is not None


def test_why_there_is_no_interval_is_said_of_one_video_and_of_two() -> None:
    said = "an interval over videos needs 3"
    assert why_no_interval(1) == f"no interval: 1 video, {said}"
    assert why_no_interval(2) == f"no interval: 2 videos, {said}"
    assert why_no_interval(3) is None


def test_the_drawn_numbers_are_those_that_results_already_hold() -> None:
    """The board draws them again to hold an interval to its videos: another number of resamples,
    or another seed, would refuse every result that was written before."""
    means, frames = np.array([0.1, 0.4, 0.35, 0.8, 0.55]), np.array([3.0, 5, 2, 8, 1])
    assert cluster_bootstrap(means, frames) == pytest.approx((0.225, 0.73), abs=1e-12)
    assert paired_bootstrap(means - 0.4) == pytest.approx((-0.16, 0.25), abs=1e-12)
    uneven = np.random.default_rng(5).random(7)
    assert cluster_bootstrap(uneven, np.ones(7)) == (
        pytest.approx((0.27988299868575567, 0.6493253993038982), abs=1e-12)
    )
    sixteen = np.arange(16) - 5.0
    assert sign_flip_test(sixteen) == pytest.approx(604 / 10_001)
    assert sign_flip_test(sixteen, seed=1) == pytest.approx(621 / 10_001)
    references = [np.arange(3.0 * n).reshape(n, 3) ** 1.5 + n for n in (2, 3, 4, 2)]
    predictions = [1.1 * rows - 2 for rows in references]

    def distance(a: Values, b: Values, *_: Values) -> float:
        return frechet_distance(a, b)

    spread = distance_spread(references, predictions, distance)
    assert spread == pytest.approx(0.46874892649, rel=1e-6)
    assert split_half_distance(references, distance) == pytest.approx(283.572141216, rel=1e-6)
