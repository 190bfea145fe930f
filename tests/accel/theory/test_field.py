"""Theorem 2: the closed-curve integral and the curl of the end-to-end rule's field."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import LpProblem, datasets, standardize
from accel.kernels.reference.precondition import precondition
from accel.theory import closed_curve_integral, curl

few = settings(max_examples=25, deadline=None, derandomize=True)


def make_problem(p, seed=0, scale="mean"):
    rng = np.random.default_rng(seed)
    return LpProblem(rng.standard_normal((9, 3)), rng.standard_normal(9), p, scale=scale)


def field(problem, w, depth):
    return precondition(w[np.newaxis], problem.gradient(w)[np.newaxis], depth)[0]


def jacobian(problem, w, depth, h=1e-5):
    columns = [
        (field(problem, w + e, depth) - field(problem, w - e, depth)) / (2 * h)
        for e in h * np.eye(len(w))
    ]
    return np.stack(columns, axis=1)


@given(
    seed=st.integers(0, 1000),
    p=st.sampled_from([2, 3, 4]),
    depth=st.integers(1, 6),
    scale=st.sampled_from(["mean", "1/p"]),
)
@few
def test_curl_is_that_of_finite_differences(seed, p, depth, scale):
    problem = make_problem(p, seed, scale)
    w = np.random.default_rng(seed).uniform(0.5, 1.0, 3)
    J = jacobian(problem, w, depth)
    antisymmetric = curl(problem, w, depth)
    np.testing.assert_allclose(antisymmetric, (J - J.T) / 2, atol=1e-6 * np.abs(J).max())
    if depth == 1:
        np.testing.assert_array_equal(antisymmetric, 0)
    else:
        assert np.abs(antisymmetric).max() > 1e-3 * np.abs(J).max()


def test_curl_at_0():
    problem = make_problem(4)
    np.testing.assert_array_equal(curl(problem, np.zeros(3), 3), 0)
    assert np.abs(curl(problem, np.full(3, 1e-9), 3)).max() < 1e-2
    with pytest.raises(ValueError, match="w must not be 0 for depth 2"):
        curl(problem, np.zeros(3), 2)


def test_whitened_least_squares_at_depth_2_is_a_gradient():
    """The Hessian is a multiple of the identity, so every w is an eigenvector."""
    problem = LpProblem(np.linalg.qr(make_problem(2).X)[0], make_problem(2).Y, 2)
    w = np.array([0.3, -0.2, 0.5])
    np.testing.assert_allclose(curl(problem, w, 2), 0, atol=1e-16)
    assert np.abs(curl(problem, w, 3)).max() > 1e-3


def by_the_binomial_theorem(problem, depth, direction, r, R):
    """For even p, term by term: the slope of s^m in L(s e) enters as the docstring says."""
    u = problem.X @ (direction / np.linalg.norm(direction))
    y, p, a = problem.Y[:, 0], int(problem.p), 2 - 2 / depth
    total = 0.0
    for m in range(1, p, 2):
        c = problem.factor / problem.n * math.comb(p, m) * np.sum(u**m * (-y) ** (p - m))
        total += c * (a + m - 2) / (a + m) * (R ** (a + m) - r ** (a + m))
    return 2 * (depth - 1) * total


@given(
    seed=st.integers(0, 1000),
    p=st.sampled_from([2, 4, 6]),
    depth=st.integers(1, 8),
    scale=st.sampled_from(["mean", "1/p"]),
    r=st.sampled_from([1e-3, 0.1, 0.5]),
    R=st.sampled_from([0.9, 3.0]),
)
@few
def test_closed_curve_integral_has_its_exact_value(seed, p, depth, scale, r, R):
    problem = make_problem(p, seed, scale)
    direction, second = np.random.default_rng(seed).standard_normal((2, 3))
    exact = by_the_binomial_theorem(problem, depth, direction, r, R)
    for f in (None, second):
        integral = closed_curve_integral(problem, depth, direction, r, R, second=f)
        assert abs(integral.value - exact) <= integral.error
        assert integral.error < 1e-8 * max(map(abs, integral.pieces))
        np.testing.assert_allclose(integral.plane.T @ integral.plane, np.eye(2), atol=1e-14)
        assert integral.value == pytest.approx(math.fsum(integral.pieces))


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_stokes(depth):
    """The integral around the half annulus is that of the curl over it."""
    dblquad = pytest.importorskip("scipy.integrate").dblquad
    problem = make_problem(4)
    around = closed_curve_integral(problem, depth, [1.0, 2.0, 0.0], 0.2, 0.7)
    e, f = around.plane.T

    def density(angle, radius):
        w = radius * (math.cos(angle) * e + math.sin(angle) * f)
        return 2 * radius * (f @ curl(problem, w, depth) @ e)  # dF_f/de - dF_e/df

    inside, _ = dblquad(density, 0.2, 0.7, 0, math.pi, epsabs=1e-7, epsrel=1e-7)
    assert around.value == pytest.approx(inside, rel=1e-6)
    assert abs(around.value) > 1e-3


def check_theorem_2(data, p):
    """Along the gradient at 0; at N = 2 and p = 2, to which the theorem does not apply, it is 0."""
    scaled = standardize(data.X, data.y)
    problem = LpProblem(scaled.X, scaled.y, p)
    direction = problem.gradient(np.zeros(problem.d))
    for depth in (1, 2, 3, 4, 8):
        integral = closed_curve_integral(problem, depth, direction, 0.1, 1.0)
        if depth == 1 or (depth == 2 and p == 2):
            assert abs(integral.value) <= integral.error
        else:
            assert abs(integral.value) > 1e6 * integral.error


@pytest.mark.parametrize("p", [2, 4])
def test_theorem_2_on_diabetes(p):
    pytest.importorskip("sklearn")
    check_theorem_2(datasets.load_diabetes(), p)


@pytest.mark.parametrize("p", [2, 4])
def test_theorem_2_on_gas(gas, p):
    check_theorem_2(gas, p)


def test_second_direction():
    problem = make_problem(4)

    def plane(direction, second=None):
        return closed_curve_integral(problem, 3, direction, 0.1, 1.0, second=second).plane

    np.testing.assert_allclose(plane([0, 2, 1]), np.array([[0, 2, 1], [5**0.5, 0, 0]]).T / 5**0.5)
    np.testing.assert_allclose(plane([2, 0, 0], [7, 0, -3]), np.array([[1, 0, 0], [0, 0, -1]]).T)
    close = plane([0.3, 0.7, 0.2], [0.3, 0.7, 0.2 + 1e-7])
    np.testing.assert_allclose(close.T @ close, np.eye(2), atol=1e-15)
    with pytest.raises(ValueError, match="second must not be parallel"):
        plane([0.3, 0.7, 0.2], [0.3, 0.7, 0.2 + 1e-9])


def test_a_piece_that_vanishes_needs_no_digits_of_its_own(monkeypatch):
    """The integral along an arc is 0 where the loss is the same at both ends, smooth or not."""
    brentq = pytest.importorskip("scipy.optimize").brentq
    rng = np.random.default_rng(25)
    problem = LpProblem(rng.standard_normal((20, 2)), rng.standard_normal(20), 3)
    r = brentq(lambda s: problem.loss([[s, 0.0]]) - problem.loss([[-s, 0.0]]), 1.1, 1.2)
    points = []

    def counted(problem, w, depth):
        points.append(w)
        return field(problem, w, depth)

    monkeypatch.setattr("accel.theory.field._field", counted)
    integral = closed_curve_integral(problem, 3, [1.0, 0.0], r, 4.0)
    assert abs(integral.pieces[1]) < 1e-8 < 0.1 < abs(integral.value)
    assert len(points) < 5000  # 7600 if every piece were integrated to a relative 1e-10


@pytest.mark.parametrize("size", [1e-310, 1e-200, 1e155, 1e308])
def test_a_direction_of_any_length(size):
    problem = make_problem(4)
    expected = closed_curve_integral(problem, 3, [1, 2, 2], 0.1, 1.0, second=[0, 1, 0])
    integral = closed_curve_integral(
        problem, 3, np.array([0.5, 1, 1]) * size, 0.1, 1.0, second=[0, size, 0]
    )
    np.testing.assert_allclose(integral.plane, expected.plane, rtol=1e-12)
    assert integral.value == pytest.approx(expected.value)
    assert abs(integral.value) > 1e-3


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("size", [1e-200, 1e160])
def test_curl_where_squares_leave_the_number_range(depth, size):
    """It is of degree 2 - 2/N in w and the data together, for p = 2."""
    X, y = np.random.default_rng(0).standard_normal((2, 9, 3))
    w = np.array([0.3, -0.5, 1.0])
    expected = curl(LpProblem(X, y[:, 0], p=2), w, depth)
    scaled = curl(LpProblem(X, y[:, 0] * size, p=2), w * size, depth)
    np.testing.assert_allclose(scaled, expected * size ** (2 - 2 / depth), rtol=1e-12)
    assert depth == 1 or np.abs(scaled).max() > 0


CURVE = {"depth": 3, "direction": [1.0, 0.0, 0.0], "r": 0.1, "R": 1.0}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"depth": 0}, ValueError, "depth must be >= 1"),
        ({"r": 0.0}, ValueError, "r must be finite and > 0"),
        ({"R": 0.1}, ValueError, "R must be finite and > 0.1"),
        ({"direction": [0.0, 0.0, 0.0]}, ValueError, "direction must not be 0"),
        ({"direction": [2**53 + 1, 0, 0]}, TypeError, "direction must not hold integers"),
        ({"direction": [1.0, 0.0]}, ValueError, r"direction must have shape \(3,\)"),
        ({"second": [2.0, 0.0, 0.0]}, ValueError, "second must not be parallel"),
        ({"rtol": 0.0}, ValueError, "rtol must be"),
        ({"rtol": 1.0}, ValueError, "rtol must be"),
        ({"problem": make_problem(1)}, ValueError, "p > 1"),
        ({"problem": LpProblem([[1.0]], [1.0])}, ValueError, "d >= 2 features, got d = 1"),
        ({"problem": LpProblem(np.eye(3), np.eye(3))}, ValueError, "k = 1 output, got k = 3"),
        ({"problem": [1.0]}, TypeError, "problem must be of type Problem"),
    ],
)
def test_bad_arguments(change, error, message):
    with pytest.raises(error, match=message):
        closed_curve_integral(**{"problem": make_problem(4), **CURVE, **change})


def test_bad_arguments_of_curl():
    with pytest.raises(ValueError, match=r"p >= 2, got p = 1.5"):
        curl(make_problem(1.5), np.ones(3), 2)
    with pytest.raises(ValueError, match="k = 1 output, got k = 3"):
        curl(LpProblem(np.eye(3), np.eye(3)), np.ones(3), 2)
    with pytest.raises(ValueError, match=r"w must have shape \(3,\)"):
        curl(make_problem(4), np.ones((1, 3)).T[:2, 0], 2)
