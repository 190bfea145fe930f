"""Data files of the user's: valid ones, and messages about others."""

import numpy as np
import pytest

from accel._support import validation
from accel.datasets import load_file

from ...children import python

TABLE = np.array([[1.0, 2.5, -3.0], [4.0, 5.0, 6e-7], [0.1, 1e300, 9.0]])


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "1,2.5,-3\n4,5,6e-7\n0.1,1e300,9\n",
        "\n1;2.5;-3\r\n4;5;6e-7\r\n\r\n0.1;1e300;9",
        "1\t2.5\t-3\n4\t5\t6e-7\n0.1\t1e300\t9\n",
        "\ufeffa,b,c\n1,2.5,-3\n4,5,6e-7\n0.1,1e300,9\n",
        '"a","b, or so","c"\n"1",2.5,-3\n4,5,6e-7\n0.1,1e300,9\n',
        "a;b;\n1;2.5;-3\n4;5;6e-7\n0.1;1e300;9\n",
    ],
)
def test_csv(tmp_path, text):
    data = load_file(write(tmp_path / "my table.csv", text))
    np.testing.assert_array_equal(data.X, TABLE[:, :2])
    np.testing.assert_array_equal(data.y, TABLE[:, 2])
    assert data.name == "my table"
    header = text.lstrip("\ufeff").startswith(("a", '"a"'))
    assert data.feature_names[0] == ("a" if header else "x0")


@pytest.mark.parametrize(("target", "column"), [("b", 1), ("c", 2), (0, 0), (-2, 1), ("1", 1)])
def test_csv_target(tmp_path, target, column):
    path = write(tmp_path / "t.csv", "a,b,c\n1,2.5,-3\n4,5,6e-7\n0.1,1e300,9\n")
    data = load_file(path, target)
    np.testing.assert_array_equal(data.y, TABLE[:, column])
    np.testing.assert_array_equal(data.X, np.delete(TABLE, column, axis=1))
    assert data.feature_names == tuple(n for j, n in enumerate("abc") if j != column)
    assert data.target_names == ("abc"[column],)


def test_a_column_may_be_named_like_a_number(tmp_path):
    path = write(tmp_path / "t.csv", "x,2,1\n1,2.5,-3\n4,5,6e-7\n")
    np.testing.assert_array_equal(load_file(path, "1").y, TABLE[:2, 2])
    np.testing.assert_array_equal(load_file(path, 1).y, TABLE[:2, 1])


def test_npy_and_npz(tmp_path):
    np.save(tmp_path / "a.npy", TABLE[:2].astype(np.float32))
    data = load_file(tmp_path / "a.npy", target=0)
    assert data.X.dtype == np.float32
    np.testing.assert_array_equal(data.y, np.float32([1, 4]))
    np.savez(tmp_path / "a.npz", X=[[1, 2], [3, 4]], y=np.float32([5, 6]), z=[[1, 2], [3, 4]])
    data = load_file(str(tmp_path / "a.npz"))
    assert data.X.dtype == data.y.dtype == np.float64
    np.testing.assert_array_equal(data.y, [5, 6])
    assert data.target_names == ("y",)
    two = load_file(tmp_path / "a.npz", target="z")
    assert two.y.shape == (2, 2)
    assert two.target_names == ("z0", "z1")


