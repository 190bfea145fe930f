"""Schedules as values: their formulas, their checks, their ranges, and optax's."""

import dataclasses
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import accel
from accel import GradientDescent, Momentum, Nesterov, schedules
from accel.schedules import (
    Constant,
    CosineDecay,
    ExponentialDecay,
    InversePower,
    Join,
    Linear,
    PiecewiseConstant,
    PiecewiseInterpolate,
    Polynomial,
    Product,
    Schedule,
    Step,
    WarmupConstant,
    WarmupCosineDecay,
)
from accel.schedules.naming import SCHEDULES, described, from_described

from ..refusing import refused

STEPS = np.array([*range(60), 1000, 10**7])
SCALES = {4: 0.5, 9: 3.0, 30: 0.1}


def optax_like(optax):
    """Pairs of a schedule of ours and one of optax's."""
    o = optax.schedules
    joined = [Linear(0.0, 0.3, 7), CosineDecay(0.3, 20), Constant(0.01)]
    return [
        (Constant(0.3), o.constant_schedule(0.3)),
        (Linear(0.1, 0.7, 20, 3), o.linear_schedule(0.1, 0.7, 20, 3)),
        (Polynomial(1.0, 0.2, 2.5, 20, 3), o.polynomial_schedule(1.0, 0.2, 2.5, 20, 3)),
        (ExponentialDecay(0.5, 10, 0.7, 2), o.exponential_decay(0.5, 10, 0.7, 2)),
        (
            ExponentialDecay(0.5, 10, 0.7, 2, True, 0.2),
            o.exponential_decay(0.5, 10, 0.7, 2, True, 0.2),
        ),
        (ExponentialDecay(0.5, 10, 1.3, end_value=0.9),
         o.exponential_decay(0.5, 10, 1.3, end_value=0.9)),
        (Step(0.5, 10, 0.5), o.exponential_decay(0.5, 10, 0.5, staircase=True)),
        (CosineDecay(0.5, 30, 0.1, 1.5), o.cosine_decay_schedule(0.5, 30, 0.1, 1.5)),
        (WarmupConstant(0.1, 0.6, 9), o.warmup_constant_schedule(0.1, 0.6, 9)),
        (
            WarmupCosineDecay(0.1, 0.6, 9, 40, 0.05, 1.2),
            o.warmup_cosine_decay_schedule(0.1, 0.6, 9, 40, 0.05, 1.2),
        ),
        (PiecewiseConstant.from_scales(2.0, SCALES), o.piecewise_constant_schedule(2.0, SCALES)),
        (
            PiecewiseInterpolate.from_scales(2.0, SCALES),
            o.piecewise_interpolate_schedule("linear", 2.0, SCALES),
        ),
        (
            PiecewiseInterpolate.from_scales(2.0, SCALES, "cosine"),
            o.piecewise_interpolate_schedule("cosine", 2.0, SCALES),
        ),
        (Join(joined, [7, 40]), o.join_schedules(
            [o.linear_schedule(0.0, 0.3, 7), o.cosine_decay_schedule(0.3, 20),
             o.constant_schedule(0.01)], [7, 40])),
    ]  # fmt: skip


def test_values_are_those_of_optax():
    """It computes in float32."""
    for ours, theirs in optax_like(pytest.importorskip("optax")):
        expected = [float(theirs(int(step))) for step in STEPS]
        np.testing.assert_allclose(ours(STEPS), expected, rtol=2e-5, atol=1e-7, err_msg=repr(ours))


def test_an_inverse_power():
    schedule = InversePower(0.4, 0.75, 10)
    np.testing.assert_allclose(schedule(STEPS), 0.4 * (1 + STEPS / 10) ** -0.75, rtol=1e-14)
    assert schedule.range == (0.0, 0.4)


