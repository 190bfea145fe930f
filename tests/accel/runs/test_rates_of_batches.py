"""``stable_rate`` and ``learning_rate="auto"`` where the steps have batches or noise."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest

import accel
from accel import Batches, GradientDescent, LinearNetwork, LpProblem, Problem, stable_rate, train
from accel._runs import pacing
from accel.kernels import specs

from ..device import DeviceArray
from ..problems import PROBLEM, make_problem, start

GD = GradientDescent(1.0)
DATA = make_problem(n=50, d=4, p=2)
SIGNS = np.sign(DATA.Y)
rng = np.random.default_rng(2)
MATRICES = rng.standard_normal((50, 2, 3))


def part(problem, rows):
    """The problem of some of the rows."""
    if isinstance(problem, accel.MatrixSensing):
        return accel.MatrixSensing(problem.A[rows], problem.values[rows, 0])
    return Problem(problem.X[rows], problem.Y[rows], problem.loss_function)


@pytest.mark.parametrize("problem", [
    DATA, make_problem(n=50, p=2, k=3), make_problem(n=50, p=2, dtype="f4"),
    Problem(DATA.X, DATA.Y, "huber(0.1)"), Problem(DATA.X, DATA.Y, "pinball(0.3)"),
    Problem(DATA.X, SIGNS, "logistic"), accel.MatrixSensing(MATRICES, DATA.Y[:, 0]),
    Problem(DATA.X, np.hstack([SIGNS > 0, SIGNS < 0]).astype(float), "cross-entropy"),
], ids=str)  # fmt: skip
@pytest.mark.parametrize(("shuffle", "count"), [("epoch", 7), ("replacement", 8), ("none", 7)])
def test_it_is_that_of_the_steepest_batch(problem, shuffle, count):
    """At 0 these losses bend most, so that the descent that follows finds nothing larger."""
    network = LinearNetwork.for_problem(problem, 1, scale=0.0)
    batches = Batches(problem.n, 8, shuffle, seed=3)
    rates = [stable_rate(part(problem, batches.rows(t)), network, GD) for t in range(count)]
    rate = stable_rate(problem, network, GD, batch_size=8, shuffle=shuffle, seed=3)
    assert rate == pytest.approx(min(rates), rel=0.02)
    assert rate < 0.95 * stable_rate(problem, network, GD)


@pytest.mark.parametrize("shuffle", ["epoch", "none"])
@pytest.mark.parametrize("row", [0, 8, 19])
def test_the_steepest_counts_wherever_it_is(shuffle, row):
    X = np.ones((20, 1))
    X[row] = 100.0
    problem = LpProblem(X, np.ones(20), 2)
    network = LinearNetwork.for_problem(problem, 1)
    rate = stable_rate(problem, network, GD, batch_size=1, shuffle=shuffle)
    assert rate == pytest.approx(1 / (2 * 100**2))


@pytest.mark.parametrize("problem", [
    Problem(DATA.X, SIGNS, "logistic"), LpProblem(DATA.X, DATA.Y, 4),
    accel.MatrixSensing(MATRICES, DATA.Y[:, 0]),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("shuffle", ["epoch", "replacement", "none"])
def test_the_eight_with_the_largest_traces_count(problem, shuffle):
    """For batches of a row, at depth 1 and from W = 0, the trace is the curvature itself."""
    network = LinearNetwork.for_problem(problem, 1, scale=0.0)
    rates = [stable_rate(part(problem, Batches(problem.n, 1, shuffle).rows(t)), network, GD)
             for t in range(problem.n)]  # fmt: skip
    rate = stable_rate(problem, network, GD, batch_size=1, shuffle=shuffle)
    assert rate == pytest.approx(min(rates), rel=0.02)
    assert min(rates) < 0.9 * sorted(rates)[8]


@pytest.mark.parametrize("optimizer", [accel.Momentum, accel.Nesterov])
def test_momentum_adds_up_what_batches_do(optimizer):
    network = start(DATA, depth=1)
    rate = stable_rate(DATA, network, GD, batch_size=1)
    expected = pytest.approx(0.2 * rate)
    rising = accel.schedules.Linear(0.1, 0.8, 100)
    for momentum in (0.8, rising):
        rule = optimizer(1.0, momentum=momentum)
        assert stable_rate(DATA, network, rule, batch_size=1) == expected
    plain = stable_rate(DATA, network, GD)
    assert stable_rate(DATA, network, optimizer(1.0, momentum=0.8)) == plain  # for all rows


@pytest.mark.parametrize("optimizer", [GD, accel.Momentum(1.0), accel.Nesterov(1.0)])
@pytest.mark.parametrize(("p", "depth"), [(2, 1), (2, 2), (4, 1), (4, 2)])
def test_runs_with_batches_are_stable_at_it(optimizer, p, depth):
    """With residuals of heavy tails, batches differ most for p = 4."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((90, 4))
    problem = LpProblem(X, X @ rng.standard_normal(4) + rng.standard_t(4, 90), p)
    network = start(problem, depth)
    for seed, size in enumerate((1, 4, 16, 45)):
        rate = stable_rate(problem, network, optimizer, batch_size=size, seed=seed)
        rule = replace(optimizer, learning_rate=rate)
        result = train(problem, network, rule, 1500, batch_size=size, seed=seed)
        assert result.status == "completed"
        assert result.loss < result.history.loss[0]


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("p", [2, 4])
def test_it_is_never_above_that_of_all_rows(depth, p):
    problem = make_problem(p=p)
    network = start(problem, depth)
    for optimizer in (GD, accel.Momentum(1.0, weight_decay=0.1), accel.Adam()):
        whole = stable_rate(problem, network, optimizer)
        rates = [stable_rate(problem, network, optimizer, batch_size=size) for size in (40, 20, 2)]
        assert rates[0] == whole
        if isinstance(optimizer, accel.Adam):
            assert rates == [whole] * 3
        else:
            assert max(rates) == whole > min(rates)
    drawn = stable_rate(problem, network, GD, batch_size=40, shuffle="replacement")
    assert drawn < stable_rate(problem, network, GD)