@pytest.mark.parametrize(
    ("name", "content", "target", "message"),
    [
        ("a.csv", "", None, "no rows"),
        ("a.csv", "a,b\n\n", None, "no rows"),
        ("a.csv", "1\n2\n", None, "at least two columns"),
        ("a.csv", "1,2\n3\n", None, "not readable"),
        ("a.csv", "1,2\n3,x\n", None, "could not convert string 'x'"),
        ("a.csv", "1,2\n3,\n", None, "could not convert"),
        ("a.csv", "1,\n3,4\n", None, "could not convert"),
        ("a.csv", "1,nan\n3,4\n", None, "a.csv: line 1, column 2 must be finite, got nan"),
        ("a.csv", "inf,1\n3,4\n", None, "a.csv: line 1, column 1 must be finite, got inf"),
        ("a.npy", np.array([[1, 2], [3, np.inf]]), 0, r"entry \[1, 1\] must be finite, got inf"),
        ("a.csv", "a,b,c\n1,2\n", None, "header has 3 columns, the rows have 2"),
        ("a.csv", b"\xff\xfe\x00", None, "not readable"),
        ("a.csv", "alpha,beta\n1,2\n", "alhpa", "target must be one of.*did you mean 'alpha'"),
        ("a.csv", "a,a\n1,2\n", "a", "2 columns 'a'"),
        ("a.csv", "1,2\n", "a", "no header"),
        ("a.csv", "1,2\n", 2, "target must be >= -2 and < 2"),
        ("a.npy", b"\x93NUMPY\x01", None, "not readable"),
        ("a.npy", b"", None, "not readable"),
        ("a.npy", np.ones(3), None, "at least two columns"),
        ("a.npy", np.ones((0, 3)), None, "X must not be empty"),
        ("a.npy", np.array([[1j, 2]]), None, "real numbers"),
        ("a.npy", np.array([["1", "2"]]), None, "real numbers"),
        ("a.npy", np.array([[{}, 2]], dtype=object), None, "allow_pickle=False"),
        ("a.npz", {"X": np.ones((2, 2))}, None, "no array 'y' in it, it holds X"),
        ("a.npz", {}, None, "it holds nothing"),
        ("a.npz", {"X": np.ones((2, 2)), "y": np.ones(3)}, None, "as many rows"),
        ("a.npz", {"X": np.ones(2), "y": np.ones(2)}, None, "X must have 2 dimensions"),
        ("a.npz", {"X": np.array([[{}]]), "y": np.ones(1)}, None, "allow_pickle=False"),
        ("a.npz", b"PK\x03\x04 nothing", None, "not readable"),
        ("a.xls", b"", None, "ends in .npz, .npy, .csv"),
        ("a.csv", None, None, "no such file"),
    ],
)
def test_bad_files(tmp_path, name, content, target, message):
    path = tmp_path / name
    if isinstance(content, dict):
        np.savez(path, **content)
    elif isinstance(content, np.ndarray):
        np.save(path, content)
    elif content is not None:
        write(path, content)
    with pytest.raises(ValueError, match=message) as caught:
        load_file(path, target)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_formats_swapped(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.ones((2, 2)), y=np.ones(2))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.ones((2, 2)))
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    for name in ("a.npy", "b.npz"):
        with pytest.raises(ValueError, match=f"{name}.* by content, rename it"):
            load_file(tmp_path / name)
    (tmp_path / "c.csv").mkdir()
    with pytest.raises(ValueError, match="a folder"):
        load_file(tmp_path / "c.csv")


def test_target_of_the_wrong_kind(tmp_path):
    path = write(tmp_path / "a.csv", "1,2\n3,4\n")
    for target in (1.0, True, ["a"]):
        with pytest.raises(TypeError, match="target must be the name or the number"):
            load_file(path, target)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n1,2\n3,x\n", "line 3, column 'b': could not convert string 'x' to a number"),
        ("\n\na;b\n\n1;2\n\n3;x\n", "line 7, column 'b': could not convert string 'x'"),
        ("1,2\n3,4\n5,\n", "line 3, column 2: could not convert string ''"),
        ("a,a,b\r\n1,2,3\r\n4,x,6\r\n", "line 3, column 2: could not convert string 'x'"),
        ("a,,b\n1,x,3\n", "line 2, column 2: could not convert string 'x'"),
        ("a,b\n1,2\n3,1_0\n", "line 3, column 'b': could not convert string '1_0'"),
        ("a,b\n1,2\n3,\uff11\n", "line 3, column 'b': could not convert string"),
        ('a,b\n"1\n",2\n3,x\n', "line 4, column 'b': could not convert string 'x'"),
        ("a,b\n1,2\n\n3,4,5\n", "line 4 has 3 columns, the rows before it have 2"),
        ("a,b\n1,2\n \n", "line 3 has 1 columns, the rows before it have 2"),
        ("a,b\n1,2\n3,nan\n", "line 3, column 'b' must be finite, got nan"),
        ("\na,b\n\n1,2\n\n-inf,3\n", "line 6, column 'a' must be finite, got -inf"),
        (",b,c\n0,1,2\n1,1e999,4\n", "line 3, column 'b' must be finite, got inf"),
    ],
)
def test_faults_are_told_by_their_line(tmp_path, text, told):
    """Lines are counted as editors do: from 1, with blank lines and the header."""
    path = write(tmp_path / "a.csv", text)
    for target in (None, 0):
        with pytest.raises(ValueError, match=r"a\.csv: ") as caught:
            load_file(path, target)
        assert told in str(caught.value)


INDEX = {
    "pandas": ",a,b\n0,1,2.5\n1,4,5\n2,0.1,1e300\n",
    "semicolons": ";a;b\n0;1;2.5\n1;4;5\n2;0.1;1e300\n",
    "R": '"","a","b"\n"1",1,2.5\n"2",4,5\n"3",0.1,1e300\n',
}


