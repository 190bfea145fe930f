"""Runs of many models: each must fare as if it were alone."""

import numpy as np
import pytest

from accel.kernels.specs import (
    DIVERGED,
    GRADIENT_DESCENT,
    RUNNING,
    TARGET,
    Loss,
    ModelSpec,
    Rule,
)

from .runs import DTYPES, HIDDEN, RULES, Single, for_rule, problem

RATES = (1e-4, 3e-3, 20.0, 0.02, 1e-3)  # the third one diverges


def descent(rate):
    return Rule(GRADIENT_DESCENT, (rate, 0.0, 0.0, 0.0, 0.0))


def mixed(**shape):
    """Data, and a model of every rule and depth on them."""
    models = []
    for seed, (name, rule) in enumerate(RULES.items()):
        depths = [()] if name.startswith("end-to-end") else HIDDEN.values()
        for hidden in depths:
            case = problem(seed, hidden=hidden, **shape)
            models.append(ModelSpec(case.widths, case.params, rule))
    X, Y, loss, *_ = problem(**shape)
    return X, Y, loss, models


def grid(**shape):
    X, Y, loss, widths, params = problem(hidden=(3,), **shape)
    return X, Y, loss, [ModelSpec(widths, params, descent(rate)) for rate in RATES]


SHAPES = {
    "one output": {},
    "three outputs": {"k": 3},
    "large": {"n": 1501, "d": 40},
    "large, three outputs": {"n": 1501, "d": 40, "k": 3},
    "p = 1.5": {"p": 1.5},
    "gram": {"p": 2.0, "form": "gram", "k": 2},
    "gram, one output": {"p": 2.0, "form": "gram", "d": 40},
    "diagonal": {"form": "diagonal", "k": 2},
    "diagonal, one output": {"form": "diagonal", "d": 40},
    "one feature": {"d": 1, "n": 7},
    "many outputs": {"k": 21, "n": 60, "factor": 0.05},
}


def ran(compiled, data, models, threads):
    """What every model of a run ends with: its parameters, its history, its last evaluation."""
    with compiled.loop.TrainingLoop(*data, models, threads) as loop:
        loop.advance(30, record_every=7)
        steps, rows = loop.take_history()
        np.testing.assert_array_equal(steps, [0, 7, 14, 21, 28])
        ends = loop.evaluate()
        return [(loop.params(m), rows[:, m], ends[m]) for m in range(len(models))]


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_model_runs_as_if_alone(compiled, shape, threads):
    """To the bit in any other company and place; alone as well but for one output of large data.

    There, as with X'X for one output, a run of one model takes a pass of its own, which adds up in
    another order. float32 is below.
    """
    if compiled.backend == "cuda":
        pytest.skip("a run alone has more multiprocessors to share its rows: other bits")
    *data, models = mixed(**shape)
    together = ran(compiled, data, models, threads)
    for m, model in enumerate(models):
        (alone,) = ran(compiled, data, [model], threads)
        other_pass = shape.get("n", 0) > 1000 or shape.get("form") == "gram"
        if shape.get("k", 1) == 1 and other_pass:
            for ours, theirs in zip(together[m], alone, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=2e-12)
        else:
            assert_same(together[m], alone)
    for m in range(0, len(models), 3):  # with one other, in first and in last place
        other = (m + 5) % len(models)
        for pair in ([m, other], [other, m]):
            for i, ours in zip(
                pair, ran(compiled, data, [models[i] for i in pair], threads), strict=True
            ):
                assert_same(ours, together[i])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_agrees_with_plain_numpy(compiled, plain, shape, dtype):
    if shape.get("form") == "gram" and dtype == np.float32:
        pytest.skip("the Gram path is for float64")
    X, Y, loss, models = mixed(**shape, dtype=dtype)
    tolerance = 1e-4 if dtype == np.float32 else 1e-10
    results = []
    for kernels in (compiled, plain):
        with kernels.loop.TrainingLoop(X, Y, loss, models, 2) as loop:
            loop.advance(20, record_every=5)
            steps, rows = loop.take_history()
            results.append((loop.evaluate(), rows, steps))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_place_and_company_do_not_show(compiled, name, dtype):
    """Seventeen copies in one run, which needs tiles of every size."""
    X, Y, loss, *model = for_rule(name, dtype=dtype)
    copies = [ModelSpec(*model[:2], RULES[name])] * 17
    with compiled.loop.TrainingLoop(X, Y, loss, copies, 2) as loop:
        loop.advance(10)
        for m in range(1, 17):
            np.testing.assert_array_equal(loop.params(m), loop.params(0))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("n", [203, 1501])
