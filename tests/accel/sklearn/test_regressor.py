"""LpRegressor beyond scikit-learn's own checks: minima, weights, units, convergence, processes."""

import math
import pickle
import runpy
import textwrap
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression, QuantileRegressor, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from accel import LpProblem, optimum
from accel._runs import driver
from accel.sklearn import LpRegressor

from ...children import python
from ..optimum.test_optimum import regression

FIRST_ORDER = [
    {"solver": "gradient", "optimizer": "gd"},
    {"solver": "gradient"},
    {"solver": "gradient", "optimizer": "nesterov", "depth": 2},
    {"solver": "gradient", "depth": 3, "width": 2},
    {"solver": "gradient", "optimizer": "adam", "tol": 1e-5},
    {"solver": "end_to_end", "depth": 1},
    {"solver": "end_to_end", "depth": 3},
]
RNG = np.random.default_rng(3)
X, Y = regression(80, 3, 2)
X = X * [1, 30, 0.1] + [0, 5, -2]  # descent diverges in these units without standardize
Y = (np.exp(Y / 3) + 4) * [1.0, 50.0]  # skewed, so that the mean is no minimiser
y = Y[:, 0]
WEIGHTS = RNG.integers(0, 4, len(X))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("ACCEL_NUM_THREADS", "1")


def loss(model, p, X=X, y=y, weight=None):
    return np.average(np.abs(y - model.predict(X)) ** p, axis=0, weights=weight)


def minimum(p, X=X, y=y):
    """The minimum of the loss with an intercept, computed here, in the units of the user."""
    return optimum(LpProblem(np.column_stack([X, np.ones(len(X))]), y, p), tol=1e-13)


@pytest.mark.parametrize("p", [1, 1.5, 2, 3, 4, 8])
@pytest.mark.parametrize("standardize", [True, False])
def test_newton_finds_the_minimum_with_an_exact_intercept(p, standardize):
    best = minimum(p)
    model = LpRegressor(p, standardize=standardize).fit(X, y)
    assert model.solver_ == "newton"
    assert loss(model, p) == pytest.approx(best.loss, rel=1e-8)
    if p > 1:
        np.testing.assert_allclose([*model.coef_, model.intercept_], best.W[0], rtol=1e-3)
    unit = (np.std(y) if standardize else 1.0) ** p
    assert model.history_.loss[-1] * unit == pytest.approx(best.loss, rel=1e-8)
    assert 0 <= model.dual_gap_ <= 1e-8 * best.loss
    assert loss(model, p) - model.dual_gap_ <= best.loss * (1 + 1e-12)
    assert model.n_iter_ >= 1
    assert model.status_ == "converged"
    assert math.isnan(model.learning_rate_)


@pytest.mark.parametrize("p", [2, 3, 4])
@pytest.mark.parametrize("how", FIRST_ORDER, ids=str)
def test_first_order_solvers_find_it_too(p, how):
    model = LpRegressor(p, max_iter=40_000, random_state=0, **how).fit(X, Y)
    assert model.solver_ == how["solver"]
    for output in range(2):
        reached = loss(model, p, y=Y)[output]
        assert reached == pytest.approx(minimum(p, y=Y[:, output]).loss, rel=1e-6)
    assert 1 <= model.n_iter_ <= 40_000
    assert model.history_.step[-1] == model.n_iter_
    assert np.all(np.diff(model.history_.step) > 0)
    assert np.all(np.diff(model.history_.seconds) >= 0)
    assert model.learning_rate_ > 0
    assert math.isnan(model.dual_gap_)


@pytest.mark.parametrize("optimizer", ["gd", "momentum"])
def test_descent_for_p_1_comes_close_and_says_that_it_has_not_settled(optimizer):
    model = LpRegressor(1, solver="gradient", optimizer=optimizer)
    with pytest.warns(ConvergenceWarning, match="gradient has not fallen"):
        model.fit(X, y)
    assert loss(model, 1) == pytest.approx(minimum(1).loss, rel=1e-3)


