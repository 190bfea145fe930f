"""Minima of l_p losses with penalties, and the proof of their gaps."""

from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, nnls

from accel._optimum.certificate import Rows
from accel._optimum.optimum import rounding
from accel._optimum.penalised import minimise
from accel._optimum.penalised_proof import penalised_gap
from accel._optimum.penalised_task import System, Task
from accel._optimum.penalty import Penalty

TOL = 1e-8
POWERS = [1, 1.2, 1.5, 2, 3, 4, 10]
#: l1, l2, nonnegative: in units in which columns and targets are of size 1.
KINDS = [
    (0.01, 0, False), (0, 0, True), (0.01, 0, True), (0, 0.01, False), (0.01, 0.02, True),
    (0.01, 0.02, False), (0, 0.01, True),
]  # fmt: skip


def task_of(n, d, p, kind, intercept, seed=0):
    """A task whose columns have mean 0, so that the proof has their center at hand."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, d))
    A -= A.mean(axis=0)
    A /= np.sqrt(np.mean(A**2, axis=0))
    w = np.where(rng.random(d) < 0.4, rng.standard_normal(d), 0)
    y = A @ w + 0.5 * rng.standard_normal(n) + 0.2 * intercept
    l1, l2, nonnegative = kind
    penalty = Penalty(np.full(d, l1 * n), np.full(d, l2 * n), nonnegative)
    return Task(A, np.ones(n) if intercept else None, y / np.abs(y).max(), p, penalty)


def proved(task, point):
    """The rigorous bound, and what is minimised, both as sums with the factor 1/p."""
    n, d = task.A.shape
    center = None if task.ones is None else np.zeros(d)
    rows, share = Rows(task.A, task.y, None, center, "reference"), task.p / n
    v = point.v / (np.abs(point.r).max() or 1.0) ** (task.p - 1)
    penalty = task.penalty.scaled(share, share)
    bound = penalised_gap(rows, point.c, point.b, task.p, v, penalty, rounding(task.p))
    return bound.gap / share, (bound.loss + bound.penalty) / share


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("shape", [(60, 8), (30, 45)], ids=str)
def test_the_gap_is_met_and_proved(p, kind, shape):
    for intercept in (False, True):
        task = task_of(*shape, p, kind, intercept)
        point = minimise(task, TOL, 200)
        assert point.gap <= TOL * point.value
        assert point.steps < 110
        gap, value = proved(task, point)
        assert value == pytest.approx(point.value, rel=1e-12)
        assert gap <= TOL * value
        if kind[2]:
            assert (point.c >= 0).all()
        if kind[2] or (kind[0] and shape[1] > shape[0]):
            assert np.count_nonzero(point.c) < shape[1]


@given(
    st.sampled_from(POWERS),
    st.sampled_from(KINDS),
    st.booleans(),
    hnp.arrays(float, 6, elements=st.floats(-2, 2)),
    hnp.arrays(float, 6, elements=st.floats(-2, 2)),
    hnp.arrays(float, 20, elements=st.floats(-0.1, 0.1)),
)
@settings(max_examples=60)
def test_no_point_is_lower_than_the_bound_says(p, kind, intercept, c, other, noise):
    """For any slopes, and for points and coefficients that are far from the minimum, too."""
    task = task_of(20, 6, p, kind, intercept, seed=5)
    if kind[2]:
        c, other = np.abs(c), np.abs(other)
    best = minimise(task, TOL, 200)
    for start in (c, best.c):
        r = task.residual(start, 0.1 * intercept)
        point = best._replace(c=start, b=0.1 * intercept, r=r, v=best.v + noise * np.abs(best.v))
        gap, value = proved(task, point)
        assert gap >= 0
        for low in (best.c, other):
            b = best.b if low is best.c else -0.3 * intercept
            assert task.value(low, task.residual(low, b)) >= (value - gap) * (1 - 1e-13) - 1e-15


@pytest.mark.parametrize("p", [1, 1.5, 2, 4])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_conditions_of_a_minimum(p, kind):
    """Slopes of the loss and of the penalty add up to 0, or are on the right side."""
    for seed in range(3):
        task = task_of(40, 6, p, kind, True, seed)
        point = minimise(task, 1e-11, 200)
        t, penalty = -(task.A.T @ point.v), task.penalty
        near = (1e-6 if p >= 2 else 2e-4) * len(task.y)
        aside = t - penalty.kappa * point.c
        on = point.c != 0
        np.testing.assert_allclose(aside[on], (penalty.lam * np.sign(point.c))[on], atol=near)
        assert (aside if kind[2] else np.abs(aside))[~on].max(initial=-np.inf) <= (
            penalty.lam[0] + near
        )
        assert abs(point.v.sum()) <= near


def test_squares_of_nonnegative_coefficients_against_scipy():
    for shape in ((30, 10), (12, 30)):
        task = task_of(*shape, 2, (0, 0, True), False)
        expected, norm = nnls(task.A, task.y)
        point = minimise(task, 1e-10, 200)
        assert point.value == pytest.approx(norm**2 / 2, rel=1e-10)
        if shape[0] > shape[1]:
            np.testing.assert_allclose(point.c, expected, atol=1e-9)
            np.testing.assert_array_equal(point.c > 0, expected > 0)


@pytest.mark.parametrize("kind", [(0, 0, True), (0.02, 0, True), (0.02, 0, False)], ids=str)
def test_absolute_values_against_linear_programming(kind):
    task = task_of(40, 7, 1, kind, True, seed=2)
    n, d = task.A.shape
    A = np.hstack([task.A, -task.A, np.ones((n, 1)), np.eye(n), -np.eye(n)])
    cost = np.concatenate([np.tile(task.penalty.lam, 2), [0], np.ones(2 * n)])
    limits = [(0, None)] * d + [(0, 0 if kind[2] else None)] * d + [(None, None)]
    best = linprog(cost, A_eq=A, b_eq=task.y, bounds=limits + [(0, None)] * 2 * n)
    point = minimise(task, 1e-9, 200)
    assert best.fun <= point.value <= best.fun * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("p", POWERS)
def test_columns_that_make_up_for_each_other(p):
    """Those of classes add up to the intercept's: slopes have to be 0 exactly, and cannot be."""
    rng = np.random.default_rng(1)
    classes = np.eye(3)[rng.integers(0, 3, 60)]
    A = classes - classes.mean(axis=0)
    A /= np.sqrt(np.mean(A**2, axis=0))
    y = rng.standard_normal(60)
    none = Penalty(np.zeros(3), np.zeros(3), True)
    task = Task(A, np.ones(60), y / np.abs(y).max(), p, none, dependent=True)
    point = minimise(task, TOL, 200)
    gap, value = proved(task, point)
    assert 0 <= gap <= TOL * value
    assert point.c.max() < 1e3


