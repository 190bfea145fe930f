"""The bound of the distance of an optimum from the minimum, checked in exact arithmetic."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accel import LpProblem, optimum
from accel._optimum.certificate import Basis, Rows, gap_at

from ..rational import least_found, rank

POWERS = (1, 1.01, 1.5, 2, 3, 4, 8)
HARD = ("plain", "offset", "near-perfect", "scales", "huge", "outlier", "ties", "leverage")


def hard(kind, n, d, p, rng):
    """Data for which rounding errors are large."""
    X = rng.standard_normal((n, d)) if rng.random() < 0.5 else rng.integers(-3, 4, (n, d)) * 1.0
    if rng.random() < 0.6:
        X[:, 0] = 1
    w = rng.standard_normal(d)
    y = X @ w + rng.standard_normal(n) * 10.0 ** rng.integers(-3, 1)
    if kind == "offset":
        y += 10.0 ** rng.integers(8, 13) * X[:, 0]
    elif kind == "near-perfect":
        y = X @ w + rng.standard_normal(n) * 10.0 ** rng.integers(-18, -10)
    elif kind == "scales":
        X *= 10.0 ** rng.integers(-8, 9, d)
    elif kind == "huge":
        y = X @ (w * 10.0 ** rng.integers(3, 15, d)) + rng.standard_normal(n)
    elif kind == "outlier":
        y[0] = 10.0 ** rng.integers(3, 31 if p < 2 else 13)
    elif kind == "ties":
        X, y = rng.integers(-2, 3, (n, d)) * 1.0, rng.integers(-2, 3, n) * 1.0
    elif kind == "leverage":
        X[0] *= 10.0 ** rng.integers(2, 13)
    return X, y


@pytest.mark.parametrize("kind", HARD)
@settings(max_examples=40)
@given(
    n=st.integers(2, 12),
    d=st.integers(1, 3),
    p=st.sampled_from(POWERS),
    seed=st.integers(0, 10**6),
)
def test_no_point_is_further_below_than_the_gap(kind, n, d, p, seed):
    X, y = hard(kind, n, d, p, np.random.default_rng(seed))
    best = optimum(LpProblem(X, y, p), backend="reference")
    assume(best.rank == rank(X))  # else rcond has left points out of the claim
    here, least = least_found(X, y, best.W[0], p)
    gap = Decimal(best.duality_gap)
    assert here - least <= gap
    assert Decimal(best.loss) - least <= gap
    assert abs(here - Decimal(best.loss)) <= Decimal("1e-13") * here + Decimal("5e-324")
    if best.converged and p >= 2:  # for p < 2 the loss of rows far away does not count
        at_zero = np.mean(np.abs(y) ** p)
        assert gap <= Decimal(1e-10 * max(best.loss, 1e-20 * at_zero) + 1e-10 * at_zero)


@pytest.mark.parametrize("p", [1, 2, 4])
@pytest.mark.parametrize("offset", [1e8, 1e10, 1e12])
def test_large_targets_beside_small_residuals(offset, p):
    """W is rounded to float64: the gap must be at least the loss that this adds."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X = np.column_stack([np.ones(40), rng.integers(-3, 4, 40)]).astype(float)
        y = 3 * X[:, 1] + rng.integers(-8, 9, 40) / 8
        far, near = (optimum(LpProblem(X, y + by, p)) for by in (offset, 0.0))
        assert near.converged
        assert far.loss - near.loss <= far.duality_gap + near.duality_gap
        # For p = 1 residuals are cut to ten medians in the loss; none here is larger.
        assert far.converged == (far.duality_gap <= 1.001e-10 * far.loss)


