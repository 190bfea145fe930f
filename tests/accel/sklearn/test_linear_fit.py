"""LinearFit beyond scikit-learn's own checks: minima of every loss, units, both solvers."""

import math
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression, QuantileRegressor, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from accel.losses import Expectile, Huber, LogCosh, Logistic, Lp, Pinball
from accel.sklearn import LinearFit, LpRegressor
from accel.sklearn.checks import repeated

from ..optimum.test_optimum import regression

X, Y = regression(80, 3, 2)
X = X * [1, 30, 0.1] + [0, 5, -2]  # descent diverges in these units without standardize
Y = (np.exp(Y / 3) + 4) * [1.0, 50.0]  # skewed, so that the mean is no minimiser
y = Y[:, 0]

SMOOTH = [Lp(2), Lp(4), Huber(0.5), Expectile(0.8), LogCosh()]
KINKED = [Pinball(0.5), Pinball(0.9), Lp(1)]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("ACCEL_NUM_THREADS", "1")


def mean_loss(model, loss, X=X, y=y):
    return float(np.mean(loss.value(model.predict(X), y)))


def by_scipy(loss, X=X, y=y):
    """The least mean loss with an intercept, by L-BFGS-B in the units of the tests."""
    A = np.column_stack([(X - X.mean(axis=0)) / X.std(axis=0), np.ones(len(X))])

    def function(w):
        return float(np.mean(loss.value(A @ w, y))), loss.slope(A @ w, y)[:, 0] @ A / len(y)

    start = np.append(np.zeros(X.shape[1]), np.median(y))
    return minimize(function, start, jac=True, tol=1e-14, options={"maxiter": 10_000}).fun


@pytest.mark.parametrize("loss", SMOOTH, ids=str)
@pytest.mark.parametrize("standardize", [True, False])
def test_newton_finds_the_minimum_that_scipy_finds(loss, standardize):
    model = LinearFit(loss, standardize=standardize).fit(X, y)
    assert (model.solver_, model.status_) == ("newton", "converged")
    reached = mean_loss(model, loss)
    assert reached == pytest.approx(by_scipy(loss), rel=1e-7)
    assert model.history_.loss[-1] == pytest.approx(reached, rel=1e-9)
    assert 0 <= model.dual_gap_ <= 1e-7 * reached
    assert model.n_iter_ >= 1
    assert math.isnan(model.learning_rate_)


@pytest.mark.parametrize("tau", [0.1, 0.5, 0.9])
def test_quantiles_against_scikit_learn(tau):
    loss = Pinball(tau)
    model = LinearFit(loss).fit(X, y)
    other = QuantileRegressor(quantile=tau, alpha=0).fit(X, y)
    assert model.status_ == "converged"
    assert mean_loss(model, loss) <= mean_loss(other, loss) + 1e-12
    assert mean_loss(model, loss) >= mean_loss(other, loss) - 1e-9
    assert np.mean(y < model.predict(X) - 1e-9) <= tau <= np.mean(y <= model.predict(X) + 1e-9)


def test_least_squares_against_scikit_learn_and_it_is_the_default():
    model, other = LinearFit().fit(X, Y), LinearRegression().fit(X, Y)
    np.testing.assert_allclose(model.coef_, other.coef_, rtol=1e-7)
    np.testing.assert_allclose(model.intercept_, other.intercept_, rtol=1e-8)
    assert model.predict(X).shape == Y.shape


@pytest.mark.parametrize("loss", SMOOTH, ids=str)
@pytest.mark.parametrize("how", [{}, {"depth": 3}, {"depth": 2, "optimizer": "nesterov"}], ids=str)
def test_descent_on_any_number_of_factors_reaches_the_same_minimum(loss, how):
    model = LinearFit(loss, solver="gradient", max_iter=40_000, random_state=0, **how).fit(X, y)
    assert model.status_ == "converged"
    newton = LinearFit(loss).fit(X, y)
    assert mean_loss(model, loss) == pytest.approx(mean_loss(newton, loss), rel=1e-6)
    assert 1 <= model.n_iter_ <= 40_000
    assert model.history_.step[-1] == model.n_iter_
    assert model.learning_rate_ > 0
    assert math.isnan(model.dual_gap_)


@pytest.mark.parametrize("loss", KINKED, ids=str)
def test_descent_on_a_kinked_loss_comes_close_and_says_that_it_has_not_settled(loss):
    with pytest.warns(ConvergenceWarning, match="gradient in 4000 steps: the gradient has not"):
        model = LinearFit(loss, solver="gradient", max_iter=4000).fit(X, y)
    assert mean_loss(model, loss) == pytest.approx(mean_loss(LinearFit(loss).fit(X, y), loss), 1e-2)


def test_the_estimator_of_powers_finds_the_same():
    model, other = LinearFit(Lp(3)).fit(X, y), LpRegressor(3).fit(X, y)
    np.testing.assert_allclose(model.coef_, other.coef_, rtol=1e-4)


