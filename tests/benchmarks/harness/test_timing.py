"""Samples in turn and the clocks, in a time that passes when it is told to."""

import numpy as np
import pytest

from benchmarks.harness import timing
from benchmarks.harness.cases import OURS
from benchmarks.peers import Stepper


@pytest.fixture
def clock(monkeypatch):
    """``clock(seconds)`` lets so much time pass."""
    now = [0.0]

    def passes(seconds):
        now[0] += seconds

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(timing.time, "sleep", passes)
    return passes


def test_every_second_round_is_backwards():
    order = []
    calls = {name: lambda name=name: order.append(name) or len(order) for name in "abc"}
    samples = timing.in_turn(calls, {"a": 3, "b": 1, "c": 2})
    assert "".join(order) == "abc" + "ca" + "a"
    assert samples == {"a": [1, 5, 6], "b": [2], "c": [3, 4]}
    assert timing.medians(samples) == {"a": 5.0, "b": 2.0, "c": 3.5}
    assert timing.in_turn({}, 3) == timing.in_turn({}, {}) == {}


def test_a_stopwatch_stands_still_between_its_blocks(clock):
    watch = timing.Stopwatch()
    for _ in range(2):
        with watch:
            clock(1.5)
        clock(10.0)
    watch.start()
    clock(1.0)
    assert watch.stop() == watch.seconds == 4.0


def test_elapsed_is_the_mean_of_its_calls(clock):
    lengths = iter([1.0, 2.0, 6.0])
    assert timing.elapsed(lambda: clock(next(lengths)), 3) == 3.0


def test_enough_steps_for_a_sample(clock):
    asked = []

    def call(steps):
        asked.append(steps)
        clock(0.001 * steps)

    assert timing.seconds_each(call, 0.01) == pytest.approx(0.001)
    assert asked == [1, 1, 4, 16]


def stepper(clock, seconds, ends_at=np.inf):
    done = [0]

    def advance(steps):
        done[0] += steps
        clock(seconds * steps)

    return Stepper(advance, lambda: np.array([np.nan if done[0] > ends_at else 1.0]), note="n")


def test_contenders_are_timed_without_their_pauses(clock):
    contenders = {OURS: stepper(clock, 1e-3), "peer": stepper(clock, 3e-3)}
    samples = timing.interleaved(contenders, rounds=3, seconds=0.1, pause=1.0)
    assert [(s.name, s.note, len(s.seconds), s.gap) for s in samples] == [
        (OURS, "n", 3, ""), ("peer", "n", 3, ""),
    ]  # fmt: skip
    assert [s.median for s in samples] == pytest.approx([1e-3, 3e-3])
    assert [s.steps for s in samples] == [100, 30]
    assert timing.speedup(samples, "peer") == pytest.approx((3.0, 3.0, 3.0))
    assert timing.speedup(samples, "another") is None


def test_who_diverges_while_it_is_timed(clock):
    peer = {OURS: stepper(clock, 1e-3), "peer": stepper(clock, 1e-3, ends_at=100)}
    with pytest.raises(AssertionError, match="peer diverged"):
        timing.interleaved(peer, 3, 0.1)
    samples = timing.interleaved(peer, 3, 0.1, peers=True)
    assert [s.gap for s in samples] == ["", "diverged while it was timed"]
    ours = {OURS: stepper(clock, 1e-3, ends_at=100)}
    with pytest.raises(AssertionError, match="accel diverged"):
        timing.interleaved(ours, 3, 0.1, peers=True)
