"""The numerical rank: combinations of features that are rounding errors count as 0, no others."""

import re
import warnings

import numpy as np
import pytest

from accel import LpProblem, optimum, standardize

from . import nist

pytest.importorskip("sklearn", "1.6")

from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression

from accel.sklearn import LpRegressor

RankWarning = np.exceptions.RankWarning
#: Time series of R: the first year, the observations a year, and their number.
SERIES = [(1949, 12, 144), (1974, 12, 72), (1991.496, 260, 1860), (1000.03, 7, 300), (1949, 12, 20),
          (1700, 3, 50), (1920, 12, 240), (1749, 12, 2820)]  # fmt: skip


def decimal(a, digits=15):
    """The numbers after writing them with so many digits."""
    return np.array([float(f"{v:.{digits}g}") for v in np.ravel(a)]).reshape(np.shape(a))


def series(start, frequency, n):
    """The number of each observation, its year as R writes it, and its exact year."""
    number = np.arange(n)
    years = start + number / frequency
    return tuple(np.column_stack([number + 1.0, each]) for each in (decimal(years), years))


def walk(n):
    return np.cumsum(np.random.default_rng(0).standard_normal(n))


def quietly(model, *data):
    """Fit without showing warnings; return the texts of those about the rank."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(*data)
    return [str(w.message) for w in caught if w.category is RankWarning]


@pytest.mark.parametrize("p", [1, 2, 4])
@pytest.mark.parametrize("how", [{}, {"standardize": False}], ids=str)
def test_years_rounded_to_eleven_decimals(p, how):
    X, exact = series(1949, 12, 144)
    np.testing.assert_array_equal(X[:, 1], [round(1949 + i / 12, 11) for i in range(144)])
    model = LpRegressor(p, **how)
    with pytest.warns(RankWarning, match="X has rank 1 of 2") as caught:
        model.fit(X, walk(144))
    assert caught[0].filename == __file__
    assert model.rank_ == 1
    assert np.abs(model.coef_).max() < 10
    np.testing.assert_allclose(model.predict(exact), model.predict(X), atol=1e-9)


@pytest.mark.parametrize("of", SERIES, ids=str)
@pytest.mark.parametrize("how", ["plain", "raw", "float32", "weights", "scaled"])
def test_the_rank_of_time_series(of, how):
    X, exact = series(*of)
    y, weight = walk(len(X)), None
    if how == "float32":
        X, y = X.astype("f4"), y.astype("f4")
    if how == "weights":
        weight = np.random.default_rng(1).uniform(0.1, 5, len(X))
    if how == "scaled":  # the original size of the years is unknown then, so that noise is larger
        mean, scale = X.mean(axis=0), X.std(axis=0)
        X, exact = (X - mean) / scale, (exact - mean) / scale
        if len(X) < 50:
            pytest.skip("noise of 6e-12 after scaling")
    model = LpRegressor(2 if weight is None else 3, standardize=how != "raw")
    quietly(model, X, y, weight)
    assert model.rank_ == 1
    assert np.abs(model.coef_).max() < 20
    assert model.singular_.shape == (2,)
    atol = 1e-3 if how == "float32" else 1e-9
    np.testing.assert_allclose(model.predict(exact), model.predict(X), atol=atol)


def test_the_optimum_of_standardised_years():
    X, _ = series(1949, 12, 144)
    data = standardize(X, walk(144))
    for rcond, rank, doubtful in ((None, 1, 1), (1e-9, 1, 0), (1e-16, 2, 0)):
        best = optimum(LpProblem(data.X, data.y, 2), rcond=rcond)
        assert (best.rank, best.doubtful) == (rank, doubtful)
        assert (np.abs(best.W).max() < 10) == (rank == 1)
        sizes = np.linalg.svd(data.X / np.abs(data.X).max(axis=0), compute_uv=False)
        np.testing.assert_allclose(best.singular_values, sizes, rtol=1e-3, atol=1e-14)


#: The correct digits: the condition of the scaled columns, and of the residuals, costs some.
DIGITS = {"Filip": 7, "Longley": 10.5, "Wampler1": 8, "Wampler2": 11, "Wampler3": 8, "Wampler4": 7,
          "Wampler5": 5}  # fmt: skip


@pytest.mark.parametrize("name", nist.NAMES)
@pytest.mark.parametrize("how", [{}, {"standardize": False}, {"fit_intercept": False}], ids=str)
def test_the_digits_of_nist(name, how):
    """No combination of the features counts as noise, and no warning is raised."""
    X, y, certified = nist.problem(name)
    if "fit_intercept" in how:
        X = np.column_stack([X, np.ones(len(X))])
    model = LpRegressor(2, **how)
    assert quietly(model, X, y) == []
    assert model.rank_ == X.shape[1]
    fitted = model.coef_ if "fit_intercept" in how else [*model.coef_, model.intercept_]
    digits = DIGITS[name] - 0.5 * ("fit_intercept" in how)
    np.testing.assert_allclose(fitted, certified, rtol=10**-digits)


def test_nist_in_other_units():
    """The rational arithmetic gives the certified value, and the fit of scaled data is the same."""
    X, y, certified = nist.problem("Filip")
    assert certified[-1] == pytest.approx(-1467.48961422980, rel=1e-14)
    assert certified[0] == pytest.approx(-2772.17959193342, rel=1e-14)
    model = LpRegressor(2).fit(X * 10.0 ** np.arange(-5, 5), y)
    assert model.rank_ == 10
    np.testing.assert_allclose(model.coef_ * 10.0 ** np.arange(-5, 5), certified[:-1], rtol=1e-7)


def dependent():
    """Features some of which are determined by others, but for rounding to float."""
    rng = np.random.default_rng(5)
    a, group = rng.standard_normal((30, 3)), rng.integers(0, 4, 30)
    one_hot = np.eye(4)[group]
    return {
        "copies": (a[:, [0, 0, 1, 2, 2]], 3),
        "multiples": (np.column_stack([a, 3 * a[:, 0], a[:, 1] / 7]), 3),
        "sums": (np.column_stack([a, a @ [1, 1, 1], a @ [0.1, -3, 1]]), 3),
        "one hot": (np.column_stack([a, one_hot]), 6),
        "one hot few": (one_hot[:6], len(set(group[:6])) - 1),
        "years": (np.column_stack([a[:, 0] + 1949, 3 * (a[:, 0] + 1949)]), 1),
        "shares": (np.column_stack([np.abs(a) / np.abs(a).sum(axis=1, keepdims=True)]), 2),
        "more than samples": (rng.standard_normal((6, 9)), 5),
        "one sample": (rng.standard_normal((1, 3)), 0),
        "constants": (np.column_stack([a, np.full(30, 0.1), np.zeros(30)]), 3),
        "polynomial": (a[:, :1] ** np.arange(1, 5), 4),
        "tall": (np.column_stack([rng.standard_normal((4000, 2)) @ rng.random((2, 5))]), 2),
    }


@pytest.mark.parametrize("name", dependent())
@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("standardize", [True, False])
def test_dependent_features_are_no_cause_for_a_warning(name, dtype, standardize):
    X, rank = dependent()[name]
    X = X.astype(dtype)
    if dtype == "f4" and name in ("multiples", "sums", "years", "shares", "tall"):
        X = X.round(0)  # so that they are dependent in float32, too
        rank = np.linalg.matrix_rank(X.astype(float) - X.astype(float).mean(axis=0))
    model = LpRegressor(2, standardize=standardize)
    assert quietly(model, X, walk(len(X)).astype(dtype)) == []
    assert model.rank_ == rank
    assert model.singular_.shape == (min(X.shape),)


@pytest.mark.parametrize("seed", range(8))
def test_fifteen_digits_of_dependent_columns(seed):
    """Whatever the offsets and scales, the rounding of decimals counts as noise."""
    rng = np.random.default_rng(seed)
    n, rank, d = 60, 3, 6
    base = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d))
    X = decimal((base + 10.0 ** rng.uniform(-1, 5, d)) * 10.0 ** rng.uniform(-8, 8, d))
    model = LpRegressor(2)
    quietly(model, X, walk(n))
    assert model.rank_ == rank
    assert np.abs(model.coef_ * X.std(axis=0)).max() < 100


@pytest.mark.parametrize("times", [1e13, 1e15, 1e20, 1e200])
@pytest.mark.parametrize("p", [1, 2, 4])
def test_a_sample_that_hides_all_others_is_warned_of(times, p):
    """Beside it the other directions count as noise, and a warning says so."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 3)), rng.standard_normal(60)
    X[5] *= times
    model = LpRegressor(p)
    (told,) = quietly(model, X, y)
    assert re.match("X has rank [12] of 3, with samples up to ", told)
    assert told.endswith("leave those samples out")
    near = np.column_stack([X[:5], X[:5] @ [1, 1, 1]])
    assert quietly(model, near * 1e13, y[:5]) == []
    X[5] /= times * 1e-9
    assert quietly(model, np.column_stack([X, X[:, 0]]), y) == []