#: A schedule of every kind, and a Python function that is the same.
KINDS = [
    (Constant(0.5), lambda t: 0.5),
    (Linear(0.0, 1.0, 8), lambda t: min(t / 8, 1)),
    (Polynomial(2.0, 1.0, 2.0, 8, 2), lambda t: 1 + (1 - min(max(t - 2, 0) / 8, 1)) ** 2),
    (ExponentialDecay(1.0, 4, 0.5, 3), lambda t: 0.5 ** (max(t - 3, 0) / 4)),
    (Step(1.0, 4, 0.5), lambda t: 0.5 ** (t // 4)),
    (CosineDecay(1.0, 10, 0.1), lambda t: 0.1 + 0.45 * (1 + math.cos(math.pi * min(t, 10) / 10))),
    (InversePower(1.0, 0.5, 2), lambda t: (1 + t / 2) ** -0.5),
    (PiecewiseConstant([3, 5], [1, 2, 3]), lambda t: 1 + (t >= 3) + (t >= 5)),
    (PiecewiseInterpolate([3, 5], [1, 2, 0]), lambda t: float(np.interp(t, [0, 3, 5], [1, 2, 0]))),
]


def joined(first, second, boundary):
    (a, f), (b, g) = first, second
    return Join([a, b], [boundary]), lambda t: f(t) if t < boundary else g(t - boundary)


def multiplied(first, second):
    (a, f), (b, g) = first, second
    return a * b, lambda t: f(t) * g(t)


trees = st.recursive(
    st.sampled_from(KINDS),
    lambda inner: (
        st.builds(joined, inner, inner, st.integers(1, 20)) | st.builds(multiplied, inner, inner)
    ),
    max_leaves=8,
)


@given(tree=trees)
def test_products_and_joins_of_anything(tree):
    """And no value is out of the range; a file gives back the same schedule."""
    schedule, function = tree
    steps = np.arange(70)
    values = schedule(steps)
    np.testing.assert_allclose(values, [function(t) for t in steps.tolist()], rtol=1e-13)
    least, most = schedule.range
    assert least * (1 - 1e-13) <= values.min()
    assert values.max() <= most * (1 + 1e-13)
    assert schedule(7) == values[7]
    for same in (from_described(described(schedule)), pickle.loads(pickle.dumps(schedule))):
        assert same == schedule
        assert (hash(same), repr(same)) == (hash(schedule), repr(schedule))


def test_what_a_value_is():
    schedule = 0.1 * CosineDecay(1.0, 100) * 2
    assert repr(CosineDecay(1, 100)) == (
        "CosineDecay(init_value=1.0, decay_steps=100, alpha=0.0, exponent=1.0)"
    )
    assert isinstance(schedule, Product)
    assert isinstance(schedule, Schedule)
    assert schedule(0) == 0.2
    assert type(schedule(0)) is float
    assert Product([Constant(2), Constant(3)])(5) == 6
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.factors = ()
    with pytest.raises(TypeError):
        schedule * "2"
    with pytest.raises(TypeError):
        True * schedule
    assert schedules is accel.schedules
    assert set(SCHEDULES) == {*schedules.__all__} - {"Schedule"}


def test_an_array_of_rates_as_the_messages_name_it():
    values = np.linspace(0.1, 0.02, 50)
    rate = PiecewiseConstant(range(1, len(values)), values)
    np.testing.assert_array_equal(rate(np.arange(50)), values)
    assert rate(10**6) == values[-1]


def test_the_last_steps_and_a_join_of_one():
    schedule = Linear(0, 1, 2**53)
    np.testing.assert_array_equal(schedule(np.array([0, 2**53])), [0, 1])
    assert schedule(2**53) == 1
    assert GradientDescent(schedule).at(2**53) == GradientDescent(1)
    alone = Join([schedule], [])
    np.testing.assert_array_equal(alone(STEPS), schedule(STEPS))
    assert alone.range == (0, 1)
    assert from_described(described(alone)) == alone


def test_long_arrays_are_told_apart_by_their_repr():
    values = np.arange(101.0)
    one = PiecewiseConstant(range(1, 101), values)
    assert len(repr(one)) < 200
    assert repr(one) == repr(PiecewiseConstant(list(range(1, 101)), values))
    assert repr(one) != repr(PiecewiseConstant(range(1, 101), values[::-1]))
    assert repr(one) != repr(PiecewiseConstant(range(2, 102), values))
    assert repr(PiecewiseInterpolate([3], [1, 2], "cosine")) == (
        "PiecewiseInterpolate(boundaries=(3,), values=(1.0, 2.0), interpolate_type='cosine')"
    )


def test_ranges_without_a_bound():
    growing = ExponentialDecay(0.1, 10, 2.0)
    assert growing.range == (0.1, math.inf)
    assert (-1 * growing).range == (-math.inf, -0.1)
    assert (0 * growing).range == (0.0, 0.0)
    assert (Linear(0, 1, 100) * growing).range == (0.0, math.inf)
    assert (growing * InversePower(1.0)).range == (0.0, math.inf)
    assert (Linear(-1, 2, 10) * growing).range == (-math.inf, math.inf)
    assert (Linear(-1, 0, 10) * growing * -2).range == (0.0, math.inf)
    assert (growing * growing * Constant(0.0)).range == (0.0, 0.0)
    assert ExponentialDecay(0.0, 1, 2.0)(10**6) == 0
    assert ExponentialDecay(2.0, 1, 0.5, end_value=3.0).range == (3.0, 3.0)
    assert ExponentialDecay(2.0, 5, 1.0).range == (2.0, 2.0)
    assert GradientDescent(growing).at(20).learning_rate == 0.4


@pytest.mark.parametrize("factor", [Linear(0, 1, 100), InversePower(1.0), Constant(0.0)], ids=repr)
def test_a_rate_may_grow_beside_what_is_or_tends_to_0(factor):
    """As a test of the range of rates with a warm-up."""
    growing = ExponentialDecay(1e-6, 10, 1.1)
    for rate in (factor * growing, growing * factor):
        rule = GradientDescent(rate)
        values = [factor(step) * growing(step) for step in (0, 7, 150)]
        assert [rule.at(step).learning_rate for step in (0, 7, 150)] == pytest.approx(values)
    with pytest.raises(ValueError, match="which goes from -inf to inf"):
        GradientDescent(Linear(-1, 1, 10) * growing)


#: Of either sign, 0 somewhere or everywhere, or beyond the largest number soon.
EXTREMES = [
    Constant(0.0), Constant(-2.0), Constant(3.0), Linear(1, 0, 20), Linear(-1, 1, 20),
    InversePower(1.0), ExponentialDecay(1.0, 1, 1e-20), ExponentialDecay(2.0, 1, 1e20),
    ExponentialDecay(-0.5, 1, 1e20, 10, True), ExponentialDecay(1.0, 1, 1e20, end_value=7.0),
    ExponentialDecay(-1.0, 1, 1e20, end_value=7.0), ExponentialDecay(3.0, 1, 1e-20, end_value=1.0),
    PiecewiseConstant([5, 15, 40], [0, 1, 0, -1]),
    Join([ExponentialDecay(1.0, 1, 1e20), Constant(0.0)], [30]),
]  # fmt: skip
extremes = st.recursive(
    st.sampled_from(EXTREMES),
    lambda inner: (
        st.builds(Product, st.lists(inner, min_size=1, max_size=4))
        | st.builds(lambda a, b, step: Join([a, b], [step]), inner, inner, st.integers(1, 40))
    ),
    max_leaves=8,
)


@given(schedule=extremes)
def test_a_value_is_in_the_range_wherever_factors_are_0_or_overflow(schedule):
    """It is never NaN."""
    values = schedule(np.arange(90))
    least, most = schedule.range
    assert (values >= least - 1e-13 * abs(least)).all()
    assert (values <= most + 1e-13 * abs(most)).all()


def test_what_is_0_stays_0_beside_what_overflows():
    growing = ExponentialDecay(1.0, 1, 1e20)
    assert (Linear(1, 0, 20) * growing)(10**4) == 0.0
    assert (2 * growing * growing * Linear(1, 0, 20))(10**4) == 0.0
    assert (ExponentialDecay(1.0, 1, 1e-20) * growing)(10**4) == 0.0  # it underflows
    assert (growing * 2)(10**4) == (2 * growing * Linear(0, 1, 20))(10**4) == math.inf


def test_constants_of_an_optimiser():
    rule = Momentum(Step(0.1, 5, 0.5), Linear(0.5, 0.9, 10), weight_decay=CosineDecay(0.2, 10))
    assert rule.at(10) == Momentum(0.025, 0.9, weight_decay=0.0)
    assert rule.rule.hyper == (0.1, 0.2, 0.5, 0.0, 0.0)
    assert [len(program) for program in rule.rule.programs] == [11, 11, 11]
    assert Momentum(0.1).rule.programs == (None, None, None)
    plain = Momentum(0.1)
    assert plain.at(7) is plain


BAD = [
    (ValueError, "learning_rate must be >= 0 at every step, got Linear.*which goes from -1 to 1",
     lambda: GradientDescent(Linear(1, -1, 10))),
    (ValueError, "learning_rate must be >= 0 at every step", lambda: Momentum(-1 * Step(1, 2))),
    (ValueError, "weight_decay must be >= 0 at every step",
     lambda: GradientDescent(1, weight_decay=Constant(-0.1))),
    (ValueError, "momentum must be >= 0 and < 1 at every step, got Linear.*from 0.5 to 1",
     lambda: Nesterov(1, Linear(0.5, 1, 3))),
    (TypeError, "beta1 must be a real number, got Constant", lambda: accel.Adam(1, Constant(0.9))),
    (TypeError, "rho must be a real number, got Constant", lambda: accel.AdaDelta(1, Constant(0))),
    (TypeError, "learning_rate must be a real number, got <function.*; a schedule of "
     r"accel.schedules may stand here, too: PiecewiseConstant\(range\(1, n\), values\) has val",
     lambda: GradientDescent(lambda step: 0.1)),
    (TypeError, "momentum must be a real number, got array.*; a schedule of accel.schedules"
     r" may stand here, too: PiecewiseConstant\(range\(1, n\), values\)",
     lambda: Momentum(0.1, np.ones(3))),
    (TypeError, "weight_decay must be a real number, got 'auto'; a schedule of accel.schedules"
     " may stand here, too$", lambda: GradientDescent(0.1, weight_decay="auto")),
    (ValueError, "value must be finite, got nan", lambda: Constant(math.nan)),
    (TypeError, "init_value must be a real number, got '1'", lambda: Linear("1", 2, 3)),
    (ValueError, "transition_steps must be >= 1 and <= .*, got 0", lambda: Linear(1, 2, 0)),
    (TypeError, "transition_steps must be an integer, got 1.5",
     lambda: Polynomial(1, 2, 1, 1.5)),
    (ValueError, "power must be finite and > 0, got 0", lambda: Polynomial(1, 2, 0, 3)),
    (ValueError, "transition_begin must be >= 0 and <= .*, got -1",
     lambda: ExponentialDecay(1, 2, 0.5, -1)),
    (TypeError, "staircase must be True or False, got 1",
     lambda: ExponentialDecay(1, 2, 0.5, staircase=1)),
    (ValueError, "end_value must be finite, got inf",
     lambda: ExponentialDecay(1, 2, 0.5, end_value=math.inf)),
    (ValueError, "decay_rate must be finite and > 0, got -0.5", lambda: Step(1, 2, -0.5)),
    (ValueError, "decay_steps must be >= 1 and <= .*, got 0", lambda: CosineDecay(1, 0)),
    (ValueError, "exponent must be finite and > 0, got 0", lambda: CosineDecay(1, 2, 0, 0)),
    (ValueError, "scale must be finite and > 0, got 0", lambda: InversePower(1, 1, 0)),
    (ValueError, "warmup_steps must be >= 1 and <= .*, got 0", lambda: WarmupConstant(0, 1, 0)),
    (ValueError, "decay_steps must be >= 6, got 5", lambda: WarmupCosineDecay(0, 1, 5, 5)),
    (ValueError, r"boundaries must be at least 1 and ascend, got \[3, 3\]",
     lambda: PiecewiseConstant([3, 3], [1, 2, 3])),
    (ValueError, r"boundaries must be at least 1 and ascend, got \[0\]",
     lambda: PiecewiseInterpolate([0], [1, 2])),
    (TypeError, "boundaries must hold integers, got dtype float64",
     lambda: PiecewiseConstant([1.0], [1, 2])),
    (ValueError, "values must be one more than boundaries, got 1 and 1",
     lambda: PiecewiseConstant([1], [1])),
    (ValueError, r"values must be finite.*values\[1\] = nan",
     lambda: PiecewiseConstant([1], [1, math.nan])),
    (ValueError, "interpolate_type must be one of linear, cosine, got 'cubic'",
     lambda: PiecewiseInterpolate([1], [1, 2], "cubic")),
    (TypeError, "boundaries_and_scales must be a mapping, got 3",
     lambda: PiecewiseConstant.from_scales(1, 3)),
    (TypeError, r"schedules\[1\] must be of accel.schedules, got 0.1",
     lambda: Join([Constant(1), 0.1], [3])),
    (ValueError, "schedules must be one more than boundaries, got 1 and 1",
     lambda: Join([Constant(1)], [3])),
    (ValueError, "schedules must be one more than boundaries, got 2 and 0",
     lambda: Join([Constant(1), Constant(2)], [])),
    (ValueError, "end_value must be a finite multiple of peak_value, got 1 and 9.99989e-321",
     lambda: WarmupCosineDecay(0, 1e-320, 5, 50, 1.0)),
    (ValueError, r"value must be finite, got 10{70,}\.\.\.$", lambda: Constant(1) * 10**400),
    (ValueError, r"value must be finite, got -10{70,}\.\.\.$", lambda: -(10**400) * Constant(1)),
    (ValueError, "value must be finite, got a int that cannot be shown",
     lambda: Constant(1) * 10**5000),
    (ValueError, r"init_value must be finite, got 10{70,}\.\.\.$", lambda: Linear(10**400, 1, 2)),
    (ValueError, r"transition_steps must be >= 1 and <= .*, got 10{70,}\.\.\.$",
     lambda: Linear(0, 1, 10**400)),
    (TypeError, r"values must hold real numbers, got .*10{40,}.*\.\.\.$",
     lambda: PiecewiseConstant([1], [1, 10**400])),
    (TypeError, r"boundaries must hold real numbers, got .*10{40,}.*\.\.\.$",
     lambda: PiecewiseConstant([10**400], [1, 2])),
    (ValueError, r"init_value must be finite, got 10{70,}\.\.\.$",
     lambda: PiecewiseConstant.from_scales(10**400, {1: 2})),
    (TypeError, r"boundaries_and_scales must hold real numbers, got .*10{40,}.*\.\.\.$",
     lambda: PiecewiseConstant.from_scales(1, {1: 10**400})),
    (ValueError, r"boundaries_and_scales must be finite.*\[2\] = inf",
     lambda: PiecewiseConstant.from_scales(1, {1: 1e200, 2: 1e200})),
    (ValueError, "factors must have a product below the largest number.* 1e\\+200, 1e\\+200",
     lambda: Constant(1e200) * CosineDecay(1e200, 5)),
    (ValueError, "factors must not be empty", lambda: Product([])),
    (TypeError, r"factors\[0\] must be of accel.schedules, got 2", lambda: Product([2])),
    (TypeError, "step must be an integer, got 0.5", lambda: Constant(1)(0.5)),
    (ValueError, "step must be >= 0", lambda: Constant(1)(-1)),
    (ValueError, "step must be >= 0 and <= 9007199254740992, got -2", lambda: Constant(1)([3, -2])),
    (ValueError, "step must be >= 0 and <= 9007199254740992, got 9007199254740993",
     lambda: Constant(1)(2**53 + 1)),
    (ValueError, "step must be >= 0 and <= 9007199254740992, got 9007199254740993",
     lambda: Constant(1)(np.array([0, 2**53 + 1]))),
    (ValueError, "step must be >= 0 and <= 9007199254740992, got 18446744073709551615",
     lambda: Constant(1)(np.array([2**64 - 1], np.uint64))),
    (ValueError, "step must be >= 0 and <= .*, got -1", lambda: GradientDescent(1).at(-1)),
    (ValueError, "step must be >= 0 and <= .*, got -1",
     lambda: GradientDescent(Constant(1)).at(-1)),
    (TypeError, "step must be an integer, got 0.5", lambda: GradientDescent(1).at(0.5)),
    (TypeError, "step must hold integers, got dtype float64", lambda: Constant(1)([3.0])),
    (ValueError, "schedule must be one of Constant, .*, got 'Sine'",
     lambda: from_described({"schedule": "Sine"})),
    (TypeError, "schedule must be one of Constant, .*, got None", lambda: from_described({})),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "match", "call"), BAD, ids=[f"{row[1]:.50}" for row in BAD])
def test_refused(kind, match, call):
    refused(kind, match, call)


def test_a_schedule_is_no_rule_of_its_own():
    with pytest.raises(TypeError, match="abstract"):
        Schedule()
