"""Theorem 1 and gradient flow: end-to-end matrix, factors, descent with small steps."""

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import EndToEnd, GradientDescent, LinearNetwork, LpProblem, train
from accel.theory import end_to_end_flow, factor_flow

few = settings(max_examples=10, deadline=None, derandomize=True)


def make_problem(k, p, seed=0, scale="mean"):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((12, 3))
    Y = X @ rng.standard_normal((3, k)) + 0.3 * rng.standard_normal((12, k))
    return LpProblem(X, Y, p, scale=scale)


def make_network(k, depth, seed=0, init="balanced"):
    return LinearNetwork((3, *[3] * (depth - 1), k), init=init, scale=0.5, seed=seed)


def differences(factors):
    """A_{j+1}' A_{j+1} - A_j A_j' for every j, concatenated."""
    pairs = itertools.pairwise(factors)
    return np.concatenate([(above.T @ above - below @ below.T).ravel() for below, above in pairs])


def gradients(problem, network):
    """The gradient with respect to every factor, by the definition: products of all the others."""
    F, G = network.factors, problem.gradient(network.end_to_end())
    products = []
    for j in range(len(F)):
        above, below = np.eye(problem.k), np.eye(problem.d)
        for W in reversed(F[j + 1 :]):
            above = above @ W
        for W in F[:j]:
            below = W @ below
        products.append(above.T @ G @ below.T)
    return products


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("p", [2, 3, 4])
@pytest.mark.parametrize(("depth", "weight_decay"), [(2, 0.0), (2, 0.1), (3, 0.0)])
def test_balanced_factors_follow_the_end_to_end_flow(k, p, depth, weight_decay):
    problem, network = make_problem(k, p), make_network(k, depth)
    times = [0.0, 0.1, 0.5]
    factors = factor_flow(problem, network, times, weight_decay)
    whole = end_to_end_flow(problem, network.end_to_end(), depth, times, weight_decay)
    assert np.linalg.norm(whole.matrices[2] - whole.matrices[0]) > 0.1
    np.testing.assert_allclose(factors.matrices, whole.matrices, atol=1e-6)
    np.testing.assert_allclose(factors.losses, whole.losses, rtol=1e-6)
    np.testing.assert_allclose(whole.losses, [problem.loss(W) for W in whole.matrices])
    np.testing.assert_array_equal(whole.times, times)
    np.testing.assert_allclose(factors.matrices[0], network.end_to_end(), rtol=1e-15)


def turned(W, depth, width, seed):
    """Balanced factors of W, hidden layers turned by random rotations and wider than its rank."""
    rng = np.random.default_rng(seed)
    U, sizes, Vt = np.linalg.svd(W, full_matrices=False)
    sizes[sizes < 1e-15] = 0
    share, Q = np.diag(sizes ** (1 / depth)), []
    for _ in range(depth - 1):
        Q.append(np.linalg.qr(rng.standard_normal((width, width)))[0][:, : len(sizes)])
    inner = [Q[j + 1] @ share @ Q[j].T for j in range(depth - 2)]
    factors = [Q[0] @ share @ Vt, *inner, U @ share @ Q[-1].T]
    return LinearNetwork((W.shape[1], *[width] * (depth - 1), len(W)), init=factors)


@pytest.mark.parametrize("small", [0.0, 1e-9, 1e-4])
@pytest.mark.parametrize(("k", "d", "depth"), [(2, 2, 6), (2, 2, 3), (3, 4, 6)])
@pytest.mark.parametrize("p", [2, 4])
def test_starts_that_are_singular_or_nearly_so(small, k, d, depth, p):
    """The powers of W W' in theorem 1 are not Lipschitz there; the equations of the factors are."""
    rng = np.random.default_rng(k)
    X = rng.standard_normal((12, d))
    problem = LpProblem(X, X @ rng.standard_normal((d, k)) + rng.standard_normal((12, k)), p)
    start = 0.5 * np.outer(rng.standard_normal(k), rng.standard_normal(d))
    start += small * rng.standard_normal((k, d))
    times = [0.3, 1.0]
    whole = end_to_end_flow(problem, start, depth, times, 0.1)
    factors = factor_flow(problem, turned(start, depth, k + 2, seed=1), times, 0.1)
    assert np.linalg.norm(whole.matrices[1] - start) > 0.1
    np.testing.assert_allclose(whole.matrices, factors.matrices, atol=2e-9)
    if not small:
        sizes = np.linalg.svd(whole.matrices, compute_uv=False)
        assert sizes[:, 1:].max() <= 1e-14 * sizes.max()


