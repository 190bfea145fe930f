"""Runs with Langevin's noise: by every backend that has it, saved, resumed, recorded, swept."""

import numpy as np
import pytest

from accel import Langevin, Result, stable_rate, sweep, train
from accel._core.optimizers import GradientDescent

from ..problems import PROBLEM, start

RULE = Langevin(0.01, 0.2, seed=7)


def test_the_noise_of_a_seed():
    result = train(PROBLEM, start(), RULE, 20)
    assert result.backend == "cpu"
    same = train(PROBLEM, start(), RULE, 20, backend="reference")
    np.testing.assert_allclose(result.network.params, same.network.params, rtol=1e-11)
    assert same.history.loss == pytest.approx(result.history.loss, rel=1e-10)
    other = train(PROBLEM, start(), Langevin(0.01, 0.2, seed=8), 20)
    assert np.max(np.abs(other.network.params - result.network.params)) > 0.01


def test_at_temperature_0_it_is_gradient_descent():
    ends = [train(PROBLEM, start(), rule, 30).network.params.tobytes()
            for rule in (Langevin(0.01, 0), GradientDescent(0.01))]  # fmt: skip
    assert ends[0] == ends[1]


def test_it_goes_on_from_a_checkpoint(tmp_path):
    whole = train(PROBLEM, start(), RULE, 40)

    class Enough(Exception):
        pass

    def callback(step, loss):
        if step >= 20:
            raise Enough

    arguments = (PROBLEM, start(), RULE, 40)
    with pytest.raises(Enough):
        train(*arguments, callback=callback, record_every=5, checkpoint=tmp_path / "run.npz")
    again = train(*arguments, record_every=5, checkpoint=tmp_path / "run.npz")
    np.testing.assert_array_equal(again.network.params, whole.network.params)


def test_a_result_is_kept(tmp_path):
    result = train(PROBLEM, start(), RULE, 20, record="step_size")
    result.save(tmp_path / "result.npz")
    loaded = Result.load(tmp_path / "result.npz")
    assert loaded.optimizer == RULE
    assert type(loaded.optimizer.seed) is int
    assert np.all(loaded.history["step_size"] > 0)


def test_seeds_side_by_side():
    rules = [Langevin(0.01, 0.2, seed=seed) for seed in (7, 8)]
    both = sweep(PROBLEM, [(start(), rule) for rule in rules], 20)
    for m, rule in enumerate(rules):
        alone = train(PROBLEM, start(), rule, 20)
        np.testing.assert_allclose(both[m].network.params, alone.network.params, rtol=1e-11)


def test_its_stable_rate_is_that_of_descent():
    rates = [stable_rate(PROBLEM, start(), rule) for rule in (RULE, GradientDescent(1.0))]
    assert rates[0] == rates[1]
