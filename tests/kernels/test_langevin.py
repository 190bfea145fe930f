"""Langevin's rule: the noise of every parameter, in every layout of the loop, and its variance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.kernels.cpu import loop as cpu_loop
from accel.kernels.cpu import updates as cpu_updates
from accel.kernels.reference import loop as plain_loop
from accel.kernels.reference import philox
from accel.kernels.specs import (
    GRADIENT_DESCENT,
    LANGEVIN,
    PARAMETERS,
    Entrywise,
    Loss,
    ModelSpec,
    Rule,
)

from .runs import DTYPES, PLAIN, RULES, Single, assert_cuts_do_not_show, assert_same_run, problem

stats = pytest.importorskip("scipy.stats")
SEED = 2**52 + 3
RULE = Rule(LANGEVIN, (0.01, 0.05, 0.3, float(SEED), 0.0))
LOOPS = pytest.mark.parametrize("loops", [plain_loop, cpu_loop], ids=["reference", "cpu"])
#: By name, a network, the numbers of samples and of outputs; columns that are no whole vectors.
SHAPES = {
    "one factor": {"hidden": ()},
    "three factors": {"d": 7, "hidden": (5, 3)},
    "outputs": {"d": 7, "hidden": (3,), "k": 2},
    "many outputs": {"d": 35, "hidden": (21, 9), "k": 50},
    "entries, few": {"n": 300, "d": 35, "hidden": (21, 9), "k": 50, "form": "entries"},
    "entries, many": {"n": 1500, "d": 35, "hidden": (21,), "k": 50, "form": "entries"},
    "measurements": {"n": 30, "d": 5, "hidden": (4,), "k": 3, "form": "measurements"},
    "gram": {"d": 7, "hidden": (3,), "k": 2, "p": 2.0, "form": "gram"},
}


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**53 - 1),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=4),
    step=st.integers(1, 2**40),
    dtype=st.sampled_from(DTYPES),
)
def test_compiled_step_is_the_plain_step(plain, seed, sizes, step, dtype):
    rng = np.random.default_rng(seed)
    starts, hyper = [0, *np.cumsum(sizes)[:-1].tolist()], (0.1, 0.2, 0.7, float(seed), 0.0)
    params, grads = rng.standard_normal((2, sum(sizes))).astype(dtype)
    expected, state = params.copy(), np.zeros((0, params.size), dtype)
    plain.updates.update(LANGEVIN, expected, grads, state, hyper, step, starts)
    cpu_updates.update(LANGEVIN, params, grads, state, hyper, step, starts)
    np.testing.assert_allclose(params, expected, rtol=0, atol=16 * np.finfo(dtype).eps)


def test_the_step_by_the_definition(plain):
    params, grads = np.arange(1.0, 8.0), np.arange(7.0)
    expected = 0.9 * params - 0.1 * grads
    expected += np.sqrt(2 * 0.1 * 3) * philox.gaussians(0, 7, PARAMETERS, 41, 5)
    plain.updates.update(LANGEVIN, params, grads, np.zeros((0, 7)), (0.1, 1.0, 3.0, 5.0, 0.0), 42)
    np.testing.assert_allclose(params, expected, rtol=1e-15)


def still(case):
    """The same without slopes, so that a run has nothing but its noise."""
    return case._replace(loss=case.loss._replace(factor=0.0))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_parameter_has_its_own_noise(shape):
    """To the bit up to the rounding of a sum, whatever the layout, and none in the padding."""
    case = still(problem(**SHAPES[shape]))
    rule = Rule(LANGEVIN, (0.01, 0.0, 0.3, float(SEED), 0.0))
    noise = [philox.gaussians(0, case.params.size, PARAMETERS, t, SEED) for t in range(5)]
    with Single(cpu_loop, *case, rule) as run:
        run.advance(5)
        moved = run.params - case.params
        assert np.count_nonzero(run.loop._run.params) == case.params.size
    np.testing.assert_allclose(moved, np.sqrt(0.006) * sum(noise), rtol=0, atol=2e-15)


@pytest.mark.parametrize("shape", SHAPES)
def test_runs_are_those_of_the_reference(plain, shape):
    case = problem(**SHAPES[shape])
    with Single(cpu_loop, *case, RULE) as run, Single(plain_loop, *case, RULE) as expected:
        run.advance(12, record_every=1)
        expected.advance(12, record_every=1)
        np.testing.assert_allclose(run.params, expected.params, rtol=0, atol=1e-10)
        np.testing.assert_allclose(run.take_history(), expected.take_history(), rtol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_runs_in_both_dtypes(plain, dtype):
    case = problem(dtype=dtype)
    with Single(cpu_loop, *case, RULE) as run:
        assert_same_run(plain, run, case, RULE, 20)


@pytest.mark.parametrize("shape", ["three factors", "many outputs", "entries, few"])
def test_the_noise_does_not_depend_on_ranks(many_ranks, shape):
    case, ends = problem(**{"n": 3000, **SHAPES[shape]}), []
    for threads in (1, 2, 5):
        with Single(cpu_loop, *case, RULE, threads) as run:
            run.advance(10)
            ends.append(run.params)
    for end in ends[1:]:
        # Sums over the samples may be cut in other places; noise that is another one shows.
        np.testing.assert_allclose(end, ends[0], rtol=0, atol=1e-12)


def test_models_side_by_side(plain):
    """Each has the noise of its own seed, beside rules that have none."""
    case = problem()
    seeds = Rule(LANGEVIN, (0.01, 0.0, 0.1, 8.0, 0.0))
    rules = [RULE, PLAIN, seeds, RULES["adam"], RULE]
    models = [ModelSpec(case.widths, case.params, rule) for rule in rules]
    with cpu_loop.TrainingLoop(case.X, case.Y, case.loss, models) as together:
        together.advance(10)
        ends = [together.params(m) for m in range(len(rules))]
    for rule, end in zip(rules, ends, strict=True):
        with Single(plain_loop, *case, rule) as alone:
            alone.advance(10)
            np.testing.assert_allclose(end, alone.params, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(ends[0], ends[4])
    assert np.max(np.abs(ends[0] - ends[2])) > 0.01


@pytest.mark.parametrize("form", ["power-difference", "hadamard"])
def test_entrywise_maps(form):
    case, structure = problem(d=13, hidden=()), Entrywise(form, 3)
    params = 0.3 * np.random.default_rng(0).standard_normal(13 * structure.vectors)
    model, ends = ModelSpec((13, structure.vectors), params, RULE, structure), []
    for loops in (plain_loop, cpu_loop):
        with loops.TrainingLoop(case.X, case.Y, case.loss, [model]) as run:
            run.advance(10)
            ends.append(run.params(0))
    np.testing.assert_allclose(*ends, rtol=0, atol=1e-12)


@LOOPS
def test_cuts_do_not_show(loops):
    """A run goes on from a snapshot with the noise that it would have had."""
    assert_cuts_do_not_show(loops, problem(d=7, hidden=(5, 3)), RULE)


@LOOPS
@pytest.mark.parametrize("shape", ["three factors", "many outputs"])
def test_at_temperature_0_it_is_gradient_descent(loops, shape):
    case, ends = problem(**SHAPES[shape]), []
    case.params[::7] = -0.0  # to which a noise of 0 would add up to 0
    for kind in (LANGEVIN, GRADIENT_DESCENT):
        with Single(loops, *still(case), Rule(kind, (0.01, 0.0, 0.0, 7.0, 0.0))) as run:
            run.advance(1)
            ends.append(run.params.tobytes())
        with Single(loops, *case, Rule(kind, (0.01, 0.1, 0.0, 7.0, 0.0))) as run:
            run.advance(20)
            ends.append(run.params.tobytes())
    assert ends[:2] == ends[2:]


def test_the_rate_of_the_step_is_that_of_the_noise():
    """A rate that changes in a run changes the noise with it."""
    case = still(problem())
    with Single(cpu_loop, *case, Rule(LANGEVIN, (0.01, 0.0, 0.5, 3.0, 0.0))) as run:
        run.advance(1)
        before = run.params
        run.set_rate(0, 0.09)
        run.advance(1)
        noise = philox.gaussians(0, before.size, PARAMETERS, 1, 3)
        np.testing.assert_allclose(run.params - before, 0.3 * noise, rtol=0, atol=1e-15)


@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_the_stationary_variance_of_a_quadratic(rate):
    """With X'X / n = diag(s), T / s / (1 - rate s / 2): by 400 runs of other seeds.

    w <- w - rate s (w - w*) + sqrt(2 rate T) xi has the variance v = (1 - rate s)^2 v + 2 rate T.
    """
    s, T, count = np.array([1.0, 0.8, 0.5, 0.25]), 0.3, 400
    X, target = np.diag(np.sqrt(4 * s)), np.array([1.0, -2.0, 3.0, 0.0])
    models = [ModelSpec((4, 1), target, Rule(LANGEVIN, (rate, 0.0, T, float(seed), 0.0)))
              for seed in range(count)]  # fmt: skip
    ends = []
    with cpu_loop.TrainingLoop(X, X @ target[:, np.newaxis], Loss(2.0, 0.5), models) as run:
        run.advance(round(20 / rate / s.min()))
        for _ in range(3):
            ends += [run.params(m) for m in range(count)]
            run.advance(round(6 / rate / s.min()))
    standard = (np.array(ends) - target) / np.sqrt(T / s / (1 - rate * s / 2))
    for column in standard.T:
        assert stats.kstest(column, "norm").pvalue > 0.001
    assert 0.001 < stats.chi2.cdf(np.sum(standard**2), standard.size) < 0.999