def test_models_leave_one_by_one(kernels, n, threads):
    X, Y, loss, models = grid(n=n)
    with kernels.loop.TrainingLoop(X, Y, loss, models, threads) as loop:
        start = loop.evaluate()
        goal = 0.5 * start[0, 1]
        loop.advance(60, record_every=1, target=goal)
        np.testing.assert_array_equal(loop.statuses[[2, 3]], [DIVERGED, TARGET])
        np.testing.assert_array_equal(loop.statuses[[0, 4]], [RUNNING, RUNNING])
        assert set(loop.active) == {m for m in range(5) if loop.statuses[m] == RUNNING}
        steps, rows = loop.take_history()
        np.testing.assert_array_equal(steps, np.arange(60))
        np.testing.assert_array_equal(loop.steps[[0, 4]], [60, 60])
        for m, ended in enumerate(loop.steps):
            recorded = ended + (loop.statuses[m] == TARGET)
            assert np.isfinite(rows[:recorded, m]).all()
            assert np.isnan(rows[recorded:, m]).all()
        assert loop.evaluate()[3, 1] <= goal < rows[loop.steps[3] - 1, 3, 0]
        for m, model in enumerate(models):
            with Single(kernels.loop, X, Y, loss, *model[:3], threads) as alone:
                assert alone.advance(60, target=goal) == loop.statuses[m]
                # CUDA: other numbers of blocks share the rows. CPU, large data: another pass.
                if kernels.backend == "cuda" or (kernels.backend == "cpu" and n == 1501):
                    np.testing.assert_allclose(loop.params(m), alone.params, rtol=1e-12, atol=1e-14)
                else:
                    np.testing.assert_array_equal(loop.params(m), alone.params)
                assert alone.step == loop.steps[m]


def test_a_run_without_models_left_makes_no_steps(kernels):
    X, Y, loss, models = grid()
    with kernels.loop.TrainingLoop(X, Y, loss, models) as loop:
        loop.advance(10, target=np.inf)
        assert not len(loop.active)
        loop.advance(10)
        assert loop.step == 0
        np.testing.assert_array_equal(loop.statuses, [TARGET] * 5)


@pytest.mark.parametrize("threads", [1, 2])
def test_some_go_back_and_the_others_stay(kernels, threads):
    X, Y, loss, models = grid(n=1501)
    with kernels.loop.TrainingLoop(X, Y, loss, models, threads) as loop:
        loop.advance(3)
        then, at_3 = loop.snapshot(), loop.params(2)
        loop.advance(5)
        at_8 = [loop.params(m) for m in range(5)]
        now = loop.snapshot()
        loop.restore(then, [2])
        assert loop.step == 3
        np.testing.assert_array_equal(loop.active, [2])
        np.testing.assert_array_equal(loop.params(2), at_3)
        loop.advance(5)
        for m in range(5):
            np.testing.assert_array_equal(loop.params(m), at_8[m])
        loop.restore(now, [0, 1, 3, 4])
        loop.advance(2)
        diverged_at = loop.steps[2]
        assert diverged_at < 8
        np.testing.assert_array_equal(loop.steps, [10, 10, diverged_at, 10, 10])
        np.testing.assert_array_equal(loop.params(2), at_8[2])


def test_chunks_do_not_show_where_models_leave(compiled):
    X, Y, loss, models = grid()
    ends = []
    for pieces in ([40], [1, 2, 3, 4, 30]):
        with compiled.loop.TrainingLoop(X, Y, loss, models, 2) as loop:
            for steps in pieces:
                loop.advance(steps, record_every=3)
            ends.append((*loop.take_history(), loop.steps, *(loop.params(m) for m in range(5))))
    for whole, pieces in zip(*ends, strict=True):
        np.testing.assert_array_equal(whole, pieces)


def test_history_of_many_records_comes_in_pieces(compiled, monkeypatch):
    monkeypatch.setattr(compiled.loop, "_HISTORY", 3 * 5 * 4)
    X, Y, loss, models = grid()
    with compiled.loop.TrainingLoop(X, Y, loss, models) as loop:
        loop.advance(31, record_every=2)
        steps, rows = loop.take_history()
    np.testing.assert_array_equal(steps, np.arange(0, 31, 2))
    assert np.isfinite(rows[:, [0, 4]]).all()


def test_memory_of_optimisers_stands_apart(kernels):
    """Models with one, two and no slots of state in one run, in any order."""
    X, Y, loss, models = mixed()
    backwards = models[::-1]
    with (
        kernels.loop.TrainingLoop(X, Y, loss, models) as run,
        kernels.loop.TrainingLoop(X, Y, loss, backwards) as mirrored,
    ):
        run.advance(12)
        mirrored.advance(12)
        for m in range(len(models)):
            np.testing.assert_array_equal(run.params(m), mirrored.params(len(models) - 1 - m))


def test_loss_of_every_model_is_its_own(compiled):
    X, Y, _, models = grid(k=3)
    models = [ModelSpec(m.widths, (1 + i) * m.params, m.rule) for i, m in enumerate(models)]
    with compiled.loop.TrainingLoop(X, Y, Loss(4.0, 0.25), models) as loop:
        for m, model in enumerate(models):
            A, B = model.params[:51].reshape(3, 17), model.params[51:].reshape(3, 3)
            value = 0.25 * np.mean(np.sum((X @ (B @ A).T - Y) ** 4, axis=1))
            assert loop.evaluate()[m, 1] == pytest.approx(value, rel=1e-12)
