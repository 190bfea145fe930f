"""The reference optimum: its certificate, other solvers, degenerate data, and the gas problem."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import LpProblem, optimum

POWERS = (1, 1.01, 1.5, 2, 2.5, 3, 4, 6, 8, 20)


def regression(n, d, k=1, seed=0, outliers=True):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    noise = rng.standard_t(3, (n, k)) if outliers else rng.standard_normal((n, k))
    Y = X @ rng.standard_normal((d, k)) + noise
    return X, Y[:, 0] if k == 1 else Y


def assert_certified(problem, best, tol=1e-10):
    """Check the optimum by its own claims, and by the loss of other points."""
    assert best.converged
    assert 0 <= best.duality_gap <= tol * best.loss
    assert best.loss == pytest.approx(problem.loss(best.W, backend="reference"), rel=1e-12)
    rng = np.random.default_rng(1)
    for size in (1e-9, 1e-5, 1e-2, 1.0):
        other = best.W + size * rng.standard_normal(best.W.shape)
        slack = best.duality_gap + 1e-14 * best.loss
        assert problem.loss(other, backend="reference") >= best.loss - slack


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("scale", ["mean", "1/p"])
@pytest.mark.parametrize("k", [1, 3])
def test_certificate(p, scale, k):
    problem = LpProblem(*regression(200, 7, k), p=p, scale=scale)
    best = optimum(problem, backend="reference")
    assert best.W.shape == (k, 7)
    assert best.W.dtype == np.float64
    assert_certified(problem, best)
    if p >= 1.5:
        assert best.gradient_norm <= 1e-4 * np.linalg.norm(
            problem.gradient(np.zeros((k, 7)), backend="reference")
        )


@pytest.mark.parametrize("p", [2, 2.5, 4])
def test_the_cpu_kernel_gives_the_same(p):
    problem = LpProblem(*regression(150, 13, 2), p=p)
    best, other = (optimum(problem, backend=name) for name in ("reference", "cpu"))
    assert best.loss == pytest.approx(other.loss, rel=1e-10)
    assert_certified(problem, other)


def test_outputs_separate():
    X, Y = regression(80, 5, 3)
    for p in (1, 1.5, 4):
        together = optimum(LpProblem(X, Y, p=p), backend="reference")
        alone = [optimum(LpProblem(X, y, p=p), backend="reference") for y in Y.T]
        np.testing.assert_allclose(together.W, np.vstack([one.W for one in alone]), rtol=1e-12)
        assert together.loss == pytest.approx(sum(one.loss for one in alone), rel=1e-12)
        assert together.iterations == sum(one.iterations for one in alone)


def test_factor_only_scales_the_result():
    X, y = regression(80, 5)
    for p in (1, 1.5, 2, 4):
        mean, text = (
            optimum(LpProblem(X, y, p=p, scale=s), backend="reference") for s in ("mean", "1/p")
        )
        np.testing.assert_allclose(mean.W, text.W, rtol=1e-13)
        for name in ("loss", "gradient_norm", "duality_gap"):
            assert getattr(text, name) == pytest.approx(getattr(mean, name) / p, abs=1e-15)
        assert text.newton_decrement == pytest.approx(mean.newton_decrement / p**0.5, abs=1e-15)


@pytest.mark.parametrize("p", [1.5, 2, 3, 4, 6])
def test_against_scipy(p):
    minimize = pytest.importorskip("scipy.optimize").minimize
    X, y = regression(120, 6)
    problem = LpProblem(X, y, p=p)
    best = optimum(problem, backend="reference")
    other = minimize(
        lambda w: problem.loss_and_gradient(w, backend="reference"),
        np.zeros(6),
        jac=True,
        method="BFGS",
        options={"gtol": 1e-9},
    )
    assert best.loss - best.duality_gap <= other.fun
    assert best.loss == pytest.approx(other.fun, rel=1e-8)
    np.testing.assert_allclose(best.W[0], other.x, atol=1e-4)


def test_least_absolute_deviations_against_linear_programming():
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = regression(300, 8)
    best = optimum(LpProblem(X, y, p=1), backend="reference")
    other = linear_model.QuantileRegressor(quantile=0.5, alpha=0, fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(best.W[0], other.coef_, atol=1e-9)
    assert best.loss == pytest.approx(np.mean(np.abs(X @ other.coef_ - y)), rel=1e-12)


def test_least_squares_against_lstsq():
    X, Y = regression(100, 9, 2)
    best = optimum(LpProblem(X, Y, p=2), backend="reference")
    np.testing.assert_allclose(best.W.T, np.linalg.lstsq(X, Y, rcond=None)[0], rtol=1e-11)
    assert best.gradient_norm < 1e-13
    assert best.newton_decrement < 1e-13


def test_location_estimates():
    """A column of ones: median, mean, and for large p nearly the middle of the range."""
    y = np.array([0.0, 1.0, 2.0, 7.0, 100.0])
    for p, expected, tolerance in ((1, 2.0, 1e-12), (2, 22.0, 1e-12), (60, 50.0, 1.0)):
        best = optimum(LpProblem(np.ones((5, 1)), y, p=p), backend="reference")
        assert best.W[0, 0] == pytest.approx(expected, abs=tolerance)
        assert best.converged


@pytest.mark.parametrize("p", POWERS)
def test_rank_deficient(p):
    """The predictions are those of independent columns; W has the least norm for them."""
    X, y = regression(60, 4)
    mix = np.random.default_rng(5).standard_normal((4, 7))
    problem = LpProblem(X @ mix, y, p=p)
    best = optimum(problem, backend="reference")
    assert_certified(problem, best)
    assert best.loss == pytest.approx(
        optimum(LpProblem(X, y, p=p), backend="reference").loss, rel=1e-10
    )
    least = np.linalg.pinv(X @ mix) @ (X @ mix @ best.W[0])
    np.testing.assert_allclose(best.W[0], least, atol=1e-10)


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize(("n", "d"), [(3, 10), (1, 1), (1, 4), (6, 6)])
def test_interpolation(p, n, d):
    X, Y = regression(n, d, 2)
    best = optimum(LpProblem(X, Y, p=p), backend="reference")
    at_zero = np.sum(np.mean(np.abs(Y) ** p, axis=0))
    assert best.converged
    assert best.loss <= best.duality_gap <= 1e-10 * at_zero
    np.testing.assert_allclose(X @ best.W.T, Y, atol=1e-12)
    np.testing.assert_allclose(best.W, (np.linalg.pinv(X) @ Y).T, atol=1e-10)


@pytest.mark.parametrize("p", POWERS)
def test_columns_and_rows_of_zeros(p):
    X, y = regression(40, 3)
    X[:, 1] = 0
    X[::4] = 0  # these rows have a constant loss
    problem = LpProblem(X, y, p=p)
    best = optimum(problem, backend="reference")
    assert best.W[0, 1] == pytest.approx(0, abs=1e-15)
    assert_certified(problem, best)


@pytest.mark.parametrize("p", POWERS)
def test_nothing_to_learn(p):
    zero = optimum(LpProblem(np.zeros((4, 2)), np.array([1.0, -2, 3, 0]), p=p), backend="reference")
    assert zero.loss == pytest.approx((1 + 2.0**p + 3.0**p) / 4)
    assert zero.converged
    assert not zero.W.any()
    silent = optimum(LpProblem(np.eye(3), np.zeros(3), p=p), backend="reference")
    assert (silent.loss, silent.duality_gap, silent.converged) == (0.0, 0.0, True)


@pytest.mark.parametrize("p", [1, 1.5, 2, 4])
def test_units_do_not_matter(p):
    X, y = regression(90, 5)
    units = 10.0 ** np.array([-9, 6, 0, 3, -4])
    plain = optimum(LpProblem(X, y, p=p), backend="reference")
    scaled = optimum(LpProblem(X * units, 1e4 * y, p=p), backend="reference")
    assert scaled.converged
    assert scaled.loss == pytest.approx(plain.loss * 1e4**p, rel=1e-9)
    np.testing.assert_allclose(scaled.W * units, 1e4 * plain.W, rtol=1e-3, atol=1e-2)


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 12),
    d=st.integers(1, 5),
    p=st.sampled_from(POWERS),
    seed=st.integers(0, 10**6),
)
def test_ties(n, d, p, seed):
    """Small integers: residuals of zero, repeated rows, optima that are not unique."""
    rng = np.random.default_rng(seed)
    X, y = rng.integers(-2, 3, (n, d)), rng.integers(-2, 3, n)
    problem = LpProblem(X, y, p=p)
    best = optimum(problem, backend="reference")
    assert best.converged
    assert best.duality_gap <= 1e-10 * np.mean(np.abs(y.astype(float)) ** p)
    for _ in range(5):
        other = problem.loss(best.W + rng.standard_normal((1, d)), backend="reference")
        assert other >= best.loss - best.duality_gap - 1e-14


def test_float32_data_is_solved_in_float64():
    X, y = (a.astype(np.float32) for a in regression(100, 4))
    single = optimum(LpProblem(X, y, p=4), backend="reference")
    double = optimum(LpProblem(X.astype(float), y.astype(float), p=4), backend="reference")
    assert single.W.dtype == np.float64
    assert single.loss == double.loss


def test_a_search_stopped_early_has_a_valid_gap():
    for p, d in ((1, 40), (1.5, 6), (8, 6)):
        problem = LpProblem(*regression(200, d), p=p)
        early, best = (optimum(problem, max_iter=m, backend="reference") for m in (2, 200))
        assert not early.converged
        assert early.iterations == 2
        assert early.loss - early.duality_gap <= best.loss <= early.loss


def test_same_bits_again():
    problem = LpProblem(*regression(100, 6), p=3)
    first, second = (optimum(problem, backend="reference") for _ in range(2))
    np.testing.assert_array_equal(first.W, second.W)
    assert first.duality_gap == second.duality_gap


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tol": 0}, ValueError, "tol"),
        ({"tol": float("nan")}, ValueError, "tol"),
        ({"tol": "1e-9"}, TypeError, "tol"),
        ({"max_iter": 0}, ValueError, "max_iter"),
        ({"max_iter": 1.5}, TypeError, "max_iter"),
        ({"backend": "cuba"}, ValueError, "did you mean"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        optimum(LpProblem(np.eye(2), np.ones(2)), **arguments)


def test_overflow_is_named():
    with pytest.raises(ValueError, match="overflows for p = 20"):
        optimum(LpProblem(np.ones((2, 1)), [1e30, -1e30], p=20))


@pytest.mark.parametrize(
    ("p", "minimum", "published"),
    [(2, 0.0999904310092, 0.0999904293), (4, 0.221508678373, 0.2215086835)],
)
def test_gas(gas, p, minimum, published):
    """The published minima are 1.7e-9 above and 5.1e-9 below the proven range.

    Noise of the size of the float32 rounding of X moves them by more, 1e-8 and 1e-7.
    """
    best = optimum(LpProblem(gas.X, gas.y, p=p), backend="reference")
    assert best.converged
    assert best.duality_gap < 1e-10
    assert best.loss == pytest.approx(minimum, abs=2e-11)
    assert best.loss == pytest.approx(published, abs=1e-8)


@pytest.mark.parametrize("p", [1, 1.5, 2.5, 3, 6, 8])
def test_gas_certified(gas, p):
    best = optimum(LpProblem(gas.X, gas.y, p=p), backend="reference")
    assert best.converged
    assert best.duality_gap <= 1e-10 * best.loss
    assert best.iterations <= 60


@pytest.mark.parametrize("of_x", [1e-150, 1e150])
@pytest.mark.parametrize("of_y", [1e-150, 1e-60, 1e150])
def test_data_of_all_sizes(of_x, of_y):
    """The optimum scales with the data; no intermediate square overflows or underflows."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 4)), rng.standard_normal(60)
    usual, best = (optimum(LpProblem(s * X, t * y, p=2)) for s, t in ((1.0, 1.0), (of_x, of_y)))
    np.testing.assert_allclose(best.W * of_x / of_y, usual.W, rtol=1e-10)
    assert best.loss / of_y / of_y == pytest.approx(usual.loss, rel=1e-10)
    assert best.converged
    with pytest.raises(ValueError, match="overflows for p = 4: standardize y"):
        optimum(LpProblem(X, 1e150 * y, p=4))


