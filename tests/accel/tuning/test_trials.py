"""The grid, the trials and the order of scores."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from accel.tuning import Grid, Model, Trial, Tuned
from accel.tuning.trials import Scores, distance, distances, first_within, score_on_grid

DIVERGED = (math.inf, 0.0)


@pytest.mark.parametrize(
    "arguments",
    [{"points": 0}, {"low": 0.0}, {"high": -1.0}, {"low": 1.0, "high": 0.1},
     {"low": 1.01, "high": 1.02}, {"low": math.nan}],
)  # fmt: skip
def test_bad_grids(arguments):
    with pytest.raises(ValueError, match=r"points|low|high|grid"):
        Grid(**arguments)


@pytest.mark.parametrize(
    ("grid", "bounds"),
    [
        (Grid(8), (-22, 42)),
        (Grid(8, low=0.1), (-8, 42)),
        (Grid(8, high=1e3), (-22, 24)),
        (Grid(8, low=1e5), (40, 72)),
        (Grid(8, low=0.1, high=10.0), (-8, 8)),
    ],
)
def test_bounds_of_a_grid(grid, bounds):
    assert grid.bounds(10) == bounds
    assert grid.index(grid.rate(5)) == 5


def test_the_next_rate_up():
    result = SimpleNamespace(seconds=1.0, steps=0)
    trials = tuple(Trial(rate, 1.0, 5, at) for rate, at in [(1.0, None), (2.0, None), (4.0, 7)])
    for number, expected in enumerate([None, 7, None]):
        tuned = Tuned(Model("gd", 1), trials[number], result, False, trials)
        assert tuned.next_diverges_at == expected
        assert tuned.seconds_per_step == 1.0


def test_of_equal_rates_the_higher_is_better():
    """Of two rates that diverged the lower one is better."""
    assert score_on_grid(1.0, 5) < score_on_grid(1.0, 4) < score_on_grid(2.0, 9)
    assert score_on_grid(0.0, 4, steps=7) < score_on_grid(0.0, 5, steps=8)
    assert score_on_grid(2.0, 9) < score_on_grid(math.inf, 4) < score_on_grid(math.inf, 5)


def test_the_best_and_its_neighbours():
    scores = Scores({3: (2.0,), 1: DIVERGED, 7: (1.0,), 9: DIVERGED, 5: (1.0,)})
    assert scores.points == [1, 3, 5, 7, 9]
    assert scores.survivors == [3, 5, 7]
    assert scores.best == 5  # the lower one of two that are equal
    assert scores.minima == [5, 7]
    assert not scores.open_above
    assert [scores.neighbours(point) for point in (1, 5, 9)] == [[3], [3, 7], [7]]
    assert scores.value(3) == 2.0


def test_a_better_rate_may_lie_above_the_last_survivor():
    assert Scores({0.1: (2.0,), 0.2: (1.0,)}).open_above
    assert not Scores({0.1: (1.0,), 0.2: (2.0,)}).open_above
    assert not Scores({0.1: DIVERGED}).open_above
    assert Scores({0.1: DIVERGED, 0.2: DIVERGED}).minima == []


def test_distances_are_not_negative_and_those_of_divergence_infinite():
    history = SimpleNamespace(loss=np.array([4.0, 2.0, 1.0 - 1e-15]))
    result = SimpleNamespace(history=history, loss=float(history.loss[-1]), status="completed")
    np.testing.assert_array_equal(distances(result, 1.0), [3.0, 1.0, 0.0])
    assert distance(result, 1.0) == 0.0
    assert first_within(result, 1.0, 1.0) == 1
    assert first_within(result, -9.0, 1.0) is None
    result.status = "diverged"
    assert math.isinf(distance(result, 1.0))