@pytest.mark.parametrize("text", INDEX.values(), ids=INDEX)
def test_an_index_is_no_feature(tmp_path, text, caplog):
    path = write(tmp_path / "a.csv", text)
    data = load_file(path)
    assert data.feature_names == ("a",)
    np.testing.assert_array_equal(data.X, TABLE[:, :1])
    np.testing.assert_array_equal(data.y, TABLE[:, 1])
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        f"{path}: the first column has no name and counts the rows: it is an index, and is left out"
    )
    # Numbers of columns are those of the file, the index included.
    for target in ("a", 1, -2):
        np.testing.assert_array_equal(load_file(path, target).y, TABLE[:, 0])
        assert load_file(path, target).feature_names == ("b",)
    # It may be asked for.
    assert load_file(path, 0).feature_names == ("a", "b")


def test_what_pandas_writes_is_read(tmp_path, caplog):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(TABLE[:, :2], columns=["a", "b"])
    frame.to_csv(tmp_path / "a.csv")
    np.testing.assert_array_equal(load_file(tmp_path / "a.csv").X, TABLE[:, :1])
    pandas.DataFrame(TABLE).to_csv(tmp_path / "b.csv")  # its header counts the columns
    data = load_file(tmp_path / "b.csv")
    np.testing.assert_array_equal(data.X, TABLE[:, :2])
    assert data.feature_names == ("0", "1")
    assert len(caplog.records) == 2
    frame.to_csv(tmp_path / "c.csv", index=False)
    assert load_file(tmp_path / "c.csv").feature_names == ("a",)
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("text", "names", "warned"),
    [
        (",a,b\n0,1,2.5\n2,4,5\n1,0.1,1\n", ("x0", "a"), True),  # of shuffled rows
        (",a,b\n5,1,2.5\n6,4,5\n7,0.1,1\n", ("x0", "a"), True),
        ("n,a,b\n0,1,2.5\n1,4,5\n2,0.1,1\n", ("n", "a"), False),
        ("a,,b\n1,0,2.5\n4,1,5\n0.1,2,1\n", ("a", "x1"), False),
        ("0,1,2.5\n1,4,5\n2,0.1,1\n", ("x0", "x1"), False),
    ],
)
def test_other_columns_are_features(tmp_path, text, names, warned, caplog):
    assert load_file(write(tmp_path / "a.csv", text)).feature_names == names
    assert ("has no name and is taken for a feature, x0" in caplog.text) == warned
    assert len(caplog.records) == warned


def test_an_index_and_a_target_are_no_problem(tmp_path):
    path = write(tmp_path / "a.csv", ",a\n0,1\n1,4\n")
    with pytest.raises(ValueError, match=r"a\.csv: expected features and a target, got an index"):
        load_file(path)
    assert load_file(path, 0).feature_names == ("a",)


def test_a_first_row_that_counts_the_columns(tmp_path, caplog):
    """It may be a header: pandas writes this one for a table without names, without its index."""
    path = write(tmp_path / "a.csv", "0,1,2\n5,6,7\n")
    assert load_file(path).X.shape == (2, 2)
    assert "a.csv: line 1, which counts the columns, is taken for numbers" in caplog.text


OPENED = """
import sys
from accel import datasets

times = dict.fromkeys(sys.argv[1:], 0)

def count(event, arguments):
    if event == "open" and str(arguments[0]) in times:
        times[str(arguments[0])] += 1

sys.addaudithook(count)
for path in times:
    datasets.load_file(path)
print(*times.values())
"""


def test_a_file_is_opened_once(tmp_path):
    write(tmp_path / "a.csv", "a,b\n1,2\n3,4\n")
    write(tmp_path / "b.csv", "1,2\n3,4\n")
    np.save(tmp_path / "c.npy", np.ones((3, 2)))
    np.savez(tmp_path / "d.npz", X=np.ones((3, 2)), y=np.ones(3))
    paths = sorted(map(str, tmp_path.iterdir()))
    assert python("-c", OPENED, *paths).stdout == "1 1 1 1\n"


def test_numbers_are_checked_once(tmp_path, monkeypatch):
    """A table as such, so that the message has the place in the file; the arrays of a .npz each."""
    names = []
    monkeypatch.setattr(validation, "all_finite", lambda name, *_: names.append(name))
    np.save(tmp_path / "a.npy", np.ones((3, 2)))
    load_file(write(tmp_path / "a.csv", "a,b\n1,2\n3,4\n"))
    load_file(tmp_path / "a.npy")
    assert names == []
    np.savez(tmp_path / "a.npz", X=np.ones((3, 2)), y=np.ones(3))
    load_file(tmp_path / "a.npz")
    assert names == ["X", "y"]


@pytest.mark.skipif(np.finfo(np.longdouble).max == np.finfo(float).max, reason="no wider numbers")
def test_numbers_that_float64_does_not_hold(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1, np.longdouble(10) ** 4000]]))
    with pytest.raises(ValueError, match=r"a\.npy: y must be finite in float64, got y\[0\] = inf"):
        load_file(tmp_path / "a.npy")
