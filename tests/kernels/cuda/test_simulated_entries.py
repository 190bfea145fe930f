"""Losses of the end-to-end matrix in the simulator: entries, and measurements; passes and runs."""

import tracemalloc

import numpy as np
import pytest

import accel
from accel.kernels.cuda import launch, needs
from accel.kernels.cuda import loop as cuda_loop
from accel.kernels.cuda.entries import pack_entries
from accel.kernels.cuda.losses import slope_scale
from accel.kernels.cuda.lp_loss import Pass
from accel.kernels.needs import Shape
from accel.kernels.reference import entries as plain
from accel.kernels.reference import loop as reference_loop
from accel.kernels.specs import DIVERGED, GRADIENT_DESCENT, RUNNING, Loss, ModelSpec, Rule

from ..runs import DTYPES, PLAIN, RULES, problem
from ..simulator import options
from .kinds import ALONE, KINDS, targets
from .ways import Way

#: What is seen: entries of a matrix, which some rows and columns may be without.
SEEN = {
    "some, often": (7, 5, 40), "few of a large one": (40, 30, 20), "one": (3, 2, 1),
    "a row": (1, 9, 6), "one place, always": (1, 1, 5),
}  # fmt: skip
LOSSES = {f"p = {p:g}": Loss(p, 0.5) for p in (1.0, 1.5, 2.0, 4.0)} | {n: KINDS[n] for n in ALONE}
#: How a run is laid out: a block a model, or all blocks.
WAYS = [Way("streaming"), Way("wide")]
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)


def observed(k, d, m, name="p = 2", dtype=np.float64):
    """Places, what was seen there, and the loss."""
    rng = np.random.default_rng(0)
    places = np.column_stack([rng.integers(0, size, m) for size in (k, d)])
    values = targets(rng, name, m, 1).astype(dtype)
    return places, values, LOSSES[name]._replace(form="entries")


def passed(places, values, loss, W):
    """Loss and gradient of each map W (models, k, d), of which the second is not in the run."""
    count, (k, d) = len(W), W.shape[1:]
    going = np.array([m != 1 for m in range(count)], np.int64)
    one = Pass(pack_entries(places, values, k, d), W.reshape(-1), loss, going)
    assert one.on_device
    assert one.form == "direct"
    one()
    gradients = slope_scale(loss, len(values)) * one.partials[0].reshape(W.shape)
    losses = one.losses.reshape(-1, count, k).sum(axis=(0, 2)) * loss.factor / len(values)
    return losses, gradients


# Passes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SEEN)
def test_a_pass_over_what_is_seen(shape, dtype):
    k, d, m = SEEN[shape]
    case = observed(k, d, m, dtype=dtype)
    W = np.random.default_rng(1).standard_normal((3, k, d)).astype(dtype)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    for _ in range(2):  # nothing is left of a pass before
        losses, gradients = passed(*case, W)
        for i in (0, 2):
            value, G = plain.loss_and_gradient(*case[:2], W[i], case[2])
            assert losses[i] == pytest.approx(value, rel=tolerance)
            np.testing.assert_allclose(gradients[i], G, rtol=tolerance, atol=tolerance)
            seen = np.zeros((k, d), bool)
            seen[tuple(case[0].T)] = True
            assert not gradients[i][~seen].any()
        assert not gradients[1].any()


@pytest.mark.parametrize("name", LOSSES)
def test_a_pass_of_every_loss(name):
    places, values, loss = observed(6, 5, 25, name)
    W = np.random.default_rng(1).standard_normal((1, 6, 5))
    losses, gradients = passed(places, values, loss, W)
    value, G = plain.loss_and_gradient(places, values, W[0], loss)
    assert losses[0] == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(gradients[0], G, rtol=1e-12, atol=1e-14)


def test_a_pass_over_all_entries_in_any_order(processors):
    """More places than all threads at once: blocks take several turns."""
    processors(1)
    k, d = 21, 29
    places = np.argwhere(np.ones((k, d)))
    M, W = np.random.default_rng(0).standard_normal((2, k, d))
    turn = np.random.default_rng(1).permutation(k * d)
    loss = Loss(4.0, form="entries")
    first, again = (passed(places[t], M.reshape(-1, 1)[t], loss, W[None]) for t in (..., turn))
    value, G = plain.whole_loss_and_gradient(M, W, loss)
    assert first[0] == again[0] == pytest.approx(value, rel=1e-13)
    np.testing.assert_array_equal(first[1], again[1])
    np.testing.assert_allclose(first[1][0], G, rtol=1e-12)


def test_what_sorting_takes_is_said():
    k, d, m = 3000, 2000, 20_000
    places, values, _ = observed(k, d, m)
    tracemalloc.start()
    pack_entries(places, values, k, d)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    (said,) = needs.data_bytes(Shape(m, d, k, values.dtype, "entries")).values()
    assert 0.8 * said < most < 1.02 * said


# Runs -------------------------------------------------------------------------------------------


def models_of(case, *rules):
    """The case's network by each of these rules."""
    return [ModelSpec(case.widths, case.params, rule) for rule in rules]


