"""What diagonal networks find: the implicit bias of Woodworth et al. (2020), and what is conserved.

Underdetermined least squares: of all w that fit, descent chooses one, by its start.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accel
from accel import DiagonalNetwork, GradientDescent
from accel.theory import factor_flow

pytest.importorskip("scipy")
FORMS = ["power-difference", "hadamard"]


def sparse(n=20, d=40, seed=0):
    """A problem of n < d samples that a sparse w fits, and that w."""
    rng = np.random.default_rng(seed)
    X, w = rng.standard_normal((n, d)), np.zeros(d)
    w[rng.choice(d, 3, replace=False)] = [1.0, -2.0, 1.5]
    return accel.LpProblem(X, X @ w, p=2), w


def least_l1(X, y):
    """The w of least l1 norm with X w = y, by linear programming: w = a - b with a, b >= 0."""
    from scipy.optimize import linprog

    d = X.shape[1]
    found = linprog(np.ones(2 * d), A_eq=np.hstack([X, -X]), b_eq=y, bounds=(0, None))
    assert found.status == 0
    return found.x[:d] - found.x[d:]


def fitted(problem, network, rate, steps, below=1e-12):
    result = accel.train(problem, network, GradientDescent(rate), steps)
    assert result.status == "completed"
    assert result.loss < below
    return result.network.end_to_end()[0]


def test_from_a_small_start_the_least_l1_norm():
    """The closer, the smaller the start."""
    problem, truth = sparse()
    w1 = least_l1(problem.X, problem.Y[:, 0])
    np.testing.assert_allclose(w1, truth, atol=1e-8)  # sparse enough for the linear program
    least = np.abs(w1).sum()
    excess = []
    for scale in (0.1, 0.01, 0.001):
        network = DiagonalNetwork.for_problem(problem, scale=scale)
        w = fitted(problem, network, 0.02, 400_000, below=1e-8)
        excess.append(np.abs(w).sum() / least - 1)
        assert np.abs(w - w1).max() < 2 * excess[-1]
    assert excess[0] > 5 * excess[1] > 25 * excess[2] > 0
    assert excess[2] < 1e-3


def test_from_a_large_start_the_least_l2_norm():
    problem, truth = sparse()
    w2 = np.linalg.pinv(problem.X) @ problem.Y[:, 0]
    distance = []
    for scale in (0.3, 1.0, 10.0):
        network = DiagonalNetwork.for_problem(problem, scale=scale)
        rate = accel.stable_rate(problem, network, GradientDescent(1.0))
        w = fitted(problem, network, rate, 20_000)
        distance.append(np.linalg.norm(w - w2) / np.linalg.norm(w2))
    # w / alpha^2 is small, where q is a parabola but for terms of the fourth order.
    assert distance[0] > 0.2
    assert distance[1] < 0.03
    assert distance[2] < 1e-5
    assert np.linalg.norm(w2 - truth) > 0.5 * np.linalg.norm(truth)  # another one


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 6),
    extra=st.integers(1, 8),
    scale=st.floats(0.3, 2.0),
)
def test_the_flow_ends_at_the_least_q(seed, n, extra, scale):
    r"""Theorem 1 of Woodworth et al.: w fits, and the derivative of Q_alpha is in X's row space.

    Q_alpha is convex, so these two conditions are those of its minimum on all w that fit. The
    derivative of :math:`\alpha^2 q(w_i / \alpha^2)` is :math:`\operatorname{arsinh}(w_i / (2
    \alpha^2))`.
    """
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, n + extra))
    U, s, V = np.linalg.svd(X, full_matrices=False)
    X = U @ np.diag(np.clip(s, 0.7, 1.5)) @ V  # so that the flow ends in a known time
    problem = accel.LpProblem(X, X @ rng.standard_normal(n + extra), p=2)
    network = DiagonalNetwork.for_problem(problem, scale=scale)
    time = 3 * n / scale**2  # residuals shrink at least as exp(-16 (alpha s)^2 t / n)
    flow = factor_flow(problem, network, time, rtol=1e-9, atol=1e-12)
    w = flow.matrices[-1, 0]
    np.testing.assert_allclose(X @ w, problem.Y[:, 0], atol=1e-5)
    slope = np.arcsinh(w / (2 * scale**2))
    np.testing.assert_allclose(V.T @ (V @ slope), slope, atol=1e-5)


def test_so_does_descent_at_a_small_rate():
    problem, _ = sparse(6, 12)
    V = np.linalg.svd(problem.X, full_matrices=False)[2]
    distance = []
    for rate in (0.01, 0.001):
        network = DiagonalNetwork.for_problem(problem, scale=0.2)
        w = fitted(problem, network, rate, int(600 / rate))
        slope = np.arcsinh(w / (2 * 0.2**2))
        distance.append(np.abs(V.T @ (V @ slope) - slope).max())
    assert distance[1] < 0.2 * distance[0]  # in proportion to the rate
    assert distance[1] < 0.01


def test_the_two_forms_are_one_at_depth_two():
    """With u = a + b and v = a - b the product u v is a^2 - b^2, at half the rate."""
    problem, _ = sparse()
    product = DiagonalNetwork.for_problem(problem, 2, "hadamard", scale=0.02)
    difference = DiagonalNetwork.for_problem(problem, 2, scale=0.01)
    ends = [
        accel.train(problem, network, GradientDescent(rate), 500).network.end_to_end()
        for network, rate in ((product, 0.02), (difference, 0.01))
    ]
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-9, atol=1e-12)
    assert np.abs(ends[0]).max() > 0.5


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 8),
    depth=st.integers(1, 5),
    form=st.sampled_from(FORMS),
    p=st.sampled_from([2, 3, 4]),
)
def test_the_flow_conserves(seed, d, depth, form, p):
    rng = np.random.default_rng(seed)
    problem = accel.LpProblem(rng.standard_normal((9, d)), rng.standard_normal(9), p=p)
    count = 2 if form == "power-difference" else depth
    vectors = rng.uniform(0.4, 1.2, (count, d))  # away from 0, where negative powers are large
    if form == "hadamard":
        vectors *= rng.choice([-1, 1], (count, d))
    network = DiagonalNetwork(d, depth, form, init=vectors)
    flow = factor_flow(problem, network, [0.1, 0.5])
    for net in flow.networks:
        conserved = net.conserved()
        near = np.isfinite(conserved) & (np.abs(conserved) < 1e3)
        expected = network.conserved()
        np.testing.assert_allclose(conserved[near], expected[near], rtol=1e-6, atol=1e-6)
        assert near.any() or conserved.size == 0
    losses = [problem.loss(network.end_to_end()), *flow.losses]
    assert np.all(np.diff(losses) <= 0)


@pytest.mark.parametrize(("form", "depth"), [("power-difference", 2), ("hadamard", 3)])
def test_small_steps_conserve_in_proportion_to_the_rate(form, depth):
    problem, _ = sparse()
    rng = np.random.default_rng(0)
    count = 2 if form == "power-difference" else depth
    network = DiagonalNetwork(40, depth, form, init=rng.uniform(0.2, 0.6, (count, 40)))
    drifts = []
    for rate in (0.004, 0.0004):
        result = accel.train(problem, network, GradientDescent(rate), int(2 / rate))
        drifts.append(np.abs(result.network.conserved() - network.conserved()).max())
        assert result.loss < 0.5 * problem.loss(network.end_to_end())
    assert drifts[1] < 0.2 * drifts[0]
    assert drifts[0] < 0.1


def test_deeper_is_sparser_from_the_same_start():
    """At depth 3 a start of moderate size is as good as a tiny one at depth 2."""
    problem, truth = sparse()
    least = np.abs(truth).sum()
    excess = {}
    for depth in (2, 3):
        # Of both u^N = v^N = 0.01.
        network = DiagonalNetwork.for_problem(problem, depth, scale=1e-2 ** (1 / depth))
        w = fitted(problem, network, 0.005, 400_000)
        excess[depth] = np.abs(w).sum() / least - 1
    assert 0 < excess[3] < 0.5 * excess[2]