@given(
    weights=st.booleans(), center=st.booleans(), spread=st.integers(0, 6), seed=st.integers(0, 999)
)
def test_residuals_and_sums_are_as_exact_as_claimed(weights, center, spread, seed):
    rng = np.random.default_rng(seed)
    n, d = 9, 2
    X = rng.standard_normal((n, d)) + 10.0**spread
    w, b, v = rng.standard_normal(d), 3.0 * center, rng.standard_normal(n)
    y = X @ w + b + 1e-12 * rng.standard_normal(n)
    root = rng.uniform(0.1, 5, n) if weights else None
    rows = Rows(X, y, root, X.mean(axis=0) if center else None)
    # the rounding error of v is small beside v, as in a certificate
    low = 1e-17 * rng.standard_normal(n)
    r, error = rows.residual(w, b)
    sums, grain = rows.products(v, low)
    F = Fraction
    roots = [F(1)] * n if root is None else [F(a) for a in root]
    exact = [
        s * (sum(F(a) * F(c) for a, c in zip(x, w, strict=True)) + F(b) - F(t))
        for s, x, t in zip(roots, X, y, strict=True)
    ]
    columns = [[F(a) - F(m) for a, m in zip(x, X.mean(axis=0), strict=True)] for x in X]
    columns = [[*x, F(1)] for x in columns] if center else [[F(a) for a in x] for x in X]
    slopes = [s * (F(a) + F(c)) for s, a, c in zip(roots, v, low, strict=True)]
    totals = [sum(a * x[j] for a, x in zip(slopes, columns, strict=True)) for j in range(len(sums))]
    for values, right, within in ((r, exact, error), (sums, totals, grain)):
        for value, number, bound in zip(values, right, within, strict=True):
            assert abs(F(value) - number) <= F(bound)
            assert bound <= 4e-16 * abs(value) + 1e-24 * 10.0**spread


def test_slopes_that_are_not_orthogonal_prove_less():
    """The bound holds for any slopes; errors of the slopes enlarge the gap."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 2)), rng.standard_normal(30)
    best = optimum(LpProblem(X, y, 4))
    basis = Basis.of(X, np.linalg.inv(np.linalg.qr(X, mode="r")))
    r = X @ best.W[0] - y
    right = np.sign(r) * np.abs(r / np.abs(r).max()) ** 3
    gaps = []
    for wrong in (0.0, 1e-3, 1e-1):
        bound = gap_at(Rows(X, y), best.W[0], basis, 4, right + wrong * rng.standard_normal(30))
        assert 0 <= bound.gap <= bound.loss * (1 + 1e-12)
        gaps.append(bound.gap)
    assert gaps == sorted(gaps)
    askew = Basis(basis.A + 1e-6, basis.T, basis.row_norms, basis.error, basis.least)
    bound = gap_at(Rows(X, y), best.W[0], askew, 4, right)
    assert bound.gap >= 1e-7 * bound.loss  # A is not X T, so that rho is not 0


def test_rounding_of_the_slope_of_a_row_far_away_is_not_paid_by_it():
    """Its loss is 1e30: 1e-32 of that, the square of a rounding error, would be noticeable."""
    rng, p = np.random.default_rng(0), 1.01
    X, y = rng.standard_normal((30, 2)), rng.standard_normal(30)
    y[0] = 1e30
    best = optimum(LpProblem(X, y, p))
    basis = Basis.of(X, np.linalg.inv(np.linalg.qr(X, mode="r")))
    r = X @ best.W[0] - y
    v = np.sign(r) * np.abs(r / np.abs(r).max()) ** (p - 1)
    for wrong in (0.0, 4e-15):
        off = np.where(np.arange(30) == 0, 1 + wrong, 1.0)
        bound = gap_at(Rows(X, y), best.W[0], basis, p, off * v)
        assert bound.gap * bound.unit**p <= 1e-5 * np.sum(np.abs(r[1:]) ** p)


def test_the_gap_is_tight():
    """Where rounding W dominates, the gap is at most 20 times the exact distance."""
    rng = np.random.default_rng(4)
    X = np.column_stack([np.ones(12), rng.standard_normal(12)])
    y = 1e11 + X[:, 1] + rng.standard_normal(12)
    for p in (1.5, 2, 4):
        best = optimum(LpProblem(X, y, p))
        here, least = least_found(X, y, best.W[0], p)
        assert 0 < float(here - least) <= best.duality_gap
        assert best.duality_gap <= 20 * float(here - least)
