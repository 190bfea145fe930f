"""Ctrl-C, threads and forked processes."""

import contextlib
import multiprocessing
import os
import signal
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import accel
from accel import train
from accel._runs.worker import Work

from ...children import python, started
from ..problems import BACKENDS, PROBLEM, Scripted, make_problem, start

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def os_threads():
    """Return the number of threads of this process, once ended ones are gone."""
    counts = []
    for _ in range(30):  # the system reports a thread for some time after Python has joined it
        counts.append(len(os.listdir("/proc/self/task")))
        time.sleep(0.01)
    return min(counts)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc")
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_thread_is_left_behind(backend):
    def run():
        train(PROBLEM, start(), accel.Adam(), 2000, backend=backend, threads=2, progress=True)

    run()  # libraries may start their own pools at the first run
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
    assert took < 2  # a chunk lasts a tenth of a second
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


COMPILE = """
    import contextlib, os, time, threading
    import numpy as np
    import accel
    import accel.kernels.cpu.loop
    with contextlib.suppress(ImportError):
        import scipy.linalg  # Numba imports it to compile, and its BLAS starts a thread

    def threads():
        return threading.active_count(), len(os.listdir("/proc/self/task"))

    rng = np.random.default_rng(0)
    problem = accel.LpProblem(rng.standard_normal((2000, 64)), rng.standard_normal(2000))
    network = accel.LinearNetwork.for_problem(problem)
    before = threads()
    print("ready", flush=True)
    try:
        accel.train(problem, network, accel.Adam(), 10, backend="cpu", threads=2)
    except KeyboardInterrupt:
        print(time.process_time(), flush=True)
    time.sleep(0.1)
    print(threads() == before, flush=True)
    near = problem.loss(np.zeros(64)), problem.loss(np.zeros(64), backend="reference")
    np.testing.assert_allclose(*near)
    print(accel.train(problem, network, accel.Adam(), 10, backend="reference").status)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc")
def test_ctrl_c_while_the_kernels_are_compiled(tmp_path):
    """In a run with a team of threads, the request to stop must reach the one that compiles."""
    with started(sys.executable, "-c", textwrap.dedent(COMPILE),
                 NUMBA_CACHE_DIR=str(tmp_path), ACCEL_CACHE="1") as process:  # fmt: skip
        assert process.stdout.line() == "ready\n"
        time.sleep(2)
        used = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        process.send_signal(signal.SIGINT)
        answered = float(process.stdout.line())
        assert process.stdout.rest().split() == ["True", "completed"]
        assert process.wait() == 0
    # CPU time, since others may use the machine; compiling everything would take eight seconds.
    assert answered - sum(map(int, used)) / os.sysconf("SC_CLK_TCK") < 4
    assert list(tmp_path.rglob("*.nbc"))  # what was compiled afterwards


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
    with started(sys.executable, "-c", code) as process:
        assert process.stdout.line() == "ready\n"
        time.sleep(0.5)
        sent = time.time()
        process.send_signal(signal.SIGINT)
        answered, status, steps, threads = process.stdout.line().split()
        assert process.wait() == 0
    assert float(answered) - sent < 2
    assert (status, threads) == ("interrupted", "1")
    assert 0 < int(steps) < 10**9


def expected_params(backend):
    return train(PROBLEM, start(), accel.Adam(), 300, backend=backend).network.params


def teams_params():
    """The parameters after a run that is large enough for two threads."""
    problem = make_problem(n=2000, d=64)
    result = train(problem, start(problem), accel.Adam(), 300, backend="cpu", threads=2)
    assert result.threads == 2
    return result.network.params


@pytest.mark.parametrize(
    "params", [teams_params, *(partial(expected_params, backend) for backend in BACKENDS)]
)
def test_eight_at_once(params):
    expected, results = params(), []
    threads = [threading.Thread(target=lambda: results.append(params())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 8
    for own in results:
        np.testing.assert_array_equal(own, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("backend", BACKENDS)
def test_in_a_forked_child(backend):
    expected = expected_params(backend)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        result = pool.apply_async(expected_params, (backend,)).get(60)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_train_inside_a_callback(backend):
    inner = []

    def callback(step, loss):
        inner.append(expected_params(backend))
        return True

    train(PROBLEM, start(), accel.Adam(), 5, backend=backend, callback=callback)
    np.testing.assert_array_equal(inner[0], expected_params(backend))


def test_an_interrupt_anywhere_in_a_wait_leaves_the_worker_alone():
    """Whenever a second Ctrl-C comes, no lock stays held that the worker would wait for."""
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


PROCESSES = """
    import multiprocessing, sys
    import numpy as np
    import accel

    def params(seed):
        rng = np.random.default_rng(seed)
        problem = accel.LpProblem(rng.standard_normal((2000, 64)), rng.standard_normal(2000))
        network = accel.LinearNetwork.for_problem(problem)
        return accel.train(
            problem, network, accel.Adam(), 300, backend="cpu", threads=2
        ).network.params

    if __name__ == "__main__":
        expected = [params(seed) for seed in (0, 1)]
        for method in sys.argv[1:]:
            with multiprocessing.get_context(method).Pool(2) as pool:
                result = pool.map_async(params, (0, 1)).get(60)
            np.testing.assert_array_equal(result, expected)
            print(method)
"""


@pytest.mark.slow
def test_every_way_to_start_a_process_after_a_run(tmp_path):
    """Two child processes compete for the CPUs; a spawned one loads kernels from the disk."""
    methods = multiprocessing.get_all_start_methods()
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(PROCESSES))
    assert python(script, *methods).stdout.split() == methods


NESTED = """
    import os
    import numpy as np
    import accel
    from joblib import Parallel, delayed

    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2000, 64)), rng.standard_normal(2000)

    def run(threads):
        problem = accel.LpProblem(X, y)
        network = accel.LinearNetwork.for_problem(problem)
        result = accel.train(problem, network, accel.Adam(), 300, backend="cpu", threads=threads)
        return result.threads, result.network.params

    expected = run(2)[1]
    for prefer in ("processes", "threads"):
        results = Parallel(n_jobs=2, prefer=prefer)(delayed(run)(2) for _ in range(4))
        for _, params in results:
            np.testing.assert_array_equal(params, expected)
    (own,) = set(Parallel(n_jobs=2)(delayed(lambda: run(None)[0])() for _ in range(2)))
    print(own, max(1, (os.cpu_count() or 1) // 2))
"""


@pytest.mark.slow
def test_in_workers_of_joblib():
    """By default each takes its share of the CPUs; as many threads give the same bits."""
    pytest.importorskip("joblib")
    default = dict.fromkeys(("ACCEL_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"))
    done = python("-c", textwrap.dedent(NESTED), **default)
    used, share = map(int, done.stdout.split())
    assert used <= share
