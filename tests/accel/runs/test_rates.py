"""``stable_rate``, and ``train`` with ``learning_rate="auto"``."""

import itertools
import logging
import warnings
from dataclasses import replace

import numpy as np
import pytest

import accel
from accel import LinearNetwork, LpProblem, stable_rate, train
from accel._core.optimizers import by_name
from accel._runs import pacing, training
from accel._support.backends import resolve

from ..device import DeviceArray
from ..problems import PROBLEM, make_problem, start

GD = accel.GradientDescent(1.0)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("ACCEL_NUM_THREADS", "1")


def zeros(problem):
    return LinearNetwork.for_problem(problem, 1, scale=0.0)


def curvature(problem, W):
    """Return the largest eigenvalue of the Hessian at W, which is formed here."""
    kernels = resolve("reference").lp_loss
    outputs = zip(problem.Y.T, W, strict=True)
    hessians = (kernels.hessian(problem.X, y, w, problem.spec) for y, w in outputs)
    return max(np.linalg.eigvalsh(H)[-1] for H in hessians)


@pytest.mark.parametrize("arguments", [
    {}, {"method": "direct"}, {"scale": "1/p"}, {"k": 3}, {"d": 16}, {"d": 21}, {"dtype": "f4"},
    {"n": 3, "d": 20},
], ids=str)  # fmt: skip
def test_for_least_squares_it_is_one_over_the_largest_eigenvalue(arguments):
    problem = make_problem(p=2, **arguments)
    expected = 1 / curvature(problem, np.zeros((problem.k, problem.d)))
    for optimizer in (GD, accel.Momentum(7.0), accel.Nesterov(7.0), accel.EndToEnd(1.0, 1)):
        rate = stable_rate(problem, LinearNetwork.for_problem(problem, 1), optimizer)
        assert expected <= rate * (1 + 1e-4) <= 1.1 * expected


@pytest.mark.parametrize("p", [2.5, 4, 6])
@pytest.mark.parametrize("scale", [0.0, 0.01, 1.0, 10.0])
def test_it_is_below_one_over_the_curvature_at_the_start(p, scale):
    problem = make_problem(p=p)
    network = LinearNetwork.for_problem(problem, 1, scale=scale)
    expected = 1 / curvature(problem, network.end_to_end())
    assert stable_rate(problem, network, GD) <= 1.1 * expected


def test_units_change_it_as_they_should():
    for p, units in itertools.product((2, 4), (1e-6, 1e5)):
        plain = make_problem(p=p)
        scaled = LpProblem(units * plain.X, plain.Y, p)
        rates = [stable_rate(problem, zeros(problem), GD) for problem in (plain, scaled)]
        assert rates[0] == pytest.approx(rates[1] * units**2, rel=1e-3)


def test_the_loss_for_p_below_2_is_taken_for_that_with_2():
    rates = [stable_rate(make_problem(p=p), start(depth=2), GD) for p in (1, 1.5, 2)]
    assert rates[0] == rates[1] == rates[2]


def test_weight_decay_is_curvature_too():
    plain, decayed = (
        stable_rate(PROBLEM, start(depth=1), accel.GradientDescent(1.0, weight_decay=decay))
        for decay in (0.0, 5.0)
    )
    assert 1 / decayed == pytest.approx(1 / plain + 5)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("decay", [1.0, 10.0])
def test_the_end_to_end_rule_decays_by_n_times_the_decay(depth, decay):
    plain, decayed = (
        stable_rate(PROBLEM, start(depth=1), accel.EndToEnd(1.0, depth, weight_decay=value))
        for value in (0.0, decay)
    )
    assert 1 / decayed == pytest.approx(1 / plain + depth * decay)


@pytest.mark.parametrize("name", ["gd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop",
                                  "adam", "end-to-end", "group-rmsprop"])  # fmt: skip
