"""Units and names travel from the data to the result: what it predicts, and what a file keeps."""

import copy
import json
import pickle
import re
import zipfile

import numpy as np
import pytest

import accel
from accel._core.scaling import given_data
from accel._files import archives

from ...children import ROOT

RNG = np.random.default_rng(3)
X = RNG.standard_normal((30, 3)) * [1.0, 20.0, 0.1] + [5.0, -40.0, 0.0]
Y = X @ RNG.standard_normal((3, 2)) + RNG.standard_normal((30, 2)) + [7.0, -1.0]
LABELS = np.where(Y[:, 0] > np.median(Y[:, 0]), 1, -1)
NAMES = ("mass", "heat", "age")


def data_set(y=Y[:, 0], targets=("price",)):
    return accel.datasets.Dataset(X, y, "cars", NAMES, "Cars", "here", targets)


def trained(problem, steps=50):
    network = accel.LinearNetwork.for_problem(problem, 2, init="balanced", scale=0.3)
    return accel.train(problem, network, accel.GradientDescent(0.05), steps, backend="reference")


@pytest.mark.parametrize("y", [Y[:, 0], Y[:, :1], Y], ids=["1-D", "one column", "two columns"])
def test_a_problem_of_standardised_data_predicts_in_the_units_of_the_user(y):
    scaled = accel.standardize(X, y)
    result = trained(accel.LpProblem(scaled, p=4))
    by_hand = trained(accel.LpProblem(scaled.X, scaled.y, p=4))
    W = by_hand.network.end_to_end()
    np.testing.assert_array_equal(result.network.end_to_end(), W)  # the same run
    predicted = result.predict(X)
    np.testing.assert_array_equal(predicted, scaled.predict(W, X))
    coef, intercept = result.coefficients()
    assert (predicted.shape, coef.shape, intercept.shape) == (y.shape, (*y.shape[1:], 3),
                                                              y.shape[1:])  # fmt: skip
    np.testing.assert_allclose(X @ coef.T + intercept, predicted, rtol=1e-12, atol=1e-12)
    standard = (X - X.mean(axis=0)) / X.std(axis=0) @ W.T
    expected = standard.reshape(y.shape) * y.std(axis=0) + y.mean(axis=0)
    np.testing.assert_allclose(predicted, expected, rtol=1e-12, atol=1e-12)


def test_without_units_a_result_predicts_as_its_network_does():
    result = trained(accel.LpProblem(X / 50, Y[:, 0], p=2))
    assert result.scaling is None
    np.testing.assert_array_equal(result.predict(X / 50), result.network.predict(X / 50))
    coef, intercept = result.coefficients()
    np.testing.assert_allclose(X / 50 @ coef + intercept, result.predict(X / 50), rtol=1e-12)
    assert result.coefficients()[1] == 0
    coef, intercept = trained(accel.LpProblem(X / 50, Y, p=2)).coefficients()
    assert coef.shape == (2, 3)
    np.testing.assert_array_equal(intercept, [0, 0])


def test_names_travel():
    scaled = accel.standardize(data_set())
    assert (scaled.feature_names, scaled.target_names, scaled.source) == (NAMES, ("price",), "cars")
    for problem in (accel.LpProblem(scaled), accel.LpProblem(data_set())):
        scaling = trained(problem, 2).scaling
        assert scaling.features == NAMES
        assert scaling.targets == ("price",)
        assert scaling.trivial == np.array_equal(problem.X, X)
    assert repr(scaling) == "Scaling(d=3, k=1, the user's units, source='cars')"
    assert repr(scaled) == "Standardized(X=(30, 3), y=(30,), dtype=float64)"
    unnamed = accel.standardize(X, Y)
    assert (unnamed.features, unnamed.targets) == (("x0", "x1", "x2"), ("y0", "y1"))
    assert accel.standardize(X, Y[:, 0]).targets == ("y",)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_of_frames_are_found_by_name(library):
    module = pytest.importorskip(library)
    table = module.DataFrame({name: X[:, j] for j, name in enumerate(NAMES)})
    target = module.Series(name="price", **{"values" if library == "polars" else "data": Y[:, 0]})
    scaled = accel.standardize(table, target)
    assert (scaled.features, scaled.targets) == (NAMES, ("price",))
    result = trained(accel.LpProblem(scaled, p=4))
    expected = result.predict(X)
    mixed = module.DataFrame({"age": X[:, 2], "colour": X[:, 0], "mass": X[:, 0], "heat": X[:, 1]})
    np.testing.assert_array_equal(result.predict(mixed), expected)
    with pytest.raises(
        ValueError, match=r"X_new must have the columns mass, heat, age.*: mass, he"
    ):
        result.predict(mixed[["age", "colour"]])
    assert accel.LpProblem(table, target).scaling.targets == ("price",)
    assert accel.LpProblem(table, Y).scaling.targets == ("y0", "y1")


