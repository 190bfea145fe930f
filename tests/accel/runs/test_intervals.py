"""Which iterates of a run are recorded, and that the run does not depend on it."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accel
from accel import sweep, train
from accel._runs import run as chunks
from accel._runs.intervals import Chosen, checked, records_of
from accel._support import memory

from ..problems import BACKENDS, PROBLEM, make_problem, start
from .test_sweeping import mixed

CHOSEN = [1, 2, 3, 5, 9, 10, 20, 30, 40, 41, 57, 99, 140, 10_000]
COLUMNS = ("loss", "gradient_norm", "weight_norm")


def spaced(steps, most):
    """The log-spaced steps as the documentation describes them."""
    chosen = {0, *(round(10 ** (i / 100)) for i in range(1000))}
    return sorted(step for step in chosen if step <= most) if steps == "log" else [0, *steps]


def assert_part_of(some, whole, expected):
    """Check that a run has the expected records of one that recorded every step, and its end."""
    ours, theirs = some.history, whole.history
    np.testing.assert_array_equal(some.network.params, whole.network.params)
    assert (some.status, some.steps, some.diverged_at) == (
        whole.status, whole.steps, whole.diverged_at,
    )  # fmt: skip
    assert ours.step.tolist() == [*(s for s in expected if s < whole.steps), whole.steps]
    places = np.searchsorted(theirs.step, ours.step)
    for name in (*COLUMNS, *theirs.recorded):
        np.testing.assert_array_equal(ours[name], theirs[name][places])


@given(
    st.sets(st.integers(0, 300), max_size=40),
    st.lists(st.integers(1, 60), max_size=12),
    st.integers(0, 300),
    st.integers(1, 100),
)
@settings(max_examples=50, deadline=None)
def test_one_call_of_a_loop_after_the_other_records_what_was_chosen(few, gaps, begin, size):
    steps = sorted({0, *few, *np.cumsum(gaps).tolist()})
    records, found, step, end, calls = Chosen(steps), [], begin, begin + size, 0
    while step < end:
        stop, every = records.stretch(step, end)
        assert step < stop <= end
        found += [s for s in range(step, stop) if every and s % every == 0]
        step, calls = stop, calls + 1
    wanted = [s for s in steps if begin <= s < end]
    assert found == wanted
    assert calls <= 2 * len(wanted) + 1
    assert records.due(np.arange(1000)).nonzero()[0].tolist() == steps
    assert [records.before(s) for s in range(400)] == [
        max(w for w in steps if w <= s) for s in range(400)
    ]
    assert records.after(begin) == min((w for w in steps if w > begin), default=2**53 + 1)
    assert records.count(end) == sum(w < end for w in steps)


def test_evenly_spaced_steps_are_as_quick_as_an_interval():
    records = Chosen(range(0, 10**6, 10))
    assert records.stretch(0, 5000) == (5000, 10)
    assert records.stretch(4000, 4501) == (4501, 10)


def test_log_spaced_steps():
    steps = spaced("log", 10**6)
    records = records_of("log", 10**6)
    assert records.due(np.array(steps)).all()
    assert records.count(10**6) == len(steps) - 1 == 480
    assert steps[:41] == list(range(41))
    assert {10**i for i in range(7)} <= set(steps)
    assert np.diff(np.log10(steps[100:])).max() < 0.02
    assert records_of("log", 1).count(1) == 1
    assert records_of("log", 10**15).count(10**15) < 1500


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("chosen", [CHOSEN, "log", np.array([7])])
def test_the_same_bits_as_with_a_record_at_every_step(backend, chosen, monkeypatch):
    models, how = mixed(PROBLEM), {"backend": backend}
    whole = sweep(PROBLEM, models, 150, record_every=1, **how)
    for seconds in (0.1, 1e-9):
        monkeypatch.setattr(chunks, "_CHUNK_SECONDS", seconds)
        some = sweep(PROBLEM, models, 150, record_every=chosen, **how)
        for ours, theirs in zip(some, whole, strict=True):
            assert_part_of(ours, theirs, spaced(chosen, 150))


@pytest.mark.parametrize("more", [{"batch_size": 7, "label_noise": 0.1}, {}])
def test_with_quantities_batches_and_a_rate_that_follows_the_loss(more):
    record = ["singular_values", "step_size"]
    for rate in (None, "auto"):
        how = {"record": record, "learning_rate": rate, "backend": "reference", **more}
        arguments = PROBLEM, start(), accel.GradientDescent(0.01), 200
        whole = train(*arguments, record_every=1, **how)
        assert_part_of(
            train(*arguments, record_every="log", **how), whole, spaced("log", 200)
        )  # fmt: skip


def test_a_run_that_diverges_between_two_records():
    X = PROBLEM.X.copy()
    X[11] *= 1e60
    problem = accel.LpProblem(X, PROBLEM.Y, p=2, method="direct")
    network = accel.LinearNetwork((4, 1), scale=0.1, seed=1)
    arguments = problem, network, accel.GradientDescent(1.0), 500
    for batch in (None, 1):
        result = train(*arguments, batch_size=batch, record_every=[1, 400], backend="reference")
        assert result.status == "diverged"
        assert np.isfinite(result.loss)
        assert result.steps < result.diverged_at <= 400
        before = train(*arguments[:3], max(result.steps, 1), batch_size=batch, backend="reference")
        if result.steps:
            np.testing.assert_array_equal(before.network.params, result.network.params)


def test_a_search():
    arguments = PROBLEM, start(), accel.GradientDescent(1.0), 60
    how = {"learning_rates": [0.001, 0.01], "refine": 0, "backend": "reference"}
    some = accel.grid_search(*arguments, record_every=CHOSEN, **how)
    whole = accel.grid_search(*arguments, record_every=1, **how)
    for ours, theirs in zip(some.results, whole.results, strict=True):
        assert_part_of(ours, theirs, spaced(CHOSEN, 60))


@pytest.mark.parametrize("chosen", ["log", [100, 0, 30, 30, 100]])
def test_resumed_is_as_never_interrupted(chosen, tmp_path):
    how = {"record_every": chosen, "record": "effective_rank", "backend": "reference"}
    arguments = PROBLEM, start(), accel.Adam(0.01), 300
    path = tmp_path / "run.npz"
    whole = train(*arguments, **how)
    for goal in (1, 35, 120, 10**9):
        part = train(
            *arguments, **how, checkpoint=path, callback=lambda step, _, goal=goal: step >= goal,
            checkpoint_every=0,
        )  # fmt: skip
    assert part.status == "completed"
    assert part.history.step.tolist() == whole.history.step.tolist()
    for name in (*COLUMNS, "effective_rank"):
        np.testing.assert_array_equal(part.history[name], whole.history[name])
    other = re.escape("'log'" if chosen == "log" else "[0, 30, 100]")
    with pytest.raises(ValueError, match=rf"record_every: {other} there, \[7\] here"):
        train(*arguments, **how | {"record_every": [7]}, checkpoint=path)


def test_the_memory_of_a_history(monkeypatch):
    problem, network, rule = make_problem(), start(), accel.Adam(0.01)
    monkeypatch.setattr(memory, "available", lambda: 2.0**26)
    assert len(train(problem, network, rule, 2000, record_every="log").history) == (
        records_of("log", 2000).count(2000) + 1
    )
    monkeypatch.setattr(memory, "available", lambda: 0.0)
    monkeypatch.setattr(memory, "_SMALL", 0)
    with pytest.raises(MemoryError, match=r"a history of 2e.04 records"):
        train(problem, network, rule, 10**9, record_every=range(20_000))
    with pytest.raises(MemoryError, match=r"a history of 1.38e.03 records"):
        sweep(problem, [(network, rule)] * 99, 10**15, record_every="log")


@pytest.mark.parametrize(
    ("kind", "message", "given"),
    [
        (ValueError, "record_every must be one of log, got 'lag'; did you mean 'log'", "lag"),
        (ValueError, "record_every must not be empty", []),
        (ValueError, r"record_every\[1\] must be >= 0 and <= .*, got -1", [3, -1]),
        (TypeError, r"record_every\[0\] must be an integer, got 0\.5", [0.5]),
        (TypeError, r"record_every\[1\] must be an integer, got True", (1, True)),
        (TypeError, r"record_every\[0\] must be an integer, got array", np.ones((2, 2), int)),
        (TypeError, "record_every must be an integer, got True", True),
        (TypeError, "record_every must be an integer, got None", None),
    ],
)
def test_refused(kind, message, given):
    with pytest.raises(kind, match=message):
        checked(given)
