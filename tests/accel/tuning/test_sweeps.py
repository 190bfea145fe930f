"""``grid_search``: that it finds what trying every rate finds, and says where it may not have."""

from dataclasses import replace

import numpy as np
import pytest

import accel
from accel import grid_search, sweep, train

from ..problems import PROBLEM, make_problem, start

DESCENT = accel.GradientDescent(1.0)
NETWORK = start(init="balanced", scale=0.3, width=2)


def test_the_best_is_the_lowest_survivor():
    rates = 10.0 ** np.arange(-4, 0.5, 0.25)
    outcome = grid_search(PROBLEM, NETWORK, DESCENT, 300, learning_rates=rates[::-1], refine=0)
    by_hand = [train(PROBLEM, NETWORK, accel.GradientDescent(rate), 300) for rate in rates]
    losses = [np.inf if r.status == "diverged" else r.loss for r in by_hand]
    best = int(np.argmin(losses))
    assert 0 < best < len(rates) - 1
    assert outcome.learning_rate == rates[best]
    assert not outcome.at_edge
    np.testing.assert_array_equal(outcome.best.network.params, by_hand[best].network.params)
    assert [r.optimizer.learning_rate for r in outcome.results] == rates.tolist()
    assert [r.status for r in outcome.results] == [r.status for r in by_hand]


def test_refining_looks_closer_and_only_improves():
    losses = []
    for refine in range(4):
        outcome = grid_search(PROBLEM, NETWORK, DESCENT, 300, refine=refine)
        losses.append(outcome.best.loss)
        rates = [r.optimizer.learning_rate for r in outcome.results]
        assert rates == sorted(set(rates))
        place = rates.index(outcome.learning_rate)
        # four a decade; every round halves the distance to both neighbours
        for near, far in ((place, place + 1), (place - 1, place)):
            assert rates[far] / rates[near] <= 10 ** (0.25 / 2**refine) * (1 + 1e-9)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("seed", [1, 2, 3, 5, 6, 11])
