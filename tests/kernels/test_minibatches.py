"""Runs with batches and noise on the labels, against the same run written out in plain NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.kernels.reference import entries, philox
from accel.kernels.reference.batches import rows, steps_per_epoch
from accel.kernels.specs import (
    CONVERGED,
    DIVERGED,
    END_TO_END,
    GRADIENT_DESCENT,
    LABELS,
    RUNNING,
    STATE_SLOTS,
    TARGET,
    Batches,
    Entrywise,
    Loss,
    ModelSpec,
    Rule,
)

from .runs import RULES, Single, assert_cuts_do_not_show, by_definition, for_rule, moved, problem

#: Slow enough for batches of one row.
PLAIN = Rule(GRADIENT_DESCENT, (0.002, 0.0, 0.0, 0.0, 0.0))
#: For one map, for several, for many outputs, and measurements of a matrix.
SHAPES = {
    "one": {"hidden": (5,)},
    "several": {"k": 3, "hidden": (5,)},
    "wide": {"k": 21, "n": 60, "hidden": (19,)},
    "measurements": {"form": "measurements", "k": 3, "d": 6, "hidden": (4,)},
}
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
HOW = {
    "epochs whose last batch is smaller": Batches(16, "epoch", 3),
    "single rows": Batches(1, "epoch", 3),
    "replacement": Batches(25, "replacement", 4),
    "in order": Batches(7, "none"),
    "Gaussian labels": Batches(16, "epoch", 5, 0.3),
    "signs, all rows": Batches(60, "none", 6, 0.2, True),
}
each_how = pytest.mark.parametrize("batches", HOW.values(), ids=HOW)


def labels(case, batches, step):
    """The rows of a step, and their labels."""
    own = rows(len(case.X), batches.size, batches.shuffle, batches.seed, step)
    make = philox.signs if batches.signs else philox.gaussians
    fresh = make(0, case.Y.size, LABELS, step, batches.seed).reshape(case.Y.shape)
    return own, (case.Y + batches.noise * fresh)[own].astype(case.Y.dtype)


def evaluated(plain, X, Y, W, loss):
    if loss.form == "measurements":
        return entries.measured_loss_and_gradient(X, Y, W, loss)
    return by_definition(plain, X, Y, W, loss)


def written_out(plain, case, rule, batches, steps):
    """Losses of all rows and of the batch at steps 0 ... steps - 1, and the last parameters."""
    X, Y, loss, widths, params = case
    params, record = params.copy(), []
    state = np.zeros((STATE_SLOTS[rule.kind], params.size), params.dtype)
    for step in range(steps):
        W = plain.factor_chain.end_to_end(params, widths)
        own, targets = labels(case, batches, step)
        value, G = evaluated(plain, X[own], targets, W, loss)
        record.append((evaluated(plain, X, Y, W, loss)[0], value))
        params = moved(plain, widths, rule, params, state, (W, G), step)
    return np.array(record), params


def assert_same_run(plain, loop, case, rule, batches, steps):
    assert loop.advance(steps, record_every=1) == RUNNING
    record, params = written_out(plain, case, rule, batches, steps)
    tolerance = 1e-4 if case.X.dtype == np.float32 else 1e-10
    taken, history = loop.loop.take_history()
    np.testing.assert_array_equal(taken, np.arange(steps))
    np.testing.assert_allclose(history[:, 0, [0, 3]], record, rtol=tolerance, atol=tolerance)
    scale = np.max(abs(params))
    np.testing.assert_allclose(loop.params, params, rtol=0, atol=tolerance * scale)
    assert np.max(abs(params - case.params)) > 1e-6 * scale  # it went somewhere


@each_shape
@each_how
def test_a_run_is_the_plain_loop_with_the_same_rows(kernels, plain, shape, batches):
    case = problem(**shape)
    with Single(kernels.loop, *case, PLAIN, 1, batches) as loop:
        assert_same_run(plain, loop, case, PLAIN, batches, 30)


@pytest.mark.parametrize("name", [name for name in RULES if name != "gradient descent"])
@pytest.mark.parametrize("k", [1, 21])
def test_every_rule(kernels, plain, name, k):
    case, batches = for_rule(name, k=k, n=60, hidden=(5,)), Batches(16, "epoch", 1)
    kind, (rate, *rest), _ = RULES[name]
    rule = Rule(kind, (rate / 100 if kind == END_TO_END else rate, *rest))
    with Single(kernels.loop, *case, rule, 1, batches) as loop:
        assert_same_run(plain, loop, case, rule, batches, 12)


def test_float32_and_other_losses(kernels, plain):
    batches = Batches(25, "epoch", 2)
    case = problem(dtype=np.float32)
    with Single(kernels.loop, *case, PLAIN, 1, batches) as loop:
        assert_same_run(plain, loop, case, PLAIN, batches, 12)
    case = problem(n=60)
    case = case._replace(Y=np.sign(case.Y), loss=Loss(0.0, 1.0, kind="logistic"))
    with Single(kernels.loop, *case, PLAIN, 1, batches) as loop:
        assert_same_run(plain, loop, case, PLAIN, batches, 12)


@pytest.mark.slow
def test_coupled_outputs_and_entrywise_maps(kernels, plain):
    batches, case = Batches(25, "epoch", 2), problem(n=60, k=3)
    classes = np.eye(3)[np.argmax(case.Y, axis=1)]
    case = case._replace(Y=classes, loss=Loss(0.0, 1.0, kind="cross-entropy"))
    with Single(kernels.loop, *case, PLAIN, 1, batches) as loop:
        assert_same_run(plain, loop, case, PLAIN, batches, 12)
    case = problem()
    form = Entrywise("power-difference", 2)
    params = np.random.default_rng(0).standard_normal(2 * 17)
    models = [ModelSpec((17, 2), params, PLAIN, form)]
    ours, theirs = (
        module.loop.TrainingLoop(case.X, case.Y, case.loss, models, 1, batches)
        for module in (kernels, plain)
    )
    for loop in (ours, theirs):
        loop.advance(12)
    np.testing.assert_allclose(ours.params(0), theirs.params(0), rtol=1e-10, atol=1e-10)


@each_shape
def test_all_rows_in_order_are_the_run_without_batches(kernels, shape):
    case = problem(**shape)
    with (
        Single(kernels.loop, *case, PLAIN, 1, Batches(len(case.X), "epoch", 9)) as batches,
        Single(kernels.loop, *case, PLAIN) as plain,
    ):
        for loop in (batches, plain):
            loop.advance(20, record_every=4)
        ours, theirs = (loop.loop.take_history() for loop in (batches, plain))
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_allclose(ours[1][:, :, :3], theirs[1], rtol=1e-11)
        np.testing.assert_allclose(ours[1][:, :, 3], ours[1][:, :, 0], rtol=1e-11)
        np.testing.assert_allclose(batches.params, plain.params, rtol=1e-10, atol=1e-12)


@each_shape
def test_batches_of_an_epoch_have_the_mean_loss_of_all(kernels, shape):
    case, still = problem(**shape), PLAIN._replace(hyper=(0.0,) * 5)
    size = 12 if len(case.X) == 60 else 29  # both divide n
    with Single(kernels.loop, *case, still, 1, Batches(size, "epoch", 8)) as loop:
        epoch = steps_per_epoch(len(case.X), size)
        loop.advance(3 * epoch, record_every=1)
        losses = loop.loop.take_history()[1][:, 0, 3].reshape(3, epoch)
        np.testing.assert_allclose(losses.mean(axis=1), loop.evaluate()[1], rtol=1e-12)
        assert len(np.unique(losses)) == losses.size  # every epoch has batches of its own


@each_shape
@pytest.mark.parametrize("name", ["momentum", "group rmsprop"])
def test_cuts_do_not_show(kernels, shape, name):
    batches = Batches(16, "epoch", 3, 0.1)
    assert_cuts_do_not_show(kernels.loop, problem(**shape), RULES[name], batches)


def test_more_steps_than_there_is_room_for_rows(plain, compiled, monkeypatch):
    monkeypatch.setattr("accel.kernels.cpu.tape._ROWS", 64)
    case, batches = problem(), Batches(50, "epoch", 3)
    with Single(compiled.loop, *case, PLAIN, 1, batches) as loop:
        assert_same_run(plain, loop, case, PLAIN, batches, 100)


@pytest.mark.parametrize("shuffle", ["epoch", "none"])
@pytest.mark.parametrize(("n", "d", "k"), [(3000, 17, 1), (1500, 17, 3), (60, 17, 21)])
def test_teams(compiled, plain, many_ranks, monkeypatch, n, d, k, shuffle):
    monkeypatch.setattr("accel.kernels.cpu.loop._BYTES_PER_PART", 1)
    case = problem(n=n, d=d, k=k, hidden=(5,))
    batches = Batches(2 * n // 3, shuffle, 3, 0.1)
    with (
        Single(compiled.loop, *case, PLAIN, 5, batches) as team,
        Single(compiled.loop, *case, PLAIN, 5, batches) as again,
    ):
        assert_same_run(plain, team, case, PLAIN, batches, 7)
        again.advance(3)
        again.advance(4)
        np.testing.assert_array_equal(again.params, team.params)


def models_of(case, rates):
    kind, (_, *rest), _ = PLAIN
    return [ModelSpec(case.widths, case.params, Rule(kind, (rate, *rest))) for rate in rates]


@each_shape
@pytest.mark.parametrize("threads", [1, 3])
def test_a_model_fares_as_if_it_were_alone(kernels, many_ranks, shape, threads):
    case, batches = problem(**shape), Batches(16, "epoch", 3, 0.1)
    rates = (0.002, 1e9, 0.001, 0.005)
    data = case.X, case.Y, case.loss
    many = kernels.loop.TrainingLoop(*data, models_of(case, rates), threads, batches)
    few = kernels.loop.TrainingLoop(*data, models_of(case, rates[2:]), 1, batches)
    for loop in (many, few):
        loop.advance(40, record_every=8)
    assert many.statuses.tolist() == [RUNNING, DIVERGED, RUNNING, RUNNING]
    np.testing.assert_array_equal(many.active, [0, 2, 3])
    ours, theirs = many.take_history()[1][:, 2:], few.take_history()[1]
    np.testing.assert_array_equal(ours, theirs)
    for m in (0, 1):
        np.testing.assert_array_equal(many.params(m + 2), few.params(m))


@each_shape
def test_what_ends_a_run_is_the_loss_of_all_rows_where_it_is_recorded(kernels, shape):
    case, batches = problem(**shape), Batches(16, "epoch", 3)
    with Single(kernels.loop, *case, PLAIN, 1, batches) as loop:
        start = loop.snapshot()
        loop.advance(100, record_every=1)
        history = loop.loop.take_history()[1][:, 0]
        # A loss that all rows have between two records, at the next record, and not before.
        every = 10
        target = history[15, 0]
        first = next(s for s in range(0, 100, every) if history[s, 0] <= target)
        assert first > every
        loop.restore(start)
        assert loop.advance(100, record_every=every, target=target) == TARGET
        assert loop.steps[0] == first
        loop.loop.take_history()
        loop.restore(start)
        slope = history[50, 1]
        first = next(s for s in range(0, 100, every) if history[s, 1] <= slope)
        assert loop.advance(100, record_every=every, tol=slope) == CONVERGED
        assert loop.steps[0] == first
        loop.restore(start)
        assert loop.advance(60, tol=1e9, target=1e9) == RUNNING  # nothing is recorded
        assert loop.step == 60


def test_a_batch_that_overflows_ends_a_model(kernels):
    case = problem()
    X = case.X.copy()
    X[40] = 1e200
    batches = Batches(7, "none")  # row 40 is in batch 5
    with Single(kernels.loop, X, *case[1:], PLAIN, 1, batches) as loop:
        assert loop.advance(29) == DIVERGED
        assert loop.steps[0] == 5


@settings(max_examples=25, deadline=None)
@given(data=st.data(), shape=st.sampled_from(list(SHAPES)), threads=st.sampled_from([1, 2, 4]))
def test_random_runs(compiled, plain, data, shape, threads):
    case = problem(**{**SHAPES[shape], "n": data.draw(st.integers(1, 120), "n")})
    n = len(case.X)
    batches = Batches(
        data.draw(st.integers(1, n), "size"),
        data.draw(st.sampled_from(["epoch", "replacement", "none"]), "shuffle"),
        data.draw(st.integers(0, 2**63 - 1), "seed"),
        data.draw(st.sampled_from([0.0, 0.2]), "noise"),
        data.draw(st.booleans(), "signs"),
    )
    models = models_of(case, (1e-3, 2e-3))[: data.draw(st.integers(1, 2), "models")]
    ours, theirs = (
        module.loop.TrainingLoop(case.X, case.Y, case.loss, models, threads, batches)
        for module in (compiled, plain)
    )
    for loop in (ours, theirs):
        loop.advance(9, record_every=2)
    (ours_at, ours_are), (theirs_at, theirs_are) = ours.take_history(), theirs.take_history()
    np.testing.assert_array_equal(ours_at, theirs_at)
    np.testing.assert_allclose(ours_are, theirs_are, rtol=1e-9, atol=1e-9)
    for m in range(len(models)):
        np.testing.assert_allclose(ours.params(m), theirs.params(m), rtol=1e-9, atol=1e-9)
