"""Data by the words of the command line."""

import gzip

import numpy as np
import pytest

from accel.cli.catalogue import NAMES, Reading, open_data


def test_a_name_with_settings():
    opened = open_data("ill-conditioned:n=30,d=3,condition=10,k=2")
    assert opened.dataset.X.shape == (30, 3)
    assert opened.dataset.y.shape == (30, 2)
    assert opened.standardize
    assert opened.path is None


def test_two_points_stay_as_they_are():
    opened = open_data("two-points:y2=0.5")
    assert opened.dataset.y.tolist() == [10.0, 0.5]
    assert not opened.standardize


def test_diabetes():
    assert open_data("diabetes").dataset.X.shape == (442, 10)


def test_the_gas_data_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCEL_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="nowhere"):
        open_data("gas")


def test_a_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b,c\n1,2,3\n4,5,6\n")
    opened = open_data(str(path), Reading("b"))
    assert opened.dataset.y.tolist() == [2.0, 5.0]
    assert opened.path == path
    assert opened.standardize


@pytest.mark.parametrize(
    ("target", "features", "names"),
    [
        ("c", "a, b", [["a", "b"], ["c"]]),
        ("c,a", None, [["b", 'd, "e"'], ["c", "a"]]),
        ('"d, ""e"""', "1", [["b"], ['d, "e"']]),
        (None, "c,0", [["c", "a"], ['d, "e"']]),
    ],
)
def test_columns_of_a_file(tmp_path, target, features, names):
    path = tmp_path / "table.csv.gz"
    with gzip.open(path, "wt") as stream:
        stream.write('a,b,c,"d, ""e"""\n1,2,3,4\n5,6,,8\n')
    data = open_data(str(path), Reading(target, features, drop_missing=True)).dataset
    assert [list(data.feature_names), list(data.target_names)] == names


def test_a_file_that_is_named_like_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "diabetes.npy", np.arange(6.0).reshape(2, 3))
    assert open_data("diabetes.npy").dataset.X.shape == (2, 2)
    assert open_data("diabetes").dataset.X.shape == (442, 10)


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("diabtes", None, "did you mean 'diabetes'"),
        ("absent.csv", None, "no such file"),
        ("folder/data", None, "expected a file"),
        ("table.txt", None, "expected a file"),
        ("", None, "data must be one of"),
        ("diabetes", "0", "files only"),
        ("diabetes:n=3", None, "has no setting 'n', it has none"),
        ("two-points:y1=x", None, "y1 must be a number"),
        ("two-points:y1=inf", None, "y1 must be finite"),
        ("two-points:y1", None, "y1 must be a number"),
        ("ill-conditioned:n=1.5", None, "n must be an integer"),
        ("ill-conditioned:n=3,d=9", None, "n must be >= 9"),
    ],
)
def test_what_cannot_be_opened(text, target, message):
    with pytest.raises(ValueError, match=message):
        open_data(text, Reading(target))


def test_names():
    assert "gas" in NAMES