@pytest.mark.parametrize("intercept", [False, True])
def test_systems_of_rows_and_of_columns_agree(intercept, monkeypatch):
    task = task_of(12, 20, 2, (0.1, 0, False), intercept)
    rng = np.random.default_rng(0)
    weights, diagonal = rng.uniform(0, 3, 12), 10 ** rng.uniform(-3, 3, 20)
    a = rng.standard_normal(20)
    few = System(task, weights, diagonal).solve(a, 0.3)
    monkeypatch.setattr("accel._optimum.penalised_task._MANY", 5)
    many = System(task, weights, diagonal).solve(a, 0.3)
    np.testing.assert_allclose(many[0], few[0], rtol=1e-7, atol=1e-10)
    assert many[1] == pytest.approx(few[1], rel=1e-7)


def test_where_the_loss_vanishes():
    A = np.random.default_rng(0).standard_normal((20, 3))
    A /= np.sqrt(np.mean(A**2, axis=0))
    y = A @ [1.0, 0.0, 2.0]
    task = Task(A, None, y / np.abs(y).max(), 2, Penalty(np.zeros(3), np.zeros(3), True))
    point = minimise(task, TOL, 200)
    np.testing.assert_allclose(point.c * np.abs(y).max(), [1, 0, 2], atol=1e-12)
    gap, _ = proved(task, point)
    assert gap <= 1e-25


@pytest.mark.parametrize("kind", [(0.5, 0, True), (0, 0, True), (0.5, 0.1, True), (0.5, 0, False)],
                         ids=str)  # fmt: skip
@pytest.mark.parametrize("weighted", [False, True])
def test_absolute_values_where_no_residual_is_0(kind, weighted):
    """All slopes are +-1, and with an intercept their sum is 0 but for rounding errors."""
    n = 40
    for seed in range(6):
        rng = np.random.default_rng(seed)
        sign = np.repeat([1.0, -1.0], n // 2)
        A = rng.standard_normal((n, 3))
        A -= 0.5 * sign[:, np.newaxis] + A.mean(axis=0)  # so that all slopes are below 0
        y = sign * rng.uniform(0.1, 1, n)
        root = None
        if weighted:  # of both halves alike
            root = np.tile(rng.uniform(0.3, 3, n // 2), 2)
            A -= (root @ A) / root.sum()
        t = -((np.ones(n) if root is None else root) * -sign) @ A
        assert (t < 0).all()
        penalty = Penalty(np.full(3, 50.0 * bool(kind[0])), np.full(3, kind[1]), kind[2])
        rows = Rows(A, y, root, np.zeros(3), "reference")
        noise = 1 - rng.uniform(0, 4e-16, n)  # as a fit leaves them, not exactly +-1
        for v in (-sign, -sign * noise):
            bound = penalised_gap(rows, np.zeros(3), 0.0, 1, v, penalty, rounding(1))
            assert bound.penalty == 0
            assert 0 <= bound.gap <= 1e-11 * bound.loss


def test_the_bound_for_absolute_values_is_one_in_rational_numbers():
    """Near a minimum without a residual of 0, where slopes are shrunk: no point is lower."""
    n, rng = 12, np.random.default_rng(4)
    sign = np.repeat([1.0, -1.0], n // 2)
    A = rng.standard_normal((n, 2)) - 0.7 * sign[:, np.newaxis]
    A -= A.mean(axis=0)
    y = sign * rng.uniform(0.1, 1, n)
    none = Penalty(np.zeros(2), np.zeros(2), True)
    exact = [[Fraction(a) for a in row] for row in A.tolist()]

    def loss(c, b):
        products = (sum(a * Fraction(x) for a, x in zip(row, c, strict=True)) for row in exact)
        pairs = zip(products, y.tolist(), strict=True)
        return sum(abs(product + Fraction(b) - Fraction(t)) for product, t in pairs) / n

    assert (sign @ A < 0).all()
    low = loss([0.0, 0.0], 0.0)  # the minimum: A'sign is below 0, and half of the signs are +1
    for size in (1e-15, 1e-12, 1e-9, 1e-3):
        for b in (0.0, size, -size):
            c = size * rng.uniform(0, 1, 2)
            rows = Rows(A, y, None, np.zeros(2), "reference")
            gap = penalised_gap(rows, c, b, 1, -sign, none, rounding(1)).gap
            above = loss(c.tolist(), b) - low
            assert above <= Fraction(gap)
            assert gap <= 3 * float(above) + 1e-11