def test_the_zero_map_stays_but_at_depth_1():
    problem = make_problem(2, 4)
    for depth in (2, 3):
        assert not end_to_end_flow(problem, np.zeros((2, 3)), depth, 1.0).matrices.any()
    assert end_to_end_flow(problem, np.zeros((2, 3)), 1, 1.0).matrices.any()


def test_a_trial_step_that_is_too_long_is_shortened():
    """In deep factors a long trial step overflows; the integrator then tries shorter ones."""
    problem = LpProblem(np.eye(2), [1e5, 1e5], 6)
    flow = end_to_end_flow(problem, [1.0, 0.5], 6, 1e-24)
    assert np.isfinite(flow.losses).all()
    assert flow.losses[0] < problem.loss([1.0, 0.5])


def test_a_velocity_that_overflows():
    problem = LpProblem(np.eye(2), [1e150, 1.0], 4)
    network = LinearNetwork.for_problem(problem, 2, 2, init="balanced")
    for call in (
        lambda: end_to_end_flow(problem, [1, 2], 2, 1),
        lambda: factor_flow(problem, network, 1),
    ):
        with pytest.raises(RuntimeError, match="no finite velocity at t = 0"):
            call()


def test_balance_is_what_theorem_1_needs():
    problem, network = make_problem(1, 4), make_network(1, 2, init="near_zero")
    factors = factor_flow(problem, network, 1.0)
    whole = end_to_end_flow(problem, network.end_to_end(), 2, 1.0)
    assert np.abs(factors.matrices - whole.matrices).max() > 1e-3


@pytest.mark.parametrize(("decay", "rate"), [((), 1.0), ((0.25,), 1.25)])
def test_solution_that_is_known(decay, rate):
    """Depth 1, p = 2, X = I: each coordinate decays alone, at rate 2 f / n + weight decay."""
    problem = LpProblem(np.eye(2), [3.0, 1.0], 2)
    t = np.array([0.5, 2.0])
    expected = np.array([3.0, 1.0]) / rate * (1 - np.exp(-rate * t[:, np.newaxis]))
    for flow in (
        end_to_end_flow(problem, [0.0, 0.0], 1, t, *decay),
        factor_flow(problem, LinearNetwork((2, 1), scale=0), t, *decay),
    ):
        np.testing.assert_allclose(flow.matrices[:, 0], expected, rtol=1e-9)


@given(
    seed=st.integers(0, 1000),
    widths=st.sampled_from([(3, 2, 1), (3, 4, 2), (3, 2, 3, 1)]),
    weight_decay=st.sampled_from([0.0, 0.2]),
)
@few
def test_the_flow_conserves_balancedness(seed, widths, weight_decay):
    """The flow conserves every difference; with weight decay it shrinks as exp(-2 lambda t)."""
    problem = make_problem(widths[-1], 4, seed)
    network = LinearNetwork(widths, scale=0.5, seed=seed)
    times = np.array([0.05, 0.5, 1.5])
    flow = factor_flow(problem, network, times, weight_decay)
    before = differences(network.factors)
    assert np.abs(before).max() > 1e-2
    for t, net, balancedness in zip(times, flow.networks, flow.balancedness, strict=True):
        expected = np.exp(-2 * weight_decay * t) * before
        np.testing.assert_allclose(differences(net.factors), expected, atol=1e-8)
        assert balancedness == pytest.approx(net.balancedness())


@given(
    seed=st.integers(0, 1000),
    widths=st.sampled_from([(3, 1, 1), (3, 4, 2), (3, 2, 3, 1)]),
    p=st.sampled_from([2, 3, 4]),
    rate=st.sampled_from([1e-3, 1e-2, 0.1]),
    weight_decay=st.sampled_from([0.0, 0.2]),
)
@few
def test_drift_of_balancedness_in_one_step_of_descent(seed, widths, p, rate, weight_decay):
    """The term of first order is 0, for balanced nets and others, and there is none of third:
    D <- (1 - eta lambda)^2 D + eta^2 (g_{j+1}' g_{j+1} - g_j g_j'), exactly.
    """
    problem = make_problem(widths[-1], p, seed)
    network = LinearNetwork(widths, scale=0.5, seed=seed)
    step = train(problem, network, GradientDescent(rate, weight_decay=weight_decay), steps=1)
    g = gradients(problem, network)
    expected = (1 - rate * weight_decay) ** 2 * differences(network.factors)
    expected += rate**2 * differences(g)
    scale = max(1.0, *(np.linalg.norm(x) ** 2 for x in (*g, *network.factors)))
    np.testing.assert_allclose(differences(step.network.factors), expected, atol=1e-13 * scale)


