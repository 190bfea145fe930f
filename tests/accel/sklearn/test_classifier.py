"""LinearClassifier beyond scikit-learn's own checks: minima, probabilities, labels apart."""

import math
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

from scipy.optimize import minimize
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from accel.losses import CrossEntropy, Exponential, Huber, Logistic
from accel.sklearn import LinearClassifier

RNG = np.random.default_rng(5)
X = RNG.standard_normal((150, 3)) * [1, 30, 0.1] + [0, 5, -2]
UNIT = (X - X.mean(axis=0)) / X.std(axis=0)
SCORES = UNIT @ RNG.standard_normal((3, 3)) + [0.5, 0.0, -0.5]
THREE = np.array(["b", "c", "a"])[np.argmax(SCORES + RNG.gumbel(size=SCORES.shape), axis=1)]
TWO = np.where(SCORES[:, 0] + RNG.logistic(size=len(X)) > 0.3, "yes", "no")
APART = np.where(SCORES[:, 0] > 0.3, "yes", "no")

LOSSES = [Logistic(), Exponential(), CrossEntropy()]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("ACCEL_NUM_THREADS", "1")


def others(multi):
    """scikit-learn's fit without a penalty, to its last digits."""
    return LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(UNIT, multi)


def in_units(model):
    """Coefficients and intercepts of ``UNIT``."""
    return model.coef_ * X.std(axis=0), model.intercept_ + model.coef_ @ X.mean(axis=0)


@pytest.mark.parametrize("loss", ["logistic", "cross-entropy"])
@pytest.mark.parametrize("standardize", [True, False])
def test_two_classes_against_scikit_learn(loss, standardize):
    model, other = LinearClassifier(loss, standardize=standardize).fit(X, TWO), others(TWO)
    assert (model.solver_, model.status_) == ("newton", "converged")
    assert list(model.classes_) == ["no", "yes"]
    assert (model.coef_.shape, model.intercept_.shape) == ((1, 3), (1,))
    coef, intercept = in_units(model)
    np.testing.assert_allclose(coef, other.coef_, atol=1e-4)
    np.testing.assert_allclose(intercept, other.intercept_, atol=1e-4)
    np.testing.assert_allclose(model.predict_proba(X), other.predict_proba(UNIT), atol=1e-4)
    np.testing.assert_array_equal(model.predict(X), other.predict(UNIT))
    assert 0 <= model.dual_gap_ <= 1e-7 * model.history_.loss[-1]


def test_three_classes_against_scikit_learn():
    model, other = LinearClassifier().fit(X, THREE), others(THREE)
    assert list(model.classes_) == ["a", "b", "c"]
    assert (model.coef_.shape, model.intercept_.shape) == ((3, 3), (3,))
    assert model.decision_function(X).shape == (150, 3)
    np.testing.assert_allclose(model.predict_proba(X), other.predict_proba(UNIT), atol=1e-4)
    np.testing.assert_array_equal(model.predict(X), other.predict(UNIT))
    np.testing.assert_allclose(model.predict_proba(X), softmax(model.decision_function(X), axis=1))


def test_the_exponential_loss_against_scipy():
    labels = np.where(TWO == "yes", 1.0, -1.0)
    A = np.column_stack([UNIT, np.ones(len(X))]) * labels[:, np.newaxis]

    def function(w):
        values = np.exp(-A @ w)
        return float(values.mean()), -values @ A / len(A)

    best = minimize(function, np.zeros(4), jac=True, tol=1e-14).x
    model = LinearClassifier("exponential").fit(X, TWO)
    coef, intercept = in_units(model)
    np.testing.assert_allclose([*coef[0], intercept[0]], best, atol=1e-4)
    m = model.decision_function(X)
    np.testing.assert_allclose(
        model.predict_proba(X), np.column_stack([expit(-2 * m), expit(2 * m)])
    )
    np.testing.assert_allclose(model.predict_proba(X), others(TWO).predict_proba(UNIT), atol=0.1)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("how", [{}, {"depth": 3}, {"depth": 2, "optimizer": "nesterov"}], ids=str)
def test_descent_on_any_number_of_factors_reaches_the_same_minimum(loss, how):
    labels = THREE if isinstance(loss, CrossEntropy) else TWO
    newton = LinearClassifier(loss).fit(X, labels)
    model = LinearClassifier(loss, solver="gradient", max_iter=40_000, random_state=0, **how)
    model.fit(X, labels)
    assert model.status_ == "converged"
    assert model.history_.loss[-1] == pytest.approx(newton.history_.loss[-1], rel=1e-8)
    np.testing.assert_allclose(model.predict_proba(X), newton.predict_proba(X), atol=1e-4)
    assert model.history_.step[-1] == model.n_iter_
    assert math.isnan(model.dual_gap_)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("solver", ["newton", "gradient"])