def test_least_squares_and_least_absolute_deviations_against_scikit_learn():
    squares = LpRegressor(2).fit(X, Y)
    other = LinearRegression().fit(X, Y)
    np.testing.assert_allclose(squares.coef_, other.coef_, rtol=1e-9)
    np.testing.assert_allclose(squares.intercept_, other.intercept_, rtol=1e-9)
    median = LpRegressor(1).fit(X, y)
    other = QuantileRegressor(quantile=0.5, alpha=0).fit(X, y)
    assert loss(median, 1) <= loss(other, 1) + median.dual_gap_


@pytest.mark.parametrize("p", [1.5, 2, 4])
@pytest.mark.parametrize("how", [{}, {"solver": "gradient"}, {"solver": "gradient", "depth": 2}])
def test_integer_weights_are_repeated_rows(p, how):
    repeated = np.repeat(np.arange(len(X)), WEIGHTS)
    models = (LpRegressor(p, tol=1e-12, random_state=0, **how) for _ in range(2))
    weighted, plain = models
    weighted.fit(X, Y, sample_weight=WEIGHTS)
    plain.fit(X[repeated], Y[repeated])
    np.testing.assert_allclose(weighted.coef_, plain.coef_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weighted.intercept_, plain.intercept_, rtol=1e-5)
    assert weighted.history_.loss[-1] == pytest.approx(plain.history_.loss[-1], rel=1e-10)


@pytest.mark.parametrize("p", [1, 1.5, 2, 4])
def test_a_weight_is_its_root_times_row_and_target(p):
    weight = RNG.uniform(0.1, 5, len(X))
    root = weight ** (1 / p)
    how = {"fit_intercept": False, "tol": 1e-12, "standardize": False}
    weighted = LpRegressor(p, **how).fit(X, y, weight)
    scaled = LpRegressor(p, **how).fit(X * root[:, np.newaxis], y * root)
    np.testing.assert_allclose(weighted.coef_, scaled.coef_, rtol=1e-6)
    best = minimum(p).W[0]
    assert loss(LpRegressor(p).fit(X, y, weight), p, weight=weight) <= np.average(
        np.abs(X @ best[:-1] + best[-1] - y) ** p, weights=weight
    )


def test_only_the_ratios_of_weights_count():
    plain = LpRegressor(3).fit(X, y)
    for weight in (7.0, np.full(len(X), 1e-300), [1e300] * len(X)):
        np.testing.assert_array_equal(plain.coef_, LpRegressor(3).fit(X, y, weight).coef_)


@pytest.mark.parametrize("weight", [-1.0, np.nan, "none"])
def test_bad_weights(weight):
    with pytest.raises((TypeError, ValueError)):
        LpRegressor().fit(X, y, np.where(np.arange(len(X)) == 5, weight, 1.0))


@pytest.mark.parametrize("how", [{}, {"solver": "gradient"}, {"solver": "end_to_end"}])
def test_several_outputs_are_as_many_fits(how):
    together = LpRegressor(4, tol=1e-10, **how).fit(X, Y)
    assert (together.coef_.shape, together.intercept_.shape) == ((2, 3), (2,))
    assert together.predict(X).shape == Y.shape
    for output in range(2):
        alone = LpRegressor(4, tol=1e-10, **how).fit(X, Y[:, output])
        assert (alone.coef_.shape, np.shape(alone.intercept_)) == ((3,), ())
        np.testing.assert_allclose(together.coef_[output], alone.coef_, rtol=1e-4)
        np.testing.assert_allclose(together.intercept_[output], alone.intercept_, rtol=1e-4)


def test_a_column_of_targets_stays_a_column():
    model = LpRegressor().fit(X, y[:, np.newaxis])
    assert (model.coef_.shape, model.predict(X).shape) == ((1, 3), (len(X), 1))


def test_pandas_in_and_names_kept():
    pd = pytest.importorskip("pandas")
    frame, targets = pd.DataFrame(X, columns=["a", "b", "c"]), pd.DataFrame(Y, columns=["u", "v"])
    model = make_pipeline(StandardScaler().set_output(transform="pandas"), LpRegressor(3))
    model.fit(frame, targets)
    assert list(model[-1].feature_names_in_) == ["a", "b", "c"]
    direct = LpRegressor(3).fit(frame, targets["u"], sample_weight=pd.Series(np.ones(len(X))))
    np.testing.assert_allclose(direct.predict(frame), model.predict(frame)[:, 0], rtol=1e-4)
    with pytest.raises(ValueError, match="feature names"):
        direct.predict(frame[["b", "a", "c"]])


