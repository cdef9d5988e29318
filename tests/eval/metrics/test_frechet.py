"""Fréchet distance against closed forms, scipy's matrix square root, and its invariances."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aa_eval.errors import MetricUnavailable
from aa_eval.metrics.frechet import frechet_distance


def by_sqrtm(a: NDArray[np.float64], b: NDArray[np.float64], ddof: int = 1) -> float:
    s1, s2 = (np.cov(x, rowvar=False, ddof=ddof) for x in (a, b))
    shift = a.mean(axis=0) - b.mean(axis=0)
    root = scipy.linalg.sqrtm(s1 @ s2)
    return float(shift @ shift + np.trace(s1 + s2 - 2 * root.real))


def draw(seed: int, n: int, d: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


sizes = st.tuples(st.integers(2, 40), st.integers(2, 40), st.integers(1, 24), st.integers(0, 999))


@settings(max_examples=60)
@given(sizes)
def test_identical_sets_are_at_zero(size: tuple[int, int, int, int]) -> None:
    n, _, d, seed = size
    a = draw(seed, n, d)
    assert frechet_distance(a, a) <= 1e-11 * max(np.square(a).sum(), 1)


@settings(max_examples=60)
@given(sizes, st.booleans())
def test_symmetric_and_blind_to_order_and_rotation(
    size: tuple[int, int, int, int], unbiased: bool
) -> None:
    n1, n2, d, seed = size
    a, b = draw(seed, n1, d), draw(seed + 1, n2, d)
    distance = frechet_distance(a, b, unbiased)
    tolerance = {"rel": 1e-9, "abs": 1e-9}
    assert frechet_distance(b, a, unbiased) == pytest.approx(distance, **tolerance)
    assert frechet_distance(a[::-1], b, unbiased) == pytest.approx(distance, **tolerance)
    rotation = np.linalg.qr(draw(seed + 2, d, d))[0]
    turned = frechet_distance(a @ rotation, b @ rotation, unbiased)
    assert turned == pytest.approx(distance, rel=1e-8, abs=1e-8)
    assert distance >= np.square(a.mean(axis=0) - b.mean(axis=0)).sum() - 1e-8


@pytest.mark.parametrize(("n", "d"), [(12, 100), (100, 12), (30, 30)])
@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0])
def test_scaling_and_shift_have_closed_forms(n: int, d: int, scale: float) -> None:
    a = draw(n, n, d)
    mean, trace = a.mean(axis=0), np.trace(np.atleast_2d(np.cov(a, rowvar=False)))
    expected = (1 - scale) ** 2 * (mean @ mean + trace)
    assert frechet_distance(a, scale * a) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(a, a + 2.5) == pytest.approx(2.5**2 * d, rel=1e-9)


@pytest.mark.parametrize(("n1", "n2", "d"), [(60, 80, 20), (21, 300, 20), (500, 450, 48)])
@pytest.mark.parametrize("ddof", [0, 1])
def test_equals_scipys_square_root_where_that_exists(n1: int, n2: int, d: int, ddof: int) -> None:
    a, b = draw(1, n1, d), draw(2, n2, d)
    assert frechet_distance(a, b, unbiased=ddof == 1) == pytest.approx(
        by_sqrtm(a, b, ddof), rel=1e-6
    )


def test_one_dimension() -> None:
    a, b = draw(0, 9, 1), draw(1, 7, 1)
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_biased_covariance_scales_the_spread() -> None:
    a = draw(3, 10, 40)
    b = a - a.mean(axis=0)
    unbiased, biased = (frechet_distance(b, 0.5 * b, flag) for flag in (True, False))
    assert biased == pytest.approx(unbiased * 9 / 10, rel=1e-10)


def test_large_common_offset_loses_nothing() -> None:
    a, b = draw(4, 12, 50), draw(5, 12, 50)
    assert frechet_distance(a + 1e5, b + 1e5) == pytest.approx(frechet_distance(a, b), rel=1e-8)


def test_rank_deficient_sets_equal_the_eigenvalues_of_the_small_matrix() -> None:
    # tr (S1 S2)^(1/2) from the eigenvalues of the small matrix (A B^T)(A B^T)^T
    fake, real = draw(6, 10, 400), draw(7, 10, 400)
    a, b = ((x - x.mean(axis=0)) / 3 for x in (fake, real))
    eigenvalues = np.linalg.eigvalsh(a @ b.T @ b @ a.T).clip(0)
    shift = fake.mean(axis=0) - real.mean(axis=0)
    expected = shift @ shift + (a**2).sum() + (b**2).sum() - 2 * np.sqrt(eigenvalues).sum()
    assert frechet_distance(fake, real) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((1, 4)), np.zeros((5, 4)), "at least 2 windows"),
        (np.zeros((5, 4)), np.zeros((0, 4)), "at least 2 windows"),
        (np.zeros(4), np.zeros((5, 4)), "expected .n, d."),
        (np.zeros((5, 4)), np.zeros((5, 3)), "4 and 3 dimensions"),
        (np.full((5, 4), np.nan), np.zeros((5, 4)), "not finite"),
    ],
)
def test_wrong_sets_are_unavailable(
    a: NDArray[np.float64], b: NDArray[np.float64], message: str
) -> None:
    with pytest.raises(MetricUnavailable, match=message):
        frechet_distance(a, b)
