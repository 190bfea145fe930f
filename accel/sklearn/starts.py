"""Where descent on the factors of a network starts: near 0, in a direction that goes downhill."""

import math
from typing import Any

import numpy as np

from accel._core.initializers import balanced_factors
from accel._core.problem import Problem
from accel._support.arrays import Array
from accel.kernels.reference.norms import norm
from accel.losses import Lp
from accel.sklearn.extra import check_random_state

__all__ = ["balanced", "downhill_map", "initial_map", "random_map"]

_START = 0.01  # root mean square of the weights of a start


def random_map(problem: Problem, seed: int) -> Array:
    """A random map (k, d) near 0 in the row space of X, where descent on balanced factors stays.

    So weights that the data do not determine, such as that of a constant feature, stay 0. Each row
    is the gradient at a Gaussian map with targets of 0: a random direction that depends, as the
    loss does, on samples and their weights alone, not on whether they are weighted or repeated.

    No singular value of the product of balanced factors can pass through 0. So each is given the
    sign with which it goes downhill from W = 0, away from the saddle.
    """
    slopes = problem.gradient(np.zeros((problem.k, problem.d))).astype(np.float64)
    return _near_zero(_random_rows(problem, seed), slopes)


def downhill_map(problem: Problem) -> Array:
    """A map like ``random_map``, but each row goes straight downhill, plus a tenth that is random.

    Without the random part the rows could be multiples of each other (for p = 1 they are if the
    targets have the same signs), and balanced factors would keep that rank of 1.
    """
    slopes = problem.gradient(np.zeros((problem.k, problem.d))).astype(np.float64)
    rows = 0.1 * _random_rows(problem, 0) - _unit_rows(slopes)
    return _near_zero(rows * slopes.any(axis=1, keepdims=True), slopes)


def _random_rows(problem: Problem, seed: int) -> Array:
    W = np.random.default_rng(seed).standard_normal((problem.k, problem.d))
    with np.errstate(over="ignore"):
        largest = np.abs(problem.X @ W.T).max(axis=0)
    W /= np.where((largest > 0) & np.isfinite(largest), largest, 1.0)[:, np.newaxis]  # no overflow
    loss = problem.loss_function
    zeros = np.zeros_like(problem.Y)  # no labels: for those squares give a direction, too
    without = Problem(problem.X, zeros, Lp(2) if loss.classifies else loss)
    return _unit_rows(without.gradient(W).astype(np.float64))


def _unit_rows(a: Array) -> Array:
    sizes = np.array([[norm(row)] for row in a])
    unit: Array = a / np.where(sizes > 0, sizes, 1.0)
    return unit


def _near_zero(W: Array, slopes: Array) -> Array:
    """W scaled to the size of a start, with singular values of the signs that go downhill."""
    U, sizes, Vt = np.linalg.svd(W, full_matrices=False)
    along = np.einsum("ir,ij,rj->r", U, slopes / (norm(slopes) or 1.0), Vt)
    signed: Array = (U * np.where(along > 0, -sizes, sizes)) @ Vt
    signed[:, ~W.any(axis=0)] = 0  # restores exact zeros
    return signed * (_START * math.sqrt(W.size) / (norm(signed) or 1.0))


def initial_map(problem: Problem, random_state: Any) -> Array:
    """The map (k, d) at which a network of some depth starts, of an estimator's ``random_state``.

    Raises
    ------
    ValueError
        If ``random_state`` is none.
    """
    if random_state is None:
        return downhill_map(problem)
    return random_map(problem, check_random_state(random_state).randint(2**31 - 1))


def balanced(W: Array, depth: int, width: int, noise: float = 0.0) -> list[Array]:
    """Balanced factors of W, or of the map nearest to it with hidden layers of that width."""
    widths = (W.shape[1], *[width] * (depth - 1), W.shape[0])
    return balanced_factors(W, list(zip(widths[1:], widths[:-1], strict=True)), noise)
