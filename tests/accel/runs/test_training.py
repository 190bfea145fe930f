"""What train() returns, records and refuses."""

import math
import threading
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import accel
from accel import LinearNetwork, train
from accel._runs import run as chunks
from accel._support import backends

from ..problems import BACKENDS, PROBLEM, Scripted, make_problem, start

OPTIMIZERS = [
    accel.GradientDescent(0.02),
    accel.Momentum(0.005),
    accel.Nesterov(0.005),
    accel.AdaGrad(0.1),
    accel.AdaDelta(1.0),
    accel.RMSProp(0.003),
    accel.Adam(0.01),
    accel.EndToEnd(0.02, 2),
    accel.GroupRMSProp(0.01),
    accel.GroupRMSProp(0.01, scale="factor"),
]


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
    monkeypatch.setattr(chunks, "_CHUNK_SECONDS", 1e-9)
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
    assert 0.2 * elapsed < result.seconds < elapsed


def test_seconds_count_neither_compilation_nor_the_callback(scripted):
    class Slow(Scripted):
        def __call__(self, *arguments, **keywords):
            time.sleep(0.2)
            return super().__call__(*arguments, **keywords)

    result = scripted(Slow([1.0]), 30, callback=lambda step, loss: time.sleep(0.05))
    assert result.seconds < 0.05


def test_chunks_last_a_tenth_of_a_second(scripted, monkeypatch):
    loop = Scripted([1.0])
    clock = SimpleNamespace(perf_counter=lambda: 0.002 * loop.step)
    monkeypatch.setattr(chunks, "time", clock)
    scripted(loop, 200)
    sizes = [call[2] for call in loop.calls if call[0] == "advance"]
    assert sizes == [1, 16, 50, 50, 50, 33]


def test_a_slow_problem_gets_one_step_a_chunk(scripted):
    loop = Scripted([1.0], pause=0.11)
    seen = []
    scripted(loop, 4, record_every=2, callback=lambda step, loss: seen.append(step))
    assert [call[2:] for call in loop.calls if call[0] == "advance"] == [(1, 1)] * 4
    # Every loss came from the pass of its step; only the last iterate took a pass of its own.
    assert [call for call in loop.calls if call[0] == "evaluate"] == [("evaluate", 4)]
    assert seen == [0, 1, 2, 3]


def test_threads_reach_the_kernels(scripted, monkeypatch):
    seen = []

    class Loop(Scripted):
        def __call__(self, *arguments, threads, **others):
            seen.append(threads)
            return super().__call__(*arguments, threads=threads, **others)

    monkeypatch.setattr(backends, "cpus", lambda: 5)
    for name in ("ACCEL_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    scripted(Loop([1.0]), 2)
    scripted(Loop([1.0]), 2, threads=3)
    monkeypatch.setenv("ACCEL_NUM_THREADS", "4")
    scripted(Loop([1.0]), 2)
    assert seen == [5, 3, 4]


def network(*widths, **arguments):
    return LinearNetwork(widths, **arguments)


BAD = {
    "no problem": (TypeError, "problem must be of type Problem, got None", {"problem": None}),
    "no network": (TypeError, "network .*LinearNetwork", {"network": np.ones(4)}),
    "optimizer name": (ValueError, "optimizer .*'adm'", {"optimizer": "adm"}),
    "optimizer class": (TypeError, "optimizer .*Adam", {"optimizer": accel.Adam}),
    "steps 0": (ValueError, "steps .*0", {"steps": 0}),
    "steps -1": (ValueError, "steps .*-1", {"steps": -1}),
    "steps float": (TypeError, r"steps .*1000\.5", {"steps": 1000.5}),
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
