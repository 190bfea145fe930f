"""Batches, noise on labels and Langevin's rule in the simulator, against the reference's runs."""

import numpy as np
import pytest
from numba import cuda, types

import accel
from accel.kernels.cuda import loop as cuda_loop
from accel.kernels.cuda import needs, philox, updates
from accel.kernels.cuda.jit import Kernel, pointer
from accel.kernels.reference import loop as plain
from accel.kernels.reference import philox as plain_philox
from accel.kernels.reference import updates as plain_updates
from accel.kernels.specs import (
    CONVERGED,
    DIVERGED,
    GRADIENT_DESCENT,
    LANGEVIN,
    RUNNING,
    TARGET,
    Batches,
    Loss,
    ModelSpec,
    Rule,
)

from ..runs import PLAIN, RULES, SCHEDULED, for_rule, problem
from ..test_schedules import of_rule
from .kinds import KINDS, outputs, targets
from .ways import Way

SMALL = {"n": 21, "d": 9}
SEED = 2**52 + 3
LANGEVIN_RULE = Rule(LANGEVIN, (0.01, 0.05, 0.3, float(SEED), 0.0))
#: By name: batches that divide the rows, and that do not; all of them, as they stand or not.
BATCHES = {
    "epoch": Batches(7, "epoch", 3),
    "epoch, less in the last": Batches(8, "epoch", 4),
    "in order, one in the last": Batches(5, "none"),
    "replacement": Batches(6, "replacement", 5),
    "all, drawn": Batches(21, "replacement", 5),
    "noise on all": Batches(21, "none", 6, 0.3),
    "noise": Batches(8, "epoch", 7, 0.3),
    "signs": Batches(5, "replacement", 2**62 + 9, 0.2, True),
}
WAYS = ["streaming", "wide"]  # a wide step takes the simulator five times as long


def runs(way, case, rules, batches, steps=7, every=3, **stops):
    """Make the run here and by the reference, and compare all of it; return the two."""
    X, Y, loss, widths, params = case
    models = [ModelSpec(widths, params, rule) for rule in rules]
    theirs = plain.TrainingLoop(X, Y, loss, models, batches=batches)
    ours = Way(way).TrainingLoop(X, Y, loss, models, batches=batches)
    for each in (ours, theirs):
        each.advance(steps, every, **stops)
    assert_same(ours, theirs, 1e-4 if X.dtype == np.float32 else 1e-10)
    return ours, theirs


def assert_same(ours, theirs, tolerance=1e-10):
    np.testing.assert_array_equal(ours.statuses, theirs.statuses)
    np.testing.assert_array_equal(ours.steps, theirs.steps)
    (at, rows), (expected_at, expected) = ours.take_history(), theirs.take_history()
    np.testing.assert_array_equal(at, expected_at)
    assert rows.shape == expected.shape
    np.testing.assert_allclose(rows, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(ours.evaluate(), theirs.evaluate(), rtol=tolerance, atol=tolerance)
    for m in range(len(ours.statuses)):
        scale = np.max(abs(theirs.params(m)))
        np.testing.assert_allclose(ours.params(m), theirs.params(m), rtol=0, atol=tolerance * scale)


def drawn(function, numbers, step, seed):
    """What the device makes of some numbers of the stream of labels, a thread each."""

    def kernel(numbers, out, count, step, seed):
        place = cuda.grid(1)
        if place < count:
            out[place] = function(numbers[place], 1, step, seed)

    out = np.empty(len(numbers))
    signature = [pointer(np.int64), pointer(np.float64), *[types.int64] * 3]
    made = Kernel(kernel, signature, (function.__name__,))
    made.prepared(1, (numbers, out, len(numbers), step, seed))()
    return out


@pytest.mark.parametrize(("step", "seed"), [(0, 0), (7, 1), (2**40 + 5, 2**63 - 1)])
def test_numbers_are_those_of_the_reference(step, seed):
    for first in (0, 2**33 - 16):
        numbers = first + np.arange(16)
        expected = plain_philox.gaussians(first, 16, 1, step, seed)
        got = drawn(philox.gaussian, numbers, step, seed)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-14)
        expected = plain_philox.signs(first, 16, 1, step, seed)
        np.testing.assert_array_equal(drawn(philox.sign, numbers, step, seed), expected)


@pytest.mark.parametrize(
    ("way", "name"),
    [*(("streaming", name) for name in BATCHES), ("wide", "signs"), ("wide", "noise on all")],
)
def test_every_kind_of_batches(way, name):
    case = problem(**SMALL, hidden=(4,), k=2 if way == "wide" else 1)
    run, _ = runs(way, case, [PLAIN], BATCHES[name])
    assert np.max(abs(run.params(0) - case.params)) > 1e-3


