"""Runs, and sweeps, that go on with other limits, records and arguments, or from a copy."""

import copy
import pickle

import numpy as np
import pytest

import accel
from accel import LinearNetwork, LpProblem, sweep, train
from accel._runs import driver
from accel._runs.checks import Limits
from accel._runs.history import History

from ..problems import PROBLEM, start
from .test_continuing import MODELS, RULES, assert_one_run

RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 4))
EXACT = LpProblem(X, X @ RNG.standard_normal(4), 2)
NETWORK = LinearNetwork.for_problem(EXACT, 2)
HERE = {"backend": "reference"}


@pytest.mark.parametrize("limit", [{"target": 1e-24}, {"tol": 1e-20}])
@pytest.mark.parametrize("rule", [accel.Adam(0.05), accel.GradientDescent(0.01)])
def test_limits_for_which_the_method_has_not_the_digits_are_refused(rule, limit, tmp_path):
    first = train(EXACT, NETWORK, rule, 50, **HERE)
    assert first.method == "gram"
    loaded = accel.Result.load(first.save(tmp_path / "run.npz"))
    (name,) = limit
    for begun in (first, loaded):
        with pytest.raises(ValueError, match=rf"'gram', .*has not the digits: {name} = .*network"):
            train(EXACT, steps=50, start=begun, **limit)
    several = sweep(EXACT, [(NETWORK, rule), (NETWORK, accel.Momentum(0.01))], 50, **HERE)
    with pytest.raises(ValueError, match=rf"has not the digits: {name} = .*start\.network"):
        sweep(EXACT, steps=50, start=several, **limit)
    # What it has the digits for it goes on to, and a new run takes a method that has them.
    assert train(EXACT, steps=4950, start=first, target=1e-6).status == "target"
    assert train(EXACT, first.network, rule, 5, **limit, **HERE).method == "direct"


@pytest.mark.usefixtures("_always_worth_it")
def test_limits_for_which_the_spectral_method_has_not_the_digits():
    first = train(EXACT, NETWORK, accel.GradientDescent(0.01), 50, **HERE)
    assert first.method == "spectral"
    with pytest.raises(ValueError, match=r"'spectral', .*has not the digits: target = 1e-40"):
        train(EXACT, steps=50, start=first, target=1e-40)
    assert train(EXACT, steps=5000, start=first, target=1e-12).status == "target"


@pytest.mark.parametrize(
    ("status", "limits", "said"),
    [
        ("target", Limits(9, 1, 0.0, 1e-6), "target = 1e-06: the loss is 2e-06"),
        ("converged", Limits(9, 1, 1e-3, -np.inf), "tol = 0.001: the gradient norm is 0.002"),
    ],
)
def test_what_a_correction_shows_not_to_be_reached_is_not_said_to_be(status, limits, said, caplog):
    def ending(loss, size):
        columns = (
            np.array(values) for values in ([0, 5], [1.0, loss], [1.0, size], [0, 0], [0, 0])
        )
        return status, None, 5, 0.1, History(*columns)

    assert driver._true_ending(reached := ending(1e-7, 1e-4), "gram", limits) is reached
    assert not caplog.messages
    assert driver._true_ending(ending(2e-6, 2e-3), "gram", limits)[0] == "completed"
    assert said in caplog.text
    assert "method 'gram'" in caplog.text


@pytest.mark.parametrize("other", [{"record_every": 5}, {"target": 1.0}, {"tol": 1e-3}])
def test_a_start_that_is_in_the_checkpoint_goes_on_with_other_limits(other, tmp_path):
    path, rule = tmp_path / "run.npz", RULES["adam"]
    first = train(PROBLEM, start(), rule, 100, checkpoint=path, **HERE)
    last = train(PROBLEM, steps=100, start=first, checkpoint=path, **other)
    assert_one_run(last, train(PROBLEM, steps=100, start=first, **other))
    # The same call, killed or not, goes on from the file, which has made more steps.
    assert_one_run(train(PROBLEM, steps=100, start=first, checkpoint=path, **other), last)


