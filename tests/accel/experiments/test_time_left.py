"""The estimate of the time left, on a clock of our own."""

import numpy as np
import pytest

from accel.experiments import time_left
from accel.experiments.figures.curves import Curve
from accel.experiments.time_left import Stage, TimeLeft, sweep_stage
from accel.tuning import Model, Start

CURVE = Curve(4, Model("gd", 1), Start("near_zero", 0.01, width=1), 100_000)
ALIVE = np.ones(2)


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time_left.time, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def told():
    return []


@pytest.fixture
def estimate(told):
    return TimeLeft(lambda *values: told.append(values))


def test_nothing_is_said_before_anything_is_known(estimate, told):
    estimate.begin(Stage("a", 2, 100, 200.0), resumed=False)
    assert told == [(Stage("a", 2, 100, 200.0), 0, 2, None)]


def test_the_rest_of_a_stage(estimate, told, clock):
    callback = estimate.begin(Stage("a", 2, 100, 200.0), resumed=False)
    clock[0] = 3.0
    callback(25, np.array([1.0, np.nan]))
    assert told[-1][1:] == (25, 1, pytest.approx(9.0))


def test_later_groups_count(estimate, clock):
    estimate.expect([[CURVE], [CURVE, CURVE]])
    estimate.begin_group()
    stage = sweep_stage("a", [CURVE, CURVE], 1000)
    callback = estimate.begin(stage, resumed=False)
    clock[0] = 2.0
    callback(1000, ALIVE)
    estimate.end()
    first = estimate.seconds()
    estimate.begin_group()
    assert estimate.seconds() < first
    estimate.begin_group()
    only_extras = estimate.seconds()
    assert only_extras == pytest.approx(2.0 / stage.units * 3 * CURVE.steps * time_left._EXTRA_RUNS)


def test_work_of_an_earlier_sitting_says_nothing_about_speed(estimate, told, clock):
    callback = estimate.begin(Stage("a", 2, 100, 200.0), resumed=True)
    clock[0] = 5.0  # spent on reading the checkpoint
    callback(60, ALIVE)
    assert told[-1][3] is None
    clock[0] = 7.0
    callback(80, ALIVE)
    assert told[-1][3] == pytest.approx(2.0)
    estimate.end()
    estimate.begin(Stage("b", 1, 10, 10.0), resumed=True)
    estimate.end()  # was complete
    assert estimate.seconds() == 0.0


def test_reserved_work_counts_until_it_begins(estimate, clock):
    callback = estimate.begin(Stage("a", 1, 10, 10.0), resumed=False)
    clock[0] = 10.0
    callback(10, ALIVE)
    estimate.end()
    estimate.reserve(50.0)
    assert estimate.seconds() == pytest.approx(50.0)
    estimate.begin(Stage("b", 1, 5, 50.0), resumed=False)
    estimate.reserve(-50.0)
    assert estimate.seconds() == pytest.approx(50.0)


def test_steps_that_read_no_data_are_cheap_and_wide_layers_are_not():
    units = [
        sweep_stage("a", [curve], 10).units
        for curve in (
            Curve(2, CURVE.model, CURVE.start, 10),
            CURVE,
            Curve(4, Model("gd", 2), Start("near_zero", 0.01, width=100), 10),
        )
    ]
    assert units == sorted(units)
    assert len(set(units)) == 3