@pytest.mark.parametrize("name", ["adam", "group rmsprop", "end-to-end 3"])
def test_rules_of_every_sort(name):
    runs("streaming", for_rule(name, **SMALL, hidden=(4,)), [RULES[name]], BATCHES["noise"])


@pytest.mark.parametrize("name", ["adam", "end-to-end 3", "group rmsprop, factors"])
@pytest.mark.parametrize("way", WAYS)
def test_several_outputs(way, name):
    case = for_rule(name, **SMALL, hidden=(4, 3), k=3)
    runs(way, case, [RULES[name]], BATCHES["noise"], 4)


@pytest.mark.parametrize(("way", "name"), [("streaming", "momentum"), ("wide", "end-to-end 3")])
def test_schedules(way, name):
    case = of_rule(name, **SMALL, k=3 if way == "wide" else 1)
    runs(way, case, [SCHEDULED[name]], BATCHES["epoch"], 5)


@pytest.mark.parametrize("name", KINDS)
def test_rows_of_zeros_add_nothing_to_any_loss(name):
    """The last batch of an epoch has one row."""
    rng, k = np.random.default_rng(0), outputs(name, 3)
    case = problem(**SMALL, k=k)
    case = case._replace(Y=targets(rng, name, 21, k), loss=KINDS[name])
    runs("streaming", case, [PLAIN], Batches(10, "epoch", 1), 4, 1)


@pytest.mark.parametrize(("way", "d"), [("streaming", 1), ("streaming", 40), ("wide", 3)])
def test_rows_of_any_length_in_float32(way, d):
    case = problem(n=21, d=d, k=3, hidden=(4,), dtype=np.float32)
    runs(way, case, [PLAIN], BATCHES["noise"], 4)


def test_measurements():
    case = problem(n=20, d=5, hidden=(4,), k=3, form="measurements")
    runs("wide", case, [RULES["adam"]], Batches(6, "epoch", 1, 0.1), 4)


def test_models_side_by_side():
    """All have the same rows; one diverges, and the others do not notice."""
    fast = Rule(GRADIENT_DESCENT, (1e9, 0.0, 0.0, 0.0, 0.0))
    rules = [PLAIN, fast, RULES["adam"], RULES["momentum"], LANGEVIN_RULE]
    case = problem(**SMALL, hidden=(4,))
    with np.errstate(all="ignore"):
        ours, _ = runs("streaming", case, rules, BATCHES["noise"], every=2)
    assert ours.statuses.tolist() == [RUNNING, DIVERGED, *[RUNNING] * 3]


@pytest.mark.parametrize(("way", "limit"), [
    ("streaming", "tol"), ("streaming", "target"), ("wide", "tol"),
])  # fmt: skip
def test_a_run_ends_where_it_is_recorded(way, limit):
    case = problem(**SMALL, p=2.0, k=2 if way == "wide" else 1)
    rule = Rule(GRADIENT_DESCENT, (0.3, 0.0, 0.0, 0.0, 0.0))
    theirs = plain.TrainingLoop(*case[:3], [ModelSpec(case.widths, case.params, rule)])
    value, slope = theirs.evaluate()[0, 1:3]
    stop = {"tol": 0.7 * slope} if limit == "tol" else {"target": 0.7 * value}
    ours, theirs = runs(way, case, [rule], BATCHES["epoch"], 7, 3, **stop)
    assert ours.statuses[0] == {"tol": CONVERGED, "target": TARGET}[limit]
    assert ours.steps[0] in (3, 6)
    ours, _ = runs(way, case, [rule], BATCHES["epoch"], 7, 0, **stop)  # nobody looks
    assert ours.statuses[0] == RUNNING


@pytest.mark.parametrize(
    ("way", "name", "rule", "cuts"),
    [
        ("streaming", "noise", LANGEVIN_RULE, (1, 0, 3, 7)),
        ("streaming", "replacement", RULES["adam"], (1, 6)),
        ("wide", "noise on all", RULES["adam"], (1, 2)),
    ],
)
def test_cuts_do_not_show(monkeypatch, way, name, rule, cuts):
    """Nor does how many steps have their rows at hand."""
    X, Y, loss, widths, params = problem(**SMALL, hidden=(3,), k=2)
    models = [ModelSpec(widths, params, rule)]
    whole = Way(way).TrainingLoop(X, Y, loss, models, batches=BATCHES[name])
    monkeypatch.setattr(needs, "_MOST", 4)
    parts = Way(way).TrainingLoop(X, Y, loss, models, batches=BATCHES[name])
    whole.advance(sum(cuts), record_every=2)
    pieces = []
    for steps in cuts:
        middle = parts.snapshot()
        parts.advance(steps + 1)
        parts.restore(middle)
        parts.advance(steps, record_every=2)
        pieces.append(parts.take_history())
    np.testing.assert_array_equal(parts.params(0), whole.params(0))
    steps, rows = whole.take_history()
    np.testing.assert_array_equal(np.concatenate([at for at, _ in pieces]), steps)
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in pieces]), rows)


