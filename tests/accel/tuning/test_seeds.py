"""``grid_search`` where steps have batches or noise: every rate with several seeds."""

import math
from dataclasses import replace

import numpy as np
import pytest

import accel
from accel import GradientDescent, LabelNoise, Langevin, grid_search, sweep, train

from ..problems import PROBLEM, start

DESCENT = GradientDescent(1.0)
NETWORK = start(init="balanced", scale=0.3, width=2)
RATES = [1e-3, 4e-3, 1.6e-2]
BATCHES = {"batch_size": 8, "backend": "reference"}


def search(optimizer=DESCENT, steps=40, **arguments):
    given = {"learning_rates": RATES, "refine": 0, **BATCHES, **arguments}
    return grid_search(PROBLEM, NETWORK, optimizer, steps, **given)


def ended(result):
    return math.inf if result.status == "diverged" else result.loss


@pytest.mark.parametrize("arguments", [
    {}, {"shuffle": "replacement", "seed": 5}, {"label_noise": LabelNoise(0.3, "sign")},
    {"batch_size": None, "label_noise": 0.5},
], ids=str)  # fmt: skip
def test_it_is_a_sweep_for_every_seed(arguments):
    found = search(seeds=3, **arguments)
    first, given = arguments.get("seed", 0), BATCHES | arguments
    rates = [runs[0].optimizer.learning_rate for runs in found.runs]
    models = [(NETWORK, GradientDescent(rate)) for rate in rates]
    swept = [sweep(PROBLEM, models, 40, **given | {"seed": first + i}) for i in range(3)]
    losses = np.array([[ended(result) for result in results] for results in swept]).T
    np.testing.assert_array_equal(found.losses, losses)
    kept = np.isfinite(losses).all(axis=1)
    assert sum(kept) >= len(RATES)
    assert all(len(set(row)) == 3 for row in losses[kept])
    np.testing.assert_allclose(found.loss_mean, losses.mean(axis=1))
    np.testing.assert_allclose(found.loss_std[kept], losses[kept].std(axis=1, ddof=1))
    best = int(np.argmin(losses.mean(axis=1)))
    assert found.learning_rate == rates[best]
    for result, same in zip(found.results, swept[0], strict=True):
        np.testing.assert_array_equal(result.network.params, same.network.params)
    assert found.best is found.results[best]
    assert found.seeds == 3


def test_one_seed_is_the_run_that_train_makes():
    found = search(seed=3)
    assert found.seeds == 1
    alone = train(PROBLEM, NETWORK, found.best.optimizer, 40, **BATCHES, seed=3)
    np.testing.assert_allclose(alone.network.params, found.best.network.params, rtol=1e-12)
    assert found.loss_mean.tolist() == [ended(result) for result in found.results]
    assert np.isnan(found.loss_std).all()
    assert "loss_std" not in repr(found)


def test_refining_runs_all_seeds():
    found = search(seeds=2, refine=1)
    assert len(found.runs) > len(RATES)
    assert {len(runs) for runs in found.runs} == {2}
    assert not np.isnan(found.losses).any()
    assert found.loss_mean.min() == found.loss_mean[found.results.index(found.best)]


def test_a_rate_of_which_one_run_diverges_does_not_count():
    """With noise this large some seeds are thrown out at rates that others survive."""
    rates = np.geomspace(0.01, 0.05, 9)
    found = search(learning_rates=rates, seeds=4, batch_size=2, shuffle="replacement")
    lost = np.isinf(found.losses)
    assert any(0 < count < 4 for count in lost.sum(axis=1))
    assert np.isinf(found.loss_mean).tolist() == lost.any(axis=1).tolist()
    assert np.isnan(found.loss_std).tolist() == lost.any(axis=1).tolist()
    place = found.results.index(found.best)
    assert found.loss_mean[place] == found.loss_mean.min() < math.inf
    assert np.min(found.losses[lost.any(axis=1)]) < math.inf


def test_the_fastest_to_the_target_in_the_mean():
    """Of the rates that reach it with every seed; a rate that fails with one comes after."""
    found = search(learning_rates=np.geomspace(1e-3, 0.05, 9), steps=150, seeds=3, target=0.5,
                   batch_size=4, record_every=1)  # fmt: skip
    reached = np.array([[r.status == "target" for r in runs] for runs in found.runs])
    steps = np.array([[r.steps for r in runs] for runs in found.runs]).mean(axis=1)
    assert any(0 < count < 3 for count in reached.sum(axis=1))
    assert reached.all(axis=1).sum() > 1
    best = found.results.index(found.best)
    assert steps[best] == steps[reached.all(axis=1)].min()
    assert steps[best] > np.min([r.steps for runs in found.runs for r in runs if r.status ==
                                 "target"])  # fmt: skip


