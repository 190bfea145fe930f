"""The search for rates, on runs whose outcome is a formula."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel import GradientDescent, History, LinearNetwork, Result
from accel.losses import Lp
from accel.tuning import Model
from accel.tuning.stages import GRID, ROUNDS, StagedSearch, first_pilot, stage_steps

STEPS = 100_000


def result(loss, diverged_at=None):
    record = np.array([STEPS])
    history = History(record, np.array([loss]), *(np.zeros(1) for _ in range(3)))
    return Result(LinearNetwork((1, 1)), history, "completed" if diverged_at is None else
                  "diverged", STEPS, 0.0, diverged_at, GradientDescent(1.0), Lp(4.0),
                  "direct", "cpu", 1)  # fmt: skip


def search(first_rate, run, dense=False, reach=None):
    """The rounds that ``CurveRunner`` makes, for one curve and ``run(rate, steps)``."""
    staged = StagedSearch(first_pilot(first_rate), dense, reach=reach)
    full_runs = 0
    for stage, rounds in ROUNDS.items():
        for _ in range(rounds):
            for index in staged.ask(stage):
                full_runs += stage in ("bracket", "refine")
                staged.tell(stage, index, run(GRID.rate(index), stage_steps(stage, STEPS)), 0.0)
    return staged, full_runs


def descent(limit, slow=0.0):
    """Better the higher the rate, up to a limit that falls as the run gets longer."""

    def run(rate, steps):
        allowed = limit * (STEPS / steps) ** slow
        return result(1.0, 7) if rate > allowed else result(1 / (rate * steps))

    return run


def adaptive(best):
    return lambda rate, steps: result(1 + math.log10(rate / best) ** 2)


def check_neighbours(staged, outcome):
    """A surviving worse rate below, a worse or diverged one above."""
    rates = [trial.rate for trial in outcome.trials]
    where = rates.index(outcome.rate)
    assert not outcome.at_edge
    assert outcome.trials[where + 1].distance > outcome.distance
    below = [trial.distance for trial in outcome.trials[:where] if trial.distance < math.inf]
    assert below
    assert min(below) >= outcome.distance


@given(st.floats(-5, 5), st.floats(-1.5, 1.5), st.floats(0.0, 0.5))
def test_descent_ends_just_under_the_limit_of_the_whole_run(exponent, off, slow):
    limit = 10**exponent
    staged, full_runs = search(limit * 10**off, descent(limit, slow))
    outcome = staged.outcome(Model("gd", 3))
    check_neighbours(staged, outcome)
    assert limit / 10 ** (2.01 / GRID.points) <= outcome.rate <= limit
    assert full_runs <= 11


@given(
    st.floats(-5, 5), st.floats(-1.5, 1.5),
    st.sampled_from([((1, 0), 0.0), ((2, 1), 0.0), ((2, 1), 0.2), ((3, 1), 0.5)]),
)  # fmt: skip
def test_where_the_best_rate_is_next_to_the_limit_only_that_is_looked_for(exponent, off, kind):
    limit, (reach, slow) = 10**exponent, kind
    staged, full_runs = search(limit * 10**off, descent(limit, slow), reach=reach)
    outcome = staged.outcome(Model("gd", 3))
    assert not outcome.at_edge
    assert limit / 10 ** (2.01 / GRID.points) <= outcome.rate <= limit
    above = next(trial for trial in outcome.trials if trial.rate > outcome.rate)
    assert math.isinf(above.distance)
    assert full_runs <= 5 + 3 * reach[1]
    if not reach[1]:  # what survives at first survives: nothing below the coarse best is run
        assert min(staged.results) >= max(staged.scout.survivors)


@pytest.mark.parametrize("reach", [None, (1, 0), (2, 0), (3, 1), (0, 2)])
@pytest.mark.parametrize("lower", [1.0, 1.5, 2.0, 2.5])
def test_rates_that_the_pilot_saw_survive_may_all_diverge_in_the_scout(reach, lower):
    """And those of the scout in the whole run: the search goes on below them."""
    limit = 1e-3

    def run(rate, steps):
        allowed = limit if steps == STEPS else limit * 10 ** (lower * (1 if steps < 9000 else 0.5))
        return result(1.0, 7) if rate > allowed else result(1 / (rate * steps))

    staged, _ = search(1e-3, run, reach=reach)
    outcome = staged.outcome(Model("momentum", 2))
    assert not outcome.at_edge
    assert limit / 10 ** (2.01 / GRID.points) <= outcome.rate <= limit


@given(st.floats(-5, 5), st.floats(-3, 3))
def test_a_rule_that_never_diverges_ends_near_its_best(exponent, off):
    best = 10**exponent
    staged, full_runs = search(best * 10**off, adaptive(best))
    outcome = staged.outcome(Model("adam", 1))
    check_neighbours(staged, outcome)
    assert abs(math.log10(outcome.rate / best)) <= 5.01 / GRID.points
    assert full_runs <= 7


@given(st.floats(-5, 5), st.floats(-1, 1))
def test_a_dense_search_sees_the_valley_below_the_jumps(exponent, off):
    """Beyond its limit the model survives by slowing down: the score has two valleys."""
    limit = 10**exponent

    def run(rate, steps):
        if rate > 10 * limit:
            return result(1.0, 3)
        slowed = 0.8 + 0.1 * abs(math.log10(rate / limit) - 0.5)
        return result(0.5 * limit / rate if rate <= limit else slowed)

    outcome = search(limit * 10**off, run, dense=True)[0].outcome(Model("gd", 2))
    assert limit / 10 ** (3.01 / GRID.points) <= outcome.rate <= limit


def test_what_diverged_in_the_pilot_is_not_run_again():
    limit, steps = 1e-3, []

    def run(rate, length):
        steps.append((rate, length))
        return descent(limit)(rate, length)

    search(limit, run)
    assert not [rate for rate, length in steps if length == STEPS and rate > 10**0.25 * limit]


def test_equally_good_rates_are_taken_to_their_upper_end():
    """A net that is stuck is stuck at any rate, up to the one that throws it out."""
    run = lambda rate, steps: result(5.35, None if rate < 1e7 else 3)  # noqa: E731
    outcome = search(1e-3, run)[0].outcome(Model("gd", 8))
    assert not outcome.at_edge
    assert 10 ** (-2 / GRID.points) <= outcome.rate / 1e7 <= 1


def test_the_edge_is_told():
    """Ever better the higher the rate: no grid is wide enough."""
    staged, _ = search(1.0, lambda rate, steps: result(1 / rate))
    assert staged.outcome(Model("gd", 1)).at_edge
    assert staged.ask("refine") == []


def test_where_everything_diverges_there_is_still_an_outcome():
    staged, _ = search(1.0, lambda rate, steps: result(1.0, 2))
    outcome = staged.outcome(Model("gd", 1))
    assert outcome.at_edge
    assert math.isinf(outcome.distance)
    assert outcome.result.status == "diverged"


@pytest.mark.parametrize(("steps", "short"), [(1_000_000, 20_000), (2000, 500), (30, 30)])
def test_the_pilot_is_long_enough_to_tell(steps, short):
    assert stage_steps("pilot", steps) == short


def test_a_loss_below_the_optimum_by_rounding_is_at_distance_0():
    staged = StagedSearch([])
    staged.tell("bracket", 0, result(1.0), 1.0 + 1e-15)
    staged.tell("bracket", 1, result(3.0), 1.0)
    assert [staged.trials[index].distance for index in (0, 1)] == [0.0, 2.0]


def test_a_jump_in_the_last_tenth_counts_and_one_before_does_not():
    loss = np.full(100, 2.0)
    staged = StagedSearch([])
    for index, jump in enumerate((50, 95)):
        losses = loss.copy()
        losses[jump] = 1000.0
        history = History(np.arange(100), losses, *(np.zeros(100) for _ in range(3)))
        staged.tell("bracket", index, replace(result(2.0), history=history), 1.0)
    assert staged.scores.value(0) == 1.0 < staged.scores.value(1)
    assert [trial.distance for trial in staged.trials.values()] == [1.0, 1.0]


def test_a_loss_too_large_to_add_up_counts_as_divergence():
    huge = result(1e308)
    history = History(np.arange(20), np.full(20, 1e308), *(np.zeros(20) for _ in range(3)))
    staged = StagedSearch([])
    staged.tell("bracket", 0, replace(huge, history=history), 0.0)
    assert math.isinf(staged.scores.value(0))
    assert math.isinf(staged.trials[0].distance)
