"""How a run ends: target, tolerance, divergence, the callback, an error."""

import math
import threading

import numpy as np
import pytest

import accel
from accel import train
from accel._runs import checks, run
from accel._runs.training import train_until

from ..problems import BACKENDS, PROBLEM, Scripted, start


@pytest.mark.parametrize("backend", BACKENDS)
def test_target(backend):
    full = train(PROBLEM, start(), accel.Adam(0.01), 400, backend=backend)
    goal = 0.5 * full.history.loss[0]
    first = int(np.argmax(full.history.loss <= goal))
    result = train(PROBLEM, start(), accel.Adam(0.01), 400, target=goal, backend=backend)
    assert (result.status, result.steps) == ("target", first)
    assert result.loss <= goal
    assert result.history.step[-1] == first
    # Reached by the very last update, whose iterate no step judges.
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
    """At the saddle W = 0 of a deep net every factor's gradient is 0, so the run stays there."""
    with pytest.warns(accel.SaddleWarning):
        result = train(PROBLEM, start(init="near_zero", scale=0), accel.Adam(), 20, backend=backend)
    assert result.status == "completed"
    np.testing.assert_array_equal(result.network.params, 0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("chunk_seconds", [0.1, 1e-9])
@pytest.mark.parametrize("rate", [0.5, 0.1, 3.0])
def test_divergence(backend, chunk_seconds, rate, monkeypatch):
    monkeypatch.setattr(run, "_CHUNK_SECONDS", chunk_seconds)
    network = start(init="near_zero", scale=3.0)
    result = train(PROBLEM, network, accel.GradientDescent(rate), 1000, backend=backend)
    assert result.status == "diverged"
    assert result.diverged_at == result.steps + 1
    assert np.isfinite(result.network.params).all()
    assert np.isfinite(result.history.loss).all()
    assert result.history.step[-1] == result.steps
    assert (np.diff(result.history.step) > 0).all()
    # The result is the iterate before the one whose loss is not finite.
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


class Liar(Scripted):
    """A loop that diverges at step 100, and earlier, or not at all, in a replay of the same."""

    def __init__(self, sooner):
        super().__init__([1.0] * 100 + [math.nan])
        self.sooner = sooner

    def restore(self, snapshot, models=None):
        super().restore(snapshot, models)
        if self.sooner is not None and self.step < 100:
            self.losses = [1.0] * self.sooner + [math.nan]

    def advance(self, steps, *arguments, **limits):
        if self.sooner is not None or "restore" not in [call[0] for call in self.calls]:
            super().advance(steps, *arguments, **limits)


@pytest.mark.parametrize(("sooner", "ended"), [(98, "98"), (90, "90"), (None, r"\d+")])
def test_a_replay_that_differs_is_an_error_and_no_loop_for_ever(sooner, ended, scripted):
    """One that ends before the last finite iterate, and one that does nothing at all."""
    message = (
        "internal error: the replay of model 0 differed from its run, which had a finite loss up "
        f"to step 99; the same steps again, from step \\d+, ended at step {ended}. .*please report"
    )
    with pytest.raises(RuntimeError, match=message):
        scripted(Liar(sooner), 1000)


def test_a_replay_that_many_requests_to_stop_interrupt(scripted):
    """Each ends one call, and costs nothing."""
    loop = Scripted([1.0] * 100 + [math.nan])
    advance = loop.advance

    def struck(*arguments, **limits):
        loop.stopped = "restore" in [call[0] for call in loop.calls]
        advance(*arguments, **limits)

    loop.advance = struck
    result = scripted(loop, 1000)
    assert (result.status, result.diverged_at, result.steps) == ("diverged", 100, 99)


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
    assert threading.active_count() == 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("chunk_seconds", [0.1, 1e-9])
def test_a_rule_of_the_caller_s(backend, chunk_seconds, monkeypatch):
    """It is called at every multiple of ``every``, whatever the chunks, and ends the run there."""
    monkeypatch.setattr(run, "_CHUNK_SECONDS", chunk_seconds)
    asked = []

    def settled(params):
        asked.append(params)
        return len(asked) == 3

    def until(steps):
        return train_until(
            PROBLEM, start(), accel.Adam(0.01), checks.limits(steps, None, 0.0, None),
            checks.RunOptions(backend=backend), run.Check(7, settled),
        )  # fmt: skip

    result = until(100)
    assert (result.status, result.steps, len(asked)) == ("converged", 21, 3)
    whole = train(PROBLEM, start(), accel.Adam(0.01), 21, backend=backend)
    np.testing.assert_array_equal(result.network.params, whole.network.params)
    np.testing.assert_array_equal(asked[-1], whole.network.params)
    assert result.history.step[-1] == 21
    asked.clear()
    short = until(20)
    assert (short.status, short.steps, len(asked)) == ("completed", 20, 2)