def line(far, seed=0):
    """A line with unit noise, and one target far above it."""
    x = np.arange(100.0)
    y = 3 * x + 5 + np.random.default_rng(seed).standard_normal(100)
    y[7] = far
    return np.column_stack([x, np.ones(100)]), y


def least_deviations(X, y):
    """By linear programming."""
    linprog = pytest.importorskip("scipy.optimize").linprog
    n, d = X.shape
    solution = linprog(
        np.r_[np.zeros(d), np.ones(2 * n)],
        A_eq=np.hstack([X, np.eye(n), -np.eye(n)]),
        b_eq=y,
        bounds=[(None, None)] * d + [(0, None)] * (2 * n),
    )
    return solution.x[:d]


@pytest.mark.parametrize("far", [1e3, 1e6, 1e12, 1e20, 1e30])
def test_how_far_a_row_is_does_not_matter_for_least_deviations(far):
    for seed in range(3):
        right = least_deviations(*line(1e3, seed))
        X, y = line(far, seed)
        best = optimum(LpProblem(X, y, p=1), backend="reference")
        assert best.converged
        np.testing.assert_allclose(best.W[0], right, rtol=1e-12)
    np.testing.assert_allclose(optimum(LpProblem(*line(far), p=1)).W[0], [3.00141, 5.02584], 1e-5)