def test_with_single_rows_it_is_half_of_the_limit_of_the_steepest():
    """Which the rate for all rows is far above."""
    problem = make_problem(n=8, p=2)
    network = start(problem, depth=1)
    rate = stable_rate(problem, network, GD, batch_size=1)
    steepest = (2 * np.sum(problem.X**2, axis=1)).max()
    assert rate == pytest.approx(1 / steepest, rel=0.02)
    assert stable_rate(problem, network, GD) > 2 / steepest  # a step of that row overshoots


def test_data_on_the_gpu(gpu_stand_in):
    problem = LpProblem(DeviceArray(DATA.X), DeviceArray(DATA.Y), 2)
    rate = stable_rate(problem, start(DATA), GD, batch_size=5)
    assert rate == pytest.approx(stable_rate(DATA, start(DATA), GD, batch_size=5), rel=1e-6)


@pytest.mark.parametrize(("error", "match", "arguments"), [
    (ValueError, "batch_size must be >= 1 and <= 50, got 51", {"batch_size": 51}),
    (TypeError, "batch_size must be an integer, got 0.5", {"batch_size": 0.5}),
    (ValueError, "shuffle must be one of", {"batch_size": 5, "shuffle": "all"}),
    (ValueError, "seed must be .*got -1", {"batch_size": 5, "seed": -1}),
    (ValueError, "method must be 'auto' or 'direct', got 'gram'",
     {"batch_size": 5, "problem": make_problem(n=50, p=2, method="gram")}),
    (ValueError, "for problems with rows of data on this machine", {"batch_size": 1, "problem":
     accel.MatrixCompletion((2, 2), [0, 1], [0, 1], [1.0, 2.0]), "network":
     LinearNetwork((2, 2), scale=0.1)}),
])  # fmt: skip
def test_bad_arguments(error, match, arguments):
    given = {"problem": DATA, "network": start(DATA), "optimizer": GD} | arguments
    with pytest.raises(error, match=match):
        stable_rate(**given)


def auto(problem=PROBLEM, network=None, optimizer=GD, steps=400, **arguments):
    network = start(problem) if network is None else network
    given = {"batch_size": 8, "backend": "reference", **arguments}
    return train(problem, network, optimizer, steps, learning_rate="auto", **given)


def test_a_run_begins_with_it(caplog):
    with caplog.at_level(logging.INFO, "accel"):
        result = auto(steps=8, shuffle="replacement", seed=2)
    rate = stable_rate(PROBLEM, start(), GD, batch_size=8, shuffle="replacement", seed=2)
    assert f"learning rate {rate:.4g}" in caplog.text
    assert result.optimizer.learning_rate == rate
    same = train(PROBLEM, start(), GradientDescent(rate), 8, batch_size=8, shuffle="replacement",
                 seed=2, backend="reference")  # fmt: skip
    np.testing.assert_array_equal(result.network.params, same.network.params)


def test_a_run_with_label_noise_alone_begins_with_that_of_all_rows():
    result = auto(steps=8, batch_size=None, label_noise=0.01)
    assert result.optimizer.learning_rate == stable_rate(PROBLEM, start(), GD)


