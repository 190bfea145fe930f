"""The problem that is solved in the place of the user's, and the range of its numbers."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sklearn", "1.6")

from accel import LpProblem, Problem, optimum
from accel.losses import Expectile
from accel.sklearn.scaled_problem import ScaledProblem, _medians, require_range

from ..optimum.test_optimum import regression

X, Y = regression(50, 4, 3)
COUNT = st.integers(1, 5)


def test_an_intercept_makes_up_for_the_rounding_of_the_coefficients():
    far = (X + 1e4).astype("f4")
    given = ScaledProblem.of(far, (Y + 10).astype("f4"), None, 2.0, intercept=True, scale=True)
    best = optimum(LpProblem(given.problem.X, given.problem.Y, 2, dtype="f8")).W
    coef, intercept = given.to_user(best)
    assert coef.dtype == intercept.dtype == np.float32
    left = (Y + 10) - far.astype("f8") @ coef.T.astype("f8")
    np.testing.assert_allclose(intercept, left.mean(axis=0), rtol=3e-7)


@pytest.mark.parametrize(("p", "y", "how", "match"), [
    (50, 1e7, {"descent": True, "scaled": False},
     r"^the loss at W = 0, or its gradient, overflows for p = 50 in float64: "
     r"take a smaller p, or standardize=True$"),
    (50, 1e7, {"descent": False, "scaled": False}, r"^the loss at W = 0 overflows for p = 50"),
    (1024, 3.0, {"descent": True, "scaled": True},
     r"overflows for p = 1024 in float64 in units in which y has variance 1: take a smaller p$"),
    (1024, 3.0, {"descent": False, "scaled": True}, r"take a smaller p$"),
    (50, 1e-7, {"descent": True, "scaled": False}, r"vanishes for p = 50 in float64: "),
], ids=str)  # fmt: skip
def test_numbers_out_of_range(p, y, how, match):
    problem = LpProblem([[1.0], [2.0]], [y, -y], p)
    with pytest.raises(ValueError, match=match):
        require_range(problem, **how)


def test_numbers_in_range():
    require_range(LpProblem([[1.0]], [0.0], 50), descent=True, scaled=False)
    require_range(LpProblem([[1.0]], [1e-7], 50), descent=False, scaled=False)
    single = LpProblem(np.ones((2, 1), "f4"), np.full(2, 1e4, "f4"), 12)
    require_range(single, descent=False, scaled=False)  # Newton's method is in float64
    with pytest.raises(ValueError, match="in float32"):
        require_range(single, descent=True, scaled=False)


@pytest.mark.parametrize(("y", "match"), [
    (1e200, r"overflows for Expectile\(tau=0.8\) in float64: rescale y$"),
    (1e-200, r"vanishes for Expectile\(tau=0.8\) in float64: rescale y$"),
])  # fmt: skip
def test_numbers_out_of_range_of_another_loss(y, match):
    problem = Problem([[1.0], [2.0]], [y, -y], Expectile(0.8))
    with pytest.raises(ValueError, match=match):
        require_range(problem, descent=True, scaled=None)


def test_with_a_loss_targets_keep_their_scale_and_the_way_back_is_exact():
    far = 1e3 * X + [0, 5, -2, 1e3]
    given = ScaledProblem.with_loss(far, Y + 100, Expectile(0.8), intercept=True, scale=True)
    np.testing.assert_allclose(given.problem.X.std(axis=0), [1, 1, 1, 1, 0], rtol=1e-12)
    np.testing.assert_array_equal(given.y.scale, 1)
    W = np.random.default_rng(1).standard_normal((3, 5))
    coef, intercept = given.to_user(W)
    predicted = given.problem.X @ W.T - given.problem.Y
    np.testing.assert_allclose(far @ coef.T + intercept - (Y + 100), predicted, atol=1e-11)


@given(
    hnp.arrays(int, (6, 2), elements=st.integers(-9, 9)), st.lists(COUNT, min_size=6, max_size=6)
)
def test_medians_of_integer_weights_are_those_of_repeated_rows(a, counts):
    expected = np.median(np.repeat(a, counts, axis=0), axis=0)
    np.testing.assert_array_equal(_medians(a, 0.1 * np.array(counts)), expected)
    np.testing.assert_array_equal(_medians(a, None), np.median(a, axis=0))
