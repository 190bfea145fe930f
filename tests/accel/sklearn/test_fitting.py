"""Where the factors of ``LpRegressor`` begin, its intercept, and the range of its numbers."""

import numpy as np
import pytest

from accel import LpProblem, optimum
from accel.sklearn import fitting

from ..optimum.test_optimum import regression

X, Y = regression(50, 4, 3)
WEIGHTS = np.random.default_rng(0).integers(1, 4, len(X))


def data(p=4.0, Y=Y, weight=None, X=X):
    return fitting.Data.of(X, Y, weight, p, intercept=True, scale=True)


def slopes(problem):
    return problem.gradient(np.zeros((problem.k, problem.d)))


def cosine(a, b):
    return np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("p", [1, 1.5, 2, 4, 30])
@pytest.mark.parametrize("k", [1, 3])
def test_every_start_goes_downhill(p, k):
    problem = data(p, Y[:, :k]).problem
    G = slopes(problem)
    starts = [fitting.random_map(problem, seed) for seed in range(10)]
    for W in (*starts, fitting.downhill_map(problem)):
        assert np.linalg.norm(W) == pytest.approx(0.01 * np.sqrt(W.size))
        U, _, Vt = np.linalg.svd(W, full_matrices=False)
        assert np.all(np.einsum("ir,ij,rj->r", U, G, Vt) <= 0)
    assert problem.loss(W) < problem.loss(np.zeros_like(W))
    rows = G / np.linalg.norm(G, axis=1, keepdims=True)
    assert cosine(W, rows) < -0.8


def test_a_random_start_is_random():
    """They lie anywhere in the half space that goes downhill; one seed has one start."""
    G = slopes(data(2.0, Y[:, :1]).problem)
    starts = [fitting.random_map(data(2.0, Y[:, :1]).problem, seed) for seed in range(40)]
    downhill = [-cosine(W, G) for W in starts]
    assert min(downhill) < 0.3
    assert np.median([abs(cosine(a, b)) for a in starts for b in starts if a is not b]) < 0.8
    np.testing.assert_array_equal(starts[3], fitting.random_map(data(2.0, Y[:, :1]).problem, 3))


@pytest.mark.parametrize("p", [1, 1.5, 4])
@pytest.mark.parametrize(
    "start", [fitting.downhill_map, lambda problem: fitting.random_map(problem, 5)]
)
def test_a_start_does_not_tell_weights_from_repeated_rows(p, start):
    rows = np.repeat(np.arange(len(X)), WEIGHTS)
    weighted, repeated = data(p, weight=WEIGHTS), data(p, Y[rows], X=X[rows])
    np.testing.assert_allclose(
        start(weighted.problem), start(repeated.problem), rtol=1e-9, atol=1e-12
    )


def test_a_start_lies_in_the_row_space():
    wide = LpProblem(np.column_stack([X[:3], X[:3], np.zeros(3)]), Y[:3], 4)
    for W in (fitting.downhill_map(wide), fitting.random_map(wide, 0)):
        V = np.linalg.svd(wide.X)[2][:3]
        np.testing.assert_allclose(W @ V.T @ V, W, atol=1e-12)
        np.testing.assert_array_equal(W[:, -1], 0)


def test_outputs_of_the_same_signs_do_not_bound_the_rank():
    """For p = 1 the gradient at 0 knows no more of the targets than their signs."""
    problem = LpProblem(X, np.abs(Y) + 1, 1)
    assert np.linalg.matrix_rank(slopes(problem)) == 1
    sizes = np.linalg.svd(fitting.downhill_map(problem), compute_uv=False)
    assert sizes[-1] > 0.01 * sizes[0]