def test_frames_whose_columns_have_no_names():
    pandas = pytest.importorskip("pandas")
    assert accel.LpProblem(pandas.DataFrame(X), Y).scaling is None
    result = trained(accel.LpProblem(accel.standardize(data_set())))
    np.testing.assert_array_equal(result.predict(pandas.DataFrame(X)), result.predict(X))


def test_the_standardised_x_is_not_taken_for_the_users():
    scaled = accel.standardize(data_set())
    result = trained(accel.LpProblem(scaled))
    W = result.network.end_to_end()
    for predict in (result.predict, lambda given: scaled.predict(W, given)):
        for standard in (scaled.X, scaled.X[3:5], scaled.X[:, :]):
            with pytest.raises(
                ValueError, match=r"X_new must be in the user's units.* got the stand"
            ):
                predict(standard)
        assert predict(scaled.X.copy()).shape == (30,)  # nobody can tell
    raw = accel.LpProblem(data_set())
    assert trained(raw).predict(raw.X).shape == (30,)  # in the user's units these are


@pytest.mark.parametrize(
    "how", [{"dtype": "float32"}, {"sample_weight": np.arange(30)}, {"sample_weight": np.ones(30)}],
    ids=["float32", "weights", "equal weights"],
)  # fmt: skip
def test_neither_the_standardised_x_nor_the_problems_copy_is_taken(how):
    scaled = accel.standardize(data_set())
    problem = accel.LpProblem(scaled, p=2, **how)
    assert not np.may_share_memory(problem.X, scaled.X)
    for scaling in (problem.scaling, trained(problem).scaling):
        for standard in (scaled.X, scaled.X[3:5], problem.X):
            with pytest.raises(ValueError, match="got the standardised X itself"):
                scaling.predict(np.ones(3), standard)
        assert scaling.predict(np.ones(3), X).shape == (30,)
    copied = pickle.loads(pickle.dumps(problem.scaling))  # knows neither, and still predicts
    np.testing.assert_array_equal(copied.predict(np.ones(3), X), scaled.predict(np.ones(3), X))


@pytest.mark.parametrize("loss", ["logistic", "exponential"])
def test_two_classes(loss):
    scaled = accel.standardize(data_set())
    result = trained(accel.Problem(scaled, LABELS, loss), 400)
    margin, labels, chances = (
        f(X) for f in (result.decision_function, result.predict, result.predict_proba)
    )
    np.testing.assert_array_equal(labels, np.sign(margin))
    assert np.mean(labels == LABELS) > 0.8
    factor = {"logistic": 1, "exponential": 2}[loss]
    np.testing.assert_allclose(chances[:, 1], 1 / (1 + np.exp(-factor * margin)), rtol=1e-12)
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(margin, scaled.X @ result.network.end_to_end()[0], rtol=1e-9)
    column = trained(accel.Problem(scaled, LABELS[:, None], loss), 400)
    np.testing.assert_array_equal(column.predict(X), labels)


def test_several_classes():
    classes = np.arange(30) % 3
    result = trained(accel.Problem(accel.standardize(data_set()), classes, "cross-entropy"))
    outputs, chances = result.decision_function(X), result.predict_proba(X)
    assert result.scaling.targets == ("price=0", "price=1", "price=2")
    np.testing.assert_array_equal(result.predict(X), outputs.argmax(axis=1))
    expected = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(chances, expected, rtol=1e-12)


def test_labels_are_not_standardised():
    scaled = accel.standardize(X, np.append(LABELS[1:], 1))  # not as many of each
    with pytest.raises(
        ValueError, match=r"y must hold labels for Logistic\(\), got them standardi"
    ):
        accel.Problem(scaled, loss="logistic")
    with pytest.raises(ValueError, match="y must hold labels for Logistic"):
        accel.Problem(scaled, scaled.y, "logistic")  # the same y, and so in the same units
    with pytest.raises(ValueError, match=r"predict_proba is for losses of labels.* got .*Lp\(p=4"):
        trained(accel.LpProblem(scaled)).predict_proba(X)


def test_a_y_of_ones_own_is_in_units_of_its_own():
    scaled = accel.standardize(X, Y[:, 0])
    scaling = accel.LpProblem(scaled, Y[:, 1]).scaling
    assert (scaling.y_mean, scaling.y_scale) == (0, 1)
    np.testing.assert_array_equal(scaling.x_mean, scaled.x_mean)
    assert accel.LpProblem(scaled, scaled.y).scaling.y_mean == scaled.y_mean
    assert given_data(X, Y).scaling(X, Y) is None


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("y", [Y[:, 0], Y[:, :1], Y], ids=["one", "column", "two"])
def test_a_copy_of_the_standardised_y_is_in_its_units(y, dtype):
    scaled = accel.standardize(X.astype(dtype), y.astype(dtype))
    same = [scaled.y.copy(), scaled.y[:], scaled.y.astype("f4"), scaled.y.astype("f8")]
    same += [scaled.y[:, np.newaxis], scaled.y.tolist()] if y.ndim == 1 else [scaled.y * 1.0]
    same += [scaled.y.ravel()] if y.shape[1:] == (1,) else []
    for given in same:
        problem = accel.LpProblem(scaled, given, dtype="f8")
        scaling = problem.scaling
        np.testing.assert_array_equal(problem.Y.ravel(), np.ravel(given))
        assert scaling.y_mean.shape == np.shape(given)[1:]
        np.testing.assert_array_equal(scaling.y_mean.ravel(), scaled.y_mean.ravel())
        np.testing.assert_array_equal(scaling.y_scale.ravel(), scaled.y_scale.ravel())
    other = accel.LpProblem(scaled, scaled.y + 1).scaling
    assert not other.y_mean.any()