@pytest.mark.parametrize("how", [{}, *FIRST_ORDER[:4]], ids=str)
def test_float32(how):
    single = LpRegressor(4, random_state=0, **how).fit(X.astype("f4"), y.astype("f4"))
    assert single.coef_.dtype == np.float32
    assert single.predict(X.astype("f4")).dtype == np.float32
    assert loss(single, 4) == pytest.approx(minimum(4).loss, rel=1e-4)


def test_without_an_intercept():
    for how in ({}, {"solver": "gradient"}):
        model = LpRegressor(4, fit_intercept=False, **how).fit(X, y)
        assert model.intercept_ == 0.0
        assert loss(model, 4) == pytest.approx(optimum(LpProblem(X, y, 4)).loss, rel=1e-6)


@pytest.mark.parametrize("how", [{}, {"solver": "gradient"}, {"solver": "gradient", "depth": 2}])
def test_constant_columns_and_targets(how):
    constant = np.column_stack([X, np.full(len(X), 0.1), np.full(len(X), 1e9)])
    model = LpRegressor(4, random_state=0, **how).fit(constant, y)
    np.testing.assert_array_equal(model.coef_[3:], 0)
    assert loss(model, 4, constant) == pytest.approx(minimum(4).loss, rel=1e-6)
    flat = LpRegressor(4, random_state=0, **how).fit(X, np.full(len(X), 0.3))
    np.testing.assert_allclose(flat.predict(X), 0.3, rtol=1e-6)


@pytest.mark.parametrize("optimizer", ["gd", "momentum", "nesterov"])
def test_weight_decay_spares_the_intercept(optimizer):
    """For p = 2, in standard units, that is ridge regression, whatever the rule."""
    standard = (X - X.mean(axis=0)) / X.std(axis=0)
    model = LpRegressor(
        2, weight_decay=0.3, optimizer=optimizer, standardize=False, max_iter=20_000
    ).fit(standard, y + 100)
    assert model.solver_ == "gradient"
    other = Ridge(alpha=0.3 / 2 * len(X)).fit(standard, y + 100)
    np.testing.assert_allclose(model.coef_, other.coef_, rtol=1e-5)
    np.testing.assert_allclose(model.intercept_, other.intercept_, rtol=1e-9)


@pytest.mark.parametrize("how", [{}, {"solver": "end_to_end"}, {"depth": 2, "random_state": 0}])
def test_with_weight_decay_the_gradient_of_the_intercept_vanishes(how):
    model = LpRegressor(4, weight_decay=0.05, max_iter=20_000, **how).fit(X, y)
    free = LpRegressor(4).fit(X, y)
    r = model.predict(X) - y
    slope = np.mean(np.abs(r) ** 3 * np.sign(r)) / np.mean(np.abs(r) ** 3)
    assert abs(slope) < 1e-6
    assert np.linalg.norm(model.coef_ * X.std(axis=0)) < np.linalg.norm(free.coef_ * X.std(axis=0))


def test_auto_takes_newton_where_that_is_cheap(monkeypatch):
    monkeypatch.setattr("accel.sklearn.regressor._SMALL", 5)
    assert LpRegressor(4).fit(X, y).solver_ == "newton"
    wide = np.hstack([X, X**2, X**3])
    assert LpRegressor(4, tol=1e-3).fit(wide, y).solver_ == "gradient"
    assert LpRegressor(4).fit(wide[:5], y[:5]).solver_ == "newton"
    assert LpRegressor(1.5).fit(wide, y).solver_ == "newton"
    assert LpRegressor(4, weight_decay=0.1, tol=1e-3).fit(X, y).solver_ == "gradient"


@pytest.mark.parametrize(("how", "match"), [
    ({"max_iter": 1}, r"tol=1e-08 .* newton in 1 step: the duality gap"),
    ({"solver": "gradient", "max_iter": 5}, "gradient in 5 steps: the gradient has not fallen"),
    ({"solver": "gradient", "learning_rate": 50.0}, "diverged at step"),
    ({"solver": "gradient", "max_iter": 16, "weight_decay": 0.1}, "has not fallen"),
], ids=str)  # fmt: skip
def test_a_warning_where_the_tolerance_was_not_reached(how, match):
    with pytest.warns(ConvergenceWarning, match=match) as caught:
        model = LpRegressor(4, **how).fit(X, y)
    assert caught[0].filename == __file__
    assert model.status_ == ("diverged" if "diverged" in match else "completed")
    assert np.isfinite(model.predict(X)).all()


