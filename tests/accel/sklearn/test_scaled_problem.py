"""The problem that is solved in the place of the user's, and the range of its numbers."""

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

from accel import LpProblem, optimum
from accel.sklearn.scaled_problem import ScaledProblem, require_range

from ..optimum.test_optimum import regression

X, Y = regression(50, 4, 3)


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