@pytest.mark.parametrize("decay", [1.0, 30.0, 1e6])
def test_with_it_strong_decay_is_stable(name, decay):
    """Each step multiplies the weights by 1 - rate * decay, N * decay for the end-to-end rule."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 3))
    problem = LpProblem(X, 0.1 * X @ [1.0, 2.0, 3.0], 2)
    depth = {"depth": 8} if name == "end-to-end" else {}
    rule = by_name(name, 1.0, weight_decay=decay, **depth)
    network = start(problem, depth=1)
    rate = stable_rate(problem, network, rule)
    result = train(problem, network, replace(rule, learning_rate=rate), 300)
    assert result.status == "completed"
    assert result.loss <= problem.loss(np.zeros(3)) * (1 + 1e-6)


def test_where_the_curvature_overflows_no_rate_is_small_enough():
    problem = LpProblem(1e160 * PROBLEM.X, PROBLEM.Y, 4)
    assert stable_rate(problem, start(problem), GD) == np.finfo(float).tiny


@pytest.mark.parametrize("name", ["adagrad", "adadelta", "rmsprop", "group-rmsprop", "adam"])
def test_a_rule_that_rescales_the_gradient_has_a_usual_one(name):
    rates = {
        stable_rate(LpProblem(units * PROBLEM.X, PROBLEM.Y), start(), by_name(name, 1.0))
        for units in (1, 100)
    }
    assert len(rates) == 1
    assert 0.001 <= rates.pop() <= 1


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_nothing_to_learn(depth):
    for X, y in ((np.zeros((4, 3)), np.ones(4)), (np.eye(4)[:, :3], np.zeros(4))):
        problem = LpProblem(X, y)
        assert 0 < stable_rate(problem, start(problem, depth), GD) < np.inf


def test_a_start_too_large_for_floats_is_no_error():
    for p, dtype, scale in itertools.product((2, 4), ("f4", "f8"), (1e30, 1e100)):
        if dtype == "f8" or scale < 1e31:
            problem = make_problem(p=p, dtype=dtype)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                network = start(problem, depth=2, scale=scale**0.5)
                assert 0 < stable_rate(problem, network, GD) < np.inf


def test_the_same_bits_every_time_and_nothing_is_modified():
    network = start(depth=3)
    before = network.params.copy()
    assert stable_rate(PROBLEM, network, GD) == stable_rate(PROBLEM, network, replace(GD))
    np.testing.assert_array_equal(network.params, before)


def test_data_on_the_gpu(gpu_stand_in):
    for p in (2, 4):
        host = make_problem(p=p)
        problem = LpProblem(DeviceArray(host.X), DeviceArray(host.Y), p)
        rate = stable_rate(problem, start(), GD)
        assert rate == pytest.approx(stable_rate(host, start(), GD), rel=1e-6)


@pytest.mark.parametrize(("error", "match", "arguments"), [
    (TypeError, "problem", {"problem": None}),
    (TypeError, "optimizer .*'gd'", {"optimizer": "gd"}),
    (ValueError, r"d = 4 .*\(5, 1\)", {"network": LinearNetwork((5, 1))}),
])  # fmt: skip
def test_bad_input(error, match, arguments):
    with pytest.raises(error, match=match):
        stable_rate(**{"problem": PROBLEM, "network": start(), "optimizer": GD, **arguments})


def auto(problem=PROBLEM, network=None, optimizer=GD, steps=4000, **arguments):
    network = start(problem) if network is None else network
    return train(problem, network, optimizer, steps, learning_rate="auto", **arguments)


STARTS = {
    "near_zero": {"width": 1, "init": "near_zero", "scale": None},
    "balanced": {"width": 1, "init": "balanced", "scale": None},
    "identity": {"width": 4, "init": "identity", "scale": None},
    "orthogonal": {"width": 4, "scale": 1.0},
}


@pytest.mark.parametrize("p", [2, 4])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("init", STARTS)
def test_it_converges(p, depth, init):
    problem = make_problem(p=p)
    result = auto(problem, start(problem, depth, **STARTS[init]), steps=20_000)
    assert result.status == "completed"
    assert result.loss == pytest.approx(accel.optimum(problem).loss, rel=0.05)


@pytest.mark.parametrize("optimizer", [
    accel.Momentum(1.0), accel.Momentum(1.0, momentum=0.99), accel.Nesterov(1.0),
    accel.Nesterov(1.0, momentum=0.99), accel.Adam(1.0), accel.EndToEnd(1.0, 3),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_it_converges_with_other_rules(optimizer, dtype):
    problem = make_problem(p=3, k=2, dtype=dtype)
    result = auto(problem, start(problem, 1, scale=0.1), optimizer)
    assert result.loss == pytest.approx(accel.optimum(problem).loss, rel=1e-3)
    assert replace(result.optimizer, learning_rate=1.0) == optimizer


def test_it_begins_with_the_stable_rate(caplog):
    with caplog.at_level(logging.INFO, "accel"):
        result = auto(optimizer=accel.GradientDescent(1e9), steps=8)
    rate = stable_rate(PROBLEM, start(), GD)
    assert result.optimizer.learning_rate == rate
    assert f"learning rate {rate:.4g}" in caplog.text
    same = train(PROBLEM, start(), accel.GradientDescent(rate), 8)
    np.testing.assert_array_equal(result.network.params, same.network.params)


@pytest.mark.parametrize("steps", [5, 4000])
def test_it_is_lowered_where_the_loss_rises(monkeypatch, caplog, steps):
    """Either to infinity or, within five steps, to a larger loss than at the start."""
    rate = stable_rate(PROBLEM, start(depth=1), GD)
    monkeypatch.setattr(training, "stable_rate", lambda *model: 1024 * rate)
    with caplog.at_level(logging.INFO, "accel"):
        result = auto(network=start(depth=1), steps=steps)
    assert result.status == "completed"
    assert result.steps == steps
    assert result.loss < result.history.loss[0]
    assert result.history.step[-1] == steps
    assert np.all(np.diff(result.history.step) > 0)  # no records of stretches that were taken back
    assert np.all(np.diff(result.history.seconds) >= 0)
    if steps == 5:
        taken_back = caplog.text.count("back to step 0")
        assert taken_back >= 5
        assert result.optimizer.learning_rate == pytest.approx(1024 * rate / 3**taken_back)


def problem_drawn(seed):
    """A problem and a model of random size, p, depth and start, within usual ranges."""
    rng = np.random.default_rng(seed)
    p, depth, width = rng.choice([2, 3, 4, 5, 6, 8]), int(rng.integers(1, 5)), rng.integers(1, 6)
    n, d, k = rng.integers(10, 80), rng.integers(1, 9), rng.integers(1, 4)
    X = rng.standard_normal((n, d)) * 10 ** rng.uniform(-0.5, 0.5, d)
    Y = 10 ** rng.uniform(-1, 1) * X @ rng.standard_normal((d, k)) + rng.standard_normal((n, k))
    problem = LpProblem(X, Y, p)
    if rng.random() < 0.3:
        network = LinearNetwork.for_problem(problem, 1, scale=0.1, seed=seed)
        return problem, network, accel.EndToEnd(1.0, depth)
    init = ("near_zero", "identity", "orthogonal")[rng.integers(3)]
    network = LinearNetwork.for_problem(problem, depth, width, init=init, scale=0.5, seed=seed)
    return problem, network, GD


@pytest.mark.parametrize("seed", range(16))
def test_it_needs_at_most_four_times_the_steps_of_the_best_constant_rate(seed):
    """Where the curvature falls with the residuals, it needs far fewer steps."""
    problem, network, optimizer = problem_drawn(seed)
    best = accel.grid_search(problem, network, optimizer, 500, refine=3).best
    lowest = accel.optimum(problem).loss
    goal = max(best.loss, lowest + 1e-4 * (best.history.loss[0] - lowest))
    constant = train(problem, network, best.optimizer, 500, target=goal)
    assert constant.status == "target"
    result = auto(problem, network, optimizer, max(4 * constant.steps, 100), target=goal)
    assert result.status == "target"


@pytest.mark.parametrize("p", [1, 1.5])
def test_for_p_below_2_it_settles(p):
    """A constant rate circles the minimum."""
    problem = make_problem(p=p)
    lowest, rate = accel.optimum(problem).loss, stable_rate(problem, start(problem), GD)
    result = auto(problem, start(problem), steps=20_000)
    constant = train(problem, start(problem), accel.GradientDescent(rate), 20_000)
    assert result.loss == pytest.approx(lowest, rel=1e-3)
    assert result.loss - lowest < 0.1 * (constant.loss - lowest)


@pytest.mark.parametrize("optimizer", [
    GD, accel.Momentum(1.0), accel.Nesterov(1.0), accel.EndToEnd(1.0, 3),
], ids=str)  # fmt: skip
def test_with_decay_it_goes_by_loss_and_penalty(optimizer):
    """From a start at the minimum the loss alone rises. With momentum neither is judged."""
    problem, decay = make_problem(p=4, k=2), 0.1
    depth = 1 if isinstance(optimizer, accel.EndToEnd) else 2
    best = accel.optimum(problem)
    network = start(problem, depth, init=[best.W] if depth == 1 else [np.eye(4), best.W], width=4,
                    scale=None)  # fmt: skip
    rule = replace(optimizer, weight_decay=decay)
    result = auto(problem, network, rule, 20_000)
    assert result.loss > 1.01 * best.loss
    same = train(problem, network, replace(rule, learning_rate=0.003), 100_000)
    assert result.loss == pytest.approx(same.loss, rel=1e-4)


@pytest.mark.parametrize("k", [1, 3])
def test_with_decay_a_stretch_that_is_not_finite_is_taken_back(k):
    """The penalty of the end-to-end rule needs singular values, which do not exist then."""
    problem = make_problem(p=4, k=k)
    rule, network = accel.EndToEnd(1.0, 3, weight_decay=0.1), start(problem, depth=1, scale=1.0)
    pace = pacing.pace_of(problem, network, rule)
    for bad in (np.inf, np.nan):
        assert pace.penalty(np.full_like(network.params, bad)) == np.inf
    assert auto(problem, network, rule, 2000).status == "completed"


@pytest.mark.parametrize("optimizer", [GD, accel.Momentum(1.0), accel.Adam(1.0)], ids=str)
@pytest.mark.parametrize("stop_at", [1, 300, 2500])
def test_a_run_goes_on_from_its_checkpoint_to_the_same_bits(
    optimizer, stop_at, in_a_folder_of_its_own
):
    arguments = {"optimizer": optimizer, "steps": 3000, "checkpoint": "run.npz"}
    arguments["record_every"] = 1
    seen = []

    def callback(step, loss):
        seen.append(step)
        return step >= stop_at

    stopped = auto(**arguments, checkpoint_every=0, callback=callback)
    assert stopped.status == "interrupted"
    result = auto(**arguments)
    whole = auto(optimizer=optimizer, steps=3000, record_every=1)
    assert result.status == "completed"
    assert result.optimizer == whole.optimizer
    np.testing.assert_array_equal(result.network.params, whole.network.params)
    np.testing.assert_array_equal(result.history.step, whole.history.step)
    np.testing.assert_array_equal(result.history.loss, whole.history.loss)
    assert auto(**arguments).loss == result.loss


def test_a_checkpoint_of_a_constant_rate_is_of_another_run(in_a_folder_of_its_own):
    train(PROBLEM, start(), GD, 5, checkpoint="run.npz")
    with pytest.raises(ValueError, match=r"another run \(optimizers"):
        auto(steps=5, checkpoint="run.npz")


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_backends_agree(backend):
    """To the bit, as long as no stretch is judged within rounding errors."""
    result = auto(steps=200, backend=backend)
    assert result.loss == pytest.approx(auto(steps=200).loss, rel=1e-9)


def test_a_run_that_is_stopped_ends_no_higher_than_where_it_began(monkeypatch):
    """If the loss has risen by then, the stretch is taken back."""
    problem, calls = make_problem(p=2), []
    rate = 2.001 / curvature(problem, np.zeros((1, 4)))
    monkeypatch.setattr(training, "stable_rate", lambda *model: rate)
    monkeypatch.setattr(pacing, "_LEAST", 10**6)

    def callback(step, loss):
        calls.append(step)
        return loss > 100

    result = auto(problem, zeros(problem), steps=10**7, callback=callback)
    assert result.status == "interrupted"
    assert result.loss <= problem.loss(np.zeros(4))
    assert calls == sorted(calls)


def test_a_loss_that_is_infinite_from_the_start():
    """No rate would help, so none is tried."""
    problem = LpProblem(PROBLEM.X, 1e160 * PROBLEM.Y, 4)
    result = auto(problem, start(problem), steps=100)
    assert (result.status, result.diverged_at) == ("diverged", 0)


def test_a_loss_at_the_rounding_errors_is_no_divergence():
    """Where the data are interpolated already, the loss may double by rounding errors."""
    X = np.random.default_rng(0).standard_normal((3, 5))
    problem = LpProblem(X, X @ np.ones(5), p=2)
    network = LinearNetwork.for_problem(problem, 1, init=[np.ones((1, 5))])
    result = auto(problem, network, steps=50)
    assert result.optimizer.learning_rate >= stable_rate(problem, network, GD)
    assert result.loss < 1e-14


def test_without_it_the_optimizers_own_rate_counts():
    assert train(PROBLEM, start(), GD, 3).optimizer is GD


@pytest.mark.parametrize(("error", "match", "arguments"), [
    (TypeError, r"learning_rate .*\[0\.1\]", {"learning_rate": [0.1]}),
    (ValueError, "learning_rate .*'Auto'", {"learning_rate": "Auto"}),
])  # fmt: skip
def test_bad_arguments_of_train(error, match, arguments):
    with pytest.raises(error, match=match):
        train(PROBLEM, start(), GD, 3, **arguments)