@pytest.mark.parametrize(("batches", "steps"), [
    (None, 8), (specs.Batches(40, "none"), 8), (specs.Batches(40, "none", 0, 0.1), 8),
    (specs.Batches(2), 20), (specs.Batches(3, "replacement"), 14), (specs.Batches(1), 40),
], ids=str)  # fmt: skip
def test_a_stretch_is_an_epoch_at_least(batches, steps):
    pace = pacing.pace_of(PROBLEM, start(), GD, batches)
    pace.begin(0.1, 5.0)
    assert pace.end == steps


def test_where_every_row_is_fitted_the_rate_grows_as_without_batches():
    """There the noise vanishes with the residuals, and for p = 4 the curvature, too."""
    problem = LpProblem(PROBLEM.X, PROBLEM.X @ [1.0, -2.0, 0.5, 1.0], 4)
    result = auto(problem, steps=1000)
    rate = stable_rate(problem, start(problem), GD, batch_size=8)
    assert result.optimizer.learning_rate > 1000 * rate
    constant = train(problem, start(problem), GradientDescent(rate), 1000, batch_size=8,
                     backend="reference")  # fmt: skip
    assert result.loss < 1e-6 * constant.loss


def noisy(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((60, 3)) * 10 ** rng.uniform(-0.5, 0.5, 3)
    return LpProblem(X, X @ rng.standard_normal(3) + rng.standard_normal(60), 2)


@pytest.mark.parametrize("arguments", [
    {"batch_size": 3}, {"batch_size": 6, "shuffle": "replacement"},
    {"batch_size": None, "label_noise": 2.0},
], ids=str)  # fmt: skip
def test_under_noise_it_falls_and_ends_as_low_as_the_best_constant_rate(arguments):
    """It neither grows without bound nor ends in a crawl at rates that a bad stretch led to."""
    ratios = []
    for seed in range(8):
        problem = noisy(seed)
        network, lowest = start(problem, depth=1), accel.optimum(problem).loss
        how = {"backend": "cpu", "seed": seed, **arguments}
        rate = stable_rate(problem, network, GD, batch_size=arguments["batch_size"], seed=seed,
                           shuffle=arguments.get("shuffle", "epoch"))  # fmt: skip
        constant = [train(problem, network, GradientDescent(rate * 10.0**-j), 1500, **how).loss
                    for j in range(4)]  # fmt: skip
        result = auto(problem, network, steps=1500, record="step_size", **how)
        assert result.history["step_size"].max() <= 4 * rate
        assert 1e-8 * rate < result.optimizer.learning_rate < rate / 4
        ratios.append((result.loss - lowest) / (min(constant) - lowest))
    assert math.prod(ratios) < 1


@pytest.mark.parametrize("arguments", [
    {"batch_size": 1, "shuffle": "replacement"}, {"batch_size": None, "label_noise": 1.0},
], ids=str)  # fmt: skip
def test_from_the_minimum_where_the_loss_rises_at_any_rate(arguments, caplog):
    """A stretch is taken back twice, and kept then: a crawl would be thirty times."""
    problem = noisy(0)
    network = start(problem, depth=1, init=[accel.optimum(problem).W], scale=None)
    with caplog.at_level(logging.INFO, "accel"):
        result = auto(problem, network, steps=300, **arguments)
    assert result.steps == 300
    for step in set(result.history.step.tolist()):
        assert caplog.text.count(f"back to step {step},") <= 2
    assert caplog.text.count("back to step 0,") == 2


def test_what_is_not_finite_is_taken_back_until_it_is(monkeypatch):
    from accel._runs import training

    rate = stable_rate(PROBLEM, start(depth=1), GD)
    monkeypatch.setattr(training, "stable_rate", lambda *model, **batches: 1e6 * rate)
    result = auto(network=start(depth=1), steps=200)
    assert result.status == "completed"
    assert result.loss < result.history.loss[0]


def test_it_goes_on_from_a_checkpoint_to_the_same_bits(in_a_folder_of_its_own):
    arguments = {"optimizer": accel.Momentum(1.0), "checkpoint": "run.npz", "label_noise": 0.1}
    arguments |= {"record_every": 1, "steps": 200}
    stopped = auto(**arguments, checkpoint_every=0, callback=lambda step, loss: step >= 60)
    assert stopped.status == "interrupted"
    result = auto(**arguments)
    whole = auto(**without(arguments, "checkpoint"))
    assert result.optimizer == whole.optimizer
    np.testing.assert_array_equal(result.network.params, whole.network.params)
    np.testing.assert_array_equal(result.history.loss, whole.history.loss)
    assert replace(whole.optimizer, learning_rate=1.0) == accel.Momentum(1.0)


def without(arguments, name):
    return {key: value for key, value in arguments.items() if key != name}
