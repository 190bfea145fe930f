"""Square networks with many outputs, which every backend shares out in its own way."""

import numpy as np
import pytest

from accel.kernels.reference import loop as reference_loop
from accel.kernels.specs import DIVERGED, GRADIENT_DESCENT, RUNNING, ModelSpec, Rule

from .runs import DTYPES, RULES, Single, assert_same_run, problem

#: Wide enough for ``cuda`` to have many blocks a model.
SQUARE = {"n": 100, "d": 64, "k": 64, "p": 2.0}


@pytest.mark.parametrize("form", ["direct", "gram", "diagonal"])
@pytest.mark.parametrize("hidden", [(), (64,), (64, 70, 3)])
@pytest.mark.parametrize("name", ["gradient descent", "adam"])
def test_every_form_and_depth(compiled, plain, form, hidden, name):
    case = problem(**SQUARE, form=form, hidden=hidden)
    with Single(compiled.loop, *case, RULES[name]) as loop:
        assert_same_run(plain, loop, case, RULES[name], 20)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [1.5, 4.0])
def test_every_power(compiled, plain, p, dtype):
    case = problem(**{**SQUARE, "p": p}, hidden=(64,), dtype=dtype)
    rule = Rule(GRADIENT_DESCENT, (1e-3, 0.1, 0.0, 0.0, 0.0))
    with Single(compiled.loop, *case, rule) as loop:
        assert_same_run(plain, loop, case, rule, 20)


@pytest.mark.parametrize("form", ["direct", "diagonal"])
def test_a_sweep(compiled, form):
    """Of several rules and depths; one model diverges, and all go back and come again."""
    models = []
    for seed, name in enumerate(["momentum", "adam", "end-to-end 3", "gradient descent"]):
        hidden = () if name.startswith("end") else (64,) * (1 + seed)
        case = problem(seed, **SQUARE, form=form, hidden=hidden)
        models.append(ModelSpec(case.widths, case.params, RULES[name]))
    models.append(models[0]._replace(rule=Rule(GRADIENT_DESCENT, (1e150, 0.0, 0.0, 0.0, 0.0))))
    X, Y, loss, *_ = case
    plain = reference_loop.TrainingLoop(X, Y, loss, models)
    with compiled.loop.TrainingLoop(X, Y, loss, models) as ours:
        start, ends = ours.snapshot(), []
        for loop in (ours, plain):
            loop.advance(20, record_every=5)
        np.testing.assert_array_equal(ours.statuses, plain.statuses)
        assert ours.statuses.tolist() == [RUNNING] * 4 + [DIVERGED]
        history = ours.take_history()[1]
        np.testing.assert_allclose(history, plain.take_history()[1], rtol=1e-8)
        for m in range(4):
            ends.append(ours.params(m))
            np.testing.assert_allclose(ends[m], plain.params(m), rtol=1e-8, atol=1e-10)
        ours.restore(start)
        ours.advance(7)
        ours.advance(13)
        for m in range(4):
            np.testing.assert_array_equal(ours.params(m), ends[m])
