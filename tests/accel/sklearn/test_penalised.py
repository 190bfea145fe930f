"""``LpRegressor`` with penalties and with nonnegative coefficients."""

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV

from accel.sklearn import LpRegressor

RNG = np.random.default_rng(0)
N, D = 120, 7
#: Columns of different sizes and places.
X = RNG.standard_normal((N, D)) * 10.0 ** RNG.integers(-2, 3, D) + RNG.integers(-50, 50, D)
y = X @ (RNG.standard_normal(D) / X.std(axis=0)) + RNG.standard_normal(N) + 100
Y = np.column_stack([y, 0.01 * y**2])
WEIGHT = RNG.integers(0, 4, N)


def minimised(model, p, X=X, y=y, weight=None):
    """The mean of the losses and the penalties, in the units of the user, summed over outputs."""
    coef = np.atleast_2d(model.coef_).astype(float)
    left = np.abs(X @ coef.T + model.intercept_ - y.reshape(len(y), -1)) ** p
    mean = np.average(left.sum(axis=1), weights=weight)
    return mean + model.l1 * np.abs(coef).sum() + model.l2 / 2 * np.sum(coef**2)


@pytest.mark.parametrize("how", [{}, {"standardize": False}, {"fit_intercept": False}], ids=str)
@pytest.mark.parametrize("share", [1.0, 0.3, 0.0])
def test_squares_against_scikit_learn(how, share):
    alpha, intercept = 0.1, how.get("fit_intercept", True)
    model = LpRegressor(2, l1=2 * alpha * share, l2=2 * alpha * (1 - share), **how).fit(X, y)
    if share:
        other = ElasticNet(
            alpha=alpha, l1_ratio=share, fit_intercept=intercept, tol=1e-13, max_iter=10**6
        )
    else:
        other = Ridge(alpha=alpha * N, fit_intercept=intercept)
    other.fit(X, y)
    tol = 1e-6 * np.abs(other.coef_ * X.std(axis=0)).max()
    np.testing.assert_allclose(model.coef_ * X.std(0), other.coef_ * X.std(0), atol=tol)
    np.testing.assert_allclose(model.intercept_, other.intercept_, rtol=1e-6)
    assert (model.solver_, model.status_) == ("newton", "converged")
    assert 0 < model.dual_gap_ <= 1e-8 * minimised(model, 2)
    assert (model.rank_, model.singular_) == (None, None)
    assert model.n_iter_ >= 1


def test_the_formulas_of_the_docstring():
    standard = (X - X.mean(axis=0)) / X.std(axis=0)
    lasso = Lasso(alpha=0.2, tol=1e-12).fit(standard, y)
    np.testing.assert_allclose(LpRegressor(2, l1=0.4).fit(standard, y).coef_, lasso.coef_, 1e-6)
    ridge = Ridge(alpha=5.0).fit(standard, y)
    model = LpRegressor(2, l2=2 * 5 / N).fit(standard, y)
    np.testing.assert_allclose(model.coef_, ridge.coef_, rtol=1e-9)


