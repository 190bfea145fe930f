"""The optimum of the losses beside l_p: against other solvers, on degenerate and large data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import LpProblem, Problem, optimum
from accel.losses import Huber, Pinball

from .test_optimum import regression

RESIDUALS = ("huber(1.35)", "huber(0.01)", "pinball(0.5)", "pinball(0.9)", "expectile(0.2)",
             "logcosh")  # fmt: skip
SMOOTH = ("huber(1.35)", "expectile(0.2)", "logcosh", "logistic", "exponential")


def overlapping(n, d, seed=0):
    """Labels that no map separates."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.where(X @ rng.standard_normal(d) + rng.logistic(size=n) > 0, 1.0, -1.0)
    return np.vstack([X, X[:2]]), np.append(y, -y[:2])


def data(loss, n=150, d=6):
    return overlapping(n, d) if loss in ("logistic", "exponential") else regression(n, d)


def assert_certified(problem, best, tol=1e-10):
    assert best.converged
    assert best.status == "optimal"
    assert 0 <= best.duality_gap <= tol * best.loss + 1e-14 * best.loss
    assert best.loss == pytest.approx(problem.loss(best.W, backend="reference"), rel=1e-12)
    rng = np.random.default_rng(1)
    for size in (1e-9, 1e-5, 1e-2, 1.0):
        other = best.W + size * rng.standard_normal(best.W.shape)
        slack = best.duality_gap + 1e-14 * best.loss
        assert problem.loss(other, backend="reference") >= best.loss - slack


@pytest.mark.parametrize("loss", [*RESIDUALS, "logistic", "exponential"])
def test_certificate(loss):
    problem = Problem(*data(loss), loss)
    best = optimum(problem, backend="reference")
    assert best.W.shape == (1, 6)
    assert_certified(problem, best)
    if loss in SMOOTH:
        zero = problem.gradient(np.zeros((1, 6)), backend="reference")
        assert best.gradient_norm <= 1e-5 * np.linalg.norm(zero)


@pytest.mark.parametrize("loss", SMOOTH)
def test_against_scipy(loss):
    minimize = pytest.importorskip("scipy.optimize").minimize
    problem = Problem(*data(loss), loss)
    best = optimum(problem, backend="reference")
    other = minimize(
        lambda w: problem.loss_and_gradient(w, backend="reference"),
        np.zeros(6),
        jac=True,
        method="BFGS",
        options={"gtol": 1e-9},
    )
    assert best.loss - best.duality_gap <= other.fun
    assert best.loss == pytest.approx(other.fun, rel=1e-8)
    np.testing.assert_allclose(best.W[0], other.x, atol=1e-4)


@pytest.mark.parametrize("intercept", [False, True])
def test_logistic_against_scikit_learn(intercept):
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = overlapping(200, 5)
    if intercept:
        X[:, 0] = 1.0
    best = optimum(Problem(X, y, "logistic"), backend="reference")
    other = linear_model.LogisticRegression(
        C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000
    ).fit(X, y)
    np.testing.assert_allclose(best.W[0], other.coef_[0], atol=1e-5)


def linear_program(X, y, tau):
    """The least mean pinball loss, by HiGHS."""
    linprog = pytest.importorskip("scipy.optimize").linprog
    n, d = X.shape
    costs = np.concatenate([np.zeros(d), np.full(n, tau / n), np.full(n, (1 - tau) / n)])
    found = linprog(
        costs,
        A_eq=np.hstack([X, np.eye(n), -np.eye(n)]),
        b_eq=y,
        bounds=[(None, None)] * d + [(0, None)] * (2 * n),
    )
    assert found.status == 0
    return found.fun


@pytest.mark.parametrize("tau", [0.05, 0.3, 0.5, 0.95])
def test_quantiles_against_scikit_learn(tau):
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = regression(300, 8)
    best = optimum(Problem(X, y, Pinball(tau)), backend="reference")
    other = linear_model.QuantileRegressor(quantile=tau, alpha=0, fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(best.W[0], other.coef_, atol=1e-8)
    assert best.loss == pytest.approx(linear_program(X, y, tau), rel=1e-10)
    assert best.duality_gap <= 1e-13 * best.loss
    assert np.count_nonzero(np.abs(X @ best.W[0] - y) < 1e-12) == 8  # a vertex


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 40),
    d=st.integers(1, 4),
    tau=st.sampled_from([0.02, 0.25, 0.5, 0.9]),
)
def test_quantiles_with_ties_and_repeated_rows(seed, n, d, tau):
    rng = np.random.default_rng(seed)
    X, y = rng.integers(-2, 3, (n, d)) * 1.0, rng.integers(-3, 4, n) * 1.0
    again = rng.integers(0, n, n)
    X, y = np.vstack([X, X[again]]), np.append(y, y[again])
    best = optimum(Problem(X, y, Pinball(tau)), backend="reference")
    assert best.status == "optimal"
    least = linear_program(X, y, tau)
    assert best.loss - best.duality_gap - 1e-9 <= least <= best.loss + 1e-9


def test_half_of_the_absolute_residual_is_the_pinball_loss_of_the_median():
    X, y = regression(120, 5)
    half = optimum(Problem(X, y, Pinball(0.5)), backend="reference")
    whole = optimum(LpProblem(X, y, p=1), backend="reference")
    assert 2 * half.loss == pytest.approx(whole.loss, rel=1e-13)
    np.testing.assert_allclose(half.W, whole.W, rtol=1e-10)


