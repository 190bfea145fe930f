"""Schedules in the simulator: on the chip and streamed, against the run written out in NumPy."""

import numpy as np
import pytest
from numba import cuda, types

from accel.kernels.cuda import loop as cuda_loop
from accel.kernels.cuda import schedules
from accel.kernels.cuda.jit import Kernel, pointer
from accel.kernels.cuda.updates import make_rules
from accel.kernels.reference import loop as plain
from accel.kernels.reference.schedules import program_of, value
from accel.kernels.specs import ModelSpec

from ..runs import SCHEDULED, Single, assert_cuts_do_not_show, problem
from ..test_schedules import STEPS, TERMS, of_rule
from .test_simulated_loops import SMALL, run
from .ways import Way


def values(program, steps):
    """What the device makes of a program, a thread a step."""

    def kernel(program, steps, out, count):
        place = cuda.grid(1)
        if place < count:
            out[place] = schedules.value(program, 0, steps[place])

    out = np.empty(len(steps))
    signature = [pointer(np.float64), pointer(np.int64), pointer(np.float64), types.int64]
    Kernel(kernel, signature, ("values",)).prepared(1, (program, steps, out, len(steps)))()
    return out


@pytest.mark.parametrize("name", TERMS)
def test_a_term_is_that_of_the_reference(name):
    begun = TERMS[name][0]._replace(begin=5)
    program = program_of([(0, (TERMS[name][0],)), (9, (begun, TERMS["line"][0]))])
    np.testing.assert_allclose(values(program, STEPS), value(program, STEPS), rtol=1e-14)


@pytest.mark.parametrize("name", SCHEDULED)
def test_every_rule(way, name):
    run(way, of_rule(name, **SMALL), SCHEDULED[name], 12)


@pytest.mark.parametrize("name", ["momentum", "end-to-end 3", "group rmsprop"])
def test_many_outputs(streaming, name):
    run(streaming, of_rule(name, **SMALL, k=6), SCHEDULED[name], 12)


@pytest.mark.parametrize("name", SCHEDULED)
def test_many_blocks_a_model(name):
    run(Way("wide"), of_rule(name, **SMALL, k=3), SCHEDULED[name], 12)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("gram", "2 blocks"),
        ("gram", "streaming"),
        ("diagonal", "1 block"),
        ("diagonal", "streaming"),
    ],
)
def test_other_forms(form, name, k):
    run(Way(name), problem(**SMALL, p=2.0, form=form, k=k), SCHEDULED["momentum"], 12)


def test_each_model_has_its_own(way):
    """Also where some leave, and where the launches of a run begin anew."""
    X, Y, loss, *_ = problem(**SMALL)
    models = []
    for seed, (name, rule) in enumerate(SCHEDULED.items()):
        case = of_rule(name, seed=seed, **SMALL)
        models.append(ModelSpec(case.widths, case.params, rule))
    ends = []
    for module in (way, plain):
        with module.TrainingLoop(X, Y, loss, models) as loop:
            loop.advance(5, record_every=1)
            loop.restore(loop.snapshot(), [0, 2, 3, 6])
            loop.advance(8, record_every=1)
            ends.append((loop.take_history()[1], *(loop.params(m) for m in range(len(models)))))
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["momentum", "end-to-end 3"])
def test_cuts_do_not_show(way, name):
    assert_cuts_do_not_show(way, of_rule(name, **SMALL), SCHEDULED[name])


def test_a_launch_has_no_more_steps_than_values_fit(monkeypatch):
    monkeypatch.setattr(cuda_loop, "_HISTORY", 20)  # numbers: of one model, six steps
    case, rule = of_rule("momentum", **SMALL), SCHEDULED["momentum"]
    run(cuda_loop, case, rule, 15)


def test_a_rate_that_is_set_ends_its_schedule(way):
    case, rule = problem(**SMALL), SCHEDULED["momentum"]
    with Single(way, *case, rule) as ours, Single(plain, *case, rule) as theirs:
        for loop in (ours, theirs):
            loop.advance(3)
            loop.set_rate(0, 0.002)
            loop.advance(4)
        np.testing.assert_allclose(ours.params, theirs.params, rtol=1e-12)


def test_rules_without_schedules_have_no_programs():
    rows, programs = make_rules([SCHEDULED["none"], SCHEDULED["none"]])
    assert not rows[:, 6:].any()
    assert programs.tolist() == [0.0]
