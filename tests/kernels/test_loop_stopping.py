"""What a run records, and when it ends."""

import math
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from accel.kernels.specs import (
    CONVERGED,
    DIVERGED,
    GRADIENT_DESCENT,
    RUNNING,
    TARGET,
    Loss,
    Rule,
)

from .runs import DTYPES, PLAIN, Single, problem, written_out


def test_record_every(kernels, plain):
    case = problem()
    rows, _ = written_out(plain, case, PLAIN, 30)
    with Single(kernels.loop, *case, PLAIN) as loop:
        assert loop.take_history().shape == (0, 4)
        loop.advance(10)
        assert loop.take_history().shape == (0, 4)  # record_every = 0 records nothing
        loop.advance(20, record_every=7)
        history = loop.take_history()
        assert history.dtype == np.float64
        np.testing.assert_allclose(history, rows[[14, 21, 28]], rtol=1e-11)
        assert loop.take_history().shape == (0, 4)


def test_evaluate_changes_nothing(kernels, plain):
    case = problem()
    rows, _ = written_out(plain, case, PLAIN, 5)
    with Single(kernels.loop, *case, PLAIN) as loop:
        np.testing.assert_allclose(loop.evaluate(), rows[0], rtol=1e-12)
        np.testing.assert_array_equal(loop.params, case.params)
        assert loop.step == 0
        loop.advance(5)
        np.testing.assert_allclose(loop.evaluate(), rows[5], rtol=1e-12)
        assert loop.take_history().shape == (0, 4)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("form", ["direct", "gram", "diagonal"])
@pytest.mark.parametrize(
    ("column", "rule", "status"), [(1, "target", TARGET), (2, "tol", CONVERGED)], ids=["1", "2"]
)
def test_stops_at_the_first_iterate_that_fulfils(
    kernels, plain, column, rule, status, form, threads
):
    case = problem(n=1501, p=2.0, hidden=(), form=form)
    rows, _ = written_out(plain, case, PLAIN, 60)
    bound = (rows[40, column] + rows[41, column]) / 2  # both columns fall at depth 1
    _, params = written_out(plain, case, PLAIN, 41)
    with Single(kernels.loop, *case, PLAIN, threads) as loop:
        assert loop.advance(1000, record_every=1, **{rule: bound}) == status
        assert loop.step == 41
        np.testing.assert_allclose(loop.params, params, rtol=1e-11, atol=1e-12)
        np.testing.assert_array_equal(loop.take_history()[:, 0], np.arange(42))
        assert loop.advance(1000, **{rule: bound}) == status  # and stays there
        assert loop.step == 41


def test_bounds_are_inclusive_and_gradient_comes_first(kernels):
    case = problem()
    with Single(kernels.loop, *case, PLAIN) as loop:
        _, value, norm, _ = loop.evaluate()
        start = loop.snapshot()
        assert loop.advance(1, tol=norm, target=value) == CONVERGED
        loop.restore(start)
        assert loop.advance(1, target=value) == TARGET
        assert loop.step == 0
        loop.restore(start)
        assert loop.advance(1, tol=0.999 * norm, target=0.999 * value) == RUNNING


def test_zero_tolerance_never_stops(kernels):
    case = problem()
    case = case._replace(Y=np.zeros_like(case.Y), params=np.zeros_like(case.params))
    with Single(kernels.loop, *case, PLAIN) as loop:
        assert loop.advance(5, record_every=1) == RUNNING
        np.testing.assert_array_equal(loop.take_history()[:, 1:], np.zeros((5, 3)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 3])
def test_divergence(kernels, threads, dtype):
    case = problem(n=1501, hidden=(3,), dtype=dtype)
    rule = Rule(GRADIENT_DESCENT, (2.0, 0.0, 0.0, 0.0, 0.0))
    with Single(kernels.loop, *case, rule, threads) as loop:
        start = loop.snapshot()
        assert loop.advance(10_000, record_every=1) == DIVERGED
        at, history = loop.step, loop.take_history()
        assert at > 1
        assert not np.all(np.isfinite(loop.evaluate()[1:3]))
        np.testing.assert_array_equal(history[:, 0], np.arange(at))
        assert np.all(np.isfinite(history))
        assert loop.advance(10) == DIVERGED
        assert loop.step == at

        loop.restore(start)
        assert loop.advance(at - 1) == RUNNING
        assert loop.step == at - 1
        np.testing.assert_allclose(loop.evaluate(), history[-1], rtol=1e-5)
        assert loop.advance(1) == RUNNING
        assert loop.advance(1) == DIVERGED


def test_divergence_is_at_the_same_step(compiled, plain):
    rule = Rule(GRADIENT_DESCENT, (2.0, 0.0, 0.0, 0.0, 0.0))
    for seed in range(5):
        case, steps = problem(seed, hidden=(3,)), []
        for kernels in (compiled, plain):
            with Single(kernels.loop, *case, rule) as loop:
                assert loop.advance(10_000) == DIVERGED
                steps.append(loop.step)
        # On CUDA a gradient whose square overflows has diverged: the loss may do so a step later.
        early = compiled.backend == "cuda"
        assert steps[1] - early <= steps[0] <= steps[1]


@pytest.mark.parametrize(
    ("x", "w", "p"),
    [
        (1e-90, 1e168, 4.0),
        (1e200, 1e-50, 2.0),
        *((1.0, math.nan, p) for p in (1.0, 2.0, 2.5, 3.0, 4.0)),
        (math.inf, 0.0, 4.0),
    ],
)
@pytest.mark.parametrize("k", [1, 2])
def test_either_not_finite_is_divergence(kernels, k, x, w, p):
    X, Y = np.full((3, 1), x), np.zeros((3, k))
    with Single(kernels.loop, X, Y, Loss(p), (1, k), np.full(k, w), PLAIN) as loop:
        assert loop.advance(5, record_every=1, target=math.inf) == DIVERGED
        assert loop.step == 0
        assert loop.take_history().shape == (0, 4)
        np.testing.assert_array_equal(loop.params, np.full(k, w))


@pytest.mark.parametrize("threads", [1, 3])
def test_stop_from_another_thread(kernels, threads):
    case = problem(n=1501)
    with Single(kernels.loop, *case, PLAIN, threads) as loop, ThreadPoolExecutor(1) as pool:
        future = pool.submit(loop.advance, 10**9)
        time.sleep(0.1)
        asked = time.perf_counter()
        loop.stop()
        assert future.result(timeout=30) == RUNNING
        assert time.perf_counter() - asked < 5.0
        stopped_at, params = loop.step, loop.params
        assert 0 < stopped_at < 10**9
        assert loop.advance(3) == RUNNING  # a request is good for one stop
        assert loop.step == stopped_at + 3
        assert not np.array_equal(loop.params, params)
