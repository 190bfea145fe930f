"""Whole runs, against the same run written out with the plain NumPy kernels."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accel.kernels.specs import GRADIENT_DESCENT, RUNNING, Rule

from .runs import (
    DTYPES,
    HIDDEN,
    PLAIN,
    RULES,
    Single,
    assert_same_run,
    each_rule,
    for_rule,
    problem,
    written_out,
)

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
    with Single(kernels.loop, *case, rule) as loop:
        assert_same_run(plain, loop, case, rule, 20 if dtype == np.float32 else 60)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_every_power(kernels, plain, p, k):
    case = problem(p=p, k=k, factor=1 / p, hidden=(4, 6))
    with Single(kernels.loop, *case, PLAIN) as loop:
        assert_same_run(plain, loop, case, PLAIN, 50)


@each_rule
def test_weight_decay(kernels, plain, name):
    kind, (rate, _, *rest), _ = RULES[name]
    rule = Rule(kind, (rate, 0.1, *rest))
    case = for_rule(name, k=2)
    with Single(kernels.loop, *case, rule) as loop:
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
    if kernels.backend == "cuda":
        d = (1, 17, 128, 300)[d % 4]  # a kernel is compiled for every d
    case = problem(seed, n, d, hidden, k, p, dtype=dtype)
    rule = Rule(GRADIENT_DESCENT, (1e-3, 0.0, 0.0, 0.0, 0.0))
    placed = case._replace(X=lay_out(case.X, layout), Y=lay_out(case.Y, layout))
    before = [a.copy() for a in (placed.X, placed.Y, placed.params)]
    with np.errstate(over="ignore", invalid="ignore"):
        rows, params = written_out(plain, case, rule, 4)
    assume(np.isfinite(rows).all())  # deep and narrow networks may diverge in four steps
    with Single(kernels.loop, *placed, rule, threads) as loop:
        assert loop.advance(4, record_every=3) == RUNNING
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
    case = problem(p=2.0, form="gram", k=k, factor=0.5)
    data = case._replace(X=case.X.copy(), Y=case.Y.copy())
    with Single(kernels.loop, *data, PLAIN, threads) as loop:
        data.X[:] = data.Y[:] = math.nan  # they are not read again
        assert_same_run(plain, loop, case, PLAIN, 300)


def test_float32_records_a_float64_loss(kernels):
    case = problem(n=3001, dtype=np.float32)
    with Single(kernels.loop, *case, PLAIN) as loop:
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
        with Single(kernels.loop, *case, PLAIN, threads=threads) as loop:
            if kernels.backend == "cpu":
                assert loop.threads == threads  # large enough to be split
            assert_same_run(plain, loop, case, PLAIN, 25)
            runs.append(loop.params)
    np.testing.assert_array_equal(*runs)


@pytest.mark.parametrize("threads", [1, 2, 3])
@each_rule
def test_chunks_do_not_show(kernels, name, threads):
    case, rule = for_rule(name, n=1501, d=40, k=2), RULES[name]
    with (
        Single(kernels.loop, *case, rule, threads) as whole,
        Single(kernels.loop, *case, rule, threads) as parts,
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
    with Single(kernels.loop, *case, rule, threads) as loop:
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


@each_rule
def test_a_rate_may_change_on_the_way(kernels, name):
    """From there it is the run that has always had that rate; the rule keeps its memory."""
    case, rule = for_rule(name, k=2), RULES[name]
    rate, *rest = rule.hyper
    with (
        Single(kernels.loop, *case, rule) as loop,
        Single(kernels.loop, *case, rule._replace(hyper=(2 * rate, *rest))) as other,
    ):
        loop.advance(7)
        other.restore(loop.snapshot())
        loop.set_rate(0, 2 * rate)
        loop.advance(9, record_every=1)
        other.advance(9, record_every=1)
        np.testing.assert_array_equal(loop.params, other.params)
        np.testing.assert_array_equal(loop.take_history(), other.take_history())
        loop.set_rate(0, 0.0)
        loop.advance(1)
        np.testing.assert_array_equal(loop.params, other.params)
