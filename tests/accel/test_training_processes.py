"""Ctrl-C, threads and forked processes."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import accel
from accel import train
from accel.work import Work

from .runs import BACKENDS, PROBLEM, Scripted, start

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def os_threads():
    """Threads that the system counts, once those that have ended are really gone."""
    counts = []
    for _ in range(30):  # Python learns of a thread's end before the system does
        counts.append(len(os.listdir("/proc/self/task")))
        time.sleep(0.01)
    return min(counts)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc")
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_thread_is_left_behind(backend):
    def run():
        train(PROBLEM, start(), accel.Adam(), 2000, backend=backend, threads=2, progress=True)

    run()  # libraries may start pools of their own, once
    before = os_threads()
    for _ in range(3):
        run()
    assert threading.active_count() == 1
    assert os_threads() == before


@contextlib.contextmanager
def later(*calls):
    """Call each function after its delay, unless the block has ended by then."""
    timers = [threading.Timer(delay, function) for delay, function in calls]
    for timer in timers:
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
            timer.join()


def kill():
    os.kill(os.getpid(), signal.SIGINT)


def raise_signal():
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("send", [raise_signal, kill])
def test_ctrl_c(backend, send):
    train(PROBLEM, start(), accel.Adam(), 1, backend=backend)  # compiled
    sent = []

    def interrupt():
        sent.append(time.perf_counter())
        send()

    with later((0.4, interrupt)):
        result = train(PROBLEM, start(), accel.Adam(), 10**9, backend=backend)
        took = time.perf_counter() - sent[0]
    assert took < 0.2
    assert result.status == "interrupted"
    assert 0 < result.steps < 10**9
    assert result.history.step[-1] == result.steps
    again = train(PROBLEM, start(), accel.Adam(), result.steps, backend=backend)
    np.testing.assert_array_equal(again.network.params, result.network.params)


def test_a_second_ctrl_c_does_not_lose_the_result(scripted):
    class Slow(Scripted):
        def evaluate(self):
            time.sleep(0.5)
            return super().evaluate()

    with later((0.2, kill), (0.4, kill)):
        result = scripted(Slow([1.0], pause=0.01), 10**6)
    assert result.status == "interrupted"
    assert result.history.step[-1] == result.steps


CTRL_C = """
    import sys, time, threading
    import numpy as np
    import accel

    rng = np.random.default_rng(0)
    problem = accel.LpProblem(rng.standard_normal((200, 10)), rng.standard_normal(200))
    network = accel.LinearNetwork.for_problem(problem)
    accel.train(problem, network, accel.Adam(), 1, backend={backend!r})
    print("ready", flush=True)
    result = accel.train(problem, network, accel.Adam(), 10**9, backend={backend!r})
    print(time.time(), result.status, result.steps, threading.active_count(), flush=True)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_ctrl_c_from_outside(backend):
    code = textwrap.dedent(CTRL_C).format(backend=backend)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        sent = time.time()
        process.send_signal(signal.SIGINT)
        answered, status, steps, threads = process.stdout.readline().split()
    assert float(answered) - sent < 0.2
    assert (status, threads) == ("interrupted", "1")
    assert 0 < int(steps) < 10**9
    assert process.returncode == 0


def expected_params(backend):
    return train(PROBLEM, start(), accel.Adam(), 300, backend=backend).network.params


@pytest.mark.parametrize("backend", BACKENDS)
def test_in_other_threads(backend):
    expected, found = expected_params(backend), []
    threads = [
        threading.Thread(target=lambda: found.append(expected_params(backend))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 3
    for params in found:
        np.testing.assert_array_equal(params, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("backend", BACKENDS)
def test_in_a_forked_child(backend):
    expected = expected_params(backend)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply_async(expected_params, (backend,)).get(60)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_train_inside_a_callback(backend):
    inner = []

    def callback(step, loss):
        inner.append(expected_params(backend))
        return True

    train(PROBLEM, start(), accel.Adam(), 5, backend=backend, callback=callback)
    np.testing.assert_array_equal(inner[0], expected_params(backend))


def test_an_interrupt_anywhere_in_a_wait_leaves_the_worker_alone():
    """Wherever a second Ctrl-C comes, no lock stays held that the worker would wait for."""
    for line in range(1, 40):
        events = iter(range(1, 1000))

        def interrupt(frame, event, argument, line=line, events=events):
            if event in ("line", "return") and next(events) == line:
                sys.settrace(None)
                raise KeyboardInterrupt
            return interrupt

        with ThreadPoolExecutor(1) as pool:
            work, later = Work(pool, lambda: time.sleep(0.07) or 3), threading.Event()
            try:
                sys.settrace(interrupt)
                work.result()
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(None)
            pool.submit(later.set)
            assert later.wait(10)
            assert work.result() == 3
