import contextlib
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import numpy as np
import pytest

import accel
from accel import LinearNetwork, LpProblem, backends, train, training
from accel.kernels import specs

BACKENDS = ["reference", "cpu"]
OPTIMIZERS = [
    accel.GradientDescent(0.02),
    accel.Momentum(0.005),
    accel.Nesterov(0.005),
    accel.AdaGrad(0.1),
    accel.AdaDelta(1.0),
    accel.RMSProp(0.003),
    accel.Adam(0.01),
    accel.EndToEnd(0.02, 2),
]
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def make_problem(n=40, d=4, k=1, p=4, dtype="f8", **arguments):
    rng = np.random.default_rng(1)
    X, W = rng.standard_normal((n, d)), rng.standard_normal((k, d))
    Y = X @ W.T + 0.1 * rng.standard_normal((n, k))
    return LpProblem(X, Y, p=p, dtype=dtype, **arguments)


PROBLEM = make_problem()


def start(problem=PROBLEM, depth=2, **arguments):
    arguments = {"width": 3, "init": "orthogonal", "scale": 0.5, **arguments}
    return LinearNetwork.for_problem(problem, depth, **arguments)


class Scripted:
    """A loop whose losses are given by a list; the last of them goes on for ever."""

    def __init__(self, losses, pause=0.0, fail_at=None):
        self.losses, self.pause, self.fail_at = losses, pause, fail_at
        self.step, self.threads, self.calls = 0, 1, []
        self.closed, self.stopped, self.rows = False, False, []

    def __call__(self, X, Y, loss, widths, params, rule, threads):
        self._params, self.widths = params, widths
        return self

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.closed = True

    @property
    def params(self):
        return np.full_like(self._params, self.step)

    def _row(self):
        loss = self.losses[min(self.step, len(self.losses) - 1)]
        return np.array([self.step, loss, loss, self.step])

    def evaluate(self):
        self.calls.append(("evaluate", self.step))
        return self._row()

    def advance(self, steps, record_every=0, tol=0.0, target=-math.inf):
        self.calls.append(("advance", self.step, steps, record_every))
        for _ in range(steps):
            if self.pause:
                time.sleep(self.pause)
            row = self._row()
            if self.step == self.fail_at:
                raise RuntimeError("the kernel failed")
            if not np.isfinite(row[1]):
                return specs.DIVERGED
            if record_every and self.step % record_every == 0:
                self.rows.append(row)
            if tol > 0 and row[2] <= tol:
                return specs.CONVERGED
            if row[1] <= target:
                return specs.TARGET
            if self.stopped:
                self.stopped = False
                return specs.STOPPED
            self.step += 1
        return specs.RUNNING

    def take_history(self):
        rows, self.rows = self.rows, []
        return np.array(rows).reshape(-1, 4)

    def snapshot(self):
        return self.step

    def restore(self, snapshot):
        self.calls.append(("restore", snapshot))
        self.step = snapshot

    def stop(self):
        self.stopped = True