@pytest.mark.parametrize("p", [1, 1.3, 2, 4, 20, 200])
@pytest.mark.parametrize(
    "weight", [None, WEIGHTS, WEIGHTS * 1e-200, np.geomspace(1e-300, 1e300, 50)]
)
def test_the_best_intercept_beside_any_coefficients(p, weight):
    given = data(p, weight=weight)
    W = np.random.default_rng(1).standard_normal((3, 5)) * [1, 1, 1, 1, 100]
    found = fitting.best_intercepts(given.problem, W)
    np.testing.assert_array_equal(found[:, :-1], W[:, :-1])
    best = given.problem.loss(found)
    for step in (1e-3, -1e-3, 1e-6, -1e-6, 3.0, -3.0):
        assert best <= given.problem.loss(found + step * np.eye(5)[4]) * (1 + 1e-14)
    again = fitting.best_intercepts(given.problem, found)
    assert given.problem.loss(again) <= best


def test_the_best_intercept_of_least_absolute_deviations_is_a_weighted_median():
    target = np.array([3.0, -1.0, 1e12, 7.0, 5.0])
    given = fitting.Data.of(
        np.zeros((5, 1)),
        target[:, None],
        np.array([1, 1, 1, 1, 3.0]),
        1.0,
        intercept=True,
        scale=False,
    )
    W = fitting.best_intercepts(given.problem, np.zeros((1, 2)))
    assert given.to_user(W)[1] == 5.0


@pytest.mark.parametrize("p", [1, 1.1, 1.5])
def test_the_best_intercept_is_found_beside_an_outlier(p):
    target = np.array([[3.0], [4.0], [5.0], [5.5], [1e12]])
    given = fitting.Data.of(np.zeros((5, 1)), target, None, p, intercept=True, scale=False)
    W = fitting.best_intercepts(given.problem, np.zeros((1, 2)))
    b = given.to_user(W)[1][0]
    slope = np.sign(b - target[:, 0]) * np.abs(b - target[:, 0]) ** (p - 1)
    assert b == 5.0 if p == 1 else abs(np.sum(slope)) < 1e-3 * np.sum(np.abs(slope))
    symmetric = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    given = fitting.Data.of(np.zeros((4, 1)), symmetric, None, p, intercept=True, scale=False)
    found = fitting.best_intercepts(given.problem, np.array([[0.0, 1.5]]))[0, 1]
    assert abs(found) <= (1 if p == 1 else 1e-12)


def test_an_intercept_makes_up_for_the_rounding_of_the_coefficients():
    far = (X + 1e4).astype("f4")
    given = data(2.0, (Y + 10).astype("f4"), X=far)
    best = optimum(LpProblem(given.problem.X, given.problem.Y, 2, dtype="f8")).W
    coef, intercept = given.to_user(best)
    assert coef.dtype == intercept.dtype == np.float32
    left = (Y + 10) - far.astype("f8") @ coef.T.astype("f8")
    np.testing.assert_allclose(intercept, left.mean(axis=0), rtol=3e-7)


@pytest.mark.parametrize(("p", "y", "how", "match"), [
    (50, 1e7, {"descent": True, "scaled": False},
     r"^the loss at W = 0, or its gradient, overflows for p = 50 in float64: "
     r"take a smaller p, or standardize=True$"),
    (50, 1e7, {"descent": False, "scaled": False}, r"^the loss at W = 0 overflows for p = 50"),
    (1024, 3.0, {"descent": True, "scaled": True},
     r"overflows for p = 1024 in float64 in units in which y has variance 1: take a smaller p$"),
    (1024, 3.0, {"descent": False, "scaled": True}, r"take a smaller p$"),
    (50, 1e-7, {"descent": True, "scaled": False}, r"vanishes for p = 50 in float64: "),
], ids=str)  # fmt: skip
def test_numbers_out_of_range(p, y, how, match):
    problem = LpProblem([[1.0], [2.0]], [y, -y], p)
    with pytest.raises(ValueError, match=match):
        fitting.require_range(problem, **how)


def test_numbers_in_range():
    fitting.require_range(LpProblem([[1.0]], [0.0], 50), descent=True, scaled=False)
    fitting.require_range(LpProblem([[1.0]], [1e-7], 50), descent=False, scaled=False)
    single = LpProblem(np.ones((2, 1), "f4"), np.full(2, 1e4, "f4"), 12)
    fitting.require_range(single, descent=False, scaled=False)  # Newton's method is in float64
    with pytest.raises(ValueError, match="in float32"):
        fitting.require_range(single, descent=True, scaled=False)
