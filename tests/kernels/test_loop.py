"""Whole runs, against the same run written out with the plain NumPy kernels."""

import math
import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.kernels.specs import (
    ADADELTA,
    ADAGRAD,
    ADAM,
    CONVERGED,
    DIVERGED,
    END_TO_END,
    GRADIENT_DESCENT,
    MOMENTUM,
    NESTEROV,
    RMSPROP,
    RUNNING,
    STATE_SLOTS,
    STOPPED,
    TARGET,
    Loss,
    Rule,
)

RULES = {
    "gradient descent": Rule(GRADIENT_DESCENT, (0.02, 0.0, 0.0, 0.0, 0.0)),
    "momentum": Rule(MOMENTUM, (0.005, 0.0, 0.9, 0.0, 0.0)),
    "nesterov": Rule(NESTEROV, (0.005, 0.0, 0.9, 0.0, 0.0)),
    "adagrad": Rule(ADAGRAD, (0.01, 0.0, 0.0, 0.0, 1e-10)),
    "adadelta": Rule(ADADELTA, (1.0, 0.0, 0.9, 0.0, 1e-6)),
    "rmsprop": Rule(RMSPROP, (0.002, 0.0, 0.99, 0.0, 1e-8)),
    "adam": Rule(ADAM, (0.001, 0.0, 0.9, 0.999, 1e-8)),
    "end-to-end 3": Rule(END_TO_END, (0.02, 0.0, 3.0, 0.0, 0.0)),
    "end-to-end 8": Rule(END_TO_END, (0.02, 0.0, 8.0, 0.0, 0.0)),
}
PLAIN = RULES["gradient descent"]
each_rule = pytest.mark.parametrize("name", RULES)
DTYPES = [np.float32, np.float64]


class Problem(NamedTuple):
    """The arguments of a TrainingLoop but for the rule and the threads."""

    X: Any
    Y: Any
    loss: Loss
    widths: tuple
    params: Any


def problem(seed=0, n=203, d=17, hidden=(5,), k=1, p=4.0, factor=1.0, gram=False, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) / np.sqrt(d)
    Y = X @ rng.standard_normal((d, k)) + 0.2 * rng.standard_normal((n, k))
    widths = (d, *hidden, k)
    blocks = [
        rng.standard_normal(rows * columns) / np.sqrt(columns)
        for rows, columns in zip(widths[1:], widths[:-1], strict=True)
    ]
    params = np.concatenate(blocks).astype(dtype)
    return Problem(X.astype(dtype), Y.astype(dtype), Loss(p, factor, gram), widths, params)


def for_rule(name, **shape):
    """A problem on which this rule can run: the end-to-end rule has a single factor."""
    return problem(**{**shape, "hidden": ()} if name.startswith("end-to-end") else shape)


def written_out(plain, case, rule, steps):
    """The iterates' history rows 0..steps and the last parameters."""
    X, Y, loss, widths, params = case
    kind, (rate, decay, a, *_) = rule
    params, rows = params.copy(), []
    state = np.zeros((STATE_SLOTS[kind], params.size), params.dtype)
    for step in range(steps + 1):
        W = plain.factor_chain.end_to_end(params, widths)
        value, G = plain.lp_loss.loss_and_gradient(X, Y, W, loss)
        norms = (float(np.sqrt(np.sum(A.astype(np.float64) ** 2))) for A in (G, W))
        rows.append((step, value, *norms))
        if step == steps:
            return np.array(rows), params
        if kind == END_TO_END:
            push = plain.precondition.precondition(W, G, int(a))
            params = ((1 - rate * decay * a) * W - rate * push).ravel()
        else:
            grads = plain.factor_chain.gradients(params, widths, G)
            plain.updates.update(kind, params, grads, state, rule.hyper, step + 1)


