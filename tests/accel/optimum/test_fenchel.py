"""The bound of the distance from the minimum of a convex loss, checked in 60 digits."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accel import Problem, optimum
from accel._optimum.basis import Basis
from accel._optimum.certificate import Rows
from accel._optimum.conjugates import Conjugate
from accel._optimum.fenchel import bound_at
from accel.kernels.reference.losses import value_and_slope
from accel.kernels.specs import Loss

from ..decimal_losses import least_found
from ..rational import rank
from .test_certificate import HARD, hard

RESIDUALS = ("huber(1.35)", "huber(0.01)", "pinball(0.5)", "pinball(0.1)", "expectile(0.2)",
             "logcosh")  # fmt: skip
MARGINS = ("logistic", "exponential")


def labelled(n, d, rng):
    """Labels that hardly any map separates, some rows far away."""
    X = rng.standard_normal((n, d)) * 10.0 ** rng.integers(-2, 2, (n, 1))
    return X, np.where(rng.random(n) < 0.5, 1.0, -1.0)


def assert_proved(problem, best, y):
    """Check loss and gap of an optimum of one output in 60 digits."""
    spec = problem.spec
    here, least = least_found(spec.kind, spec.p, problem.X, y, best.W[0])
    gap = Decimal(best.duality_gap)
    assert here - least <= gap
    assert Decimal(best.loss) - least <= gap
    assert abs(here - Decimal(best.loss)) <= gap


@pytest.mark.parametrize("kind", HARD)
@pytest.mark.parametrize("loss", RESIDUALS)
@settings(max_examples=15)
@given(n=st.integers(2, 12), d=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_no_point_is_further_below_than_the_gap(kind, loss, n, d, seed):
    X, y = hard(kind, n, d, 2 if loss.startswith("expectile") else 1, np.random.default_rng(seed))
    problem = Problem(X, y, loss)
    best = optimum(problem, backend="reference")
    assume(best.rank == rank(X))  # else rcond has left points out of the claim
    assert_proved(problem, best, y)
    assert best.converged == (best.status == "optimal")


@pytest.mark.parametrize("loss", MARGINS)
@settings(max_examples=25)
@given(n=st.integers(2, 12), d=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_no_point_is_further_below_than_the_gap_for_labels(loss, n, d, seed):
    X, y = labelled(n, d, np.random.default_rng(seed))
    problem = Problem(X, y, loss)
    best = optimum(problem, backend="reference")
    assume(best.rank == rank(X))
    assert_proved(problem, best, y)
    assert best.status in ("optimal", "separable")


@pytest.mark.parametrize("loss", [*RESIDUALS, *MARGINS])
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-6, 1e-2, 1.0, 10.0]))
@settings(max_examples=25)
def test_wrong_points_and_wrong_slopes_are_caught(loss, seed, scale):
    """The bound holds at any point, for any slopes, and is never below the true distance."""
    rng = np.random.default_rng(seed)
    X, y = labelled(30, 2, rng)
    if loss not in MARGINS:
        y = X @ rng.standard_normal(2) + rng.standard_t(3, 30)
    problem = Problem(X, y, loss)
    best = optimum(problem, backend="reference")
    w = best.W[0] + scale * rng.standard_normal(2)
    margins = loss in MARGINS
    side = Conjugate(problem.spec, y if margins else np.zeros(30))
    rows = Rows(X, 0 * y if margins else y)
    basis = Basis.of(X, np.linalg.inv(np.linalg.qr(X, mode="r")))
    right = value_and_slope(problem.spec, X @ best.W[0], y)[1]
    here = float(np.sum(side.values(rows.residual(w)[0])))
    true = here - 30 * best.loss
    for v in (right, right + 0.1 * rng.standard_normal(30), np.full(30, np.nan)):
        bound = bound_at(side, rows, w, basis, v)
        assert bound.loss == pytest.approx(here, rel=1e-12)
        assert true - 1e-12 * here - 30 * best.duality_gap <= bound.gap <= here * (1 + 1e-12)


def test_the_wrong_slopes_prove_less():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 2)), rng.standard_normal(40)
    side = Conjugate(Loss(1.0, kind="huber"), np.zeros(40))
    basis = Basis.of(X, np.linalg.inv(np.linalg.qr(X, mode="r")))
    w = optimum(Problem(X, y, "huber(1)"), backend="reference").W[0]
    right = np.clip(X @ w - y, -1.0, 1.0)
    gaps = [
        bound_at(side, Rows(X, y), w, basis, right + wrong * rng.standard_normal(40)).gap
        for wrong in (0.0, 1e-3, 1e-1)
    ]
    assert gaps == sorted(gaps)
    assert gaps[0] <= 1e-12
    askew = Basis(basis.A + 1e-6, basis.T, basis.row_norms, basis.error, basis.least)
    assert bound_at(side, Rows(X, y), w, askew, right).gap >= 1e-12 > gaps[0]


def test_overflow_proves_nothing():
    X, side = np.ones((2, 1)), Conjugate(Loss(0.5, kind="expectile"), np.zeros(2))
    basis = Basis.of(X, np.full((1, 1), 2**-0.5))
    bound = bound_at(side, Rows(X, np.zeros(2)), np.array([1e200]), basis, np.zeros(2))
    assert bound.loss == bound.gap == np.inf
