"""The optimum of the cross-entropy: against other solvers, separable classes, its certificate."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import Problem, optimum
from accel._optimum import classes
from accel._optimum.basis import decompose
from accel._optimum.convex import Stop
from accel.kernels.specs import Loss

from ..rational import decimals


def labelled(n, d, k, seed=0, noise=2.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    scores = X @ rng.standard_normal((d, k)) + noise * rng.gumbel(size=(n, k))
    return X, scores.argmax(axis=1)


def solved(X, y, **options):
    return optimum(Problem(X, y, "cross-entropy"), backend="reference", **options)


def exact_loss(X, Y, W):
    """The mean loss in 50 digits, of floats."""
    with localcontext() as context:
        context.prec = 50
        W, sums = [decimals(w) for w in W], Decimal(0)
        for x, y in zip(X, Y, strict=True):
            x, y = decimals(x), decimals(y)
            m = [sum(a * b for a, b in zip(x, w, strict=True)) for w in W]
            top = max(m)
            total = sum((a - top).exp() for a in m).ln() + top
            sums += sum(t * (total - a) for t, a in zip(y, m, strict=True))
        return sums / len(X)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_certificate(k):
    X, y = labelled(200, 4, k)
    problem = Problem(X, y, "cross-entropy")
    best = optimum(problem, backend="reference")
    assert best.status == "optimal"
    assert best.converged
    assert best.duality_gap <= 1.1e-10 * best.loss
    assert best.loss == pytest.approx(problem.loss(best.W, backend="reference"), rel=1e-12)
    assert best.gradient_norm <= 1e-6
    np.testing.assert_allclose(best.W.mean(axis=0), 0, atol=1e-14)  # the least norm
    rng = np.random.default_rng(1)
    for size in (1e-9, 1e-5, 1e-2, 1.0):
        other = problem.loss(best.W + size * rng.standard_normal((k, 4)), backend="reference")
        assert other >= best.loss - best.duality_gap - 1e-14


def test_against_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = labelled(300, 4, 3)
    best = solved(X, y)
    other = linear_model.LogisticRegression(
        C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000
    ).fit(X, y)
    W = other.coef_ - other.coef_.mean(axis=0)
    np.testing.assert_allclose(best.W, W, atol=1e-5)


def test_two_classes_are_a_logistic_problem():
    X, y = labelled(150, 5, 2)
    both = solved(X, y)
    one = optimum(Problem(X, 2.0 * y - 1, "logistic"), backend="reference")
    assert both.loss == pytest.approx(one.loss, rel=1e-12)
    np.testing.assert_allclose(both.W[1] - both.W[0], one.W[0], atol=1e-6)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), n=st.integers(3, 10), k=st.integers(2, 3), soft=st.booleans())
def test_no_point_is_further_below_than_the_gap(seed, n, k, soft):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 2)) * 10.0 ** rng.integers(-1, 3, (n, 1))
    Y = np.eye(k)[rng.integers(0, k, n)]
    if soft:
        Y = (Y + rng.integers(0, 3, (n, k))) / 8
        Y[:, 0] += 1 - Y.sum(axis=1)  # exact: multiples of an eighth
        Y = np.maximum(Y, 0) / np.maximum(Y, 0).sum(axis=1, keepdims=True)
        Y = np.where(np.isin(Y.sum(axis=1), 1.0)[:, np.newaxis], Y, np.eye(k)[:1])
    best = solved(X, Y)
    gap, here = Decimal(best.duality_gap), exact_loss(X, Y, best.W)
    assert abs(here - Decimal(best.loss)) <= gap
    finer = solved(X, Y, tol=1e-15)
    for W in (finer.W, *(best.W + s * rng.standard_normal((k, 2)) for s in (1e-8, 1e-4, 1.0))):
        W = W - W.mean(axis=0) + best.W.mean(axis=0)
        assert here - exact_loss(X, Y, W) <= gap


def test_conjugate_gradients_find_the_same(monkeypatch):
    X, y = labelled(200, 5, 4)
    direct = solved(X, y)
    monkeypatch.setattr(classes, "_LARGEST", 0)
    best = solved(X, y)
    assert best.status == "optimal"
    assert best.loss == pytest.approx(direct.loss, rel=1e-10)
    np.testing.assert_allclose(best.W, direct.W, atol=1e-5)


@pytest.mark.parametrize("largest", [0, 2000])
def test_classes_that_can_be_separated(monkeypatch, largest):
    monkeypatch.setattr(classes, "_LARGEST", largest)
    X, y = labelled(100, 4, 3, noise=0.0)
    best = solved(X, y)
    assert (best.status, best.converged) == ("separable", False)
    m = X @ best.W.T
    right = m[np.arange(100), y]
    m[np.arange(100), y] = -np.inf
    assert np.all(right > m.max(axis=1))
    assert best.duality_gap == pytest.approx(best.loss, rel=1e-12)


def test_where_a_class_has_no_sample():
    """Its chance tends to 0: there is no minimum, but the infimum is that of the others."""
    X, y = labelled(100, 4, 2)
    X[:, 0] = 1.0
    two, three = solved(X, y), solved(X, np.column_stack([np.eye(2)[y], np.zeros(100)]))
    assert (three.status, three.converged) == ("separable", False)
    assert two.converged
    assert two.loss < three.loss <= two.loss + three.duality_gap
    assert three.duality_gap <= 1e-7 * three.loss


def test_few_rows_of_which_some_are_separated():
    """What is left to correct is rounding errors, by equations that are singular."""
    X = np.array([[0.0, 1.0], [1.0, -1.0], [1.0, -1.0], [-1.0, 0.0], [-1.0, 0.0], [0.0, -1.0]])
    best = solved(X, np.array([3.0, 0, 3, 2, 2, 0]))
    assert best.status == "separable"
    assert best.loss == pytest.approx(np.log(2) / 3, rel=1e-9)  # the second and third row
    assert best.duality_gap <= 1e-9


def test_the_targets_are_the_chances_of_a_map():
    """The minimum is the mean entropy of the targets, and it is attained by that map."""
    rng = np.random.default_rng(0)
    X, W = rng.standard_normal((50, 3)), rng.standard_normal((4, 3))
    Y = np.exp(X @ W.T)
    Y /= Y.sum(axis=1, keepdims=True)
    best = solved(X, Y)
    assert best.status == "optimal"
    np.testing.assert_allclose(best.W, W - W.mean(axis=0), atol=1e-5)
    assert best.loss == pytest.approx(-np.sum(Y * np.log(Y)) / 50, rel=1e-12)


def test_too_few_steps_and_nothing_to_fit():
    X, y = labelled(100, 4, 3)
    best = solved(X, y, max_iter=1)
    assert (best.status, best.converged, best.iterations) == ("max_iter", False, 1)
    best = solved(0 * X, y)
    assert (best.rank, best.iterations, best.W.any()) == (0, 0, False)
    assert best.loss == pytest.approx(np.log(3))


def test_the_margins_of_classes_are_a_linear_map_with_the_gram_that_it_says():
    rng = np.random.default_rng(0)
    A, Y = rng.standard_normal((7, 3)), np.eye(3)[[0, 1, 2, 0, 1, 2, 0]]
    Y[0] = [0.5, 0.5, 0.0]
    margins = classes.ClassMargins(A, Y)
    B = np.stack([margins.of(e) for e in np.eye(9)], axis=1)
    chosen, z = rng.random(21) < 0.5, rng.standard_normal(9)
    np.testing.assert_allclose(margins.gram(chosen), B[chosen].T @ B[chosen], atol=1e-12)
    np.testing.assert_allclose(margins.pulled(z, chosen), B[chosen].T @ (B[chosen] @ z), atol=1e-12)


def test_the_hessian_is_that_of_the_loss():
    rng = np.random.default_rng(0)
    A, k = rng.standard_normal((20, 3)), 3
    z, u = rng.standard_normal((2, 3, k))
    Y = np.eye(k)[rng.integers(0, k, 20)]

    def gradient(z):
        return A.T @ (classes.chances(A @ z)[0] - Y)

    H = classes._hessian(A, classes.chances(A @ z)[0])
    u -= u.mean(axis=1, keepdims=True)  # along equal shifts it is regular
    got = (H @ u.T.ravel()).reshape(k, 3).T
    h = 1e-6
    np.testing.assert_allclose(
        got, (gradient(z + h * u) - gradient(z - h * u)) / (2 * h), rtol=1e-6
    )


def test_more_unknowns_than_are_solved_for_at_once():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((400, 60)), np.eye(40)[rng.integers(0, 40, 400)] * 0.5 + 0.5 / 40
    found = classes.solve_classes(
        X, Y, decompose(X, 1e-12).basis, Loss(0.0, kind="cross-entropy"),
        Stop(1e-10, 100, 1e-12), "reference",
    )  # fmt: skip
    assert found.status == "optimal"
    assert found.iterations < 20
