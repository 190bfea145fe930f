"""``LpRegressor`` on sparse data: small ones are made dense, large ones stay sparse."""

import logging

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from accel.sklearn import LpRegressor, sparse_fit
from accel.sklearn.penalised import Penalties

RNG = np.random.default_rng(0)
DENSE = np.where(RNG.random((200, 20)) < 0.15, 1 + RNG.standard_normal((200, 20)), 0.0)
DENSE[:, 7] = 0.0
DENSE *= 10.0 ** RNG.integers(-2, 3, 20)
X = sparse.csr_array(DENSE)
Y = DENSE @ RNG.standard_normal((20, 2)) + 0.3 * RNG.standard_normal((200, 2)) + 3
WEIGHT = RNG.integers(0, 3, 200)
KINDS = [
    {}, {"fit_intercept": False}, {"standardize": False}, {"l1": 0.02},
    {"nonnegative": True}, {"l1": 0.01, "l2": 0.1, "nonnegative": True},
]  # fmt: skip


@pytest.fixture
def stays(monkeypatch):
    """Let every sparse X stay sparse, where the solver takes it."""
    monkeypatch.setattr(sparse_fit, "SMALL", 0)


def minimised(model, p):
    left = np.abs(model.predict(X) - Y) ** p
    mean = np.average(left.sum(axis=1), weights=WEIGHT)
    return mean + model.l1 * np.abs(model.coef_).sum() + model.l2 / 2 * np.sum(model.coef_**2)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
def test_a_small_one_is_made_dense(p, kind, caplog):
    with caplog.at_level(logging.INFO, logger="accel"):
        model = LpRegressor(p).fit(kind(DENSE), Y, WEIGHT)
    assert "dense array of the sparse X" in caplog.text
    other = LpRegressor(p).fit(DENSE, Y, WEIGHT)
    np.testing.assert_array_equal(model.coef_, other.coef_)
    assert model.dual_gap_ == other.dual_gap_
    np.testing.assert_allclose(model.predict(kind(DENSE)), other.predict(DENSE), rtol=1e-9)


@pytest.mark.parametrize("p", [1.5, 2, 4])
@pytest.mark.parametrize("how", KINDS, ids=str)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_large_one_reaches_the_proven_minimum(p, how, stays):
    model = LpRegressor(p, **how).fit(X, Y, WEIGHT)
    assert model.solver_ == "gradient"
    assert np.isnan(model.dual_gap_)
    assert model.coef_.shape == (2, 20)
    assert (model.coef_[:, 7] == 0).all()
    proven = LpRegressor(p, **how).fit(DENSE, Y, WEIGHT)
    assert proven.solver_ == "newton"
    reached = minimised(model, p)
    assert reached >= minimised(proven, p) * (1 - 1e-13) - proven.dual_gap_
    assert reached == pytest.approx(minimised(proven, p), rel=1e-7)
    if "nonnegative" in how:
        assert (model.coef_ >= 0).all()
    if "fit_intercept" in how:
        assert model.intercept_ == 0.0
    assert model.history_.loss[-1] > 0


@pytest.mark.parametrize("how", KINDS[3:], ids=str)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_gradient_takes_penalties_where_x_stays_sparse(how, stays, monkeypatch):
    model = LpRegressor(2, solver="gradient", **how).fit(X, Y, WEIGHT)
    np.testing.assert_array_equal(model.coef_, LpRegressor(2, **how).fit(X, Y, WEIGHT).coef_)
    assert model.solver_ == "gradient"
    refused = r"is for Newton's method, .* with solver='gradient'"
    for depth, given in ((1, DENSE), (2, X)):
        with pytest.raises(ValueError, match=refused):
            LpRegressor(2, solver="gradient", depth=depth, **how).fit(given, Y)
    monkeypatch.setattr(sparse_fit, "SMALL", 2**24)  # this X is made dense
    with pytest.raises(ValueError, match=refused):
        LpRegressor(2, solver="gradient", **how).fit(X, Y)


def test_shapes_and_types_are_kept(stays):
    model = LpRegressor(2).fit(sparse.csc_array(DENSE.astype("f4")), Y[:, 0].astype("f4"))
    assert model.coef_.shape == (20,)
    assert model.coef_.dtype == np.float32
    assert np.shape(model.intercept_) == ()
    assert model.predict(X[:3]).shape == (3,)


def test_a_warm_start_is_where_the_last_fit_ended(stays):
    model = LpRegressor(3, warm_start=True).fit(X, Y)
    first = model.n_iter_
    assert model.fit(X, Y).n_iter_ < first / 4


def test_too_few_steps_are_said(stays):
    with pytest.warns(ConvergenceWarning, match="gradient is still .* times what tol") as warned:
        model = LpRegressor(2, max_iter=2).fit(X, Y)
    assert warned[0].filename == __file__
    assert model.status_ == "completed"


@pytest.mark.parametrize("how", [
    {"p": 1}, {"solver": "newton"}, {"solver": "gradient", "depth": 2}, {"weight_decay": 0.1},
    {"solver": "end_to_end"},
], ids=str)  # fmt: skip
def test_what_needs_a_dense_one_asks_for_its_memory(how, stays, monkeypatch):
    monkeypatch.setattr("accel._support.memory.available", lambda: 1000.0)
    monkeypatch.setattr("accel._support.memory._SMALL", 0)
    with pytest.raises(MemoryError, match=r"fit with a dense X needs about .* are av"):
        LpRegressor(**how).fit(X, Y)


def test_means_are_not_subtracted_from_the_matrix():
    problem = sparse_fit.SparseProblem.of(
        sparse.csr_array(DENSE), Y, WEIGHT + 1.0, 2.0, intercept=True
    )
    assert problem.X.nnz == np.count_nonzero(DENSE)
    mean = np.average(DENSE, axis=0, weights=WEIGHT + 1.0)
    size = np.sqrt(np.average((DENSE - mean) ** 2, axis=0, weights=WEIGHT + 1.0))
    size[size == 0] = 1.0
    standard = (DENSE - mean) / size
    w, v = RNG.standard_normal(20), RNG.standard_normal(200)
    np.testing.assert_allclose(problem.residual(w, 0.5, 0) + problem.Y[:, 0], standard @ w + 0.5)
    np.testing.assert_allclose(problem.from_rows(v), standard.T @ v, atol=1e-12)
    assert (problem.sizes_from_rows(np.abs(v)) >= np.abs(standard.T @ v)).all()
    coef, b = problem.to_user(np.ones((2, 21)))
    np.testing.assert_allclose(problem.from_user(coef, b), np.ones((2, 21)))


def test_numbers_out_of_range(stays):
    with pytest.raises(ValueError, match="overflows for p = 3000"):
        LpRegressor(3000).fit(X, Y**3)
    with pytest.raises(ValueError, match="l1 and l2 must be finite"):
        sparse_fit.fit_sparse(
            sparse_fit.SparseProblem.of(X, 1e-200 * Y, None, 4.0, intercept=True),
            Penalties(1.0, 0.0, False), np.zeros((2, 21)), 9, 1e-8,
        )  # fmt: skip
