"""Standard units where means are large beside the spread, for ``standardize`` and the estimator."""

import warnings
from fractions import Fraction

import numpy as np
import pytest

from accel import standardize
from accel._core.units import Units

RNG = np.random.default_rng(5)
# Multiples of 1/8 between -8 and 8: with an offset up to 1e15 they are still float64 numbers.
STEPS = RNG.integers(-64, 65, (500, 3)) / 8
WEIGHT = RNG.integers(1, 9, 500).astype(np.float64)
OFFSETS = [0.0, 1e6, -1e9, 1.7e12, 1e15]


def exact_mean(column, weight=None):
    weight = np.ones(len(column)) if weight is None else weight
    pairs = zip(column, weight, strict=True)
    return sum(Fraction(a) * Fraction(s) for a, s in pairs) / Fraction(weight.sum())


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("offset", OFFSETS)
def test_a_mean_has_twice_the_digits(offset, weight):
    units = Units.of("X", STEPS + offset, weight)
    for j in range(3):
        error = (
            Fraction(units.mean[j])
            + Fraction(units.rest[j])
            - exact_mean(STEPS[:, j] + offset, weight)
        )
        assert abs(error) < 1e-14
        assert units.mean[j] + units.rest[j] == units.mean[j]
    standard = units.standard(STEPS + offset, np.empty_like(STEPS))
    expected = Units.of("X", STEPS, weight).standard(STEPS, np.empty_like(STEPS))
    np.testing.assert_allclose(standard, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("offset", OFFSETS)
def test_standardized_columns_have_mean_zero(offset):
    data = standardize(STEPS + offset, STEPS[:, 0] + offset)
    np.testing.assert_allclose(data.X.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(data.X.std(axis=0), 1, rtol=1e-14)
    assert abs(data.y.mean()) < 1e-14
    back = data.predict([1, 0, 0], STEPS + offset)  # to the last place
    np.testing.assert_allclose(back, STEPS[:, 0] + offset, rtol=3e-16, atol=3e-15)
    zero = data.y_mean + data.y_rest
    coef, intercept = data.coefficients([1, 0, 0])
    np.testing.assert_allclose(coef, [1, 0, 0], rtol=1e-14)
    assert abs(float(intercept)) <= 4 * np.spacing(abs(offset) + 1)
    assert data.predict([0, 0, 0], STEPS[:1]) == zero


def test_a_column_with_one_far_number():
    """The far number is in the first row, then in the last."""
    column = STEPS[:, 0].copy()
    for row in (0, -1):
        column[row] = 1e15
        units = Units.of("y", column)
        assert float(units.mean) == pytest.approx(float(exact_mean(column)), rel=1e-15)
        assert float(units.scale) == pytest.approx(column.std(), rel=1e-12)


def test_blocks_change_nothing_but_rounding(monkeypatch):
    whole = Units.of("X", STEPS + 7e14, WEIGHT)
    for size in (1, 100, 1499):
        monkeypatch.setattr("accel._core.units._BLOCK", size)
        units = Units.of("X", STEPS + 7e14, WEIGHT)
        np.testing.assert_array_equal(units.mean, whole.mean)
        np.testing.assert_allclose(units.rest, whole.rest, atol=1e-14)
        np.testing.assert_allclose(units.scale, whole.scale, rtol=1e-14)


def test_large_numbers_in_float32_are_no_trouble():
    y = np.array([3e38, -3e38, -3e38], "f4")
    data = standardize(np.arange(3.0).reshape(3, 1), y)
    assert data.y.dtype == np.float32
    np.testing.assert_allclose(data.y, [2**0.5, -(0.5**0.5), -(0.5**0.5)], rtol=1e-7)
    np.testing.assert_allclose(data.predict([0.0], [[1.0]]), -1e38, rtol=1e-6)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("offset", OFFSETS[1:])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_an_offset_does_not_change_the_problem_that_is_fitted(offset, weight, scale):
    """The estimator, with and without weights, in standard units and in the user's."""
    scaled_problem = pytest.importorskip("accel.sklearn.scaled_problem")
    Y = STEPS[:, :1] + STEPS[:, 1:2]
    here, far = (
        scaled_problem.ScaledProblem.of(STEPS + d, Y + d, weight, 8.0, intercept=True, scale=scale)
        for d in (0.0, offset)
    )
    np.testing.assert_allclose(far.problem.X, here.problem.X, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(far.problem.Y, here.problem.Y, rtol=1e-13, atol=1e-13)
    W = np.array([[0.5, -0.25, 0.125, 0.0]])
    coef, intercept = far.to_user(W)
    np.testing.assert_allclose(coef, here.to_user(W)[0], rtol=1e-14)
    # At a large offset the intercept itself is rounded, which limits the digits.
    expected = here.to_user(W)[1] + offset - coef.sum() * offset
    np.testing.assert_allclose(intercept, expected, atol=8 * np.spacing(abs(offset)))
    np.testing.assert_allclose(far.from_user(coef, intercept), W, atol=16 * np.spacing(abs(offset)))


@pytest.mark.parametrize("solver", ["newton", "gradient", "end_to_end"])
def test_the_estimator_far_from_zero(solver):
    """Slopes at p = 8 are those of the same data near 0, whichever solver finds them."""
    sklearn = pytest.importorskip("accel.sklearn")
    y = STEPS @ [1.0, 2.0, 3.0] + RNG.integers(-32, 33, 500) / 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        here, far = (
            sklearn.LpRegressor(8, solver=solver, tol=1e-6).fit(STEPS + d, y + d)
            for d in (0.0, 1.7e12)
        )
    assert far.n_iter_ == here.n_iter_
    np.testing.assert_allclose(far.coef_, here.coef_, rtol=1e-7)


def test_the_intercept_makes_up_for_rounded_coefficients():
    """In float32 a slope of 1/3 is off by 1e-8: times means of 32768 that is 3e-4."""
    sklearn = pytest.importorskip("accel.sklearn")
    X = np.float32(STEPS[:, :1] + 2**15)
    y = X[:, 0] / np.float32(3)
    model = sklearn.LpRegressor(2).fit(X, y)
    assert model.coef_.dtype == np.float32
    slope = Fraction(float(model.coef_[0]))
    best = exact_mean(np.float64(y)) - slope * exact_mean(np.float64(X[:, 0]))
    assert abs(Fraction(float(model.intercept_)) - best) <= 1e-7