def related(size, n=50):
    """Two columns that differ by noise of this size."""
    rng = np.random.default_rng(2)
    a, b = np.linalg.qr(rng.standard_normal((n, 3)))[0].T[:2] * np.sqrt(n)
    return np.column_stack([a, a + size * b])


@pytest.mark.parametrize(("size", "rcond", "rank", "told"), [
    (1e-9, None, 2, False),
    (1e-11, None, 2, True),
    (1e-12, None, 1, True),
    (1e-14, None, 1, False),
    (1e-12, 0.0, 2, False),
    (1e-12, 1e-14, 2, False),
    (1e-12, 1e-6, 1, False),
    (1e-3, 1e-2, 1, False),
    (1e-3, 1e-3, 1, True),
    (1e-3, 3e-4, 2, True),
    (1e-3, 1e-5, 2, False),
], ids=str)  # fmt: skip
def test_rcond_decides(size, rcond, rank, told):
    X, y = related(size), walk(50)
    how = {"fit_intercept": False, "standardize": False}
    model = LpRegressor(2, rcond=rcond, **how)
    assert bool(quietly(model, X, y)) == told
    assert model.rank_ == rank
    best = optimum(LpProblem(X, y, 2), rcond=rcond)
    assert (best.rank, best.doubtful > 0) == (rank, told)
    np.testing.assert_allclose(best.W[0], model.coef_, rtol=1e-10)
    if rank == 1:
        np.testing.assert_allclose(*best.W[0], rtol=10 * size)


