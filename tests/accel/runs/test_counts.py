"""Numbers of steps may be written as floats, as the command takes them."""

import numpy as np
import pytest

import accel
from accel import schedules, theory, tuning
from accel._support import validation

from ..problems import PROBLEM, start

RULE = accel.GradientDescent(0.01)


@pytest.mark.parametrize("steps", [2e1, np.float32(20), np.float64(20), np.int8(20)])
def test_train(steps):
    result = accel.train(PROBLEM, start(), RULE, steps, record_every=5.0, backend="reference")
    expected = accel.train(PROBLEM, start(), RULE, 20, record_every=5, backend="reference")
    assert (result.steps, type(result.steps)) == (20, int)
    np.testing.assert_array_equal(result.history.step, expected.history.step)
    np.testing.assert_array_equal(result.history.loss, expected.history.loss)


def test_sweeps_and_searches():
    swept = accel.sweep(PROBLEM, [(start(), RULE)], 1e1, record_every=5.0, backend="reference")
    assert swept.results[0].history.step.tolist() == [0, 5, 10]
    found = accel.grid_search(PROBLEM, start(), RULE, 1e1, refine=0, backend="reference")
    assert found.best.steps == 10
    made = tuning.compare(PROBLEM, [tuning.Model("gd", 1)], 1e1, backend="reference")
    assert (made.steps, type(made.steps)) == (10, int)


def test_schedules_and_theory():
    assert schedules.Linear(1, 2, 1e3) == schedules.Linear(1, 2, 1000)
    assert repr(schedules.CosineDecay(1, 1e3)) == repr(schedules.CosineDecay(1, 1000))
    one, other = (theory.two_point(2.0, 1.0, max_steps=most) for most in (1e5, 100_000))
    assert (one.plain, one.deep) == (other.plain, other.deep)


@pytest.mark.parametrize("value", [True, 1.5, float("nan"), float("inf"), "1e3", 1j, None])
def test_what_is_no_count(value):
    with pytest.raises(TypeError, match="steps must be an integer"):
        validation.count("steps", value, least=1)


def test_what_is_out_of_range():
    with pytest.raises(ValueError, match="steps must be >= 1 and <= 100, got 1000"):
        validation.count("steps", 1e3, least=1, most=100)
    assert validation.count("steps", 2.0**60, least=1) == 2**60