def test_no_much_better_rate_lies_between_two_that_were_tried(seed):
    """Just below the rates that diverge the loss has several narrow minima."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((40, 4))
    Y = X @ rng.standard_normal((4, 1)) + 0.1 * rng.standard_normal((40, 1))
    problem, rule = accel.LpProblem(X, Y, 6), accel.EndToEnd(1.0, 4)
    network = accel.LinearNetwork.for_problem(problem, 1, scale=0.1, seed=seed)
    outcome = grid_search(problem, network, rule, 200)
    rates = outcome.learning_rate * np.geomspace(10**-0.25, 10**0.25, 200)
    models = [(network, replace(rule, learning_rate=float(rate))) for rate in rates]
    assert outcome.best.loss <= 2 * sweep(problem, models, 200).best.loss


def test_the_fastest_to_the_target():
    goal = 0.05
    outcome = grid_search(PROBLEM, NETWORK, DESCENT, 2000, target=goal)
    assert outcome.best.status == "target"
    reached = [r for r in outcome.results if r.status == "target"]
    assert len(reached) > 3
    assert outcome.best.steps == min(r.steps for r in reached)
    assert outcome.best.loss <= goal


@pytest.mark.parametrize("low", [1e-7, 50.0])
def test_a_grid_in_the_wrong_place_is_continued(low):
    rates = [low, 2 * low, 4 * low]
    outcome = grid_search(PROBLEM, NETWORK, DESCENT, 100, learning_rates=rates, refine=0)
    tried = [r.optimizer.learning_rate for r in outcome.results]
    assert len(tried) > 3
    if low < 1:  # four times four more at a ratio of two: up to 65 536 times the rate
        assert tried[0] == low
        assert tried[-1] == pytest.approx(4 * low * 2**16)
    else:
        assert outcome.best.status == "completed"
        assert not outcome.at_edge


def test_one_rate_is_a_grid():
    outcome = grid_search(PROBLEM, NETWORK, DESCENT, 100, learning_rates=[0.01])
    assert not outcome.at_edge
    assert outcome.best.loss <= train(PROBLEM, NETWORK, accel.GradientDescent(0.01), 100).loss


def test_halving_drops_the_worst_and_keeps_the_rest_going():
    rates = 10.0 ** np.linspace(-4, -1.5, 9)
    full = grid_search(PROBLEM, NETWORK, DESCENT, 900, learning_rates=rates, refine=0)
    outcome = grid_search(PROBLEM, NETWORK, DESCENT, 900, learning_rates=rates, refine=0, halving=3)
    steps = sorted(r.steps for r in outcome.results[:9] if r.status == "dropped")
    assert steps == [100] * 6 + [300] * 2
    assert outcome.best.steps == 900
    ours = {r.optimizer.learning_rate: r for r in full.results}
    assert outcome.best.loss == ours[outcome.learning_rate].loss
    # Those that were dropped were behind at that step.
    at_100 = {
        rate: float(np.interp(100, r.history.step, r.history.loss)) for rate, r in ours.items()
    }
    dropped = [
        at_100[r.optimizer.learning_rate]
        for r in outcome.results
        if r.status == "dropped" and r.steps == 100
    ]
    kept = [at_100[r.optimizer.learning_rate] for r in outcome.results if r.steps > 100]
    assert min(dropped) >= max(kept)


def test_every_rule_and_the_default_grid():
    problem = make_problem(k=2)
    for rule in (accel.Adam(), accel.AdaGrad(), accel.Momentum(0.1, weight_decay=0.01)):
        outcome = grid_search(problem, start(problem), rule, 60, refine=1)
        assert outcome.best.status == "completed"
        assert outcome.best.optimizer == type(rule)(
            **{**vars(rule), "learning_rate": outcome.learning_rate}
        )
    assert "rates=" in repr(outcome)
    assert len(outcome.to_pandas()) == len(outcome.results)


@pytest.mark.parametrize(("p", "scale"), [(50, 1e7), (10, 1e40), (4, 1e160)])
@pytest.mark.parametrize("rule", [DESCENT, accel.Adam()], ids=["gd", "adam"])
def test_a_loss_that_overflows_is_a_search_that_diverges(p, scale, rule):
    """LAPACK has no eigenvalues of infinite matrices, which must not raise an error."""
    problem = accel.LpProblem(PROBLEM.X, scale * PROBLEM.Y, p)
    outcome = grid_search(problem, start(problem), rule, 20)
    assert {result.status for result in outcome.results} == {"diverged"}
    assert outcome.at_edge


def test_ctrl_c_returns_what_is_there(monkeypatch):
    from accel._runs import driver

    calls = []
    drive = driver._drive

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return drive(*arguments)

    monkeypatch.setattr(driver, "_drive", interrupted)
    outcome = grid_search(PROBLEM, NETWORK, DESCENT, 100, refine=5)
    assert outcome.interrupted
    assert len(calls) == 2
    assert outcome.best.status == "completed"


def test_same_rates_same_bits_as_a_sweep():
    rates = [1e-3, 3e-3, 1e-2]
    models = [(NETWORK, accel.GradientDescent(rate)) for rate in rates]
    by_sweep = {r.optimizer.learning_rate: r for r in sweep(PROBLEM, models, 50)}
    outcome = grid_search(PROBLEM, NETWORK, DESCENT, 50, learning_rates=rates, refine=0)
    for result in outcome.results:
        if (rate := result.optimizer.learning_rate) in by_sweep:
            np.testing.assert_array_equal(result.network.params, by_sweep[rate].network.params)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"learning_rates": []}, ValueError, "learning_rates must not be empty"),
        ({"learning_rates": 0.1}, TypeError, "learning_rates must be a sequence"),
        ({"learning_rates": [0.1, 0]}, ValueError, r"learning_rates\[1\] must be"),
        ({"learning_rates": ["a"]}, TypeError, r"learning_rates\[0\] must be"),
        ({"halving": 1}, ValueError, "halving"),
        ({"refine": -1}, ValueError, "refine"),
        ({"steps": 0}, ValueError, "steps"),
        ({"optimizer": 0.1}, TypeError, "optimizer"),
    ],
)
def test_bad_arguments(arguments, error, words):
    given = {"optimizer": DESCENT, "steps": 10, **arguments}
    with pytest.raises(error, match=words):
        grid_search(PROBLEM, NETWORK, **given)