BATCHES = {
    "batch_size": 8, "shuffle": "replacement", "seed": 5,
    "label_noise": accel.LabelNoise(0.1, "sign"),
}  # fmt: skip


@pytest.mark.parametrize("name", BATCHES)
def test_some_of_the_batch_arguments_given_once_more(name):
    first = train(PROBLEM, start(), RULES["momentum"], 20, **BATCHES, **HERE)
    last = train(PROBLEM, steps=20, start=first)
    assert_one_run(train(PROBLEM, steps=20, start=first, **{name: BATCHES[name]}), last)
    rest = {other: value for other, value in BATCHES.items() if other != name}
    assert_one_run(train(PROBLEM, steps=20, start=first, **rest), last)
    other = {"batch_size": 9, "shuffle": "none", "seed": 6, "label_noise": 0.2}[name]
    with pytest.raises(ValueError, match=r"start is of another run \(batches: .Batches"):
        train(PROBLEM, steps=20, start=first, **{name: other})


def test_noise_on_all_rows_goes_on_with_its_seed_given_once_more():
    first = train(PROBLEM, start(), RULES["gd"], 20, label_noise=0.1, seed=3, **HERE)
    last = train(PROBLEM, steps=20, start=first)
    for given in ({"seed": 3}, {"label_noise": 0.1}, {"label_noise": 0.1, "seed": 3}):
        assert_one_run(train(PROBLEM, steps=20, start=first, **given), last)


def by_size(step, network):
    return float(np.abs(network.params).max())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_of_a_sweep_goes_on(copied):
    arguments = {"record": ["stable_rank"], **HERE}
    first = sweep(PROBLEM, MODELS, 33, record_every=5, **arguments)
    again = copied(first)
    assert (again.status, again.seconds) == (first.status, first.seconds)
    last = sweep(PROBLEM, steps=40, start=first)
    for begun in (again, copied(again)):
        for ours, theirs in zip(sweep(PROBLEM, steps=40, start=begun), last, strict=True):
            assert_one_run(ours, theirs)
    for one, same in zip(again, first, strict=True):
        assert_one_run(one, same)
        if one.status != "diverged":
            alone = train(PROBLEM, steps=40, start=same)
            assert_one_run(train(PROBLEM, steps=40, start=one), alone)
            assert_one_run(train(PROBLEM, steps=40, start=copied(one)), alone)
    with pytest.raises(ValueError, match=r"start is of another run \(data"):
        sweep(LpProblem(PROBLEM.X, PROBLEM.Y + 1, 4), steps=40, start=again)


def test_a_copy_of_results_that_were_not_made_together():
    one, other = (sweep(PROBLEM, MODELS[:2], 9, **HERE) for _ in range(2))
    mixed = copy.deepcopy(accel.Sweep((one[0], other[1]), "completed", 0.0))
    for ours, theirs in zip(mixed, one, strict=True):
        assert_one_run(train(PROBLEM, steps=5, start=ours), train(PROBLEM, steps=5, start=theirs))
    with pytest.raises(ValueError, match="start must be as sweep returned it"):
        sweep(PROBLEM, steps=5, start=mixed)


def test_the_log_tells_of_an_interval_that_makes_many_records(caplog, tmp_path):
    path, rule = tmp_path / "run.npz", RULES["gd"]
    first = train(PROBLEM, start(), rule, 10, checkpoint=path, **HERE)

    def begin(steps, *model, **arguments):
        """Go on, but not for long: the log speaks first."""
        caplog.clear()
        train(PROBLEM, *model, steps=steps, callback=lambda *_: True, **arguments)
        return caplog.messages

    assert not begin(9000, start=first)
    assert not begin(20000, start=first, record_every=20)
    said = (
        "20010 records in 20010 steps: the run goes on with its record_every=1, pass "
        "record_every=21 for about as many as usual"
    )
    assert begin(20000, start=first) == [said]
    assert begin(20010, start(), rule, checkpoint=path, **HERE) == [said]