@pytest.mark.parametrize("loss", [Huber(1.5), Pinball(0.3)], ids=str)
def test_a_loss_by_name(loss):
    name = {"huber": "huber(1.5)", "pinball": "pinball(0.3)"}[loss.name]
    np.testing.assert_array_equal(LinearFit(loss).fit(X, y).coef_, LinearFit(name).fit(X, y).coef_)


def test_delta_is_in_the_units_of_y():
    """Targets and delta times 1000 are the same problem; delta alone is not."""
    near = LinearFit(Huber(0.5)).fit(X, y)
    scaled = LinearFit(Huber(500.0)).fit(X, 1000 * y)
    np.testing.assert_allclose(scaled.coef_, 1000 * near.coef_, rtol=1e-4)
    assert not np.allclose(LinearFit(Huber(0.5)).fit(X, 1000 * y).coef_, scaled.coef_, rtol=1e-2)


@pytest.mark.parametrize("loss", [Huber(0.5), Pinball(0.5), Expectile(0.3)], ids=str)
def test_targets_far_from_zero_are_the_same_but_for_the_intercept(loss):
    near, far = (LinearFit(loss).fit(X, targets) for targets in (y, y + 1e9))
    assert far.status_ == "converged"
    assert mean_loss(far, loss, y=y + 1e9) == pytest.approx(mean_loss(near, loss), rel=1e-5)


@pytest.mark.parametrize("how", [{}, {"solver": "gradient", "max_iter": 20_000}], ids=str)
def test_without_an_intercept(how):
    model = LinearFit(Huber(0.5), fit_intercept=False, **how).fit(X, y)
    assert model.intercept_ == 0.0
    slopes = Huber(0.5).slope(X @ model.coef_, y)[:, 0]
    unit = X / np.sqrt(np.mean(X**2, axis=0))
    assert np.linalg.norm(slopes @ unit) / len(y) < 1e-4


@pytest.mark.parametrize("loss", [Huber(0.5), Pinball(0.7)], ids=str)
def test_several_outputs_are_as_many_fits(loss):
    together = LinearFit(loss).fit(X, Y)
    assert (together.coef_.shape, together.intercept_.shape) == ((2, 3), (2,))
    for output in range(2):
        alone = LinearFit(loss).fit(X, Y[:, output])
        assert (alone.coef_.shape, np.shape(alone.intercept_)) == ((3,), ())
        np.testing.assert_allclose(together.coef_[output], alone.coef_, rtol=1e-4)
        np.testing.assert_allclose(together.intercept_[output], alone.intercept_, rtol=1e-4)


@pytest.mark.parametrize("how", [{}, {"solver": "gradient"}], ids=str)
def test_float32(how):
    model = LinearFit("huber(0.5)", **how, tol=1e-5).fit(X.astype("f4"), y.astype("f4"))
    assert model.coef_.dtype == np.float32
    assert model.predict(X.astype("f4")).dtype == np.float32
    assert mean_loss(model, Huber(0.5)) == pytest.approx(by_scipy(Huber(0.5)), rel=1e-4)


def test_weight_decay_spares_the_intercept():
    """For squares, in standard units, that is ridge regression."""
    standard = (X - X.mean(axis=0)) / X.std(axis=0)
    model = LinearFit("lp(2)", weight_decay=0.3, standardize=False, max_iter=20_000)
    model.fit(standard, y + 100)
    assert model.solver_ == "gradient"
    other = Ridge(alpha=0.3 / 2 * len(X)).fit(standard, y + 100)
    np.testing.assert_allclose(model.coef_, other.coef_, rtol=1e-5)
    np.testing.assert_allclose(model.intercept_, other.intercept_, rtol=1e-9)


def test_weight_decay_on_deep_factors_leaves_a_trap():
    """Factors that decay have a local minimum at 0, which a saddle search leaves."""
    how = {"weight_decay": 1e-3, "depth": 3, "max_iter": 20_000, "random_state": 0}
    model = LinearFit(Huber(0.5), **how).fit(X, y)
    free = LinearFit(Huber(0.5)).fit(X, y)
    assert mean_loss(free, Huber(0.5)) < mean_loss(model, Huber(0.5))
    assert mean_loss(model, Huber(0.5)) < np.mean(
        Huber(0.5).value(np.full_like(y, np.median(y)), y)
    )


def test_a_constant_column_has_no_weight():
    constant = np.column_stack([X, np.full(len(X), 0.1)])
    for how in ({}, {"solver": "gradient", "depth": 2}):
        model = LinearFit("huber(0.5)", **how).fit(constant, y)
        assert model.coef_[3] == 0


def test_auto_takes_newton_where_that_is_cheap(monkeypatch):
    monkeypatch.setattr("accel.sklearn.checks.SMALL", 2)
    assert LinearFit("huber", tol=1e-3).fit(X, y).solver_ == "gradient"
    assert LinearFit("pinball").fit(X, y).solver_ == "newton"
    assert LinearFit("huber").fit(X[:2], y[:2]).solver_ == "newton"