def compared(module, case, models, tolerance=1e-10):
    """Three steps, beside those of plain NumPy on the same numbers in float64."""
    run = module.TrainingLoop(*case[:3], models)
    exact = [model._replace(params=model.params.astype(np.float64)) for model in models]
    plain_run = reference_loop.TrainingLoop(case.X, case.Y.astype(np.float64), case.loss, exact)
    for loop in (run, plain_run):
        loop.advance(1, record_every=1)
        loop.advance(2, record_every=1)
    np.testing.assert_array_equal(run.statuses, plain_run.statuses)
    np.testing.assert_array_equal(run.steps, plain_run.steps)
    for ours, theirs in zip(run.take_history(), plain_run.take_history(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
    for m in np.flatnonzero(run.statuses == RUNNING):
        theirs = plain_run.params(m)
        np.testing.assert_allclose(run.params(m), theirs, rtol=tolerance, atol=tolerance)
        assert np.max(abs(theirs - models[m].params)) > 2 * tolerance  # it went somewhere
    return run


@each_way
@pytest.mark.parametrize(("name", "dtype"), [
    ("adam", np.float32), ("momentum", np.float64), ("group rmsprop, factors", np.float64),
])  # fmt: skip
def test_a_run(way, name, dtype):
    case = problem(n=30, d=7, hidden=(10,), k=9, form="entries", dtype=dtype)
    compared(way, case, models_of(case, RULES[name]), 1e-4 if dtype == np.float32 else 1e-10)


@each_way
def test_a_sweep_with_one_that_diverges(way):
    """Of several depths; and as alone, to the bit."""
    cases = [problem(n=20, d=5, hidden=hidden, k=4, form="entries") for hidden in ((), (3, 2))]
    wild = Rule(GRADIENT_DESCENT, (1e160, 0.0, 0.0, 0.0, 0.0))
    models = models_of(cases[0], PLAIN, wild) + models_of(cases[1], PLAIN)
    run = compared(way, cases[0], models)
    assert list(run.statuses) == [RUNNING, DIVERGED, RUNNING]
    alone = way.TrainingLoop(*cases[0][:3], models[2:])
    alone.advance(3)
    np.testing.assert_array_equal(alone.params(0), run.params(2))


@pytest.mark.parametrize(("k", "way"), [(1, WAYS[0]), (3, WAYS[1])], ids=["one", "several"])
def test_the_end_to_end_rule(k, way):
    case = problem(n=9, d=5, hidden=(), k=k, form="entries")
    compared(way, case, models_of(case, RULES["end-to-end 3"]))


def test_whatever_the_order_of_blocks_and_warps():
    """The same bits from every interleaving, and none of them a race or a deadlock."""
    case, ends = problem(n=150, d=9, hidden=(2,), k=20, form="entries"), []
    for schedule in (None, 1):
        with options(seed=schedule):
            loop = WAYS[1].TrainingLoop(*case[:3], models_of(case, PLAIN))
            loop.advance(2, record_every=1)
            ends.append((loop.params(0), loop.take_history()[1]))
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("k", "engine"), [(1, "resident"), (3, "wide")])
def test_measurements(k, engine):
    """Of one output they are data like others; with several, only a wide run is for them."""
    case = problem(n=12, d=4, hidden=(2,), k=k, form="measurements")
    run = compared(cuda_loop, case, models_of(case, PLAIN, RULES["adam"]))
    assert run.engine == engine


def test_measurements_of_more_models_than_blocks_can_be_counted(monkeypatch):
    monkeypatch.setattr(launch, "_MOST_WIDE", 1)
    case = problem(n=5, d=4, hidden=(), k=3, form="measurements")
    with pytest.raises(ValueError, match="models must be at most 1 on measurements, got 2"):
        cuda_loop.TrainingLoop(*case[:3], models_of(case, PLAIN, PLAIN))


@pytest.mark.parametrize("kind", ["completion", "factorization", "sensing"])
def test_through_train(kind):
    rng = np.random.default_rng(0)
    M, A = rng.standard_normal((4, 3)), rng.standard_normal((9, 4, 3))
    rows, columns = np.argwhere(rng.random(M.shape) < 0.6).T
    problem = {
        "completion": accel.MatrixCompletion(M.shape, rows, columns, M[rows, columns]),
        "factorization": accel.MatrixFactorization(M, "huber(0.5)"),
        "sensing": accel.MatrixSensing(A, A.reshape(9, -1) @ M.ravel()),
    }[kind]
    network = accel.LinearNetwork.for_problem(problem, 2, init="orthogonal", scale=0.3)
    ours, theirs = (
        accel.train(problem, network, accel.Momentum(0.1), 3, backend=backend, record_every=1)
        for backend in ("cuda", "reference")
    )
    assert ours.backend == "cuda"
    np.testing.assert_allclose(ours.history.loss, theirs.history.loss, rtol=1e-12)
    np.testing.assert_allclose(ours.network.params, theirs.network.params, rtol=1e-12)
