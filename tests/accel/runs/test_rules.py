"""Optimisers by name, and the learning rate that ``train`` is given beside them."""

import numpy as np
import pytest

import accel
from accel import schedules, train
from accel._core.optimizers import OPTIMIZERS, USUAL_RATES, by_name

from ..problems import PROBLEM, start

VALUES = ("end-to-end", "langevin")  # they have a constant that none is usual for


def run(optimizer, **arguments):
    return train(PROBLEM, start(), optimizer, 30, backend="reference", **arguments)


def assert_same(ours, theirs):
    assert ours.optimizer == theirs.optimizer
    np.testing.assert_array_equal(ours.network.params, theirs.network.params)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in VALUES])
def test_a_name_stands_for_the_rule_with_its_usual_constants(name):
    assert_same(run(name, learning_rate=0.003), run(by_name(name, 0.003)))
    if name in USUAL_RATES:
        assert_same(run(name), run(by_name(name, USUAL_RATES[name])))
    else:
        assert_same(run(name), run(by_name(name, 1.0), learning_rate="auto"))
    assert_same(run(name, learning_rate="auto"), run(by_name(name, 7.0), learning_rate="auto"))


def test_other_spellings():
    assert_same(run("GradientDescent"), run("gd"))
    assert run("RMSProp").optimizer == accel.RMSProp(0.01)


@pytest.mark.parametrize("rate", [0.002, schedules.CosineDecay(0.002, 20)])
def test_a_rate_takes_the_place_of_the_rule_s_own(rate):
    for rule in (accel.Adam(0.5, beta1=0.7), accel.Momentum(0.5, weight_decay=0.1)):
        given = run(rule, learning_rate=rate)
        assert given.optimizer.learning_rate == rate
        assert_same(given, run(type(rule)(**(vars(rule) | {"learning_rate": rate}))))
    noisy = accel.Langevin(0.5, 0.1, seed=4)
    assert_same(run(noisy, learning_rate=rate), run(accel.Langevin(rate, 0.1, seed=4)))


def test_a_search_takes_names():
    arguments = {"learning_rates": [1e-3, 1e-2], "refine": 0, "backend": "reference"}
    named = accel.grid_search(PROBLEM, start(), "adam", 20, **arguments)
    given = accel.grid_search(PROBLEM, start(), accel.Adam(0.5), 20, **arguments)
    assert_same(named.best, given.best)
    with pytest.raises(TypeError, match="optimizer 'langevin' must be given as a value: lan"):
        accel.grid_search(PROBLEM, start(), "langevin", 20)
