"""Dot products with twice the digits, compared with rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

EPS = 2.0**-52


def exact(values):
    return [Fraction(float(v)) for v in values]


def assert_within(A, x, result):
    """Check high + low against the exact products, and the bound against the documented one."""
    m = len(A)
    factors = exact(x)
    for j, (high, low, error) in enumerate(zip(*result, strict=True)):
        terms = [a * b for a, b in zip(exact(A[:, j]), factors, strict=True)]
        wrong = abs(Fraction(float(high)) + Fraction(float(low)) - sum(terms))
        assert wrong <= Fraction(float(error))
        most = (m + 16) * (np.log2(m) + 4) * EPS**2 * float(sum(map(abs, terms)))
        assert error <= most * (1 + 1e-9) + m * 1e-318


@given(
    m=st.integers(1, 90),
    k=st.integers(1, 70),
    spread=st.integers(0, 20),
    seed=st.integers(0, 10**6),
    columns=st.booleans(),
)
def test_the_sums_are_as_exact_as_claimed(kernels, m, k, spread, seed, columns):
    """In either order in memory, with and without whole panels, where sums nearly cancel."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, k)) * 10.0 ** rng.integers(-spread, spread + 1, (m, k))
    x = rng.standard_normal(m) * 10.0 ** rng.integers(-spread, spread + 1, m)
    if m > 1:
        A[-1] = -(x[:-1] @ A[:-1]) / x[-1]
    A = np.asfortranarray(A) if columns else A
    assert_within(A, x, kernels.twofold.dot(A, x))


@pytest.mark.parametrize("m", [31, 32, 33, 64, 1000, 5000])
def test_many_terms_go_in_blocks(kernels, m):
    rng = np.random.default_rng(m)
    A, x = rng.standard_normal((m, 3)) + 1e3, rng.standard_normal(m)
    assert_within(A, x, kernels.twofold.dot(A, x))


@pytest.mark.parametrize("layout", ["strided", "reversed", "columns"])
def test_the_layout_changes_no_bit(compiled, lay_out, layout):
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((70, 45)), rng.standard_normal(70)
    right = compiled.twofold.dot(A, x)
    placed = np.asfortranarray(A) if layout == "columns" else lay_out(A, layout)
    factors = np.repeat(x, 3)[::3]
    factors.flags.writeable = placed.flags.writeable = False
    for ours, other in zip(compiled.twofold.dot(placed, factors), right, strict=True):
        np.testing.assert_array_equal(ours, other)


def test_no_column_depends_on_others(compiled):
    if compiled.backend == "cuda":
        pytest.skip("there it is the reference's, which takes the columns together")
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((70, 45)), rng.standard_normal(70)
    together = compiled.twofold.dot(A, x)
    for j in (0, 31, 32, 44):
        alone = compiled.twofold.dot(A[:, j : j + 1], x)
        assert [part[0] for part in alone] == [part[j] for part in together]


def test_zeros_are_exact_and_what_is_not_finite_shows(kernels):
    high, low, error = kernels.twofold.dot(np.ones((4, 2)), np.zeros(4))
    assert not high.any()
    assert not low.any()
    assert not error.any()
    with np.errstate(all="ignore"):
        for value in (np.nan, np.inf, -np.inf):
            A = np.ones((40, 2))
            A[7, 1] = value
            high, low, error = kernels.twofold.dot(A, np.ones(40))
            assert np.isfinite(high[0] + low[0] + error[0])
            assert not np.isfinite(high[1] + low[1] + error[1])
        high, low, error = kernels.twofold.dot(np.full((2, 1), 1e200), np.full(2, 1e200))
    assert not np.isfinite(high + low + error).any()


def test_tiny_products_are_within_the_bound(kernels):
    """Their rounding errors underflow."""
    rng = np.random.default_rng(0)
    A, x = 1e-160 * rng.standard_normal((50, 3)), 1e-160 * rng.standard_normal(50)
    assert_within(A, x, kernels.twofold.dot(A, x))