@pytest.mark.parametrize("p", [1.01, 1.2, 1.5, 1.9])
@pytest.mark.parametrize("far", [1e6, 1e12, 1e30])
def test_a_row_far_away_does_not_hide_the_others_for_p_below_2(p, far):
    """A further Newton step in plain arithmetic is small beside the other residuals."""
    X, y = line(far)
    best = optimum(LpProblem(X, y, p=p), backend="reference")
    assert best.converged
    r = X @ best.W[0] - y
    slopes, curvature = np.sign(r) * np.abs(r) ** (p - 1), (p - 1) * np.abs(r) ** (p - 2)
    step = np.linalg.solve((X * curvature[:, None]).T @ X, slopes @ X)
    assert np.median(np.abs(X @ step)) <= 1e-3 * np.median(np.abs(r))


@pytest.mark.parametrize("kind", ["few", "a fifth", "groups", "even", "lattice", "weights"])
@pytest.mark.parametrize("far", [1e4, 1e12, 1e25])
def test_least_deviations_with_many_rows_far_away_and_ties(kind, far):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        n, some = 120, 6
        X = np.column_stack([np.ones(n), rng.standard_normal((n, 3))])
        if kind == "groups":  # and their sum is the first column
            X = np.column_stack([np.ones(n), rng.integers(0, 4, n)[:, None] == np.arange(4)]) * 1.0
        if kind == "even":
            X = np.ones((n, 1))
        if kind == "lattice":
            X = rng.integers(-3, 4, (n, 4)) * 1.0
        y = X @ rng.standard_normal(X.shape[1]) + rng.standard_normal(n)
        if kind == "lattice":
            y = np.round(y)
        if kind == "weights":
            weight = 10.0 ** rng.uniform(-3, 3, n)
            X, y = X * weight[:, None], y * weight
        if kind == "a fifth":
            some = n // 5
        y[:some] = far
        best = optimum(LpProblem(X, y, p=1), backend="reference")
        assert best.converged
        assert best.iterations <= 100
        y[:some] = 1e4  # the same minimisers, with which linear programming is accurate
        ours, right = (np.abs(X @ w - y) for w in (best.W[0], least_deviations(X, y)))
        assert abs((ours - right).sum()) <= 1e-9 * right[some:].sum()


