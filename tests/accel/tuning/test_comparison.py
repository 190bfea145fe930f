import math
import warnings
from dataclasses import replace

import numpy as np
import pytest

import accel
from accel._runs.rates import first_rate
from accel.tuning import Grid, Model, Start, compare, comparison
from accel.tuning.comparison import rounding

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4)) * [3.0, 1.0, 0.5, 0.2]
Y = X @ RNG.standard_normal(4) + 0.5 * RNG.standard_normal(60)
PROBLEM = accel.LpProblem(X, Y)
MODELS = [Model("gd", 1), Model("gd", 2), Model("adam", 1)]
COARSE = Grid(4)


def run(models=MODELS, steps=60, **arguments):
    return compare(PROBLEM, models, steps, grid=COARSE, **arguments)


def test_every_model_ends_at_its_best_rate():
    compared = run()
    assert [tuned.model for tuned in compared.models] == MODELS
    assert not compared.interrupted
    for tuned in compared.models:
        assert tuned.result.status == "completed"
        assert tuned.result.optimizer.learning_rate == tuned.rate
        assert tuned.distance == min(trial.distance for trial in tuned.trials)
        assert tuned.distance == pytest.approx(tuned.result.loss - compared.best.loss)
        again = accel.train(
            PROBLEM, Start().network(PROBLEM, tuned.model), tuned.model.at(tuned.rate), 60
        )
        assert again.loss == tuned.result.loss


def test_the_rate_of_depth_1_is_the_largest_that_survives():
    tuned = run(MODELS[:1]).models[0]
    above = accel.GradientDescent(10 ** (math.log10(tuned.rate) + 1 / 4))
    ended = accel.train(PROBLEM, Start().network(PROBLEM, tuned.model), above, 60)
    assert ended.status == "diverged" or ended.loss > tuned.result.loss


def test_the_target_is_where_the_first_model_ends():
    compared = run()
    assert compared.target == compared.models[0].distance
    steps, seconds = compared.reached(compared.models[0])
    assert steps == 60
    assert seconds == compared.models[0].result.history.seconds[-1]


def test_a_target_of_ones_own():
    compared = run(target=1.0)
    for tuned in compared.models:
        steps, _ = compared.reached(tuned)
        distances = compared.distances(tuned)
        assert distances[steps] <= 1.0 < distances[steps - 1]
    assert run(target=1e-13).reached(compared.models[0]) is None


def test_runs_end_where_only_rounding_errors_are_left():
    compared = run([Model("gd", 1), Model("gd", 2)], steps=200_000)
    floor = rounding(PROBLEM, compared.best)
    for tuned in compared.models:
        assert tuned.result.status == "target"
        assert tuned.distance <= floor * 1.01
        assert compared.reached(tuned) is not None


def test_where_every_rate_diverges_there_is_no_target():
    compared = compare(PROBLEM, MODELS[:1], 60, grid=Grid(4, low=1e3))
    assert math.isinf(compared.models[0].distance)
    assert compared.models[0].at_edge
    assert math.isnan(compared.target)
    assert compared.reached(compared.models[0]) is None


def test_watch_and_done_are_told():
    runs, steps, done = [], [], []

    def watch(model, rate, number):
        runs.append((model, number))
        return lambda step, loss: steps.append(step)

    compared = run(watch=watch, done=done.append)
    assert tuple(done) == compared.models
    assert len(runs) == sum(len(tuned.trials) for tuned in compared.models)
    assert steps


@pytest.mark.parametrize("finished", [0, 1, 2])
def test_an_interrupt_leaves_what_there_is(finished):
    def watch(model, rate, number):
        if (model.depth, number) == (finished + 1, 2):
            raise KeyboardInterrupt
        return None

    compared = run([Model("gd", depth) for depth in (1, 2, 3, 4)], watch=watch)
    assert compared.interrupted
    assert [tuned.model.depth for tuned in compared.models] == list(range(1, finished + 2))
    assert len(compared.models[-1].trials) == 1


def test_an_interrupt_before_the_first_run_ends_leaves_nothing():
    def watch(model, rate, number):
        raise KeyboardInterrupt

    compared = run(watch=watch)
    assert compared.interrupted
    assert compared.models == ()
    assert math.isnan(compared.target)


