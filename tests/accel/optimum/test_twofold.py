"""Dot products with twice the digits, against rational arithmetic."""

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
    b = -(x @ A)  # what is left is the rounding error of this sum
    found = added(dot(A, x), b)
    value, error = found.rounded()
    for j in range(k):
        terms = [p * q for p, q in zip(exact(A[:, j]), exact(x), strict=True)]
        right, size = sum(terms) + Fraction(b[j]), float(sum(map(abs, terms)))
        parts = Fraction(float(found.high[j])) + Fraction(float(found.low[j]))
        assert abs(parts - right) <= Fraction(float(found.error[j]))
        assert abs(Fraction(float(value[j])) - right) <= Fraction(float(error[j]))
        assert found.error[j] <= (m + 20) * 12 * EPS**2 * size + 1e-300


def test_many_rows_go_in_blocks():
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((33_000, 1)), rng.standard_normal(33_000)
    found = dot(A, x)
    right = sum(p * q for p, q in zip(exact(A[:, 0]), exact(x), strict=True))
    wrong = Fraction(float(found.high[0])) + Fraction(float(found.low[0])) - right
    assert abs(wrong) <= Fraction(float(found.error[0])) < Fraction(1, 10**20)


@given(m=st.integers(1, 3000), spread=st.integers(0, 150), seed=st.integers(0, 10**6))
def test_a_sum_alone_has_the_same_error(m, spread, seed):
    """Also of numbers that nearly cancel, and of any sizes."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(m) * 10.0 ** rng.integers(-spread, spread + 1, m)
    x = np.append(x, -np.sum(x))
    found, right = total(x), sum(exact(x))
    wrong = abs(Fraction(float(found.high)) + Fraction(float(found.low)) - right)
    assert wrong <= Fraction(float(found.error))
    assert found.error <= (m + 20) * 17 * EPS**2 * float(np.abs(x).sum())


def test_zeros_are_exact():
    assert total(np.zeros(3)) == (0, 0, 0)
    found = dot(np.ones((4, 2)), np.zeros(4))
    assert not found.high.any()
    assert not found.error.any()
