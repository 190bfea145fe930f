"""Programs of schedules, and runs whose rules go by them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.kernels.cpu import loop, schedules
from accel.kernels.reference.schedules import Term, at, program_of, value
from accel.kernels.specs import (
    CONSTANT,
    COSINE,
    EXPONENTIAL,
    INVERSE_POWER,
    LINES_OF_TABLE,
    POLYNOMIAL,
    STAIRCASE,
    STEPS_OF_TABLE,
    WAVES_OF_TABLE,
    ModelSpec,
)

from .runs import SCHEDULED, Single, assert_cuts_do_not_show, assert_same_run, problem

INF = math.inf
TABLE = np.array([3.0, 7.0, 20.0, 1.0, 2.0, 0.5, 4.0])
#: A term of every kind, and what it is by its formula at the time u.
TERMS = {
    "constant": (Term(CONSTANT, (0.3,)), lambda u: 0.3),
    "line": (
        Term(POLYNOMIAL, (2.0, 0.5, 10.0, 1.0)),
        lambda u: 2.0 + (0.5 - 2.0) * min(u, 10) / 10,
    ),
    "polynomial": (
        Term(POLYNOMIAL, (0.1, 0.7, 9.0, 1.7)),
        lambda u: (0.1 - 0.7) * (1 - min(u, 9) / 9) ** 1.7 + 0.7,
    ),
    "exponential": (Term(EXPONENTIAL, (2.0, 0.8, 3.0, -INF, INF)), lambda u: 2 * 0.8 ** (u / 3)),
    "exponential to an end": (
        Term(EXPONENTIAL, (2.0, 1.1, 3.0, -INF, 5.0)),
        lambda u: 2 * 1.1 ** (u / 3) if u < 29 else 5.0,
    ),
    "staircase": (
        Term(STAIRCASE, (2.0, 0.8, 3.0, 0.9, INF)),
        lambda u: max(2 * 0.8 ** (u // 3), 0.9),
    ),
    "cosine": (
        Term(COSINE, (2.0, 0.1, 12.0, 1.0)),
        lambda u: 2 * (0.1 + 0.9 * (1 + math.cos(math.pi * min(u, 12) / 12)) / 2),
    ),
    "power of a cosine": (
        Term(COSINE, (2.0, 0.0, 12.0, 2.5)),
        lambda u: 2 * ((1 + math.cos(math.pi * min(u, 12) / 12)) / 2) ** 2.5,
    ),
    "inverse power": (Term(INVERSE_POWER, (2.0, 4.0, 0.6)), lambda u: 2 / (1 + u / 4) ** 0.6),
    "steps of a table": (
        Term(STEPS_OF_TABLE, (), 0, TABLE),
        lambda u: [1.0, 2.0, 0.5, 4.0][(u >= 3) + (u >= 7) + (u >= 20)],
    ),
    "lines of a table": (
        Term(LINES_OF_TABLE, (), 0, TABLE),
        lambda u: float(np.interp(u, [0, 3, 7, 20], [1, 2, 0.5, 4])),
    ),
    "waves of a table": (
        Term(WAVES_OF_TABLE, (), 0, TABLE),
        lambda u: wave(u, [0, 3, 7, 20], [1, 2, 0.5, 4]),
    ),
}
STEPS = np.array([*range(40), 100, 10**6, 10**12])


def wave(u, x, y):
    if u >= x[-1]:
        return y[-1]
    j = max(i for i in range(len(x)) if x[i] <= u)
    turn = math.pi * (u - x[j]) / (x[j + 1] - x[j])
    return y[j + 1] + (y[j] - y[j + 1]) * (1 + math.cos(turn)) / 2


@pytest.mark.parametrize("of", [value, schedules.values], ids=["reference", "cpu"])
@pytest.mark.parametrize("begin", [0, 5])
@pytest.mark.parametrize("name", TERMS)
def test_a_term_is_its_formula(of, name, begin):
    term, formula = TERMS[name]
    program = program_of([(0, (term._replace(begin=begin),))])
    expected = [formula(max(int(step) - begin, 0)) for step in STEPS]
    np.testing.assert_allclose(of(program, STEPS), expected, rtol=1e-14)


terms = st.builds(
    lambda name, begin: TERMS[name][0]._replace(begin=begin),
    st.sampled_from(sorted(TERMS)), st.integers(0, 50),
)  # fmt: skip


@given(
    products=st.lists(st.lists(terms, min_size=1, max_size=3), min_size=1, max_size=5),
    gaps=st.lists(st.integers(1, 20), min_size=4, max_size=4),
)
def test_the_cpu_is_the_reference(products, gaps):
    """Segments of products: each begins where it should, and is what its terms are."""
    begins = np.cumsum([0, *gaps])
    segments = [(int(b), tuple(p)) for b, p in zip(begins, products, strict=False)]
    program = program_of(segments)
    theirs = value(program, STEPS)
    np.testing.assert_allclose(schedules.values(program, STEPS), theirs, rtol=1e-14)
    for step, ours in zip(STEPS, theirs, strict=True):
        own = max(i for i, (begin, _) in enumerate(segments) if begin <= step)
        one = [value(program_of([(0, (term,))]), [step])[0] for term in products[own]]
        assert ours == pytest.approx(np.prod(one), rel=1e-14)


def test_a_table_may_be_long():
    rng = np.random.default_rng(0)
    x, y = np.arange(1.0, 1e6), rng.random(10**6)
    term = Term(STEPS_OF_TABLE, (), 0, np.concatenate([x, y]))
    segments = [(0, (term,)), (10, (term, Term(CONSTANT, (1.0,))))]
    program = program_of(segments)
    assert len(program) < 2.1e6  # it is there once
    steps = rng.integers(0, 10**6, 1000)
    np.testing.assert_array_equal(schedules.values(program, steps), y[steps])
    np.testing.assert_array_equal(value(program, steps), y[steps])


# Runs -------------------------------------------------------------------------------------------

#: Every kernel that makes steps: the shape that takes it, and the threads.
WAYS = {
    "columns": ({}, 1),
    "joint": ({"k": 2}, 1),
    "team": ({"n": 2565, "d": 128, "k": 3}, 3),
    "diagonal": ({"k": 2, "form": "diagonal"}, 2),
    "grouped": ({"k": 2, "p": 2.0, "form": "gram"}, 1),
    "wide": ({"k": 37, "n": 60, "factor": 0.02}, 2),
}
each_way = pytest.mark.parametrize(("shape", "threads"), WAYS.values(), ids=WAYS)


def of_rule(name, **shape):
    """A problem, of a single factor for the end-to-end rule."""
    return problem(**shape, hidden=() if name.startswith("end-to-end") else (5,))


@pytest.mark.parametrize("name", SCHEDULED)
def test_every_rule(kernels, plain, name):
    case = of_rule(name)
    with Single(kernels.loop, *case, SCHEDULED[name]) as run:
        assert_same_run(plain, run, case, SCHEDULED[name], 30)


@each_way
def test_every_way(many_ranks, plain, shape, threads):
    """Models of all rules side by side, against the reference; each has its own schedule."""
    X, Y, loss, *_ = problem(**shape)
    models = []
    for seed, (name, rule) in enumerate(SCHEDULED.items()):
        case = of_rule(name, seed=seed, **shape)
        models.append(ModelSpec(case.widths, case.params, rule))
    ends = []
    for module in (loop, plain.loop):
        with module.TrainingLoop(X, Y, loss, models, threads) as run:
            run.advance(30, record_every=1)
            ends.append((run.take_history()[1], *(run.params(m) for m in range(len(models)))))
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@each_way
@pytest.mark.parametrize("name", ["momentum", "end-to-end 3"])
def test_cuts_do_not_show(many_ranks, name, shape, threads):
    assert_cuts_do_not_show(loop, of_rule(name, **shape), SCHEDULED[name])


def test_a_rate_that_is_set_ends_its_schedule(kernels):
    """Those of decay and momentum go on."""
    case, rule = problem(), SCHEDULED["momentum"]
    other = rule._replace(hyper=(0.02, *rule.hyper[1:]), programs=(None, *rule.programs[1:]))
    with Single(kernels.loop, *case, rule) as run, Single(kernels.loop, *case, other) as constant:
        run.advance(7)
        constant.restore(run.snapshot())
        run.set_rate(0, 0.02)
        run.advance(9)
        constant.advance(9)
        np.testing.assert_array_equal(run.params, constant.params)
        run.set_rate(0, 0.0)
        run.advance(3)
        np.testing.assert_array_equal(run.params, constant.params)


def test_constants_at_a_step():
    rule = SCHEDULED["momentum"]
    assert at(rule, 0) == pytest.approx(rule.hyper)
    rate, decay, a, b, eps = at(rule, 12)
    assert rate == pytest.approx(0.01 * (0.1 + 0.9 * (1 + math.cos(math.pi * 3 / 15)) / 2))
    assert (decay, b, eps) == (0.3 * 0.25, 0.0, 0.0)
    assert a == pytest.approx(0.9 - 0.7 * 8 / 21)
    assert at(SCHEDULED["none"], 12) == SCHEDULED["none"].hyper
