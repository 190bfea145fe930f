"""``sweep`` trains every model as ``train`` would, also after other models have ended.

To the bit, but for rounding where data have one output, and are large or a Gram matrix: a run of
one model takes another pass over them. To the bit in any company of at least one other model.
"""

import math

import numpy as np
import pytest

import accel
from accel import LinearNetwork, sweep, train
from accel._runs import run
from accel.kernels.cpu.processor import vector_bytes

from ..problems import BACKENDS, PROBLEM, make_problem, start

RATES = [1e-3, 2e-3, 5.0, 0.01, 1e3]


def rates(problem=PROBLEM, **network):
    return [(start(problem, **network), accel.GradientDescent(rate)) for rate in RATES]


def mixed(problem):
    """Models of many depths, widths, starts and rules."""
    W = start(problem, 3).end_to_end()
    return [
        (start(problem, 1), accel.GradientDescent(0.05)),
        (start(problem, 2, width=7, seed=3), accel.Momentum(0.01, weight_decay=0.1)),
        (start(problem, 4), accel.Adam(0.01)),
        (start(problem, 2, init="near_zero"), accel.AdaDelta()),
        (LinearNetwork.for_problem(problem, 1, init=[W]), accel.EndToEnd(0.02, 3)),
        (start(problem, 2), accel.AdaGrad(0.1)),
        (start(problem, 3), accel.RMSProp(0.01)),
        (start(problem, 2), accel.Nesterov(0.01)),
        (start(problem, 3, seed=5), accel.GroupRMSProp(0.01)),
        (start(problem, 2, width=5), accel.GroupRMSProp(0.01, scale="factor")),
    ]


def assert_same(ours, theirs, exact=True):
    compare = np.testing.assert_array_equal if exact else np.testing.assert_allclose
    bound = {} if exact else {"rtol": 1e-10, "atol": 1e-12}
    assert (ours.status, ours.steps, ours.diverged_at) == (
        theirs.status, theirs.steps, theirs.diverged_at
    )  # fmt: skip
    compare(ours.network.params, theirs.network.params, **bound)
    np.testing.assert_array_equal(ours.history.step, theirs.history.step)
    for name in ("loss", "gradient_norm", "weight_norm"):
        compare(getattr(ours.history, name), getattr(theirs.history, name), **bound)
    assert ours.optimizer == theirs.optimizer
    assert ours.network.widths == theirs.network.widths


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "shape",
    [{}, {"k": 3}, {"p": 2}, {"p": 2, "d": 17}, {"p": 2.5}, {"n": 3000, "d": 33}, {"dtype": "f4"}],
)
def test_each_is_as_by_train(shape, backend):
    problem = make_problem(**shape)
    # One map reads half of X'X: in the order of a product with all of it if a row is one vector.
    another_pass = problem.n >= 3000 or (problem.p == 2 and 8 * problem.d > vector_bytes())
    models = mixed(problem)
    together = sweep(problem, models, 150, record_every=20, backend=backend, threads=2)
    assert together.status == "completed"
    assert len(together) == len(models)
    for result, (network, optimizer) in zip(together, models, strict=True):
        alone = train(problem, network, optimizer, 150, record_every=20, backend=backend, threads=2)
        assert_same(result, alone, exact=backend == "reference" or not another_pass)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [{}, {"n": 3000, "d": 33}, {"n": 3000, "k": 3, "dtype": "f4"}])
def test_company_and_place_change_no_bit(shape, backend):
    problem = make_problem(**shape)
    models = mixed(problem)
    together = sweep(problem, models, 100, record_every=20, backend=backend, threads=2)
    for chosen in ([0, 5], [7, 2, 4], [6, 3, 1, 0, 2]):
        company = [models[m] for m in chosen]
        others = sweep(problem, company, 100, record_every=20, backend=backend, threads=2)
        for m, result in zip(chosen, others, strict=True):
            assert_same(result, together[m])


def test_one_model_is_as_by_train():
    problem = make_problem(n=3000, d=33)
    for network, optimizer in mixed(problem):
        (one,) = sweep(problem, [(network, optimizer)], 40, record_every=20)
        assert_same(one, train(problem, network, optimizer, 40, record_every=20))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("chunk_seconds", [0.1, 1e-9])
def test_diverged_models_go_back_to_their_last_finite_iterate(backend, chunk_seconds, monkeypatch):
    monkeypatch.setattr(run, "_CHUNK_SECONDS", chunk_seconds)
    models = rates(init="near_zero", scale=0.5)
    together = sweep(PROBLEM, models, 300, backend=backend)
    assert [result.status for result in together] == [
        "completed", "completed", "diverged", "completed", "diverged"
    ]  # fmt: skip
    for result, (network, optimizer) in zip(together, models, strict=True):
        assert_same(result, train(PROBLEM, network, optimizer, 300, backend=backend))
    assert together.best is min(
        (result for result in together if result.status == "completed"), key=lambda r: r.loss
    )


