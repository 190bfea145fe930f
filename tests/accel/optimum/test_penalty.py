"""The terms of a duality gap that penalties have."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel._optimum.penalty import Penalty

NUMBERS = hnp.arrays(float, 5, elements=st.floats(-1e3, 1e3))
SIZES = st.floats(1e-3, 1e3)


def penalties(lam, kappa, nonnegative):
    return Penalty(np.full(5, lam), np.full(5, kappa), nonnegative)


@given(NUMBERS, NUMBERS, SIZES, SIZES, st.booleans())
def test_terms_are_value_and_conjugate_less_the_product(c, t, lam, kappa, nonnegative):
    penalty = penalties(lam, kappa, nonnegative)
    c = np.abs(c) if nonnegative else c
    beyond = np.maximum(t - lam, 0) if nonnegative else np.maximum(np.abs(t) - lam, 0)
    expected = penalty.value(c) + np.sum(beyond**2 / (2 * kappa) - t * c)
    size = penalty.value(c) + np.sum(beyond**2 / (2 * kappa)) + np.abs(t) @ np.abs(c)
    terms = penalty.terms(c, t)
    assert (terms >= 0).all()
    assert terms.sum() == pytest.approx(expected, rel=1e-9, abs=1e-12 * size)
    most = penalty.most(c, t, np.full(5, 0.1))
    for shift in (-0.1, -0.05, 0.0, 0.1):
        assert penalty.terms(c, t + shift).sum() <= most


@given(NUMBERS, NUMBERS, SIZES, st.booleans())
def test_without_squares_slopes_are_shrunk_to_be_inside(c, t, lam, nonnegative):
    penalty = penalties(lam, 0.0, nonnegative)
    assert not penalty.strong
    inside = t * penalty.shrinking(t, 1e-12)
    assert not penalty.outside(inside).any()
    np.testing.assert_array_equal(penalty.clipped(inside), inside)
    if penalty.shrinking(t) < 1:
        assert penalty.outside(t).any()
    c = np.abs(c) if nonnegative else c
    expected = penalty.value(c) - inside @ c
    assert penalty.terms(c, inside).sum() == pytest.approx(expected, abs=1e-9 * (1 + lam * 1e3))


def test_nothing_but_nonnegativity():
    penalty = penalties(0.0, 0.0, True)
    t = np.array([-1.0, 0.0, 2.0, -3.0, 1e-9])
    assert penalty.shrinking(t) == 1.0
    np.testing.assert_array_equal(penalty.outside(t), [0, 0, 2, 0, 1e-9])
    np.testing.assert_array_equal(penalty.terms(np.ones(5), t), [1, 0, 0, 3, 0])
    scaled = penalties(2.0, 3.0, True).scaled(10.0, 100.0)
    assert (scaled.lam[0], scaled.kappa[0], scaled.nonnegative) == (20, 300, True)