@pytest.mark.parametrize("noise", ["normal", "cauchy", "one far away"])
def test_least_deviations_of_many_rows(noise):
    """One feature: the weighted median of the ratios."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        n = 200_000 if seed == 0 else 20_000
        X = rng.standard_normal((n, 1))
        y = 2 * X[:, 0] + (rng.standard_cauchy(n) if noise == "cauchy" else rng.standard_normal(n))
        if noise == "one far away":
            y[3] = 1e6
        best = optimum(LpProblem(X, y, p=1))
        assert best.converged
        assert best.duality_gap <= 1e-14 * best.loss
        assert best.iterations <= 20
        ratios, order = y / X[:, 0], np.argsort(y / X[:, 0])
        below = np.cumsum(np.abs(X[order, 0]))
        median = ratios[order[np.searchsorted(below, below[-1] / 2)]]
        assert best.W[0, 0] == pytest.approx(median, rel=1e-12)


@pytest.mark.parametrize("far", [1e6, 1e12])
@pytest.mark.parametrize("p", [1, 1.5])
def test_a_feature_far_away(p, far):
    """It determines the slope; the other samples determine the location."""
    X, y = line(1e3)
    X[7, 0], y[7] = far, 0.0
    best = optimum(LpProblem(X, y, p=p), backend="reference")
    assert best.converged
    others = np.arange(100) != 7
    alone = optimum(LpProblem(X[others, 1:], y[others], p=p), backend="reference")
    assert best.W[0, 1] == pytest.approx(alone.W[0, 0], rel=1e-3)
    assert abs(best.W[0, 0]) < 1e3 / far