@pytest.mark.parametrize("p", [1, 2, 4])
def test_every_column_has_an_rcond_of_its_own(p):
    """The combination of size 1e-4 is noise, that of size 1e-8 is not."""
    noisy, exact = related(1e-4), related(1e-8)[::-1]
    X, y = np.hstack([noisy, exact]), walk(50)
    best = optimum(LpProblem(X, y, p), tol=1e-7, rcond=[1e-2, 1e-2, 1e-12, 1e-12])
    assert (best.rank, best.doubtful) == (3, 0)
    sizes = np.abs(best.W[0])
    assert sizes[:2].max() < 10 < 1e5 < sizes[2:].min()
    assert best.converged
    least = optimum(LpProblem(np.column_stack([noisy.sum(axis=1), exact]), y, p), rcond=1e-13)
    assert best.loss == pytest.approx(least.loss, rel=1e-4)


@pytest.mark.parametrize("p", [1, 2, 4])
def test_a_column_that_is_only_rounding(p):
    """It does not hide the others, though once scaled it is as long as they are."""
    rng = np.random.default_rng(3)
    x = np.where(np.arange(40) % 2, 1.0, -1.0)
    ripple = np.where(rng.permutation(40) % 2, 1949.1, np.nextafter(1949.1, 2000))
    model = LpRegressor(p).fit(np.column_stack([x, ripple]), 3 * x + 5 + walk(40) * 0)
    assert model.rank_ == 1
    np.testing.assert_allclose([*model.coef_, model.intercept_], [3, 0, 5], atol=1e-12)


def test_large_offsets_alone_are_no_noise():
    for offset in (1.7e9, 1.7e12):
        x = offset + np.arange(60.0) ** 2
        model = LpRegressor(2).fit(x[:, np.newaxis], 2 * (x - offset))
        assert model.rank_ == 1
        assert model.coef_[0] == pytest.approx(2, rel=1e-12)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("shape", [(40, 3), (5, 8), (4, 4)])
def test_rank_and_singular_values_are_those_of_scikit_learn(shape, intercept):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal(shape) * rng.uniform(1, 30, shape[1]) + 5, walk(shape[0])
    ours = LpRegressor(2, standardize=False, fit_intercept=intercept).fit(X, y)
    other = LinearRegression(fit_intercept=intercept).fit(X, y)
    assert ours.rank_ == other.rank_
    np.testing.assert_allclose(ours.singular_, other.singular_, rtol=1e-10, atol=1e-10)


def test_singular_values_with_weights():
    """They are those of the rows times the roots of the weights, orthogonal to the intercept's."""
    rng = np.random.default_rng(0)
    X, weight = rng.standard_normal((40, 3)), rng.uniform(0.1, 5, 40)
    model = LpRegressor(4, standardize=False).fit(X, walk(40), weight)
    root = (weight / weight.mean()) ** 0.25
    rows, ones = X * root[:, np.newaxis], root[:, np.newaxis]
    rows = rows - ones @ np.linalg.lstsq(ones, rows, rcond=None)[0]
    np.testing.assert_allclose(model.singular_, np.linalg.svd(rows, compute_uv=False), rtol=1e-10)


@pytest.mark.parametrize("how", [{"solver": "gradient"}, {"solver": "end_to_end", "depth": 2}])
def test_descent_needs_no_rcond(how):
    """From its start near 0 it does not move in directions that are nearly 0 in X."""
    X, exact = series(1949, 12, 144)
    model = LpRegressor(4, rcond=0.5, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, walk(144))
    assert model.rank_ is None
    assert model.singular_ is None
    assert np.abs(model.coef_).max() < 10
    np.testing.assert_allclose(model.predict(exact), model.predict(X), atol=1e-9)


@pytest.mark.parametrize(("error", "rcond"), [
    (ValueError, -1e-9),
    (ValueError, 1.0),
    (ValueError, float("nan")),
    (ValueError, [1e-9, -1e-9]),
    (ValueError, [1e-9, np.inf]),
    (ValueError, [1e-9]),
    (ValueError, [[1e-9, 1e-9]]),
    (TypeError, "auto"),
])  # fmt: skip
def test_bad_values(error, rcond):
    X = np.random.default_rng(0).standard_normal((5, 2))
    with pytest.raises(error, match="rcond"):
        optimum(LpProblem(X, np.ones(5)), rcond=rcond)
    with pytest.raises((TypeError, ValueError), match="rcond"):
        LpRegressor(rcond=rcond).fit(X, np.arange(5.0))