def test_it_tells_mean_and_spread():
    found = search(seeds=3)
    place = found.results.index(found.best)
    assert f"loss_mean={found.loss_mean[place]:.6g}" in repr(found)
    assert f"loss_std={found.loss_std[place]:.2g}, seeds=3" in repr(found)
    pytest.importorskip("pandas")
    table = found.to_pandas()
    np.testing.assert_array_equal(table["loss_mean"], found.loss_mean)
    np.testing.assert_array_equal(table["loss_std"], found.loss_std)
    assert table["seeds"].tolist() == [3] * len(found.runs)
    assert table["steps_mean"].iloc[place] == 40
    assert table["loss"].tolist() == [result.loss for result in found.results]
    lost = search(learning_rates=[0.03, 100.0], seeds=2).to_pandas()
    assert lost["status"].iloc[-1] == "diverged"
    assert lost["loss_mean"].iloc[-1] == np.inf


def test_nothing_changes_in_the_table_of_one_seed():
    pytest.importorskip("pandas")
    table = search().to_pandas()
    assert table.columns.tolist() == sweep(
        PROBLEM, [(NETWORK, DESCENT)], 1, backend="reference"
    ).to_pandas().columns.tolist()  # fmt: skip


@pytest.mark.parametrize("batch_size", [None, 8])
def test_chains_of_langevin_have_seeds_of_their_own(batch_size):
    rule = Langevin(1.0, 0.01, seed=4)
    found = search(rule, seeds=3, batch_size=batch_size, learning_rates=[4e-3])
    assert [result.optimizer.seed for result in found.runs[0]] == [4, 5, 6]
    for i, result in enumerate(found.runs[0]):
        own = replace(result.optimizer, seed=4 + i)
        same = train(PROBLEM, NETWORK, own, 40, batch_size=batch_size, seed=i, backend="reference")
        np.testing.assert_allclose(result.network.params, same.network.params, rtol=1e-12)
    assert len(set(found.losses[0])) == 3


def test_progress_says_which_round_and_which_seed(capfd):
    search(seeds=2, refine=1, record="balancedness", progress=True)
    ends = [line for line in capfd.readouterr().err.splitlines() if "step 40 of 40, loss" in line]
    begun = [line.split(": step")[0].removeprefix("accel: ") for line in ends]
    assert begun[:2] == ["round 1, seed 1 of 2", "round 1, seed 2 of 2"]
    assert begun[-3:-1] == [f"round {len(begun) // 2}, seed {number} of 2" for number in (1, 2)]
    assert begun[-1] == "the best rate once more"
    assert len(set(begun)) == len(begun) >= 5
    search(progress=True)
    assert "accel: round 1: step 40 of 40, loss" in capfd.readouterr().err


def test_what_is_recorded_is_of_the_first_seed():
    found = search(seeds=2, record="balancedness")
    plain = search(seeds=2)
    assert "balancedness" in found.best.history.recorded
    np.testing.assert_array_equal(found.best.network.params, plain.best.network.params)
    np.testing.assert_array_equal(found.losses, plain.losses)


def test_ctrl_c_between_two_seeds(monkeypatch):
    from accel._runs import driver

    calls, drive = [], driver._drive

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 4:  # the second seed of the second round
            raise KeyboardInterrupt
        return drive(*arguments)

    monkeypatch.setattr(driver, "_drive", interrupted)
    found = search(seeds=3, refine=2, learning_rates=[4e-3, 8e-3, 1.6e-2])
    assert found.interrupted
    assert len(calls) == 4
    made = np.array([len(runs) for runs in found.runs])
    assert sorted(set(made.tolist())) == [1, 3]
    np.testing.assert_array_equal(np.isnan(found.losses).sum(axis=1), 3 - made)
    assert np.isfinite(found.loss_mean).all()
    assert np.isnan(found.loss_std).tolist() == (made == 1).tolist()


@pytest.mark.parametrize(("arguments", "error", "words"), [
    ({"seeds": 0}, ValueError, "seeds must be >= 1 and <= 10000, got 0"),
    ({"seeds": 2.0}, TypeError, "seeds must be an integer, got 2.0"),
    ({"seeds": 2, "batch_size": None}, ValueError, "seeds must be 1 where nothing is random"),
    ({"seeds": 2, "shuffle": "none"}, ValueError, "seeds must be 1 where nothing is random"),
    ({"seeds": 2, "batch_size": 40}, ValueError, "seeds must be 1 where nothing is random"),
    ({"seeds": 2, "batch_size": None, "optimizer": Langevin(1.0, 0.0)}, ValueError,
     "seeds must be 1 where nothing is random"),
    ({"seeds": 2, "halving": 3}, ValueError, "halving is for one seed.*got seeds = 2"),
    ({"seeds": 2, "seed": 2**63 - 1}, ValueError, "seed must be .*got 9223372036854775808"),
    ({"batch_size": 41}, ValueError, "batch_size must be >= 1 and <= 40, got 41"),
    ({"shuffle": "epochs"}, ValueError, "shuffle must be one of .*did you mean 'epoch'"),
    ({"label_noise": -1}, ValueError, "label_noise must be .*got -1"),
])  # fmt: skip
def test_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        search(**arguments)


def test_the_seeds_of_all_rows_drawn_with_replacement_differ():
    found = search(seeds=2, batch_size=40, shuffle="replacement", learning_rates=[4e-3])
    assert found.losses[0, 0] != found.losses[0, 1]
    assert accel.GridSearch is type(found)