def test_a_run_that_was_interrupted_ends_the_comparison(monkeypatch):
    train = comparison.train

    def cut_short(*arguments, **keywords):
        return train(*arguments, **{**keywords, "callback": lambda step, loss: True})

    monkeypatch.setattr(comparison, "train", cut_short)
    compared = run(steps=100_000)
    assert compared.interrupted
    assert compared.models == ()


@pytest.mark.parametrize("p", [2.0, 3.0, 4.0])
@pytest.mark.parametrize("scale", ["mean", "1/p"])
def test_the_first_rate_is_one_over_the_curvature_at_0(p, scale):
    Y2 = np.stack([Y, 3 * Y], axis=1)
    problem = accel.LpProblem(X, Y2, p=p, scale=scale)
    factor = p * (p - 1) * (1 if scale == "mean" else 1 / p) / len(X)
    largest = max(np.linalg.eigvalsh(factor * (X.T * np.abs(y) ** (p - 2)) @ X)[-1] for y in Y2.T)
    assert first_rate(problem, "gd") == pytest.approx(1 / largest)


def test_a_first_rate_without_curvature():
    assert first_rate(accel.LpProblem(X, np.zeros(60)), "gd") == 1.0
    assert 0 < first_rate(accel.LpProblem(X, Y, p=1), "gd") < 1


@pytest.mark.parametrize(("p", "scale"), [(50, 1e7), (10, 1e40), (4, 1e160)])
def test_a_first_rate_where_the_curvature_overflows(p, scale):
    assert first_rate(accel.LpProblem(X, scale * Y, p), "gd") == np.finfo(float).tiny


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": []}, "models"),
        ({"steps": 0}, "steps"),
        ({"target": 0.0}, "target"),
        ({"threads": 0}, "threads"),
        ({"repeats": 0}, "repeats"),
        ({"start": Start(seed=-1)}, "seed"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        run(**arguments)


def test_times_are_the_medians_of_runs_by_turns(monkeypatch):
    compared, calls = run(backend="reference"), []
    train = comparison.train

    def clocked(*arguments, **keywords):
        """The first call takes a microsecond, the second two, and so on."""
        result = train(*arguments, **keywords)
        calls.append(result.optimizer)
        seconds = 1e-6 * len(calls)
        clock = np.full(len(result.history), seconds)
        return replace(result, history=replace(result.history, seconds=clock), seconds=seconds)

    monkeypatch.setattr(comparison, "train", clocked)
    timed = run(backend="reference", repeats=3)
    assert timed.repeats == 3
    assert calls[-6:] == [tuned.result.optimizer for tuned in timed.models] * 2
    for number, (tuned, same) in enumerate(zip(timed.models, compared.models, strict=True)):
        assert (tuned.rate, tuned.distance) == (same.rate, same.distance)
        np.testing.assert_array_equal(tuned.result.history.loss, same.result.history.loss)
        second = 1e-6 * (len(calls) - 5 + number)  # slower than in the search, faster than the last
        assert tuned.result.seconds == pytest.approx(second)
        assert tuned.result.history.seconds == pytest.approx(second)


def test_no_run_warns_of_the_saddle_where_it_stays():
    """Neither those of the search nor those for the time: the results tell."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        held = compare(
            PROBLEM, [Model("gd", 8)], 20, grid=COARSE, start=Start("near_zero", 0.01), repeats=2,
            backend="reference",
        )  # fmt: skip
    assert (held.repeats, held.models[0].result.at_saddle) == (2, True)


def test_long_runs_are_timed_once(monkeypatch):
    monkeypatch.setattr(comparison, "_LONG", 0.0)
    assert run(backend="reference", repeats=3).repeats == 1


def test_an_interrupt_while_runs_are_timed_ends_the_timing_only(monkeypatch):
    whole, calls = run(backend="reference"), []
    train, runs = comparison.train, sum(len(tuned.trials) for tuned in whole.models)

    def interrupted(*arguments, **keywords):
        calls.append(1)
        if len(calls) > runs + len(MODELS) + 1:
            raise KeyboardInterrupt
        return train(*arguments, **keywords)

    monkeypatch.setattr(comparison, "train", interrupted)
    timed = run(backend="reference", repeats=5)
    assert (timed.interrupted, timed.repeats, len(timed.models)) == (False, 2, len(MODELS))
