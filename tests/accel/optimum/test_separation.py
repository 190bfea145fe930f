"""Labels that can be separated: found, proved, and told from labels that nearly can."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import Problem, optimum

LOSSES = ("logistic", "exponential")


def separation(X, y):
    """By HiGHS: 2 if a map separates all labels, 1 if some and none wrongly, 0 if none."""
    linprog = pytest.importorskip("scipy.optimize").linprog
    n, d = X.shape
    rows = y[:, np.newaxis] * X
    found = linprog(  # the most sum of t with t <= margins and t from 0 to 1
        np.append(np.zeros(d), -np.ones(n)),
        A_ub=np.hstack([-rows, np.eye(n)]),
        b_ub=np.zeros(n),
        bounds=[(None, None)] * d + [(0, 1)] * n,
    )
    assert found.status == 0
    t = found.x[d:]
    return 2 if t.min() > 0.5 else 1 if t.max() > 0.5 else 0


def solved(X, y, loss, **options):
    return optimum(Problem(X, y, loss), backend="reference", **options)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("margin", [1.0, 1e-3, 1e-7])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_separable_labels(loss, margin, size):
    rng = np.random.default_rng(0)
    X, w = rng.standard_normal((80, 4)), rng.standard_normal(4)
    w /= np.linalg.norm(w)
    y = np.where(X @ w > 0, 1.0, -1.0)
    X += np.outer(margin * y - X @ w, w)
    best = solved(size * X, y, loss)
    assert (best.status, best.converged) == ("separable", False)
    assert np.all(y * (X @ best.W[0]) > 0)
    assert best.duality_gap == pytest.approx(best.loss, rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_labels_of_one_kind_are_separated_by_an_intercept(loss):
    best = solved(np.ones((5, 1)), np.ones(5), loss)
    assert best.status == "separable"
    assert best.W[0, 0] > 0
    best = solved(np.zeros((5, 1)), np.ones(5), loss)
    assert best.status == "optimal"


@pytest.mark.parametrize("loss", LOSSES)
@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 30), d=st.integers(1, 4))
def test_small_integers(loss, seed, n, d):
    """On a grid all three cases occur, and rows on the separating plane."""
    rng = np.random.default_rng(seed)
    X = rng.integers(-1, 2, (n, d)) * 1.0
    y = np.where(X @ rng.standard_normal(d) + 0.3 * rng.standard_normal(n) > 0, 1.0, -1.0)
    expected, best = separation(X, y), solved(X, y, loss)
    assert (best.status == "separable") == (expected > 0)
    if expected == 2:
        assert np.all(y * (X @ best.W[0]) > 0)
        assert best.duality_gap == pytest.approx(best.loss, rel=1e-12)
    else:
        assert best.duality_gap <= 1e-7 * best.loss
        assert best.converged == (expected == 0)


@pytest.mark.parametrize("loss", LOSSES)
def test_where_some_are_separated_the_others_make_the_infimum(loss):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((60, 3))
    y = np.where(X[:, 0] + rng.logistic(size=60) > 0, 1.0, -1.0)
    only = (y > 0) & (rng.random(60) < 0.4)  # of one kind: a map of its own separates these
    whole = solved(np.column_stack([X, only]), y, loss)
    assert (whole.status, whole.converged) == ("separable", False)
    rest = solved(X[~only], y[~only], loss)
    assert rest.converged
    infimum = rest.loss * np.mean(~only)
    assert infimum < whole.loss <= infimum + whole.duality_gap + 1e-12
    assert whole.duality_gap <= 1e-9 * infimum
    np.testing.assert_allclose(whole.W[0, :3], rest.W[0], atol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("overlap", [1.0, 1e-2, 1e-4, 1e-6])
def test_labels_that_can_nearly_be_separated(loss, overlap):
    """One label of each kind is on the wrong side, by ever less: there is a minimum."""
    x = np.array([-1.0, -0.5, -2.0, overlap, 1.0, 0.7, 3.0, -overlap])
    y = np.array([-1.0, -1, -1, -1, 1, 1, 1, 1])
    best = solved(x[:, np.newaxis], y, loss)
    assert best.status == "optimal"
    assert best.duality_gap <= 1.1e-10 * best.loss
    gradient = np.mean(-y * x / (1 + np.exp(y * x * best.W[0, 0])))
    if loss == "logistic":
        assert abs(gradient) <= 1e-4 * overlap
    assert best.W[0, 0] > 0


def test_few_steps_are_no_proof():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 4))
    best = solved(X, np.where(X @ np.ones(4) > 0, 1.0, -1.0), "logistic", max_iter=1)
    assert best.status in ("max_iter", "separable")
    assert (best.status == "separable") == bool(np.all(np.sign(X @ best.W[0]) ==
                                                       np.sign(X @ np.ones(4))))  # fmt: skip
