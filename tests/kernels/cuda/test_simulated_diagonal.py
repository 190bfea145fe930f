"""Whole runs on diagonal data in the simulator, against the run written out in NumPy."""

import numpy as np
import pytest

import accel
from accel.kernels.cuda import loop as cuda_loop
from accel.kernels.reference import loop as reference_loop
from accel.kernels.specs import (
    CONVERGED,
    DIVERGED,
    GRADIENT_DESCENT,
    RUNNING,
    Loss,
    ModelSpec,
    Rule,
)

from .. import exact
from ..runs import DTYPES, PLAIN, RULES, for_rule, problem
from .test_simulated_loops import mixed, run
from .ways import Way


@pytest.fixture(params=["1 block", "streaming"])
def diagonal_way(request):
    """A diagonal is on one block."""
    return Way(request.param)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("k", "hidden"), [(1, ()), (1, (5, 4)), (3, (6,)), (9, (9, 9))])
def test_diagonal(diagonal_way, k, hidden, dtype):
    run(diagonal_way, problem(d=70 if k == 1 else 9, k=k, hidden=hidden, form="diagonal",
                              dtype=dtype), PLAIN, 4)  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_diagonal_every_rule(diagonal_way, name):
    run(diagonal_way, for_rule(name, d=9, hidden=(4,), form="diagonal"), RULES[name], 3)


@pytest.mark.parametrize("k", [1, 3])
def test_a_sweep_on_a_diagonal(diagonal_way, k):
    """One model diverges, one converges; then all go back, and come to the same bits."""
    if diagonal_way.blocks and k > 1:
        pytest.skip("the end-to-end rule with several outputs is streamed")
    X, Y, loss, models = mixed(d=5, k=k, form="diagonal")
    slopes = reference_loop.TrainingLoop(X, Y, loss, models).evaluate()[:, 2]
    steepest, tol = np.argmax(slopes), 1.001 * np.min(slopes)
    rule = Rule(GRADIENT_DESCENT, (1e150, 0.0, 0.0, 0.0, 0.0))
    models[steepest] = models[steepest]._replace(rule=rule)
    plain = reference_loop.TrainingLoop(X, Y, loss, models)
    with diagonal_way.TrainingLoop(X, Y, loss, models) as ours:
        start = ours.snapshot()
        for loop in (ours, plain):
            loop.advance(6, record_every=2, tol=tol)
        np.testing.assert_array_equal(ours.statuses, plain.statuses)
        np.testing.assert_array_equal(ours.steps, plain.steps)
        assert {DIVERGED, CONVERGED, RUNNING} <= set(ours.statuses.tolist())
        history = ours.take_history()[1]
        np.testing.assert_allclose(history, plain.take_history()[1], rtol=1e-9)
        ends = [ours.params(m) for m in range(len(models))]
        for m in np.flatnonzero(ours.statuses != DIVERGED):
            np.testing.assert_allclose(ends[m], plain.params(m), rtol=1e-9, atol=1e-11)
        ours.restore(start)
        ours.advance(6, record_every=2, tol=tol)
        for m, end in enumerate(ends):
            np.testing.assert_array_equal(ours.params(m), end)
        np.testing.assert_array_equal(ours.take_history()[1], history)


@exact.needs_long_double
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["1 block", "streaming", "wide"])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_the_bounds_of_a_diagonal(name, noise, dtype):
    """Singular values over twelve orders of magnitude, residuals of nothing but rounding or not."""
    k, d, size = 3, 9, np.finfo(dtype).tiny
    rng = np.random.default_rng(0)
    s, W = np.logspace(0, -12, d).astype(dtype), rng.standard_normal((k, d)).astype(dtype)
    Y = (s[:, np.newaxis] * W.T + noise * rng.standard_normal((d, k))).astype(dtype)
    loss = Loss(2.0, 0.5, "diagonal", 0.25)
    # A step of rate 1 from 0, on targets that are residuals there: the gradient itself.
    Z = (s[:, np.newaxis] * W.T - Y).astype(dtype)
    rule = Rule(GRADIENT_DESCENT, (1.0, 0.0, 0.0, 0.0, 0.0))
    models = [ModelSpec((d, k), params, rule) for params in (W.ravel(), np.zeros(k * d, dtype))]
    value, error, *_ = exact.diagonal_loss_and_gradient(s, Y, W, 0.5, 0.25)
    assert abs(Way(name).TrainingLoop(s, Y, loss, models).evaluate()[0, 1] - value) <= error
    loop = Way(name).TrainingLoop(s, Z, loss, models[1:])
    loop.advance(1)
    *_, G, G_error = exact.diagonal_loss_and_gradient(s, Z, np.zeros_like(W), 0.5, 0.25)
    assert np.all(abs(-loop.params(0).reshape(k, d) - G) <= G_error + size)


def test_a_diagonal_is_on_one_block():
    case = problem(d=9, hidden=(), form="diagonal")
    models = [ModelSpec(case.widths, case.params, PLAIN)] * 2
    loop = cuda_loop.TrainingLoop(case.X, case.Y, case.loss, models)
    assert (loop.engine, loop._launcher.blocks, loop._launcher.teams) == ("resident", 1, 2)
    with pytest.raises(ValueError, match=r"blocks .*2"):
        cuda_loop.TrainingLoop(case.X, case.Y, case.loss, models, blocks=2)


@pytest.mark.parametrize("shape", [(3, 4), (1, 2), (4, 1)])
def test_a_matrix_factorization(shape):
    """Through ``train``: to the kernels its data are diagonal."""
    M = np.random.default_rng(0).standard_normal(shape)
    matrix = accel.MatrixFactorization(M)
    network = accel.LinearNetwork.for_problem(matrix, 2, 3, init="orthogonal", scale=0.3)
    rule = accel.GradientDescent(0.1)
    ours, theirs = (
        accel.train(matrix, network, rule, 3, backend=backend, record_every=1)
        for backend in ("cuda", "reference")
    )
    assert ours.backend == "cuda"
    np.testing.assert_allclose(ours.history.loss, theirs.history.loss, rtol=1e-12)
    np.testing.assert_allclose(ours.network.params, theirs.network.params, rtol=1e-12)
