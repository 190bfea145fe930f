"""Arrays of a .npz: by the names that are asked for, and by those that others use."""

import numpy as np
import pytest

from accel.datasets import load_file

X, Y = np.arange(8.0).reshape(4, 2), np.arange(4.0)


def save(folder, **arrays):
    np.savez(folder / "t.npz", **arrays)
    return folder / "t.npz"


@pytest.mark.parametrize(
    ("arrays", "pair"),
    [
        ({"X_train": X, "y_train": Y, "X_test": X[:2], "y_test": Y[:2]}, ("X_train", "y_train")),
        ({"x_train": X, "y_train": Y}, ("x_train", "y_train")),
        ({"data": X, "target": Y, "feature_names": ["p", ""]}, ("data", "target")),
        ({"features": X, "labels": Y, "x": Y}, ("features", "labels")),
        ({"X": X, "target": Y}, ("X", "target")),
        ({"data": X, "y": Y}, ("data", "y")),
        ({"data": X, "features": X[:3], "target": Y}, ("data", "target")),  # only one fits
    ],
)
def test_usual_names_are_found(tmp_path, caplog, arrays, pair):
    data = load_file(save(tmp_path, **arrays))
    np.testing.assert_array_equal(data.X, X)
    np.testing.assert_array_equal(data.y, Y)
    assert data.target_names == (pair[1],)
    assert data.feature_names == (("p", "x1") if "feature_names" in arrays else ("x0", "x1"))
    assert "t.npz: {} is taken for X, and {} for y".format(*pair) in caplog.text


def test_what_is_asked_for_is_not_guessed(tmp_path, caplog):
    path = save(tmp_path, X=X, y=Y, data=2 * X, target=2 * Y, age=3 * Y)
    assert load_file(path).X.tolist() == X.tolist()
    assert load_file(path, "target", "data").y.tolist() == (2 * Y).tolist()
    assert load_file(path, features="age").X.tolist() == (3 * Y[:, None]).tolist()
    assert load_file(path, features="age").feature_names == ("age",)
    joined = load_file(path, ["target", "y"], ["age", "data"])
    assert joined.feature_names == ("age", "data0", "data1")
    np.testing.assert_array_equal(joined.X, np.column_stack([3 * Y, 2 * X]))
    assert joined.target_names == ("target", "y")
    np.testing.assert_array_equal(joined.y, np.column_stack([2 * Y, Y]))
    assert not caplog.records


@pytest.mark.parametrize(
    ("arrays", "asked", "message"),
    [
        ({"A": X, "b": Y}, {}, r"no array 'X' in it, it holds A \(4, 2\), b \(4,\); name the arr"),
        ({"A": X, "b": Y}, {"features": "A"}, "no array 'y' in it"),
        ({"A": X, "b": Y}, {"features": "A", "target": "c"}, r"no array 'c' in it.*--target KEY"),
        ({"A": X, "b": Y}, {"features": ["A", "c"], "target": "b"}, "no array 'c' in it"),
        ({"data": X, "features": X, "target": Y}, {},
         "X and y may be data and target, or features and target: name the arrays"),
        ({"data": X, "target": Y[:3]}, {}, "no array 'X' in it"),
        ({"A": X, "B": X[:3], "y": Y}, {"features": ["A", "B"]},
         r"arrays must have as many rows, got A \(4, 2\), B \(3, 2\)"),
        ({"A": X, "t": np.array(["a"] * 4), "y": Y}, {"features": ["A", "t"]},
         "t must hold real numbers"),
        ({"A": np.ones((2, 2, 2)), "y": Y}, {"features": "A"}, "X must have 2 dimensions"),
    ],
)  # fmt: skip
def test_arrays_that_are_not_there(tmp_path, arrays, asked, message):
    path = save(tmp_path, **arrays)
    with pytest.raises(ValueError, match=message) as caught:
        load_file(path, **asked)
    assert str(caught.value).startswith(str(path))


def test_names_of_features_that_fit_nothing(tmp_path):
    for names in (["p"], [1, 2], np.array([{}, {}], dtype=object)):
        path = save(tmp_path, X=X, y=Y, feature_names=np.array(names))
        assert load_file(path).feature_names == ("x0", "x1")