def test_a_given_learning_rate_is_taken_as_it_is():
    model = LpRegressor(4, solver="gradient", learning_rate=0.01, tol=1e-3).fit(X, y)
    assert model.learning_rate_ == 0.01


@pytest.mark.parametrize("how", FIRST_ORDER[:4] + FIRST_ORDER[5:], ids=str)
def test_a_warm_start_goes_on_where_the_last_fit_ended(how):
    model = LpRegressor(4, max_iter=40_000, random_state=0, warm_start=True, **how).fit(X, Y)
    before, steps = model.coef_, model.n_iter_
    model.fit(X, Y)
    assert model.n_iter_ <= steps / 4
    np.testing.assert_allclose(model.coef_, before, rtol=1e-4)
    model.fit(X[:, :2], y)  # other data: from the beginning
    assert model.coef_.shape == (2,)
    cold = clone(model).fit(X, Y)
    assert cold.n_iter_ == steps


def test_the_random_state_decides_about_the_factors():
    how = {"solver": "gradient", "depth": 2, "max_iter": 5}
    with pytest.warns(ConvergenceWarning):
        first, same, other, unseeded = (
            LpRegressor(random_state=seed, **how).fit(X, y).coef_ for seed in (0, 0, 1, None)
        )
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 0
    assert np.abs(first - unseeded).max() > 0


def test_a_width_bounds_the_rank():
    narrow = LpRegressor(2, solver="gradient", depth=2, width=1, random_state=0, tol=1e-6)
    narrow.fit(X, Y)
    fitted = narrow.predict(X) - narrow.predict(X).mean(axis=0)
    sizes = np.linalg.svd(fitted, compute_uv=False)
    assert sizes[1] < 1e-9 * sizes[0]


def test_a_clone_and_a_pickle():
    model = LpRegressor(3, solver="gradient", depth=2, random_state=0).fit(X, Y)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(X), model.predict(X))
    np.testing.assert_array_equal(copy.history_.loss, model.history_.loss)
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        fresh.predict(X)


@pytest.mark.parametrize("how", [{}, {"solver": "gradient"}])
def test_verbose_tells_on_stderr(how, capsys):
    LpRegressor(4, verbose=True, **how).fit(X, y)
    told = capsys.readouterr()
    assert f"accel: {how.get('solver', 'newton')}, " in told.err
    assert ("duality gap" in told.err) == (not how)
    assert not told.out


