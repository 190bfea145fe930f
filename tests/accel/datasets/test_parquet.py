"""Files of .parquet, by Polars and by pandas."""

import json
import sys

import numpy as np
import pytest

from accel._support import memory
from accel.datasets import load_file, parquet

polars = pytest.importorskip("polars")

COLUMNS = {
    "a": [1, 2, None, 4],
    "b": [0.5, float("nan"), 1.0, 2.0],
    "t": ["x", "y", None, "z"],
    "flag": [True, False, True, True],
    "c": [1.5, 2.5, 3.5, 4.5],
}


@pytest.fixture
def path(tmp_path):
    polars.DataFrame({**COLUMNS, "__index_level_0__": [0, 1, 2, 3]}).write_parquet(
        tmp_path / "t.parquet"
    )
    return tmp_path / "t.parquet"


@pytest.fixture(params=["polars", "pandas"])
def library(request, monkeypatch):
    """Which library reads; pandas without an engine, which takes a frame that is given it."""
    if request.param == "pandas":
        pandas = pytest.importorskip("pandas")
        monkeypatch.setitem(sys.modules, "polars", None)
        frame = pandas.DataFrame(COLUMNS).astype({"a": "Int64"})
        monkeypatch.setattr(pandas, "read_parquet", lambda path: frame)
    return request.param


def test_columns_of_numbers(path, library, caplog):
    data = load_file(path, features=["flag"])
    assert (data.feature_names, data.target_names, data.name) == (("flag",), ("c",), "t")
    np.testing.assert_array_equal(data.X, [[1], [0], [1], [1]])
    np.testing.assert_array_equal(data.y, COLUMNS["c"])
    data = load_file(path, ["c", "b"], ["a", "flag"], drop_missing=True)
    np.testing.assert_array_equal(data.X, [[1, 1], [4, 1]])
    np.testing.assert_array_equal(data.y, [[1.5, 0.5], [4.5, 2]])
    assert "2 of 4 rows are left out; missing values: 1 in column 'a', 1 in column" in caplog.text


@pytest.mark.parametrize(
    ("target", "features", "message"),
    [
        (None, None, "columns must hold numbers, got column 't' of .*: choose columns .*--featur"),
        (
            "c",
            ["a", "b"],
            "row 2, column 'b' must be finite, got nan; missing values: 1 in .*'a'",
        ),
        ("c", ["d"], "features must be one of a, b, t, flag, c, got 'd'"),
        ("c", [5], "features must be >= -5 and < 5, got 5"),
    ],
)
def test_columns_that_are_refused(path, library, target, features, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_file(path, target, features)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    "index",
    [
        ["c"],
        ["a", "c"],
        [{"kind": "range", "start": 0, "stop": 2, "step": 1}],
        [],
    ],
)
def test_an_index_with_a_name(tmp_path, index):
    """pandas writes it as a column, the last one, and says which it is."""
    frame = polars.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "id": [5, 6], "c": [7, 8]})
    told = {"index_columns": index, "column_indexes": [], "columns": []}
    path = tmp_path / "t.parquet"
    frame.write_parquet(path, metadata={"pandas": json.dumps(told)})
    data = load_file(path)
    kept = [name for name in frame.columns if name not in index]
    assert (*data.feature_names, *data.target_names) == tuple(kept)


def test_float32_stays(tmp_path):
    frame = polars.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    frame.cast(polars.Float32).write_parquet(tmp_path / "t.parquet")
    assert load_file(tmp_path / "t.parquet").X.dtype == np.float32


def test_integers_that_would_be_rounded(tmp_path):
    polars.DataFrame({"a": [1, 2**53 + 1], "b": [3.0, 4.0]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="column 'a' must not hold integers that float64 would"):
        load_file(tmp_path / "t.parquet")


def test_a_file_that_is_no_parquet(tmp_path):
    path = tmp_path / "t.parquet"
    for content in (b"", b"a,b\n1,2\n", b"PAR1" + bytes(100) + b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not readable: ") as caught:
            load_file(path)
        assert str(caught.value).startswith(str(path))


def test_a_file_that_asks_for_memory(tmp_path, monkeypatch):
    """Many rows of one number take few bytes of a file."""
    frame = polars.DataFrame({"a": np.zeros(10**6), "b": np.zeros(10**6)})
    frame.write_parquet(tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 10**6
    monkeypatch.setattr(memory, "available", lambda: 1e6)
    monkeypatch.setattr(memory, "_SMALL", 1e6)
    with pytest.raises(MemoryError, match=r"t\.parquet needs about .* of memory"):
        load_file(tmp_path / "t.parquet")


def test_a_panic_is_an_error(path, monkeypatch):
    """Polars raises what is no Exception on some damaged files."""

    class PanicException(BaseException):
        pass

    def panic(*_):
        raise PanicException("on a None value")

    monkeypatch.setattr(parquet, "_by_polars", panic)
    with pytest.raises(ValueError, match="not readable: PanicException: on a None value"):
        load_file(path)


def test_without_a_library(path, monkeypatch):
    for name in ("polars", "pandas"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"t\.parquet: .* install 'implicit-accel.parquet.'"):
        load_file(path)