@pytest.mark.parametrize("y", [Y[:, 0], Y], ids=["one", "two"])
def test_a_file_keeps_units_and_names(tmp_path, y):
    targets = ("price",) if y.ndim == 1 else ("price", "cost")
    result = trained(accel.LpProblem(accel.standardize(data_set(y, targets)), dtype="float32"))
    loaded = accel.Result.load(result.save(tmp_path / "model.npz"))
    assert loaded.scaling.features == NAMES
    assert loaded.scaling.targets == targets
    assert loaded.scaling.source == "cars"
    np.testing.assert_array_equal(loaded.predict(X), result.predict(X))
    for other in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        np.testing.assert_array_equal(other.predict(X), result.predict(X))
    plain = trained(accel.LpProblem(X / 50, y)).save(tmp_path / "plain.npz")
    assert accel.Result.load(plain).scaling is None


@pytest.mark.parametrize(("change", "match"), [
    (lambda d, a: a.update(x_scale=np.zeros(3)), "x_scale must be above 0"),
    (lambda d, a: a.update(x_mean=np.zeros(2)), r"x_mean must be float64 of shape \(3,\)"),
    (lambda d, a: a.update(y_mean=np.zeros(2)), r"y_mean must have 1 dim|y_mean must be float64"),
    (lambda d, a: a.update(x_rest=np.zeros(3, "f4")), "x_rest must be float64"),
    (lambda d, a: a.update(x_mean=np.full(3, np.nan)), "x_mean must be finite"),
    (lambda d, a: a.pop("y_scale"), "no 'y_scale'"),
    (lambda d, a: d["scaling"].update(feature_names=["a"]), "feature_names must hold 3 names"),
    (lambda d, a: d.update(scaling=3), "not readable"),
])  # fmt: skip
def test_a_damaged_file_is_refused(tmp_path, change, match):
    path = trained(accel.LpProblem(accel.standardize(data_set())), 2).save(tmp_path / "model.npz")
    with zipfile.ZipFile(path) as archive:
        with archive.open("json.npy") as member:
            described = json.loads(str(np.load(member)))
        names = [name.removesuffix(".npy") for name in archive.namelist() if name != "json.npy"]
        arrays = {name: np.load(archive.open(f"{name}.npy")) for name in names}
    change(described, arrays)
    archives.write(path, described, arrays)
    with pytest.raises(ValueError, match=match):
        accel.Result.load(path)


def test_a_scaling_is_public():
    assert isinstance(accel.standardize(X, Y), accel.Scaling)
    assert type(accel.LpProblem(accel.standardize(X, Y)).scaling) is accel.Scaling


def test_the_page_about_models(in_a_folder_of_its_own, tmp_path, capsys):
    pytest.importorskip("sklearn")
    page = (ROOT / "docs" / "guide" / "models.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(code, names := {})
    printed = capsys.readouterr().out
    assert str(names["result"].predict(names["data"].X[:3])) in printed
    assert "'bmi'" in printed
    scaling = accel.Result.load(tmp_path / "model.npz").scaling
    assert scaling.targets == ("progression",)


def test_a_constant_column_has_no_coefficient(tmp_path):
    """Its weight stays where it began, at random; later values of it move no prediction."""
    X = np.random.default_rng(0).standard_normal((30, 3))
    X[:, 1] = 7.0
    y = 1e3 * (X @ [1.0, 0.0, -2.0])
    scaled = accel.standardize(X, y)
    problem = accel.LpProblem(scaled, p=2)
    network = accel.LinearNetwork.for_problem(problem, depth=1, seed=1)
    result = accel.train(problem, network, accel.GradientDescent(0.1), 200, backend="reference")
    assert result.network.end_to_end()[0, 1] != 0
    other = X.copy()
    other[:, 1] = 9.0
    loaded = accel.Result.load(result.save(tmp_path / "r.npz"))
    for model in (result, loaded):
        assert model.coefficients()[0][1] == 0
        np.testing.assert_array_equal(model.predict(other), model.predict(X.copy()))
    assert scaled.coefficients(result.network)[0][1] == 0
    assert scaled.x_scale[1] == 1