@pytest.fixture
def scripted(monkeypatch):
    """Train with a scripted loop in place of a kernel."""

    def run(loop, steps, **arguments):
        class Kernels:
            name = "scripted"

        Kernels.loop = type("Module", (), {"TrainingLoop": loop})
        monkeypatch.setattr(training, "resolve", lambda name: Kernels)
        return train(PROBLEM, start(), accel.GradientDescent(1.0), steps, **arguments)

    return run


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.name)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_every_optimizer_trains(backend, optimizer, dtype):
    problem = make_problem(dtype=dtype)
    network = start(problem, 1 if optimizer.name == "end-to-end" else 3)
    before = network.params.copy()
    result = train(problem, network, optimizer, 300, backend=backend, threads=1)
    assert result.status == "completed"
    assert result.steps == 300
    assert result.diverged_at is None
    assert result.loss < 0.3 * result.history.loss[0]
    assert result.dtype == result.network.dtype == np.dtype(dtype)
    assert result.network.widths == network.widths
    np.testing.assert_array_equal(network.params, before)
    assert not np.shares_memory(result.network.params, network.params)
    expected = problem.loss(result.network.end_to_end(), backend=backend)
    assert result.loss == pytest.approx(expected, rel=1e-12 if dtype == "f8" else 1e-4)
    assert (result.optimizer, result.p, result.scale) == (optimizer, 4, "mean")
    assert (result.backend, result.threads, result.method) == (backend, 1, "direct")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("k", "p", "depth", "scale"), [(1, 2, 2, "mean"), (3, 2, 3, "1/p"), (3, 3, 2, "mean")]
)
def test_other_losses(backend, k, p, depth, scale):
    problem = make_problem(k=k, p=p, scale=scale)
    result = train(
        problem, start(problem, depth), accel.GradientDescent(0.05), 400, backend=backend
    )
    assert result.method == ("gram" if p == 2 else "direct")
    assert result.scale == scale
    assert result.loss < 0.05 * result.history.loss[0]
    end = result.network.end_to_end()
    assert result.loss == pytest.approx(problem.loss(end, backend=backend), rel=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_plain_loop_in_numpy_gives_the_same(backend):
    network = start(depth=1)
    W, history = network.params.copy(), []
    for _ in range(51):
        r = PROBLEM.X @ W - PROBLEM.Y[:, 0]
        g = 4 * (r**3) @ PROBLEM.X / 40
        history.append([(r**4).mean(), np.linalg.norm(g), np.linalg.norm(W)])
        W = W - 0.02 * g
    result = train(PROBLEM, network, accel.GradientDescent(0.02), 50, backend=backend)
    h = result.history
    np.testing.assert_array_equal(h.step, np.arange(51))
    columns = np.column_stack([h.loss, h.gradient_norm, h.weight_norm])
    np.testing.assert_allclose(columns, history, rtol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_same_bits_whatever_the_chunks(backend, monkeypatch):
    def run():
        result = train(PROBLEM, start(), accel.Adam(0.01), 500, backend=backend, record_every=7)
        h = result.history
        return result.network.params, h.step, h.loss, h.gradient_norm, h.weight_norm

    first = run()
    monkeypatch.setattr(training, "_CHUNK_SECONDS", 1e-9)
    for a, b in zip(first, run(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("steps", "record_every", "expected"),
    [
        (10, 3, [0, 3, 6, 9, 10]),
        (9, 3, [0, 3, 6, 9]),
        (5, 100, [0, 5]),
        (1, 1, [0, 1]),
        (3, None, [0, 1, 2, 3]),
        (1500, None, [*range(0, 1500, 2), 1500]),
        (1000, 499, [0, 499, 998, 1000]),
    ],
)
def test_records(steps, record_every, expected):
    result = train(
        PROBLEM, start(), accel.Adam(), steps, record_every=record_every, backend="reference"
    )
    np.testing.assert_array_equal(result.history.step, expected)
    assert result.history.step.dtype == np.int64
    assert len(result.history) == len(expected)


def test_a_long_run_keeps_about_a_thousand_records(scripted):
    result = scripted(Scripted([1.0]), 12_345)
    assert 900 <= len(result.history) <= 1002


def test_seconds():
    began = time.perf_counter()
    result = train(PROBLEM, start(), accel.Adam(), 3000, backend="reference", record_every=10)
    elapsed = time.perf_counter() - began
    seconds = result.history.seconds
    assert seconds[0] == 0
    assert (np.diff(seconds) > 0).all()
    assert seconds[-1] == result.seconds
    assert 0.5 * elapsed < result.seconds < elapsed


def test_seconds_count_neither_compilation_nor_the_callback(scripted):
    class Slow(Scripted):
        def __call__(self, *arguments, **keywords):
            time.sleep(0.2)
            return super().__call__(*arguments, **keywords)

    result = scripted(Slow([1.0]), 30, callback=lambda step, loss: time.sleep(0.05))
    assert result.seconds < 0.05


def test_chunks_last_a_tenth_of_a_second(scripted):
    loop = Scripted([1.0], pause=0.002)
    scripted(loop, 200)
    sizes = [call[2] for call in loop.calls if call[0] == "advance"]
    assert sizes[0] == 1
    assert sum(sizes) == 200
    assert all(30 <= size <= 50 for size in sizes[2:-1])


def test_a_slow_problem_gets_one_step_a_chunk(scripted):
    loop = Scripted([1.0], pause=0.11)
    seen = []
    scripted(loop, 4, record_every=2, callback=lambda step, loss: seen.append(step))
    assert [call[2:] for call in loop.calls if call[0] == "advance"] == [(1, 1)] * 4
    # Every loss came from the pass of its step; only the last iterate took a pass of its own.
    assert [call for call in loop.calls if call[0] == "evaluate"] == [("evaluate", 4)]
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize("backend", BACKENDS)
def test_target(backend):
    full = train(PROBLEM, start(), accel.Adam(0.01), 400, backend=backend)
    goal = 0.5 * full.history.loss[0]
    first = int(np.argmax(full.history.loss <= goal))
    result = train(PROBLEM, start(), accel.Adam(0.01), 400, target=goal, backend=backend)
    assert (result.status, result.steps) == ("target", first)
    assert result.loss <= goal
    assert result.history.step[-1] == first
    # Reached by the very last update, which no step looks at any more.
    last = train(PROBLEM, start(), accel.Adam(0.01), first, target=goal, backend=backend)
    assert (last.status, last.steps) == ("target", first)
    assert train(PROBLEM, start(), accel.Adam(), 9, target=1e9, backend=backend).steps == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_tol(backend):
    full = train(PROBLEM, start(), accel.Adam(0.01), 400, backend=backend)
    goal = 0.5 * full.history.gradient_norm[0]
    first = int(np.argmax(full.history.gradient_norm <= goal))
    for steps in (400, first):
        result = train(PROBLEM, start(), accel.Adam(0.01), steps, tol=goal, backend=backend)
        assert (result.status, result.steps) == ("converged", first)
        assert result.history.gradient_norm[-1] <= goal


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_zero_gradient_is_no_convergence_unless_asked_for(backend):
    """At the saddle W = 0 of a deep net every factor's gradient is 0: the run just stays there."""
    result = train(PROBLEM, start(init="near_zero", scale=0), accel.Adam(), 20, backend=backend)
    assert result.status == "completed"
    np.testing.assert_array_equal(result.network.params, 0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("chunk_seconds", [0.1, 1e-9])
@pytest.mark.parametrize("rate", [0.5, 0.1, 3.0])
def test_divergence(backend, chunk_seconds, rate, monkeypatch):
    monkeypatch.setattr(training, "_CHUNK_SECONDS", chunk_seconds)
    network = start(init="near_zero", scale=3.0)
    result = train(PROBLEM, network, accel.GradientDescent(rate), 1000, backend=backend)
    assert result.status == "diverged"
    assert result.diverged_at == result.steps + 1
    assert np.isfinite(result.network.params).all()
    assert np.isfinite(result.history.loss).all()
    assert result.history.step[-1] == result.steps
    assert (np.diff(result.history.step) > 0).all()
    # Exactly the iterate before the bad one.
    again = train(PROBLEM, network, accel.GradientDescent(rate), result.steps, backend=backend)
    np.testing.assert_array_equal(again.network.params, result.network.params)
    assert again.status == "completed"
    one_more = train(
        PROBLEM, network, accel.GradientDescent(rate), result.steps + 1, backend=backend
    )
    assert (one_more.status, one_more.diverged_at) == ("diverged", result.diverged_at)
    np.testing.assert_array_equal(one_more.network.params, result.network.params)


@pytest.mark.parametrize("at", [1, 2, 17, 18, 100, 272, 273, 274, 999, 1000])
def test_divergence_at_any_place_of_a_chunk(at, scripted):
    loop = Scripted([1.0] * at + [math.nan])
    result = scripted(loop, 1000, record_every=5)
    assert (result.status, result.diverged_at, result.steps) == ("diverged", at, at - 1)
    assert (result.network.params == at - 1).all()
    expected = sorted({*range(0, at, 5), at - 1})
    np.testing.assert_array_equal(result.history.step, expected)
    assert loop.closed


def test_divergence_at_the_start(scripted):
    calls = []
    loop = Scripted([math.inf])
    result = scripted(loop, 10, callback=lambda *arguments: calls.append(arguments))
    assert (result.status, result.diverged_at, result.steps) == ("diverged", 0, 0)
    np.testing.assert_array_equal(result.history.loss, [math.inf])
    assert calls == []


def test_divergence_with_a_stop_pending(scripted):
    """Ctrl-C may come just after the chunk that diverged."""
    loop = Scripted([1.0] * 100 + [math.nan])
    take_history = loop.take_history

    def take_and_stop():
        loop.stopped = loop.step == 100
        return take_history()

    loop.take_history = take_and_stop
    result = scripted(loop, 1000)
    assert (result.status, result.steps) == ("diverged", 99)


@pytest.mark.parametrize("backend", BACKENDS)
def test_callback(backend):
    calls = []
    result = train(
        PROBLEM, start(), accel.Adam(0.01), 2000, backend=backend, record_every=1,
        callback=lambda step, loss: calls.append((step, loss, threading.current_thread())),
    )  # fmt: skip
    steps, losses, threads = zip(*calls, strict=True)
    assert set(threads) == {threading.current_thread()}
    assert list(steps) == sorted(set(steps))
    np.testing.assert_array_equal(losses, result.history.loss[list(steps)])
    assert type(steps[0]) is int
    assert type(losses[0]) is float


def test_the_callback_sees_fresh_losses_between_records(scripted):
    loop = Scripted(np.linspace(2, 1, 10_001))
    calls = []
    scripted(
        loop, 10_000, record_every=9_000, callback=lambda step, loss: calls.append((step, loss))
    )
    assert len({step for step, _ in calls}) == len(calls) > 2
    assert all(loss == loop.losses[step] for step, loss in calls)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_callback_stops_the_run(backend):
    result = train(
        PROBLEM, start(), accel.Adam(), 10**9, backend=backend,
        callback=lambda step, loss: step >= 100,
    )  # fmt: skip
    assert result.status == "interrupted"
    assert 100 <= result.steps < 10**9
    assert result.history.step[-1] == result.steps
    one = train(PROBLEM, start(), accel.Adam(), 1, backend=backend, callback=lambda *_: True)
    assert one.status == "completed"


class OwnError(Exception):
    pass


@pytest.mark.parametrize("error", [OwnError, SystemExit])
def test_what_the_callback_raises_is_passed_on(error, scripted):
    def callback(step, loss):
        raise error("from the callback")

    loop = Scripted([1.0])
    with pytest.raises(error, match="from the callback"):
        scripted(loop, 100, callback=callback)
    assert loop.closed
    assert threading.active_count() == 1


def test_a_keyboard_interrupt_in_the_callback_is_one(scripted):
    def callback(step, loss):
        raise KeyboardInterrupt

    result = scripted(Scripted([1.0]), 100, callback=callback)
    assert (result.status, result.steps) == ("interrupted", 1)


@pytest.mark.parametrize("fail_at", [0, 50])
def test_what_a_kernel_raises_is_passed_on(fail_at, scripted):
    loop = Scripted([1.0], fail_at=fail_at)
    with pytest.raises(RuntimeError, match="the kernel failed"):
        scripted(loop, 100)
    assert loop.closed
    assert threading.active_count() == 1


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


def test_progress_lines(scripted, capfd, monkeypatch):
    monkeypatch.setattr("accel.progress._INTERVAL", 0.0)
    scripted(Scripted([0.25]), 50, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == "accel: step 50 of 50, loss 0.25"


def test_silence_by_default(scripted, capfd):
    scripted(Scripted([0.25]), 50)
    assert capfd.readouterr() == ("", "")


PROGRESS_BAR = """
    import threading, accel
    problem = accel.LpProblem([[1.0], [2.0]], [1.0, 3.0])
    network = accel.LinearNetwork.for_problem(problem)
    threads = []
    accel.train(problem, network, accel.Adam(), 3000, progress=True, backend="reference",
                callback=lambda step, loss: threads.append(threading.active_count()))
    print("threads", max(threads))
"""


def test_progress_bar():
    pytest.importorskip("rich")
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRESS_BAR)],
        stdout=subprocess.PIPE, stderr=theirs, text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )  # fmt: skip
    with process:
        out = process.stdout.read()
    os.close(theirs)
    err = os.read(ours, 100_000).decode()
    os.close(ours)
    assert out == "threads 2\n"  # ours and the worker: the bar has none, and stdout is left alone
    assert "3000/3000" in err
    assert "loss" in err


def test_a_word_while_compiling(scripted, capfd, monkeypatch):
    monkeypatch.setattr("accel.progress._PATIENCE", 0.05)

    class Slow(Scripted):
        def __call__(self, *arguments, **keywords):
            time.sleep(0.3)
            return super().__call__(*arguments, **keywords)

    scripted(Slow([1.0]), 5)
    assert "compiling kernels (first run only)" in capfd.readouterr().err
    assert threading.active_count() == 1


def test_threads_reach_the_kernels(scripted, monkeypatch):
    seen = []

    class Loop(Scripted):
        def __call__(self, *arguments, threads):
            seen.append(threads)
            return super().__call__(*arguments, threads=threads)

    monkeypatch.setattr(backends, "_cpus", lambda: 5)
    monkeypatch.delenv("ACCEL_NUM_THREADS", raising=False)
    scripted(Loop([1.0]), 2)
    scripted(Loop([1.0]), 2, threads=3)
    monkeypatch.setenv("ACCEL_NUM_THREADS", "4")
    scripted(Loop([1.0]), 2)
    assert seen == [5, 3, 4]


def network(*widths, **arguments):
    return LinearNetwork(widths, **arguments)


BAD = {
    "no problem": (TypeError, "problem .*LpProblem.*None", {"problem": None}),
    "no network": (TypeError, "network .*LinearNetwork", {"network": np.ones(4)}),
    "optimizer name": (TypeError, "optimizer .*'adam'", {"optimizer": "adam"}),
    "optimizer class": (TypeError, "optimizer .*Adam", {"optimizer": accel.Adam}),
    "steps 0": (ValueError, "steps .*0", {"steps": 0}),
    "steps -1": (ValueError, "steps .*-1", {"steps": -1}),
    "steps float": (TypeError, r"steps .*1000\.0", {"steps": 1e3}),
    "steps bool": (TypeError, "steps .*True", {"steps": True}),
    "steps array": (TypeError, "steps .*array", {"steps": np.ones((3, 3), int)}),
    "record_every": (ValueError, "record_every .*0", {"record_every": 0}),
    "tol": (ValueError, "tol .*-1", {"tol": -1}),
    "tol nan": (ValueError, "tol .*nan", {"tol": math.nan}),
    "tol None": (TypeError, "tol .*None", {"tol": None}),
    "target": (ValueError, "target .*nan", {"target": math.nan}),
    "target text": (TypeError, "target .*'0'", {"target": "0"}),
    "callback": (TypeError, "callback .*3", {"callback": 3}),
    "backend": (ValueError, "backend .*'gpu'", {"backend": "gpu"}),
    "cuda": (ValueError, "'cuda' is not available", {"backend": "cuda"}),
    "threads": (ValueError, "threads .*0", {"threads": 0}),
    "features": (ValueError, r"d = 4 .*\(5, 2, 1\)", {"network": network(5, 2, 1)}),
    "outputs": (ValueError, r"k = 1 .*\(4, 2\)", {"network": network(4, 2)}),
    "dtype": (TypeError, "float32 and float64", {"network": network(4, 1, dtype="f4")}),
    "depth": (ValueError, "EndToEnd .*depth 2", {"optimizer": accel.EndToEnd(0.1, 3)}),
}


@pytest.mark.parametrize(("error", "match", "arguments"), BAD.values(), ids=BAD)
def test_bad_input(error, match, arguments):
    good = {"problem": PROBLEM, "network": start(), "optimizer": accel.Adam(), "steps": 5}
    with pytest.raises(error, match=match) as caught:
        train(**{"backend": "reference", **good, **arguments})
    assert "\n" not in str(caught.value)
    assert threading.active_count() == 1


def test_numpy_scalars_are_numbers():
    result = train(
        PROBLEM, start(), accel.Adam(np.float32(0.5)), np.int64(3), tol=np.float64(0),
        backend="reference",
    )  # fmt: skip
    assert result.steps == 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_warning_on_divergence(backend):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        problem = make_problem(dtype="f4")
        result = train(
            problem, start(problem, scale=3.0), accel.GradientDescent(10.0), 50, backend=backend
        )
    assert result.status == "diverged"
