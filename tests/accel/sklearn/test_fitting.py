"""The best intercepts beside any coefficients; maps that separate labels."""

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

from accel import Problem
from accel.sklearn.fitting import best_intercepts, separates
from accel.sklearn.scaled_problem import ScaledProblem

from ..optimum.test_optimum import regression

X, Y = regression(50, 4, 3)
WEIGHTS = np.random.default_rng(0).integers(1, 4, len(X))


def scaled_problem(p=4.0, Y=Y, weight=None, X=X):
    return ScaledProblem.of(X, Y, weight, p, intercept=True, scale=True)


@pytest.mark.parametrize("p", [1, 1.3, 2, 4, 20, 200])
@pytest.mark.parametrize(
    "weight", [None, WEIGHTS, WEIGHTS * 1e-200, np.geomspace(1e-300, 1e300, 50)]
)
def test_the_best_intercept_beside_any_coefficients(p, weight):
    given = scaled_problem(p, weight=weight)
    W = np.random.default_rng(1).standard_normal((3, 5)) * [1, 1, 1, 1, 100]
    better = best_intercepts(given.problem, W)
    np.testing.assert_array_equal(better[:, :-1], W[:, :-1])
    best = given.problem.loss(better)
    for step in (1e-3, -1e-3, 1e-6, -1e-6, 3.0, -3.0):
        assert best <= given.problem.loss(better + step * np.eye(5)[4]) * (1 + 1e-14)
    again = best_intercepts(given.problem, better)
    assert given.problem.loss(again) <= best


def test_the_best_intercept_of_least_absolute_deviations_is_a_weighted_median():
    target = np.array([3.0, -1.0, 1e12, 7.0, 5.0])
    given = ScaledProblem.of(
        np.zeros((5, 1)),
        target[:, None],
        np.array([1, 1, 1, 1, 3.0]),
        1.0,
        intercept=True,
        scale=False,
    )
    W = best_intercepts(given.problem, np.zeros((1, 2)))
    assert given.to_user(W)[1] == 5.0


@pytest.mark.parametrize("p", [1, 1.1, 1.5])
def test_the_best_intercept_is_found_beside_an_outlier(p):
    target = np.array([[3.0], [4.0], [5.0], [5.5], [1e12]])
    given = ScaledProblem.of(np.zeros((5, 1)), target, None, p, intercept=True, scale=False)
    W = best_intercepts(given.problem, np.zeros((1, 2)))
    b = given.to_user(W)[1][0]
    slope = np.sign(b - target[:, 0]) * np.abs(b - target[:, 0]) ** (p - 1)
    assert b == 5.0 if p == 1 else abs(np.sum(slope)) < 1e-3 * np.sum(np.abs(slope))
    symmetric = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    given = ScaledProblem.of(np.zeros((4, 1)), symmetric, None, p, intercept=True, scale=False)
    better = best_intercepts(given.problem, np.array([[0.0, 1.5]]))[0, 1]
    assert abs(better) <= (1 if p == 1 else 1e-12)


def test_a_map_separates_labels_if_no_rounding_error_could_hide_that_it_does_not():
    pair = Problem([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]], [1.0, -1.0, 1.0], "logistic")
    assert separates(pair, np.array([[1.0, -1.0]]))
    assert separates(pair, np.array([[1e-200, -1e-200]]))
    assert not separates(pair, np.array([[1.0, 0.0]]))  # a margin of 0
    assert not separates(pair, np.array([[1.0, 1e-3]]))
    three = Problem(np.eye(3), [0.0, 1.0, 2.0], "cross-entropy")
    assert separates(three, np.eye(3))
    assert not separates(three, np.ones((3, 3)))
    assert not separates(three, np.eye(3)[[1, 0, 2]])
    near = Problem([[1e8, 1.0]], [1.0], "logistic")
    assert not separates(near, np.array([[1.0, -1e8 * (1 - 2.0**-52)]]))
