"""Ranks that have models to themselves: each model must fare as if it were alone, at any time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from accel.kernels.cpu import epilogue, loop
from accel.kernels.cpu.epilogue import ACTIVE, HEEDING, STEP, STOP_AT
from accel.kernels.cpu.ranks import Shares, Team
from accel.kernels.specs import CONVERGED, DIVERGED, RUNNING, TARGET, ModelSpec

from .runs import DTYPES, RULES, Single
from .test_loop_models import descent, grid, mixed, problem

#: For one pass a model, for one pass for all, from Gram matrices, for diagonal data, and for many
#: outputs.
SHAPES = {
    "singly": {},
    "joint": {"k": 3},
    "gram": {"p": 2.0, "form": "gram", "k": 2},
    "diagonal": {"form": "diagonal"},
    "wide": {"k": 21, "n": 60},
}
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


@pytest.fixture(autouse=True)
def three_cpus(monkeypatch):
    """Three ranks, wherever the test runs."""
    monkeypatch.setattr(loop, "cpus", lambda: 3)


def numbers(run, models):
    """All that a run has come to."""
    return run.statuses, run.steps, run.evaluate(), *(run.params(m) for m in range(models))


def assert_equal(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("shape", "threads", "kind"),
    [
        ({"n": 2, "d": 2}, 1, "singly"),
        ({"n": 203, "d": 17}, 2, "singly"),
        ({"n": 203, "d": 17, "k": 2}, 2, "joint"),
        ({"n": 64, "d": 33}, 2, "joint"),
        ({"n": 3000, "d": 128}, 1, "joint"),
        ({"n": 3000, "d": 128}, 2, "team"),
        ({"n": 3000, "d": 128, "p": 2.0, "form": "gram"}, 2, "singly"),
        ({"n": 3000, "d": 128, "k": 2, "p": 2.0, "form": "gram"}, 2, "grouped"),
        ({"d": 128, "form": "diagonal"}, 2, "singly"),
        ({"d": 100, "k": 100, "n": 100}, 2, "wide team"),
        ({"d": 100, "k": 100, "form": "diagonal"}, 2, "wide team"),
        ({"d": 20, "k": 20, "n": 20}, 2, "wide"),
        ({"d": 20, "k": 20, "n": 600}, 1, "wide"),
    ],
)
def test_who_does_what(shape, threads, kind):
    case = problem(hidden=(), **shape)
    with Single(loop, *case, RULES["gradient descent"], threads) as run:
        ranks = run.loop._ranks
        assert isinstance(ranks, Team if kind.endswith("team") else Shares)
        if kind.startswith("wide"):
            assert run.loop._wide
        else:
            name = "advance" if kind == "team" else f"make_{kind}"
            assert name in ranks.kernel.py_func.__qualname__


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "d"), [(1, 1), (2, 2), (9, 1), (15, 10), (17, 32), (442, 10)])
def test_small_shapes_agree_with_plain_numpy(plain, n, d, dtype):
    X, Y, loss, models = mixed(n=n, d=d, dtype=dtype)
    results = []
    for module in (loop, plain.loop):
        with module.TrainingLoop(X, Y, loss, models, 3) as run:
            run.advance(12, record_every=5)
            results.append((run.evaluate(), *run.take_history()))
    tolerance = 1e-4 if dtype == np.float32 else 1e-10
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@each_shape
@pytest.mark.parametrize("threads", [2, 3])
def test_every_way_to_end(shape, threads):
    """Models that end in different shares, at different steps, recorded or not."""
    case = problem(hidden=(3,), **shape)
    X, Y, loss, widths, params = case
    rates = (1e-4, 20.0, 0.02, 3e-3, 30.0, 1e-3, 0.01)
    models = [ModelSpec(widths, params, descent(rate)) for rate in rates]
    with loop.TrainingLoop(X, Y, loss, models, threads) as run:
        _, first, slope, _ = run.evaluate()[0]
    seen = set()
    for stops in ({"target": 0.6 * first}, {"tol": 0.5 * slope}, {"target": 2 * first}):
        alone = []
        for model in models:
            with Single(loop, X, Y, loss, *model[:3]) as single:
                single.advance(150, record_every=4, **stops)
                alone.append((single.take_history(), *numbers(single.loop, 1)))
        with loop.TrainingLoop(X, Y, loss, models, threads) as run:
            for steps in (1, 2, 30, 117):
                run.advance(steps, record_every=4, **stops)
            steps, rows = run.take_history()
            together = numbers(run, len(models))
            seen |= set(run.statuses.tolist())
            left = [m for m in range(len(models)) if run.statuses[m] == RUNNING]
            np.testing.assert_array_equal(run.active, left)
            assert run.step == max(run.steps[left] if left else run.steps)
        for m, (history, *single) in enumerate(alone):
            recorded = ~np.isnan(rows[:, m, 0])
            np.testing.assert_array_equal(history[:, 0], steps[recorded])
            np.testing.assert_array_equal(history[:, 1:], rows[recorded, m])
            mine = (*(array[m : m + 1] for array in together[:3]), together[3 + m])
            assert_equal(mine, single)
    assert seen == {RUNNING, CONVERGED, TARGET, DIVERGED}


@each_shape
def test_a_snapshot_repeats_itself_in_other_shares(shape):
    X, Y, loss, models = mixed(**shape)
    ends = []
    for threads in (1, 2, 3):
        with loop.TrainingLoop(X, Y, loss, models, threads) as run:
            run.advance(7)
            then = run.snapshot()
            run.advance(9)
            ends.append(numbers(run, len(models)))
            run.restore(then)
            run.advance(4)
            run.advance(5)
            ends.append(numbers(run, len(models)))
            run.restore(then, [5, 2, 9])
            np.testing.assert_array_equal(run.active, [5, 2, 9])
            run.advance(9)
            ends.append(numbers(run, len(models)))
    for end in ends[1:]:
        assert_equal(end, ends[0])


def uneven(run, steps):
    """Let every rank stop as if at a request, after so many steps as stand at its place."""
    kernel, scratches = run._ranks.kernel, [id(s) for s in run._ranks._scratch]

    def stopping(data, shared, scratch, *more):
        rank, progress = scratches.index(id(scratch)), shared.progress
        if progress[HEEDING] and progress is not run._run.progress:
            progress[STOP_AT] = min(progress[STOP_AT], progress[STEP] + steps[rank])
        kernel(data, shared, scratch, *more)

    run._ranks.kernel = stopping
    return kernel


@each_shape
def test_ranks_at_different_steps_catch_up(shape):
    X, Y, loss, models = grid(**shape)
    with (
        loop.TrainingLoop(X, Y, loss, models, 3) as run,
        loop.TrainingLoop(X, Y, loss, models, 1) as straight,
    ):
        kernel = uneven(run, (3, 11, 5))
        run.advance(40, record_every=2)
        assert run.step == 11
        run._ranks.kernel = kernel
        run.advance(9, record_every=2)
        straight.advance(20, record_every=2)
        assert_equal(numbers(run, 5), numbers(straight, 5))
        assert_equal(run.take_history(), straight.take_history())


@each_shape
@pytest.mark.parametrize("where", ["calling thread", "worker"])
def test_an_error_in_one_rank_ends_the_others(shape, where):
    X, Y, loss, models = grid(**shape)
    models = [ModelSpec(m.widths, m.params, descent(1e-4)) for m in models]
    with (
        loop.TrainingLoop(X, Y, loss, models, 3) as run,
        loop.TrainingLoop(X, Y, loss, models, 1) as straight,
    ):
        kernel, own, failed = run._ranks.kernel, threading.get_ident(), []

        def broken(*arguments):
            if not failed and (threading.get_ident() == own) == (where == "calling thread"):
                failed.append(True)
                time.sleep(0.05)
                raise MemoryError("no more")
            kernel(*arguments)

        run._ranks.kernel = broken
        with pytest.raises(MemoryError, match="no more"):
            run.advance(10**8)
        assert 0 < run.step < 10**8
        straight.advance(run.step)
        assert_equal(numbers(run, 5), numbers(straight, 5))
        run.advance(10)  # the error has asked for no other stop
        straight.advance(10)
        assert_equal(numbers(run, 5), numbers(straight, 5))


@each_shape
def test_stop_from_another_thread_leaves_all_at_one_step(shape):
    X, Y, loss, models = mixed(**shape)
    models = [ModelSpec(m.widths, m.params, descent(1e-5)) for m in models if len(m.widths) < 4]
    with loop.TrainingLoop(X, Y, loss, models, 3) as run, ThreadPoolExecutor(1) as pool:
        future = pool.submit(run.advance, 10**9)
        time.sleep(0.1)
        asked = time.perf_counter()
        run.stop()
        future.result(timeout=30)
        assert time.perf_counter() - asked < 5
        assert 0 < run.step < 10**9
        assert (run.steps == run.step).all()
        run.advance(3)  # a request is good for one stop
        assert (run.steps == run.step).all()


def test_with_a_request_pending_a_call_makes_one_step():
    X, Y, loss, models = grid()
    with loop.TrainingLoop(X, Y, loss, models[:1], 1) as run:
        run.stop()
        run.advance(100)
        assert run.step == 1
        run.advance(100)
        assert run.step == 101


def test_a_rank_without_models_is_not_called():
    X, Y, loss, models = grid()
    with loop.TrainingLoop(X, Y, loss, models, 3) as run:
        kernel, counts = run._ranks.kernel, []

        def noted(data, shared, scratch):
            counts.append(int(shared.progress[ACTIVE]))
            kernel(data, shared, scratch)

        run._ranks.kernel = noted
        run.advance(5)
        assert sorted(counts) == [1, 2, 2]
        run.restore(run.snapshot(), [1, 4])
        counts.clear()
        run.advance(5)
        assert counts == [1, 1]
        run.restore(run.snapshot(), [4])
        counts.clear()
        run.advance(5)
        assert counts == [1]


def test_a_scratch_is_of_one_rank_only():
    X, Y, loss, models = grid(k=3)
    with loop.TrainingLoop(X, Y, loss, models, 3) as run:
        first, second, _ = run._ranks._scratch
        for ours, theirs in zip(first, second, strict=True):
            assert isinstance(first, epilogue.Scratch)
            assert not np.shares_memory(ours, theirs)
