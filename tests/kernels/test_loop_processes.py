"""Where a run lives: in other threads, in forked processes, and what is left of it."""

import math
import multiprocessing
import threading

import numpy as np
import pytest

from accel.kernels.specs import RUNNING

from .runs import PLAIN, Single, problem


def run(kernels, case, threads, results=None, key=None):
    with Single(kernels.loop, *case, PLAIN, threads) as loop:
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
    if kernels.backend == "cuda":
        pytest.skip("a context of CUDA does not outlive a fork: NVIDIA's driver refuses the child")
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no fork on this system")
    context = multiprocessing.get_context("fork")
    case = problem(n=1501, d=40)
    with Single(kernels.loop, *case, PLAIN, threads) as loop:  # a live team in the parent
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
    loop = Single(kernels.loop, *case, PLAIN, threads)
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