def order(errors, steps):
    """Slope of log error against log learning rate."""
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


@pytest.mark.parametrize(("k", "p", "depth"), [(1, 4, 2), (1, 3, 3), (2, 4, 2), (2, 2, 3)])
def test_descent_converges_to_the_flow_at_first_order(k, p, depth):
    """The drift of balancedness over a fixed time does, too: eta^2 a step, T / eta steps."""
    problem, network = make_problem(k, p), make_network(k, depth)
    T, counts, decay = 0.5, [400, 800, 1600, 3200], 0.1
    flow = factor_flow(problem, network, T, decay)
    whole = LinearNetwork((3, k), init=[network.end_to_end()])
    params, matrices, drifts = [], [], []
    for steps in counts:
        rate = T / steps
        net = train(problem, network, GradientDescent(rate, weight_decay=decay), steps).network
        rule = train(problem, whole, EndToEnd(rate, depth, weight_decay=decay), steps).network
        params.append(np.linalg.norm(net.params - flow.networks[0].params))
        matrices.append(np.linalg.norm(rule.params - flow.matrices[0].ravel()))
        drifts.append(net.balancedness())
    for errors in (params, matrices, drifts):
        assert order(errors, counts) == pytest.approx(1, abs=0.1)


def test_needs_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.integrate", None)
    with pytest.raises(ImportError, match=r"implicit-accel\[theory\]"):
        end_to_end_flow(make_problem(1, 4), [0.1, 0.1, 0.1], 2, 1.0)


NET = make_network(1, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda q: factor_flow(q, NET, [0.2, 0.1]), ValueError, "t must be >= 0 and ascending"),
        (lambda q: factor_flow(q, NET, [0.1, 0.1]), ValueError, "t must be >= 0 and ascending"),
        (lambda q: factor_flow(q, NET, [-0.1, 0.1]), ValueError, "t must be >= 0 and ascending"),
        (lambda q: factor_flow(q, NET, -1.0), ValueError, "t must be >= 0 .* got -1.0"),
        (lambda q: factor_flow(q, NET, np.inf), ValueError, "t must be finite"),
        (lambda q: factor_flow(q, NET, 1.0, -1), ValueError, "weight_decay must be"),
        (lambda q: factor_flow(q, NET, 1.0, rtol=0.0), ValueError, "rtol must be"),
        (lambda q: factor_flow(q, NET, 1.0, atol=0.0), ValueError, "atol must be"),
        (lambda q: factor_flow(q, [1.0], 1.0), TypeError, "network must be of type LinearNetwork"),
        (lambda q: factor_flow(q, make_network(2, 2), 1.0), ValueError, "k = 1 outputs"),
        (lambda q: factor_flow(q, LinearNetwork((2, 1)), 1.0), ValueError, "d = 3 features"),
        (
            lambda q: factor_flow(q, LinearNetwork((3, 1), dtype="f4"), 1.0),
            TypeError,
            "network must be in float64",
        ),
        (lambda q: factor_flow(make_problem(1, 1.5), NET, 1.0), ValueError, "p >= 2, got p = 1.5"),
        (lambda q: factor_flow(None, NET, 1.0), TypeError, "problem must be of type Problem"),
        (lambda q: end_to_end_flow(q, [1.0], 2, 1.0), ValueError, r"W0 must have shape \(1, 3\)"),
        (lambda q: end_to_end_flow(q, [1, 2, np.nan], 2, 1), ValueError, "W0 must be finite"),
        (lambda q: end_to_end_flow(q, [1, 2, 3], 0, 1), ValueError, "depth must be >= 1"),
        (
            lambda q: end_to_end_flow(LpProblem(q.X, q.Y, 1.5), [1, 2, 3], 2, 1),
            ValueError,
            "p >= 2, got p = 1.5",
        ),
        (
            lambda q: end_to_end_flow(LpProblem(q.X, q.Y, dtype="f4"), [1, 2, 3], 2, 1),
            TypeError,
            "problem must be in float64",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(make_problem(1, 4))
