"""Sums and dot products with twice the digits, compared with rational arithmetic."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from accel._optimum.twofold import EPS, added, dot, total, two_product, two_sum


def exact(values):
    return [Fraction(float(v)) for v in values]


@given(seed=st.integers(0, 10**6), spread=st.integers(0, 100))
def test_a_product_and_a_sum_lose_nothing(seed, spread):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, 9)) * 10.0 ** rng.integers(-spread, spread + 1, (2, 9))
    for operation, together in ((two_sum, Fraction.__add__), (two_product, Fraction.__mul__)):
        high, low = operation(a, b)
        for parts, x, y in zip(zip(high, low, strict=True), a, b, strict=True):
            assert sum(exact(parts)) == together(Fraction(float(x)), Fraction(float(y)))
            assert abs(parts[1]) <= EPS * abs(parts[0])


@given(
    m=st.integers(1, 70), k=st.integers(1, 5), spread=st.integers(0, 20), seed=st.integers(0, 10**6)
)
def test_the_error_is_as_small_as_claimed_and_cancellation_costs_no_digits(m, k, spread, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, k)) * 10.0 ** rng.integers(-spread, spread + 1, (m, k))
    x = rng.standard_normal(m) * 10.0 ** rng.integers(-spread, spread + 1, m)
    b = -(x @ A)  # the exact sum is the rounding error of this one
    result = added(dot(A, x), b)
    value, error = result.rounded()
    for j in range(k):
        terms = [p * q for p, q in zip(exact(A[:, j]), exact(x), strict=True)]
        right, size = sum(terms) + Fraction(b[j]), float(sum(map(abs, terms)))
        parts = Fraction(float(result.high[j])) + Fraction(float(result.low[j]))
        assert abs(parts - right) <= Fraction(float(result.error[j]))
        assert abs(Fraction(float(value[j])) - right) <= Fraction(float(error[j]))
        assert result.error[j] <= (m + 20) * 12 * EPS**2 * size + 1e-300


def test_many_rows_go_in_blocks():
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((33_000, 1)), rng.standard_normal(33_000)
    result = dot(A, x)
    right = sum(p * q for p, q in zip(exact(A[:, 0]), exact(x), strict=True))
    wrong = Fraction(float(result.high[0])) + Fraction(float(result.low[0])) - right
    assert abs(wrong) <= Fraction(float(result.error[0])) < Fraction(1, 10**20)


@given(m=st.integers(1, 3000), spread=st.integers(0, 150), seed=st.integers(0, 10**6))
def test_a_sum_alone_has_the_same_error(m, spread, seed):
    """Even if the numbers nearly cancel, and whatever their sizes."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(m) * 10.0 ** rng.integers(-spread, spread + 1, m)
    x = np.append(x, -np.sum(x))
    result, right = total(x), sum(exact(x))
    wrong = abs(Fraction(float(result.high)) + Fraction(float(result.low)) - right)
    assert wrong <= Fraction(float(result.error))
    assert result.error <= (m + 20) * 17 * EPS**2 * float(np.abs(x).sum())


def test_zeros_are_exact():
    assert total(np.zeros(3)) == (0, 0, 0)
    result = dot(np.ones((4, 2)), np.zeros(4))
    assert not result.high.any()
    assert not result.error.any()