@pytest.mark.parametrize(("how", "match"), [
    ({"max_iter": 1}, r"tol=1e-08 .* newton in 1 step: the duality gap"),
    ({"solver": "gradient", "max_iter": 5}, "gradient in 5 steps: the gradient has not fallen"),
    ({"solver": "gradient", "learning_rate": 50.0, "loss": "expectile"}, "diverged at step"),
], ids=str)  # fmt: skip
def test_a_warning_where_the_tolerance_was_not_reached(how, match):
    with pytest.warns(ConvergenceWarning, match=match) as caught:
        model = LinearFit(**({"loss": "huber(0.5)"} | how)).fit(X, y)
    assert caught[0].filename == __file__
    assert model.status_ == ("diverged" if "diverged" in match else "completed")
    assert np.isfinite(model.predict(X)).all()


def test_a_loss_of_labels_is_for_the_classifier():
    for loss in ("logistic", Logistic()):
        with pytest.raises(ValueError, match="take LinearClassifier"):
            LinearFit(loss).fit(X, y)


@pytest.mark.parametrize(("loss", "targets", "match"), [
    ("lp(8)", 1e200, r"overflows for p = 8 .*: take a smaller p, or rescale y"),
    ("expectile(0.3)", 1e200, r"overflows for Expectile\(tau=0.3\) .*: rescale y"),
])  # fmt: skip
def test_targets_beyond_the_range_of_the_loss(loss, targets, match):
    with pytest.raises(ValueError, match=match):
        LinearFit(loss).fit(X, targets * (y - np.median(y)))


def test_in_pipelines_searches_clones_and_pickles():
    model = make_pipeline(StandardScaler(), LinearFit(Huber(0.5)))
    assert cross_val_score(model, X, y, cv=3).shape == (3,)
    grid = {"linearfit__loss": ["huber(0.5)", Huber(2.0), Pinball(0.5)]}
    search = GridSearchCV(model, grid, cv=3).fit(X, y)
    assert search.best_params_["linearfit__loss"] in grid["linearfit__loss"]
    fitted = LinearFit(Huber(0.5), solver="gradient", depth=2).fit(X, y)
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.predict(X), fitted.predict(X))
    fresh = clone(fitted)
    assert fresh.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        fresh.predict(X)


@pytest.mark.parametrize("solver", ["newton", "gradient"])
def test_verbose_tells_on_stderr(solver, capsys):
    LinearFit("huber(0.5)", solver=solver, verbose=True).fit(X, y)
    told = capsys.readouterr()
    assert f"accel: {solver}, " in told.err
    assert ("duality gap" in told.err) == (solver == "newton")


def test_text_is_no_number():
    with pytest.raises(TypeError, match=r"^y must hold numbers, got text or dates"):
        LinearFit().fit(X, y.astype(str))
    model = LinearFit().fit(X, y)
    with pytest.raises(TypeError, match=r"^X must hold numbers, got text or dates"):
        model.predict(X.astype(str))


@pytest.mark.parametrize("loss", [Huber(0.5), LogCosh(), Pinball(0.7), Expectile(0.3)], ids=str)
@pytest.mark.parametrize("how", [{}, {"fit_intercept": False}], ids=str)
def test_weights_are_repeated_rows(loss, how):
    counts = np.arange(len(X)) % 4
    repeated = np.repeat(np.arange(len(X)), counts)
    weighted = LinearFit(loss, **how).fit(X, y, 0.3 * counts)
    plain = LinearFit(loss, **how).fit(X[repeated], y[repeated])
    reached = [np.average(loss.value(m.predict(X), y), weights=counts) for m in (weighted, plain)]
    assert reached[0] == pytest.approx(reached[1], rel=1e-7)
    assert weighted.history_.loss[-1] == pytest.approx(plain.history_.loss[-1], rel=1e-7)


@pytest.mark.parametrize(("weight", "counts"), [
    ([2, 3, 4], [2, 3, 4]), ([4, 6, 10], [2, 3, 5]), ([0.5, 0.75, 1.5], [2, 3, 6]),
    ([0.1, 0.23, 0.3], [10, 23, 30]), ([0.3, 0.9, 0.3], [1, 3, 1]), ([211, 223, 422], None),
    (np.float32([0.2, 0.5, 0.7]), [2, 5, 7]), ([2022, 2244, 3030], [337, 374, 505]),
], ids=str)  # fmt: skip
def test_weights_have_a_common_divisor(weight, counts):
    weight = np.asarray(weight)
    expected = np.repeat(np.arange(3), weight if counts is None else counts)
    np.testing.assert_array_equal(repeated(Huber(1.0), weight, 4), expected)


def test_integers_are_weights_of_any_loss():
    counts = 2 + np.arange(len(X)) % 3
    rows = np.repeat(np.arange(len(X)), counts)
    weighted = LinearFit("huber(1)").fit(X, y, counts)
    plain = LinearFit("huber(1)").fit(X[rows], y[rows])
    np.testing.assert_array_equal(weighted.coef_, plain.coef_)
    for far in ([1.0, 2**0.5, 2.0], [1.0, np.pi, 3.0]):
        with pytest.raises(ValueError, match=r"must hold integers, or whole multiples of .*1/100"):
            repeated(Huber(1.0), np.array(far), 4)