def test_huber_with_a_large_delta_is_half_the_square_and_with_a_small_one_nearly_l1():
    X, y = regression(120, 5)
    least = optimum(LpProblem(X, y, p=2), backend="reference")
    best = optimum(Problem(X, y, Huber(1e6)), backend="reference")
    assert 2 * best.loss == pytest.approx(least.loss, rel=1e-13)
    np.testing.assert_allclose(best.W, least.W, rtol=1e-8)
    robust = optimum(LpProblem(X, y, p=1), backend="reference")
    best = optimum(Problem(X, y, Huber(1e-7)), backend="reference")
    assert best.converged
    assert best.loss / 1e-7 == pytest.approx(robust.loss, rel=1e-5)


@pytest.mark.parametrize("loss", RESIDUALS)
def test_outputs_separate(loss):
    X, Y = regression(80, 5, 3)
    together = optimum(Problem(X, Y, loss), backend="reference")
    alone = [optimum(Problem(X, y, loss), backend="reference") for y in Y.T]
    np.testing.assert_allclose(together.W, np.vstack([one.W for one in alone]), rtol=1e-12)
    assert together.loss == pytest.approx(sum(one.loss for one in alone), rel=1e-12)
    assert together.iterations == sum(one.iterations for one in alone)
    assert together.converged


@pytest.mark.parametrize("loss", [*RESIDUALS, "logistic", "exponential"])
def test_the_least_norm_of_maps_with_the_same_predictions(loss):
    X, y = data(loss)
    full = optimum(Problem(X, y, loss), backend="reference")
    twice = np.hstack([X, X[:, :1], 2 * X[:, 1:2]])
    best = optimum(Problem(twice, y, loss), backend="reference")
    assert best.converged
    assert best.rank == 6
    assert best.loss == pytest.approx(full.loss, rel=1e-9)
    assert best.W[0, 0] == pytest.approx(best.W[0, 6], rel=1e-9)
    assert 2 * best.W[0, 1] == pytest.approx(best.W[0, 7], rel=1e-9)


@pytest.mark.parametrize("loss", RESIDUALS)
def test_a_perfect_fit(loss):
    rng = np.random.default_rng(0)
    X, w = rng.integers(-3, 4, (20, 3)) * 1.0, np.array([1.0, -2.0, 3.0])
    y = X @ w
    for some, t in ((X, y), (X[:2], np.array([1.0, 5.0])), (X, np.zeros(20)), (0 * X, y)):
        best = optimum(Problem(some, t, loss), backend="reference")
        assert best.converged
        if some.any():
            assert best.loss <= 1e-13
        else:
            assert best.rank == 0
            assert not best.W.any()


@pytest.mark.parametrize("loss", ["huber(1.35)", "pinball(0.3)", "logcosh"])
def test_one_target_far_away_does_not_hide_the_others(loss):
    X, y = regression(60, 3, outliers=False)
    y[7] = 1e6
    far = optimum(Problem(X, y, loss), backend="reference")
    y[7] = 1e9
    farther = optimum(Problem(X, y, loss), backend="reference")
    assert far.converged
    assert farther.converged
    np.testing.assert_allclose(far.W, farther.W, atol=1e-6)


@pytest.mark.parametrize("loss", [*RESIDUALS, "logistic", "exponential"])
def test_float32_problems_are_solved_in_float64(loss):
    X, y = data(loss)
    X, y = X.astype(np.float32), y.astype(np.float32)
    small = optimum(Problem(X, y, loss), backend="reference")
    large = optimum(Problem(X.astype(float), y.astype(float), loss), backend="reference")
    assert small.W.dtype == np.float64
    assert small.converged
    np.testing.assert_allclose(small.W, large.W, rtol=1e-6)


def test_too_few_steps():
    for loss in ("logistic", "huber(0.1)", "logcosh"):
        best = optimum(Problem(*data(loss), loss), max_iter=1, backend="reference")
        assert (best.status, best.converged, best.iterations) == ("max_iter", False, 1)
        assert 0 < best.duality_gap <= best.loss * (1 + 1e-12)
    best = optimum(LpProblem(*regression(80, 5), p=4), max_iter=1, backend="reference")
    assert (best.status, best.converged) == ("max_iter", False)


def test_rounding_errors_of_large_targets_end_the_search():
    X, y = regression(60, 3)
    X[:, 0] = 1.0
    for problem in (Problem(X, y + 1e10, "pinball(0.3)"), LpProblem(X, y + 1e10, p=1)):
        best = optimum(problem, backend="reference")
        assert (best.status, best.converged) == ("stalled", False)
        assert 1e-10 * best.loss < best.duality_gap <= best.loss


def test_a_loss_that_overflows_at_0():
    with pytest.raises(ValueError, match=r"the loss at W = 0 overflows for Expectile\(tau=0.5\)"):
        optimum(Problem([[1.0], [2.0]], [1e200, 0.0], "expectile(0.5)"))


@pytest.mark.slow
@pytest.mark.parametrize("tau", [0.01, 0.5, 0.9])
def test_quantiles_of_many_rows(tau):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100_000, 100))
    X[:, 0] = 1.0
    y = X @ rng.standard_normal(100) + rng.standard_t(3, 100_000)
    best = optimum(Problem(X, y, Pinball(tau)))
    assert best.status == "optimal"
    assert best.duality_gap <= 1e-13 * best.loss
    assert np.mean(y < X @ best.W[0]) == pytest.approx(tau, abs=2e-3)