def test_ctrl_c_is_passed_on(monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "_drive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        LpRegressor(solver="gradient").fit(X, y)


BAD = {
    "p": (ValueError, {"p": 0.5}),
    "p text": (TypeError, {"p": "4"}),
    "solver": (ValueError, {"solver": "lbfgs"}),
    "depth": (ValueError, {"depth": 0}),
    "width": (TypeError, {"width": 1.5}),
    "optimizer": (ValueError, {"optimizer": "end-to-end"}),
    "learning_rate": (ValueError, {"learning_rate": 0.0}),
    "learning_rate text": (ValueError, {"learning_rate": "optimal"}),
    "weight_decay": (ValueError, {"weight_decay": -1}),
    "weight_decay newton": (ValueError, {"weight_decay": 0.1, "solver": "newton"}),
    "fit_intercept": (TypeError, {"fit_intercept": "yes"}),
    "max_iter": (ValueError, {"max_iter": 0}),
    "tol": (ValueError, {"tol": 0}),
    "warm_start": (TypeError, {"warm_start": 1}),
    "backend": (ValueError, {"backend": "gpu"}),
    "random_state": (ValueError, {"random_state": "x", "depth": 2, "solver": "gradient"}),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_parameters(name):
    error, given = BAD[name]
    with pytest.raises(error, match=name.split()[0] if "random" not in name else "seed"):
        LpRegressor(**given).fit(X, y)


def numbers():
    """Targets that are no numbers."""
    text = y.round(3).astype(str)
    return {
        "text": text,
        "bytes": text.astype("S"),
        "objects": text.astype(object),
        "a list": text.tolist(),
        "one among numbers": [*y[:-1], "3.5"],
        "dates": y.astype("M8[D]"),
        "spans": y.astype("m8[D]"),
    }


@pytest.mark.parametrize("kind", numbers())
@pytest.mark.parametrize("frame", [False, True])
def test_text_and_dates_are_no_numbers(kind, frame):
    """scikit-learn would convert those that look like numbers to floats."""
    given = numbers()[kind]
    if frame:
        given = pytest.importorskip("pandas").Series(given)
    wrong = np.asarray(given, object if kind == "one among numbers" else None)
    model = LpRegressor(2)
    for arguments, name in (((X, given), "y"), ((X, y, given), "sample_weight"),
                            ((wrong[:, np.newaxis], y), "X")):  # fmt: skip
        with pytest.raises(TypeError, match=f"^{name} must hold numbers, got text or dates"):
            model.fit(*arguments)
    model.fit(X[:, :1], y)
    with pytest.raises(TypeError, match=r"^X must hold numbers"):
        model.predict(wrong[:, np.newaxis])


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_column_of_text_is_named(library):
    frame = pytest.importorskip(library).DataFrame
    columns = {"age": X[:, 0], "town": ["Ulm"] * len(X)}
    told = r"^X must hold numbers, got text or dates in column 'town': \['Ulm', "
    with pytest.raises(TypeError, match=told):
        LpRegressor(2).fit(frame(columns), y)
    model = LpRegressor(2).fit(frame({"age": X[:, 0], "town": X[:, 1]}), y)
    with pytest.raises(TypeError, match=told):
        model.predict(frame(columns))


def test_numbers_in_other_clothes_are_taken():
    pd = pytest.importorskip("pandas")
    whole, targets = X.round(), y.round()
    frame = pd.DataFrame(whole).astype({1: "Int64", 2: object}).rename(columns=str)
    plain = LpRegressor(2).fit(whole, targets).coef_
    for given in (targets.astype(object), pd.Series(targets).astype("Int64"), targets.tolist()):
        np.testing.assert_allclose(LpRegressor(2).fit(whole, given).coef_, plain, rtol=1e-12)
        np.testing.assert_allclose(LpRegressor(2).fit(frame, given).coef_, plain, rtol=1e-12)
    assert LpRegressor(2).fit(X, y > y.mean()).score(X, y > y.mean()) > 0


def test_sparse_targets_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="Sparse"):
        LpRegressor().fit(X, sparse.csr_array(Y))


SEARCH = """
    import numpy as np
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from accel.sklearn import LpRegressor

    X, y = load_diabetes(return_X_y=True)
    model = make_pipeline(StandardScaler(), LpRegressor(solver="gradient", tol=1e-4))
    grid = {"lpregressor__p": [2, 3], "lpregressor__depth": [1, 2]}
    alone, search = (GridSearchCV(model, grid, cv=3, n_jobs=jobs) for jobs in (1, 2))
    scores = [s.fit(X, y).cv_results_["mean_test_score"] for s in (alone, search)]
    np.testing.assert_allclose(*scores, atol=1e-3)
    print(len(search.cv_results_["params"]), search.best_estimator_[-1].n_features_in_)
"""


@pytest.mark.slow
def test_a_grid_search_in_two_processes():
    """Each process runs a team of threads; together they are no more than there are CPUs."""
    code = textwrap.dedent(SEARCH)
    done = python("-W", "error::RuntimeWarning", "-c", code, ACCEL_NUM_THREADS=None)
    assert done.stdout.split() == ["4", "10"]


def test_it_is_imported_only_when_asked_for():
    code = "import sys, accel; assert 'sklearn' not in sys.modules; import accel.sklearn"
    python("-c", code)
    code = "import sys; sys.modules['sklearn'] = None; import accel.sklearn"
    failed = python("-c", code, code=1)
    assert "implicit-accel[sklearn]" in failed.stderr


def test_the_example(capsys):
    path = Path(__file__).parents[3] / "examples" / "estimator.py"
    runpy.run_path(str(path))
    assert "best: p = 1" in capsys.readouterr().out