def test_some_models_go_back():
    """Those that are left out have made more steps than the step in hand."""
    X, Y, loss, widths, params = problem(**SMALL, hidden=(4,))
    models = [ModelSpec(widths, params, rule) for rule in (PLAIN, RULES["adam"], LANGEVIN_RULE)]
    loops = [
        Way("streaming").TrainingLoop(X, Y, loss, models, batches=BATCHES["noise"]),
        plain.TrainingLoop(X, Y, loss, models, batches=BATCHES["noise"]),
    ]
    for loop in loops:
        loop.advance(4, 2)
        middle = loop.snapshot()
        loop.advance(5, 2)
        loop.restore(middle, [0, 2])
        loop.advance(3, 2)
    assert_same(*loops)
    assert loops[0].steps.tolist() == [7, 9, 7]


def test_the_plan_takes_batches_to_streaming():
    case = problem(**SMALL)
    models = [ModelSpec(case.widths, case.params, PLAIN)]
    made = cuda_loop.TrainingLoop(*case[:3], models)
    assert made.engine == "resident"
    made = cuda_loop.TrainingLoop(*case[:3], models, batches=BATCHES["epoch"])
    assert made.engine == "streaming"
    assert made.take_history()[1].shape == (0, 1, 4)
    noisy = [ModelSpec(case.widths, case.params, LANGEVIN_RULE)]
    assert cuda_loop.TrainingLoop(*case[:3], noisy).engine == "streaming"
    with pytest.raises(ValueError, match="blocks are for runs without batches, got 2"):
        cuda_loop.TrainingLoop(*case[:3], models, batches=BATCHES["epoch"], blocks=2)
    with pytest.raises(ValueError, match="blocks must be able to hold the data, got 2"):
        cuda_loop.TrainingLoop(*case[:3], noisy, blocks=2)
    with pytest.raises(ValueError, match="batches are for passes over rows, got the form 'gram'"):
        cuda_loop.TrainingLoop(
            case.X, case.Y, Loss(2.0, form="gram"), models, batches=BATCHES["epoch"]
        )


@pytest.mark.parametrize(
    ("way", "hidden"), [("streaming", ()), ("streaming", (5, 3)), ("wide", (3,))]
)
def test_langevin_without_batches(way, hidden):
    case = problem(**SMALL, hidden=hidden, k=2)
    runs(way, case, [LANGEVIN_RULE, PLAIN], None, 3, 1)


def test_rate_and_temperature_by_schedules():
    """The noise is that of the step."""
    rule = SCHEDULED["momentum"]
    changing = Rule(LANGEVIN, (*rule.hyper[:3], 3.0, 0.0), rule.programs)
    runs("streaming", problem(**SMALL, hidden=(4,)), [changing], None, 9, 1)


def test_train_and_sweep_on_the_backend():
    """The same numbers as by the reference, also of what is recorded of batches."""
    X, Y, *_ = problem(**SMALL)
    data, settings = accel.Problem(X, Y), {"batch_size": 8, "seed": 3, "label_noise": 0.1}
    model = accel.LinearNetwork((9, 3, 1), seed=0), accel.Langevin(0.01, 0.1, 3)
    ends = []
    for backend in ("cuda", "reference"):
        alone = accel.train(data, *model, 5, record_every=2, backend=backend, **settings)
        many = accel.sweep(data, [model, model], 3, backend=backend, **settings)
        assert alone.backend == backend
        assert many[0].network.params.tobytes() == many[1].network.params.tobytes()
        ends.append([alone.history["batch_loss"], alone.history.loss, alone.network.params,
                     many[0].network.params])  # fmt: skip
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_single_step_of_langevin(dtype):
    rng, ends = np.random.default_rng(0), []
    start, grads = rng.standard_normal((2, 70)).astype(dtype)
    for module in (updates, plain_updates):
        params = start.copy()
        module.update(
            LANGEVIN, params, grads, np.zeros((0, 70), dtype), (0.1, 0.2, 0.7, float(SEED), 0.0), 42
        )
        ends.append(params)
    np.testing.assert_allclose(*ends, rtol=0, atol=16 * np.finfo(dtype).eps)
