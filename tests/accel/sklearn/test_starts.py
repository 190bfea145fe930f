"""Where descent on the factors of ``LpRegressor`` starts."""

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

from accel import LpProblem, Problem
from accel.sklearn.scaled_problem import ScaledProblem
from accel.sklearn.starts import downhill_map, initial_map, random_map

from ..optimum.test_optimum import regression

X, Y = regression(50, 4, 3)
WEIGHTS = np.random.default_rng(0).integers(1, 4, len(X))


def scaled_problem(p=4.0, Y=Y, weight=None, X=X):
    return ScaledProblem.of(X, Y, weight, p, intercept=True, scale=True)


def slopes(problem):
    return problem.gradient(np.zeros((problem.k, problem.d)))


def cosine(a, b):
    return np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("p", [1, 1.5, 2, 4, 30])
@pytest.mark.parametrize("k", [1, 3])
def test_every_start_goes_downhill(p, k):
    problem = scaled_problem(p, Y[:, :k]).problem
    G = slopes(problem)
    starts = [random_map(problem, seed) for seed in range(10)]
    for W in (*starts, downhill_map(problem)):
        assert np.linalg.norm(W) == pytest.approx(0.01 * np.sqrt(W.size))
        U, _, Vt = np.linalg.svd(W, full_matrices=False)
        assert np.all(np.einsum("ir,ij,rj->r", U, G, Vt) <= 0)
    assert problem.loss(W) < problem.loss(np.zeros_like(W))
    rows = G / np.linalg.norm(G, axis=1, keepdims=True)
    assert cosine(W, rows) < -0.8


def test_a_random_start_is_random():
    """They lie anywhere in the half space that goes downhill; one seed has one start."""
    G = slopes(scaled_problem(2.0, Y[:, :1]).problem)
    starts = [random_map(scaled_problem(2.0, Y[:, :1]).problem, seed) for seed in range(40)]
    downhill = [-cosine(W, G) for W in starts]
    assert min(downhill) < 0.3
    assert np.median([abs(cosine(a, b)) for a in starts for b in starts if a is not b]) < 0.8
    np.testing.assert_array_equal(starts[3], random_map(scaled_problem(2.0, Y[:, :1]).problem, 3))


@pytest.mark.parametrize("p", [1, 1.5, 4])
@pytest.mark.parametrize("start", [downhill_map, lambda problem: random_map(problem, 5)])
def test_a_start_does_not_tell_weights_from_repeated_rows(p, start):
    rows = np.repeat(np.arange(len(X)), WEIGHTS)
    weighted, repeated = scaled_problem(p, weight=WEIGHTS), scaled_problem(p, Y[rows], X=X[rows])
    np.testing.assert_allclose(
        start(weighted.problem), start(repeated.problem), rtol=1e-9, atol=1e-12
    )


def test_a_start_lies_in_the_row_space():
    wide = LpProblem(np.column_stack([X[:3], X[:3], np.zeros(3)]), Y[:3], 4)
    for W in (downhill_map(wide), random_map(wide, 0)):
        V = np.linalg.svd(wide.X)[2][:3]
        np.testing.assert_allclose(W @ V.T @ V, W, atol=1e-12)
        np.testing.assert_array_equal(W[:, -1], 0)


def test_outputs_of_the_same_signs_do_not_bound_the_rank():
    """For p = 1 the gradient at 0 knows no more of the targets than their signs."""
    problem = LpProblem(X, np.abs(Y) + 1, 1)
    assert np.linalg.matrix_rank(slopes(problem)) == 1
    sizes = np.linalg.svd(downhill_map(problem), compute_uv=False)
    assert sizes[-1] > 0.01 * sizes[0]


@pytest.mark.parametrize(("loss", "targets"), [
    ("pinball(0.3)", Y), ("logistic", np.sign(Y[:, 0])),
    ("cross-entropy", np.argmax(Y, axis=1).astype(float)),
])  # fmt: skip
@pytest.mark.parametrize("random_state", [None, 0])
def test_of_every_loss_every_start_goes_downhill(loss, targets, random_state):
    problem = Problem(X, targets, loss)
    W = initial_map(problem, random_state)
    assert np.linalg.norm(W) == pytest.approx(0.01 * np.sqrt(W.size))
    U, _, Vt = np.linalg.svd(W, full_matrices=False)
    assert np.all(np.einsum("ir,ij,rj->r", U, slopes(problem), Vt) <= 0)
    assert problem.loss(W) < problem.loss(np.zeros_like(W))
    np.testing.assert_array_equal(W, initial_map(problem, random_state))