@pytest.mark.parametrize("intercept", [True, False])
def test_nonnegative_squares_against_scikit_learn(intercept):
    model = LpRegressor(2, nonnegative=True, fit_intercept=intercept).fit(X, Y)
    other = LinearRegression(positive=True, fit_intercept=intercept).fit(X, Y)
    np.testing.assert_allclose(model.coef_, other.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(model.coef_ > 0, other.coef_ > 0)
    assert (model.coef_ == 0).any()


@pytest.mark.parametrize("p", [1.5, 4])
@pytest.mark.parametrize("how", [
    {"nonnegative": True}, {"l1": 0.05}, {"l2": 0.05}, {"l1": 0.05, "l2": 0.1, "nonnegative": True},
], ids=str)  # fmt: skip
def test_other_powers_against_scipy(p, how):
    standard = (X - X.mean(axis=0)) / X.std(axis=0)
    targets = (y - y.mean()) / y.std()
    model = LpRegressor(p, **how).fit(standard, targets)
    l1, l2 = how.get("l1", 0), how.get("l2", 0)

    def value_and_slope(a):  # of coefficients above 0, of those below 0, and of the intercept
        c = a[:D] - a[D:-1]
        r = standard @ c + a[-1] - targets
        s = p * np.abs(r) ** (p - 1) * np.sign(r) / N
        g = standard.T @ s + l2 * c
        value = np.mean(np.abs(r) ** p) + l1 * a[:-1].sum() + l2 / 2 * c @ c
        return value, np.concatenate([g + l1, l1 - g, [s.sum()]])

    limits = [(0, None)] * D + [(0, 0 if "nonnegative" in how else None)] * D + [(None, None)]
    options = {"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-10}
    start = np.concatenate([np.full(D, 0.1), np.zeros(D + 1)])
    other = minimize(value_and_slope, start, jac=True, bounds=limits, options=options)
    value = minimised(model, p, standard, targets)
    assert value - other.fun <= model.dual_gap_ <= 1e-8 * value
    assert value >= other.fun * (1 - 1e-6)


def test_absolute_values_against_linear_programming():
    model = LpRegressor(1, nonnegative=True, l1=0.3).fit(X, y, WEIGHT)
    weight = WEIGHT / WEIGHT.sum()
    A = np.hstack([X, np.ones((N, 1)), np.eye(N), -np.eye(N)])
    cost = np.concatenate([np.full(D, 0.3), [0], weight, weight])
    limits = [(0, None)] * D + [(None, None)] + [(0, None)] * 2 * N
    best = linprog(cost, A_eq=A, b_eq=y, bounds=limits)
    assert minimised(model, 1, weight=WEIGHT) == pytest.approx(best.fun, rel=1e-8)
    assert model.dual_gap_ <= 1e-8 * best.fun


@pytest.mark.parametrize("p", [1, 1.5, 2, 4])
def test_weights_are_repeated_rows_and_outputs_are_fits(p):
    how = {"l1": 0.02, "l2": 0.03, "nonnegative": True}
    together = LpRegressor(p, **how).fit(X, Y, WEIGHT)
    repeated = np.repeat(np.arange(N), WEIGHT)
    values = minimised(together, p, y=Y, weight=WEIGHT)
    for i in range(2):
        alone = LpRegressor(p, **how).fit(X[repeated], Y[repeated, i])
        values -= minimised(alone, p, y=Y[:, i], weight=WEIGHT)
    assert abs(values) <= 3 * together.dual_gap_ + 1e-13 * minimised(together, p, y=Y)
    assert together.coef_.shape == (2, D)
    assert (together.coef_ >= 0).all()


@given(
    st.sampled_from([1, 1.3, 2, 3, 6]),
    st.sampled_from([0.0, 0.1, 10.0]),
    st.sampled_from([0.0, 0.1]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10**6),
)
@settings(max_examples=40)
@pytest.mark.filterwarnings("ignore:tol=.* take float64:sklearn.exceptions.ConvergenceWarning")
def test_the_gap_bounds_what_any_other_coefficients_reach(p, l1, l2, nonnegative, single, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((15, 4)) * 10.0 ** rng.integers(-2, 3, 4) + rng.integers(-3, 3, 4)
    target = A @ rng.standard_normal(4) + rng.standard_normal(15)
    if single:
        A, target = A.astype("f4"), target.astype("f4")
    model = LpRegressor(p, l1=l1, l2=l2, nonnegative=nonnegative or not (l1 or l2)).fit(A, target)
    assert model.coef_.dtype == A.dtype
    A, target = A.astype(float), target.astype(float)
    value = minimised(model, p, A, target)
    for size in (0.0, 1e-9, 1e-6, 1e-3, 0.1):
        other = LpRegressor(p, l1=l1, l2=l2)
        other.coef_ = model.coef_ * (1 + size * rng.standard_normal(4))
        if model.nonnegative:
            other.coef_ = np.abs(other.coef_)
        other.intercept_ = model.intercept_ + size * rng.standard_normal()
        assert minimised(other, p, A, target) >= value - model.dual_gap_ - 1e-12 * value
    if not single:
        assert model.dual_gap_ <= 1e-8 * value


def test_standardising_does_not_change_the_minimum():
    for how in ({"l1": 0.1}, {"nonnegative": True}, {"l2": 0.3, "l1": 0.01}):
        one, other = (LpRegressor(3, standardize=s, **how).fit(X, y) for s in (True, False))
        assert minimised(one, 3) == pytest.approx(minimised(other, 3), rel=1e-9)


def test_the_larger_the_penalty_the_fewer_coefficients():
    counts = [np.count_nonzero(LpRegressor(1.5, l1=l1).fit(X, y).coef_) for l1 in (0, 0.5, 5, 1e4)]
    assert counts == sorted(counts, reverse=True)
    assert (counts[0], counts[-1]) == (D, 0)
    model = LpRegressor(2, l1=1e4).fit(X, y)
    assert model.intercept_ == pytest.approx(y.mean())


def test_constant_features_and_zeros():
    A = np.column_stack([X[:, 0], np.full(N, 3.0), X[:, 1], np.zeros(N)])
    for intercept in (True, False):
        model = LpRegressor(2, nonnegative=True, fit_intercept=intercept).fit(A, y + 1e4)
        assert model.coef_[3] == 0
        assert model.dual_gap_ <= 1e-8 * minimised(model, 2, A, y + 1e4)
        assert (model.coef_[1] == 0) == intercept
    nothing = LpRegressor(3, l1=0.1).fit(np.zeros((5, 2)), np.arange(5.0))
    np.testing.assert_array_equal(nothing.coef_, 0)
    assert nothing.intercept_ == pytest.approx(2.0)


def test_classes_beside_an_intercept():
    classes = np.eye(3)[RNG.integers(0, 3, N)]
    for p in (1, 2, 4):
        model = LpRegressor(p, nonnegative=True).fit(classes, y)
        assert model.status_ == "converged"
        assert model.dual_gap_ <= 1e-8 * minimised(model, p, classes)


def test_too_few_steps_are_said():
    with pytest.warns(ConvergenceWarning, match="gap is still .* of what is minimised; consider"):
        model = LpRegressor(4, l1=0.1, max_iter=3).fit(X, y)
    assert model.status_ == "completed"
    assert model.dual_gap_ > 1e-8 * minimised(model, 4)


@pytest.mark.parametrize("how", [{"l1": 5.0, "nonnegative": True}, {"nonnegative": True}], ids=str)
def test_absolute_values_are_proved_where_no_residual_is_0(how):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        noise, target = rng.standard_normal((40, 5)), rng.standard_normal(40)
        for weight in (None, np.repeat(rng.integers(1, 5, 20), 2)):
            model = LpRegressor(1, **how).fit(noise, target, weight)
            value = minimised(model, 1, noise, target, weight)
            assert model.status_ == "converged"
            assert 0 <= model.dual_gap_ <= 1e-8 * value


def test_a_gap_that_is_far_from_the_tolerance_is_said(monkeypatch):
    """In float32 the data of the fit are rounded, and a small l1 can have no slopes inside."""
    rng = np.random.default_rng(1263)
    A = rng.standard_normal((15, 4)) * 10.0 ** rng.integers(-2, 3, 4) + rng.integers(-3, 3, 4)
    target = A @ rng.standard_normal(4) + rng.standard_normal(15)
    exact = LpRegressor(6, l1=10.0, nonnegative=True).fit(A, target)
    assert exact.status_ == "converged"
    with pytest.warns(ConvergenceWarning, match=r"gap is .* with all rounding.*tol allows.*64"):
        model = LpRegressor(6, l1=10.0, nonnegative=True).fit(A.astype("f4"), target.astype("f4"))
    assert model.status_ == "completed"
    assert model.dual_gap_ > 0.5 * minimised(model, 6, A, target)
    # A proof that comes to nothing in float64.
    monkeypatch.setattr("accel._optimum.penalised_proof._attempt", lambda _, v, *__: (v, np.nan, 1))
    with pytest.warns(ConvergenceWarning, match=r"with all rounding errors, of .* tol allows; con"):
        model = LpRegressor(2, l1=0.1).fit(X, y, WEIGHT)
    assert model.status_ == "completed"
    assert model.dual_gap_ == pytest.approx(minimised(model, 2, weight=WEIGHT))


@pytest.mark.parametrize("intercept", [True, False])
def test_where_nonnegative_coefficients_interpolate(intercept):
    """The tolerance is then one of the loss at 0, and the gap at most about what is left."""
    rng = np.random.default_rng(0)
    wide, target = rng.standard_normal((10, 100)), rng.standard_normal(10)
    model = LpRegressor(2, nonnegative=True, fit_intercept=intercept).fit(wide, target)
    assert model.status_ == "converged"
    left = minimised(model, 2, wide, target)
    assert left <= 1e-20
    assert 0 <= model.dual_gap_ <= 3 * left + 1e-25


def test_grid_search(capsys):
    grid = GridSearchCV(LpRegressor(2), {"l1": [0.01, 1e3], "nonnegative": [False]}, cv=3)
    assert grid.fit(X, y).best_params_["l1"] == 0.01
    LpRegressor(2, l2=0.1, verbose=True).fit(X, y)
    assert "newton" in capsys.readouterr().err


def test_penalties_that_overflow():
    with pytest.raises(ValueError, match="l1 and l2 must be finite in units in which y"):
        LpRegressor(4, l1=1e300).fit(X, 1e-10 * y)
    with pytest.raises(ValueError, match="in units in which y is of size 1, for p = 20: rescale y"):
        LpRegressor(20, nonnegative=True).fit(X, 1e-30 * y)