def assert_same_run(plain, loop, case, rule, steps):
    """Run ``loop``, every iterate recorded, and compare all of it."""
    assert loop.advance(steps, record_every=1) == RUNNING
    assert loop.step == steps
    rows, params = written_out(plain, case, rule, steps)
    tolerance = 1e-4 if case.X.dtype == np.float32 else 1e-10
    history = loop.take_history()
    np.testing.assert_array_equal(history[:, 0], np.arange(steps))
    np.testing.assert_allclose(history, rows[:-1], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(loop.evaluate(), rows[-1], rtol=tolerance, atol=tolerance)
    assert loop.params.dtype == params.dtype
    scale = np.max(abs(params))
    np.testing.assert_allclose(loop.params, params, rtol=0, atol=tolerance * scale)
    assert np.max(abs(params - case.params)) > 1e-6 * scale  # it went somewhere


# Whole runs -------------------------------------------------------------------------------------


HIDDEN = {"depth 1": (), "depth 2": (1,), "depth 3": (5, 4), "depth 8": (3,) * 7}
RUNS = [
    pytest.param(name, hidden, id=f"{name}, {depth}")
    for name in RULES
    for depth, hidden in HIDDEN.items()
    if not (name.startswith("end-to-end") and hidden)
]


# 60 steps: AdaDelta and RMSProp amplify the rounding error without bound once they rattle about
# the optimum, as they do here from about 100 steps on.
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(("name", "hidden"), RUNS)
def test_every_rule_depth_and_output(kernels, plain, name, hidden, k, dtype):
    case, rule = for_rule(name, hidden=hidden, k=k, dtype=dtype), RULES[name]
    with kernels.loop.TrainingLoop(*case, rule) as loop:
        assert_same_run(plain, loop, case, rule, 20 if dtype == np.float32 else 60)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_every_power(kernels, plain, p, k):
    case = problem(p=p, k=k, factor=1 / p, hidden=(4, 6))
    with kernels.loop.TrainingLoop(*case, PLAIN) as loop:
        assert_same_run(plain, loop, case, PLAIN, 50)


@each_rule
def test_weight_decay(kernels, plain, name):
    kind, (rate, _, *rest) = RULES[name]
    rule = Rule(kind, (rate, 0.1, *rest))
    case = for_rule(name, k=2)
    with kernels.loop.TrainingLoop(*case, rule) as loop:
        assert_same_run(plain, loop, case, rule, 50)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 300),
    d=st.integers(1, 300),
    hidden=st.lists(st.integers(1, 40), max_size=7),
    k=st.integers(1, 5),
    p=st.sampled_from([1.5, 2.0, 3.0, 4.0]),
    dtype=st.sampled_from(DTYPES),
    threads=st.sampled_from([1, 2, 3, 5]),
    layout=st.sampled_from(["C", "F", "strided", "reversed"]),
)
def test_random_shapes(kernels, plain, lay_out, seed, n, d, hidden, k, p, dtype, threads, layout):
    case = problem(seed, n, d, hidden, k, p, dtype=dtype)
    rule = Rule(GRADIENT_DESCENT, (1e-3, 0.0, 0.0, 0.0, 0.0))
    placed = case._replace(X=lay_out(case.X, layout), Y=lay_out(case.Y, layout))
    before = [a.copy() for a in (placed.X, placed.Y, placed.params)]
    with kernels.loop.TrainingLoop(*placed, rule, threads) as loop:
        assert loop.advance(4, record_every=3) == RUNNING
        rows, params = written_out(plain, case, rule, 4)
        tolerance = 1e-4 if dtype == np.float32 else 1e-10
        bound = {"rtol": tolerance, "atol": tolerance}
        np.testing.assert_allclose(loop.take_history(), rows[[0, 3]], **bound)
        np.testing.assert_allclose(loop.evaluate(), rows[4], **bound)
        np.testing.assert_allclose(loop.params, params, **bound)
    for array, copy in zip((placed.X, placed.Y, placed.params), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("k", [1, 3])
def test_gram_path_is_the_direct_run(kernels, plain, k, threads):
    case = problem(p=2.0, gram=True, k=k, factor=0.5)
    data = case._replace(X=case.X.copy(), Y=case.Y.copy())
    with kernels.loop.TrainingLoop(*data, PLAIN, threads) as loop:
        data.X[:] = data.Y[:] = math.nan  # it has seen them once: that is enough
        assert_same_run(plain, loop, case, PLAIN, 300)


def test_float32_records_a_float64_loss(kernels):
    case = problem(n=3001, dtype=np.float32)
    with kernels.loop.TrainingLoop(*case, PLAIN) as loop:
        W = case.params[85:].reshape(1, 5) @ case.params[:85].reshape(5, 17)
        residual = case.X.astype(np.float64) @ W.T.astype(np.float64) - case.Y
        assert loop.evaluate()[1] == pytest.approx(np.mean(residual**4), rel=3e-6)


# Threads and bits -------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_threads(kernels, plain, dtype, threads, k):
    case = problem(n=2565, d=128, hidden=(6, 6), k=k, dtype=dtype)
    runs = []
    for _ in range(2):
        with kernels.loop.TrainingLoop(*case, PLAIN, threads=threads) as loop:
            if kernels.backend != "reference":
                assert loop.threads == threads  # large enough to be split
            assert_same_run(plain, loop, case, PLAIN, 25)
            runs.append(loop.params)
    np.testing.assert_array_equal(*runs)


@pytest.mark.parametrize("threads", [1, 2, 3])
@each_rule
def test_chunks_do_not_show(kernels, name, threads):
    case, rule = for_rule(name, n=1501, d=40, k=2), RULES[name]
    with (
        kernels.loop.TrainingLoop(*case, rule, threads) as whole,
        kernels.loop.TrainingLoop(*case, rule, threads) as parts,
    ):
        whole.advance(30, record_every=4)
        pieces = []
        for steps in (1, 0, 3, 17, 9):
            assert parts.advance(steps, record_every=4) == RUNNING
            pieces.append(parts.take_history())
        np.testing.assert_array_equal(parts.params, whole.params)
        np.testing.assert_array_equal(np.concatenate(pieces), whole.take_history())


@pytest.mark.parametrize("threads", [1, 2])
@each_rule
def test_restore_replays_the_same_bits(kernels, name, threads):
    case, rule = for_rule(name, n=1501, d=40), RULES[name]
    with kernels.loop.TrainingLoop(*case, rule, threads) as loop:
        loop.advance(13)
        snapshot, params_then = loop.snapshot(), loop.params
        loop.advance(20, record_every=1)
        params, history = loop.params, loop.take_history()
        for _ in range(2):  # a snapshot can be used again
            loop.restore(snapshot)
            assert loop.step == 13
            np.testing.assert_array_equal(loop.params, params_then)
            loop.advance(20, record_every=1)
            assert loop.step == 33
            np.testing.assert_array_equal(loop.params, params)
            np.testing.assert_array_equal(loop.take_history(), history)


# Recording and stop rules -----------------------------------------------------------------------


def test_record_every(kernels, plain):
    case = problem()
    rows, _ = written_out(plain, case, PLAIN, 30)
    with kernels.loop.TrainingLoop(*case, PLAIN) as loop:
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
    with kernels.loop.TrainingLoop(*case, PLAIN) as loop:
        np.testing.assert_allclose(loop.evaluate(), rows[0], rtol=1e-12)
        np.testing.assert_array_equal(loop.params, case.params)
        assert loop.step == 0
        loop.advance(5)
        np.testing.assert_allclose(loop.evaluate(), rows[5], rtol=1e-12)
        assert loop.take_history().shape == (0, 4)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("gram", [False, True], ids=["direct", "gram"])
@pytest.mark.parametrize(
    ("column", "rule", "status"), [(1, "target", TARGET), (2, "tol", CONVERGED)], ids=["1", "2"]
)
def test_stops_at_the_first_iterate_that_fulfils(
    kernels, plain, column, rule, status, gram, threads
):
    case = problem(n=1501, p=2.0, hidden=(), gram=gram)
    rows, _ = written_out(plain, case, PLAIN, 60)
    bound = (rows[40, column] + rows[41, column]) / 2  # both columns fall at depth 1
    _, params = written_out(plain, case, PLAIN, 41)
    with kernels.loop.TrainingLoop(*case, PLAIN, threads) as loop:
        assert loop.advance(1000, record_every=1, **{rule: bound}) == status
        assert loop.step == 41
        np.testing.assert_allclose(loop.params, params, rtol=1e-11, atol=1e-12)
        np.testing.assert_array_equal(loop.take_history()[:, 0], np.arange(42))
        assert loop.advance(1000, **{rule: bound}) == status  # and stays there
        assert loop.step == 41


def test_bounds_are_inclusive_and_gradient_comes_first(kernels):
    case = problem()
    with kernels.loop.TrainingLoop(*case, PLAIN) as loop:
        _, value, norm, _ = loop.evaluate()
        assert loop.advance(1, tol=norm, target=value) == CONVERGED
        assert loop.advance(1, target=value) == TARGET
        assert loop.step == 0
        assert loop.advance(1, tol=0.999 * norm, target=0.999 * value) == RUNNING


def test_zero_tolerance_never_stops(kernels):
    case = problem()
    case = case._replace(Y=np.zeros_like(case.Y), params=np.zeros_like(case.params))
    with kernels.loop.TrainingLoop(*case, PLAIN) as loop:
        assert loop.advance(5, record_every=1) == RUNNING
        np.testing.assert_array_equal(loop.take_history()[:, 1:], np.zeros((5, 3)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 3])
def test_divergence(kernels, threads, dtype):
    case = problem(n=1501, hidden=(3,), dtype=dtype)
    rule = Rule(GRADIENT_DESCENT, (2.0, 0.0, 0.0, 0.0, 0.0))
    with kernels.loop.TrainingLoop(*case, rule, threads) as loop:
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
            with kernels.loop.TrainingLoop(*case, rule) as loop:
                assert loop.advance(10_000) == DIVERGED
                steps.append(loop.step)
        assert steps[0] == steps[1]


@pytest.mark.parametrize(
    ("x", "w", "p"),
    [(1e-90, 1e168, 4.0), (1e200, 1e-50, 2.0), (1.0, math.nan, 2.0), (math.inf, 0.0, 4.0)],
    ids=["loss overflows", "gradient overflows", "weight is nan", "data are inf"],
)
@pytest.mark.parametrize("k", [1, 2])
def test_either_not_finite_is_divergence(kernels, k, x, w, p):
    X, Y = np.full((3, 1), x), np.zeros((3, k))
    with kernels.loop.TrainingLoop(X, Y, Loss(p), (1, k), np.full(k, w), PLAIN) as loop:
        assert loop.advance(5, record_every=1, target=math.inf) == DIVERGED
        assert loop.step == 0
        assert loop.take_history().shape == (0, 4)
        np.testing.assert_array_equal(loop.params, np.full(k, w))


@pytest.mark.parametrize("threads", [1, 3])
def test_stop_from_another_thread(kernels, threads):
    case = problem(n=1501)
    with kernels.loop.TrainingLoop(*case, PLAIN, threads) as loop, ThreadPoolExecutor(1) as pool:
        future = pool.submit(loop.advance, 10**9)
        time.sleep(0.1)
        asked = time.perf_counter()
        loop.stop()
        assert future.result(timeout=30) == STOPPED
        assert time.perf_counter() - asked < 5.0
        stopped_at, params = loop.step, loop.params
        assert 0 < stopped_at < 10**9
        assert loop.advance(3) == RUNNING  # a request is good for one stop
        assert loop.step == stopped_at + 3
        assert not np.array_equal(loop.params, params)


# Where a run lives ------------------------------------------------------------------------------


def run(kernels, case, threads, results=None, key=None):
    with kernels.loop.TrainingLoop(*case, PLAIN, threads) as loop:
        assert loop.advance(40) == RUNNING
        params = loop.params
    if results is not None:
        results[key] = params
    return params


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_inside_other_threads(kernels, threads):
    cases = [problem(seed, n=1501, d=40, k=seed) for seed in (1, 2, 3)]
    results = {}
    workers = [
        threading.Thread(target=run, args=(kernels, case, threads, results, i), daemon=True)
        for i, case in enumerate(cases)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
        assert not worker.is_alive()
    for i, case in enumerate(cases):
        np.testing.assert_array_equal(results[i], run(kernels, case, threads))


# From Python 3.12 on, forking a process that has threads warns; that it works is the point here.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_inside_a_forked_process(kernels, threads):
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no fork on this system")
    context = multiprocessing.get_context("fork")
    case = problem(n=1501, d=40)
    with kernels.loop.TrainingLoop(*case, PLAIN, threads) as loop:  # a live team in the parent
        loop.advance(20)
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=lambda: sender.send(run(kernels, case, threads)))
        child.start()
        try:
            assert receiver.poll(30), "the forked run did not finish"
            from_child = receiver.recv()
            child.join(timeout=30)
            assert child.exitcode == 0
        finally:
            child.kill()
            child.join()
        loop.advance(20)  # the parent goes on undisturbed
        np.testing.assert_array_equal(loop.params, from_child)


@pytest.mark.parametrize("threads", [1, 3])
def test_owns_its_parameters_and_closes_twice(kernels, threads):
    case = problem(n=1501)
    before = case.params.copy()
    loop = kernels.loop.TrainingLoop(*case, PLAIN, threads)
    handed_out = loop.params
    handed_out[:] = math.nan
    loop.advance(3)
    assert np.all(np.isfinite(loop.params))
    np.testing.assert_array_equal(case.params, before)
    loop.close()
    loop.close()


def test_threads_end_with_their_loops(kernels):
    case = problem(n=2565, d=128)
    run(kernels, case, 3)
    alive = threading.active_count()
    for _ in range(5):
        run(kernels, case, 3)
    assert threading.active_count() <= alive
