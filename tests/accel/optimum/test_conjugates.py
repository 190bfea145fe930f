"""The f of Fenchel's inequality: against its definition in 60 digits, and its properties."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel._optimum.conjugates import Conjugate, entropy
from accel.kernels.specs import Loss

from ..decimal_losses import sample

KINDS = {"huber": 1.5, "pinball": 0.2, "expectile": 0.3, "logcosh": 0.0, "logistic": 0.0,
         "exponential": 0.0}  # fmt: skip


def side_of(kind, label=1.0):
    margins = kind in ("logistic", "exponential")
    return Conjugate(Loss(KINDS[kind], kind=kind), np.array([label if margins else 0.0]))


def slope_within(kind, part):
    """A slope in the domain of the conjugate, for a part from 0 to 1 of it, label 1."""
    low, high = {
        "huber": (-1.5, 1.5), "pinball": (-0.2, 0.8), "expectile": (-20.0, 20.0),
        "logcosh": (-1.0, 1.0), "logistic": (-1.0, 0.0), "exponential": (-20.0, 0.0),
    }[kind]  # fmt: skip
    return low + part * (high - low)


def conjugate(kind, v):
    """``l*(v)`` in Decimals."""
    xlogx = lambda x: x * x.ln() if x > 0 else Decimal(0)  # noqa: E731
    if kind == "huber":
        return v * v / 2
    if kind == "pinball":
        return Decimal(0)
    if kind == "expectile":
        return v * v / (4 * Decimal(1 - 0.3 if v > 0 else 0.3))
    if kind == "logcosh":
        return (xlogx(1 + v) + xlogx(1 - v)) / 2
    if kind == "logistic":
        return xlogx(-v) + xlogx(1 + v)
    return xlogx(-v) + v


def defined(kind, m, v):
    with localcontext() as context:
        context.prec = 60
        m, v = Decimal(m), Decimal(v)
        return float(sample(kind, KINDS[kind], m)[0] + conjugate(kind, v) - m * v)


@pytest.mark.parametrize("kind", KINDS)
@given(m=st.floats(-40, 40), part=st.floats(0, 1), near=st.floats(-1e-3, 1e-3))
def test_against_the_definition(kind, m, part, near):
    side = side_of(kind)
    low, high = (float(a[0]) for a in side.domain)
    slope = float(side.slopes(np.array([m]))[0])
    for v in (slope_within(kind, part), float(np.clip(slope * (1 + near), low, high))):
        got = float(side.terms(np.array([m]), np.array([v]))[0])
        right = defined(kind, m, v)
        # What the rounding of the slope makes: its grain times the distance of the slopes at most.
        grain = float(side.grain(np.array([m]))[0]) + 4e-16
        lost = grain * (abs(m) + 40) * (abs(v - slope) > 0) + grain**2
        assert got >= -lost
        assert abs(got - right) <= 1e-12 * right + lost


@pytest.mark.parametrize("kind", KINDS)
@given(m=st.floats(-30, 30))
def test_it_vanishes_at_the_slope(kind, m):
    side = side_of(kind, -1.0)
    m = np.array([m])
    assert 0 <= side.terms(m, side.slopes(m))[0] <= 1e-17 * (1 + side.values(m)[0])


@pytest.mark.parametrize("kind", KINDS)
@given(part=st.floats(0, 1))
def test_room_stays_within_the_domain(kind, part):
    """``v +- room/4`` of the width of the domain is in it, and there is none at its ends."""
    side = side_of(kind)
    low, high = side.domain
    v = np.array([slope_within(kind, part)])
    room = side.room(v)
    width = (high - low) if np.isfinite(high - low) else np.ones(1)
    assert np.all(v - room * width / 4 >= low - 1e-15)
    assert np.all(v + room * width / 4 <= high + 1e-15)


@given(P=st.floats(0, 1), Q=st.floats(1e-300, 1))
def test_the_entropy_is_at_least_0_and_0_only_for_equals(P, Q):
    P, Q = np.array([P]), np.array([Q])
    value = entropy(P, P - Q, Q, np.log(Q))[0]
    assert value >= 0
    assert (value == 0) == (P[0] == Q[0]) or abs(P[0] - Q[0]) < 1e-150


def test_a_chance_that_underflows_has_its_logarithm():
    P, Q = np.array([0.5, 0.0]), np.zeros(2)
    values = entropy(P, P - Q, Q, np.array([-1000.0, -1000.0]))
    assert values[0] == pytest.approx(0.5 * (np.log(0.5) + 1000) - 0.5)
    assert values[1] == 0
