"""LpRegressor: the bound ``dual_gap_`` in the units of the user, and outliers for p < 2."""

import warnings
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn")

from sklearn.exceptions import ConvergenceWarning

from accel.sklearn import LpRegressor

from ..rational import least_found

HARD = ("plain", "far targets", "far features", "scales", "outlier", "float32", "perfect")


@pytest.mark.parametrize("kind", HARD)
@settings(max_examples=25)
@given(
    n=st.integers(3, 11),
    d=st.integers(1, 2),
    p=st.sampled_from([1, 1.01, 1.5, 2, 3, 8]),
    weights=st.booleans(),
    standardize=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_no_map_is_further_below_than_the_gap(kind, n, d, p, weights, standardize, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = X @ rng.standard_normal(d) + 0.3 * rng.standard_normal(n)
    if kind == "far targets":
        y += 10.0 ** rng.integers(6, 14)
    elif kind == "far features":
        X += 10.0 ** rng.integers(3, 13, d)
    elif kind == "scales":
        X, y = X * 10.0 ** rng.integers(-8, 9, d), y * 10.0 ** rng.integers(-8, 9)
    elif kind == "outlier":
        y[0] = 10.0 ** rng.integers(3, 20)
    elif kind == "float32":
        X, y = X.astype(np.float32), y.astype(np.float32)
    elif kind == "perfect":
        y = X @ rng.standard_normal(d) + 3
    weight = rng.uniform(0.1, 5, n) if weights else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # where float64 has too few digits
        model = LpRegressor(p, standardize=standardize).fit(X, y, weight)
    columns, w = np.column_stack([X, np.ones(n)]), [*model.coef_, model.intercept_]
    here, least = least_found(columns, y, w, p, weight)
    assert here - least <= Decimal(float(model.dual_gap_))
    if kind in ("plain", "scales") and n > 2 * d + 3:
        assert model.dual_gap_ <= 1e-6 * float(here)


def line(far):
    """A line with unit noise, and one target far above it."""
    x, rng = np.arange(100.0), np.random.default_rng(0)
    y = 3 * x + 5 + rng.standard_normal(100)
    y[7] = far
    return x[:, np.newaxis], y


@pytest.mark.parametrize("how", [{}, {"standardize": False}], ids=str)
@pytest.mark.parametrize("far", [1e3, 1e12, 1e30])
def test_how_far_a_row_is_does_not_matter_for_least_deviations(far, how):
    X, y = line(far)
    model = LpRegressor(1, **how).fit(X, y)
    assert [*model.coef_, model.intercept_] == pytest.approx([3.00140804, 5.0258375138], rel=1e-9)
    assert model.dual_gap_ <= 1e-14 * np.mean(np.abs(model.predict(X) - y))
    heavy = LpRegressor(1, **how).fit(X, y, np.where(np.arange(100) == 7, 3.0, 1.0))
    thrice = LpRegressor(1, **how).fit(np.vstack([X, X[[7, 7]]]), np.r_[y, y[[7, 7]]])
    np.testing.assert_allclose(heavy.coef_, thrice.coef_, rtol=1e-9)


@pytest.mark.parametrize("far", [1e6, 1e12, 1e20])
def test_nor_how_far_a_feature_is(far):
    X, y = line(1e3)
    X[7], y[7] = far, 0.0
    model = LpRegressor(1).fit(X, y)
    assert model.intercept_ == pytest.approx(155.3574, rel=1e-4)  # goes with a slope of nearly 0
    assert model.coef_[0] == pytest.approx(-model.intercept_ / far, rel=1e-5)


def test_least_deviations_of_many_rows_give_no_warning():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200_000, 1))
    y = 2 * X[:, 0] + rng.standard_normal(200_000)
    model = LpRegressor(1).fit(X, y)  # warnings are errors
    assert model.n_iter_ <= 20
    assert model.dual_gap_ <= 1e-14 * np.mean(np.abs(model.predict(X) - y))


@pytest.mark.parametrize(("p", "within"), [(1, 0.01), (1.2, 0.001), (1.5, 0.001)])
@pytest.mark.parametrize("optimizer", ["gd", "momentum"])
def test_descent_is_not_lost_to_a_row_far_away(p, within, optimizer):
    """Its units are those of the other rows; in those of the outlier it would hardly move."""
    X, y = line(1e12)
    right = LpRegressor(p).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # p = 1 never settles
        model = LpRegressor(p, solver="gradient", optimizer=optimizer).fit(X, y)
    np.testing.assert_allclose(model.coef_, right.coef_, rtol=within)
    np.testing.assert_allclose(model.intercept_, right.intercept_, rtol=within)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_usual_data_keep_their_units(fit_intercept):
    """Standard deviations, unless outliers dominate them, so that losses are comparable."""
    X, y = line(1e3)
    for p in (1, 1.5):
        model = LpRegressor(p, fit_intercept=fit_intercept).fit(X, y)
        reached = np.mean(np.abs(model.predict(X) - y) ** p)
        size = np.std(y) if fit_intercept else np.sqrt(np.mean(y**2))
        assert model.history_.loss[-1] * size**p == pytest.approx(reached, rel=1e-9)


def test_the_advice_of_newton_is_about_what_ended_it():
    """More steps do not help against rounding errors, and Newton's method has no rate."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 3)), rng.standard_normal(30)
    far = np.vstack([X[:1] * 1e11, X[1:]])
    cases = [
        (far, {"p": 2}, "in [0-9]+ steps.*rounding errors leave no more.*consider a larger tol$"),
        (far, {"p": 2, "standardize": False}, "consider a larger tol or standardize=True$"),
        (X, {"p": 1.1, "max_iter": 1}, r"in 1 step: .*more steps \(max_iter\) or a larger tol$"),
    ]
    for data, parameters, told in cases:
        with pytest.warns(ConvergenceWarning, match=told):
            LpRegressor(**parameters, tol=1e-10).fit(data, y)


@pytest.mark.parametrize("p", [1, 1.5, 2, 4])
def test_a_proof_at_the_ends_of_the_range(p):
    """Small features are proved as well as others; the gap is inf where products overflow."""
    x = np.arange(30.0)
    y = 3 * x + np.random.default_rng(0).standard_normal(30)
    usual = LpRegressor(p).fit(x[:, None], y)
    for unit in (1e-200, 1e-100, 1e200):
        model = LpRegressor(p).fit(x[:, None] * unit, y)
        assert model.coef_[0] * unit == pytest.approx(usual.coef_[0], rel=1e-6)
        assert model.dual_gap_ < 2 * usual.dual_gap_ + 1e-13 * np.mean(np.abs(y) ** p)
    x[4] = 1e304
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LpRegressor(p).fit(x[:, None], y)
    assert np.isfinite(model.predict(x[:, None])).all()
    assert model.dual_gap_ == np.inf