def test_labels_apart_have_no_minimum_but_a_map_that_separates_them(loss, solver):
    model = LinearClassifier(loss, solver=solver, max_iter=None if solver == "newton" else 300)
    with pytest.warns(ConvergenceWarning, match="has no minimum .* separate all labels") as caught:
        model.fit(X, APART)
    assert caught[0].filename == __file__
    assert model.status_ == "separable"
    assert model.score(X, APART) == 1.0
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize("solver", ["newton", "gradient"])
def test_three_classes_apart(solver):
    labels = np.argmax(SCORES, axis=1)
    model = LinearClassifier(solver=solver, max_iter=None if solver == "newton" else 2000)
    with pytest.warns(ConvergenceWarning, match="has no minimum .* separate all labels"):
        model.fit(X, labels)
    assert (model.status_, model.score(X, labels)) == ("separable", 1.0)


def test_labels_of_which_some_are_apart():
    """A feature that is above 0 for one class only, and tells nothing of the other rows."""
    extra = np.where((TWO == "yes") & (np.arange(len(X)) % 5 == 0), 1.0, 0.0)
    data = np.column_stack([X, extra])
    with pytest.warns(ConvergenceWarning, match="has no minimum .* separates some labels"):
        model = LinearClassifier("logistic").fit(data, TWO)
    assert model.status_ == "separable"
    assert np.isfinite(model.coef_).all()
    assert model.coef_[0, 3] > 1
    assert model.score(data, TWO) < 1


def test_weight_decay_gives_labels_apart_a_minimum():
    """Of squared weights, intercept and all, as scikit-learn's penalty without an intercept."""
    how = {"fit_intercept": False, "standardize": False}
    model = LinearClassifier("logistic", weight_decay=0.02, max_iter=20_000, **how)
    model.fit(UNIT, APART)
    assert (model.solver_, model.status_) == ("gradient", "converged")
    other = LogisticRegression(C=1 / (0.02 * len(X)), fit_intercept=False, tol=1e-10)
    np.testing.assert_allclose(model.coef_, other.fit(UNIT, APART).coef_, rtol=1e-4)


@pytest.mark.parametrize("labels", [
    np.where(TWO == "yes", 7, -3), TWO == "yes", np.where(TWO == "yes", 0.0, 1.0),
    TWO.astype(object),
], ids=["integers", "truth values", "floats", "objects"])  # fmt: skip
def test_labels_of_any_kind(labels):
    model = LinearClassifier("logistic").fit(X, labels)
    assert set(model.predict(X)) == set(labels)
    assert model.score(X, labels) == LinearClassifier("logistic").fit(X, TWO).score(X, TWO)


def test_logarithms_of_probabilities_keep_the_smallest():
    model = LinearClassifier("logistic").fit(X, TWO)
    far = X + 1e5 * model.coef_[0]
    logs = model.predict_log_proba(far)
    np.testing.assert_allclose(logs[:, 0], -model.decision_function(far), rtol=1e-12)
    assert np.isfinite(logs).all()
    many = LinearClassifier().fit(X, THREE)
    assert np.isfinite(many.predict_log_proba(1e4 * X)).all()
    np.testing.assert_allclose(many.predict_proba(1e4 * X).sum(axis=1), 1)


@pytest.mark.parametrize("how", [{}, {"solver": "gradient", "tol": 1e-5}], ids=str)
def test_float32(how):
    double = LinearClassifier().fit(X, THREE)
    model = LinearClassifier(**how).fit(X.astype("f4"), THREE)
    assert model.coef_.dtype == np.float32
    np.testing.assert_allclose(model.predict_proba(X), double.predict_proba(X), atol=2e-3)


def test_without_an_intercept():
    for loss, labels, shape in (("logistic", TWO, (1,)), ("cross-entropy", THREE, (3,))):
        model = LinearClassifier(loss, fit_intercept=False).fit(X, labels)
        np.testing.assert_array_equal(model.intercept_, np.zeros(shape))


def test_auto_counts_the_classes(monkeypatch):
    monkeypatch.setattr("accel.sklearn.checks.SMALL", 8)
    assert LinearClassifier("logistic").fit(X, TWO).solver_ == "newton"
    assert LinearClassifier(tol=1e-4).fit(X, THREE).solver_ == "gradient"  # 3 features, 3 classes


@pytest.mark.parametrize(("loss", "labels", "match"), [
    ("logistic", THREE, r"Only binary .* Logistic\(\), got 3 classes: take CrossEntropy"),
    ("exponential", THREE, r"Only binary .* Exponential\(\), got 3 classes"),
    (CrossEntropy(4), THREE, r"y must hold 4 classes .* got 3"),
    ("logistic", ["a"] * len(X), "two classes at least, got 1 class"),
    (Huber(1.0), TWO, "loss must be one of labels, got Huber.*: take LinearFit"),
    ("logistic", np.linspace(0, 1, len(X)), "Unknown label type: continuous"),
])  # fmt: skip
def test_labels_and_losses_that_do_not_fit(loss, labels, match):
    with pytest.raises(ValueError, match=match):
        LinearClassifier(loss).fit(X, labels)


def test_in_pipelines_clones_and_pickles():
    features, species = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), LinearClassifier(weight_decay=1e-3, tol=1e-4))
    assert cross_val_score(model, features, species, cv=3).min() > 0.9
    fitted = LinearClassifier(Logistic(), solver="gradient", depth=2).fit(X, TWO)
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.predict_proba(X), fitted.predict_proba(X))
    fresh = clone(fitted)
    assert fresh.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        fresh.predict(X)