def test_divergence_after_the_very_last_update():
    network, optimizer = rates(init="near_zero", scale=0.5)[2]
    at = train(PROBLEM, network, optimizer, 300).diverged_at
    both = sweep(PROBLEM, [(network, optimizer), (network, accel.GradientDescent(0.01))], at)
    assert [result.status for result in both] == ["diverged", "completed"]
    assert (both[0].steps, both[0].diverged_at) == (at - 1, at)


@pytest.mark.parametrize("backend", BACKENDS)
def test_models_stop_at_the_target_one_by_one(backend):
    full = sweep(
        PROBLEM, rates(init="near_zero", scale=0.5)[:2], 400, record_every=1, backend=backend
    )
    goal = 0.7 * full[0].history.loss[0]
    both = sweep(PROBLEM, rates(init="near_zero", scale=0.5)[:2], 400, target=goal, backend=backend)
    firsts = [int(np.argmax(result.history.loss <= goal)) for result in full]
    assert firsts[1] < firsts[0] or firsts[0] == 0
    for result, whole in zip(both, full, strict=True):
        reached = bool((whole.history.loss <= goal).any())
        assert result.status == ("target" if reached else "completed")
        if reached:
            assert result.steps == int(np.argmax(whole.history.loss <= goal))
            assert result.loss <= goal


@pytest.mark.parametrize("backend", BACKENDS)
def test_callback_sees_every_model_and_stops(backend):
    seen = []

    def callback(step, losses):
        seen.append((step, losses.copy()))
        return step >= 50

    models = rates(init="near_zero", scale=0.5)
    result = sweep(PROBLEM, models, 10**7, callback=callback, backend=backend)
    assert result.status == "interrupted"
    step, losses = seen[-1]
    assert 50 <= step < 10**7
    assert losses.shape == (5,)
    assert np.isnan(losses[[2, 4]]).all()
    assert np.isfinite(losses[[0, 1, 3]]).all()
    assert [r.status for r in result] == [
        "interrupted", "interrupted", "diverged", "interrupted", "diverged"
    ]  # fmt: skip
    assert result[0].steps == result[1].steps > 50 or result[0].steps >= 50


def test_seconds_are_those_until_a_model_ended():
    result = sweep(PROBLEM, rates(init="near_zero", scale=0.5), 50_000)
    assert result[2].seconds < result[0].seconds <= result.seconds
    assert result[0].history.seconds[-1] == result[0].seconds


def test_one_model_and_the_same_model_twice():
    model = rates()[1]
    (one,) = sweep(PROBLEM, [model], 40)
    two = sweep(PROBLEM, [model, model], 40)
    assert_same(two[0], one)
    assert_same(two[1], one)


def test_to_pandas():
    table = sweep(PROBLEM, mixed(PROBLEM), 10).to_pandas()
    assert list(table.depth) == [1, 2, 4, 2, 3, 2, 3, 2, 3, 2]
    assert list(table.optimizer)[:3] == ["gd", "momentum", "adam"]
    assert (table.steps == 10).all()
    assert table.loss.notna().all()


def test_repr_tells_how_many_ended_how():
    text = repr(sweep(PROBLEM, rates(init="near_zero", scale=0.5), 100))
    assert "3 completed, 2 diverged" in text


@pytest.mark.parametrize(
    ("models", "error", "words"),
    [
        ([], ValueError, "models must not be empty"),
        (None, TypeError, "models must be a sequence"),
        ([start()], TypeError, r"models\[0\] must be a pair"),
        ([rates()[0], (start(), 0.1)], TypeError, r"models\[1\]: optimizer must be"),
        ([(start(), accel.EndToEnd(0.1, 2))], ValueError, r"models\[0\]: EndToEnd needs"),
        (
            [(start(make_problem(d=5)), accel.Adam())],
            ValueError,
            r"models\[0\]: network must map d = 4",
        ),
    ],
)
def test_bad_models(models, error, words):
    with pytest.raises(error, match=words):
        sweep(PROBLEM, models, 10)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"steps": 0}, ValueError),
        ({"record_every": 0}, ValueError),
        ({"tol": -1}, ValueError),
        ({"target": math.nan}, ValueError),
        ({"callback": 3}, TypeError),
        ({"backend": "cuda"}, ValueError),
        ({"checkpoint": 3}, TypeError),
    ],
)
def test_bad_arguments(arguments, error):
    with pytest.raises(error, match=next(iter(arguments))):
        sweep(PROBLEM, rates(), **{"steps": 10, **arguments})
