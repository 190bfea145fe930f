"""Features and targets of a file, by name or number, and rows that lack a value."""

import numpy as np
import pytest

from accel.datasets import load_file

HOUSES = """city,size,rooms,price,rent
Oslo,50,2,100,9
Bergen,,3,150,12
Oslo,70,NA,180,15
Oslo,80,4,200,?
Oslo,90,4,230,20
"""
FRUIT = "a,b,c,d\n1,2,3,4\n5,6,7,8\n"
NUMBERS = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]])


@pytest.fixture
def houses(tmp_path):
    path = tmp_path / "houses.csv"
    path.write_text(HOUSES)
    return path


@pytest.fixture(params=["header", "none", "array"])
def table(tmp_path, request):
    """The same numbers with a header, without one, and as an array."""
    if request.param == "array":
        np.save(tmp_path / "t.npy", NUMBERS)
        return tmp_path / "t.npy"
    path = tmp_path / "t.csv"
    path.write_text(FRUIT if request.param == "header" else FRUIT.partition("\n")[2])
    return path


@pytest.mark.parametrize(
    ("target", "features", "of_X", "of_y"),
    [
        (None, [2, 0], [2, 0], [3]),
        (None, 1, [1], [3]),
        ([1, -1], None, [0, 2], [1, 3]),
        ([3, 1], [2], [2], [3, 1]),
        (["1"], ["-2", 0], [2, 0], [1]),
        ((np.int64(0),), np.array([1, 3]), [1, 3], [0]),
    ],
)
def test_columns_by_number(table, target, features, of_X, of_y):
    data = load_file(table, target, features)
    np.testing.assert_array_equal(data.X, NUMBERS[:, of_X])
    assert data.y.ndim == (1 if len(of_y) == 1 else 2)
    np.testing.assert_array_equal(data.y.reshape(2, -1), NUMBERS[:, of_y])
    assert len(data.target_names) == len(of_y)
    if features is not None:
        header = "x0 x1 x2 x3" if load_file(table).feature_names[0] == "x0" else "a b c d"
        assert data.feature_names == tuple(header.split()[j] for j in of_X)


def test_columns_by_name(houses):
    data = load_file(houses, ["price", "rooms"], ["size"], drop_missing=True)
    assert (data.feature_names, data.target_names) == (("size",), ("price", "rooms"))
    np.testing.assert_array_equal(data.X, [[50], [80], [90]])
    np.testing.assert_array_equal(data.y, [[100, 2], [200, 4], [230, 4]])
    assert load_file(houses, "price", "rent", drop_missing=True).X.shape == (4, 1)
    assert (data.name, data.description) == ("houses", "3 x 1 from houses.csv")


def test_the_same_numbers_however_they_are_chosen(tmp_path):
    """A file is read by another way when columns are chosen, and to the same bits."""
    rng = np.random.default_rng(0)
    table = rng.standard_normal((50, 4)) * 10.0 ** rng.integers(-300, 300, (50, 4))
    lines = [",".join(map(repr, row)) for row in table.tolist()]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    whole = load_file(tmp_path / "t.csv")
    chosen = load_file(tmp_path / "t.csv", 3, [0, 1, 2])
    dropped = load_file(tmp_path / "t.csv", drop_missing=True)
    for data in (whole, chosen, dropped):
        assert np.array_equal(data.X, table[:, :3])
        assert np.array_equal(data.y, table[:, 3])


def test_rows_that_lack_a_value_are_counted(houses, caplog):
    """Only those that lack one in a chosen column, and in every spelling of nothing."""
    data = load_file(houses, "rent", ["size", "rooms", "price"], drop_missing=True)
    np.testing.assert_array_equal(data.y, [9, 20])
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{houses}: 3 of 5 rows are left out; missing values: 1 in column 'size', "
        "1 in column 'rooms', 1 in column 'rent'"
    )


@pytest.mark.parametrize("cell", ["", " ", "NA", "na", "N/A", "#N/A", "NaN", "-nan", "NULL", "?",
                                  "None", "<NA>", '"NA"', "#N/A N/A", "#NA", "n/a", "-NaN",
                                  "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"])  # fmt: skip
def test_what_stands_for_nothing(tmp_path, cell):
    path = tmp_path / "t.csv"
    path.write_text(f"a,b\n1,2\n3,{cell}\n4,5\n")
    np.testing.assert_array_equal(load_file(path, drop_missing=True).y, [2, 5])
    with pytest.raises(ValueError, match=r"missing values: 1 in column 'b'; .*--drop-missing"):
        load_file(path)


def test_a_first_row_that_lacks_a_value_is_no_header(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("5.1,?,3\n4,5,6\n4,6,7\n")
    data = load_file(path, drop_missing=True)
    np.testing.assert_array_equal(data.y, [6, 7])


def test_rows_of_arrays_that_lack_a_value(tmp_path, caplog):
    table = NUMBERS.copy()
    table[1, 2] = np.nan
    np.save(tmp_path / "t.npy", table)
    assert load_file(tmp_path / "t.npy", drop_missing=True).X.shape == (1, 3)
    assert load_file(tmp_path / "t.npy", features=[0]).X.shape == (2, 1)
    np.savez(tmp_path / "t.npz", X=table, y=NUMBERS[:, :2].astype(int))
    assert load_file(tmp_path / "t.npz", drop_missing=True).y.shape == (1, 2)
    assert "1 of 2 rows are left out; missing values: 1 in column [:, 2]" in caplog.text
    assert "1 of 2 rows are left out; missing values: 1 in x2" in caplog.text
    for name, told in (("t.npy", "1 in column [:, 2]"), ("t.npz", "1 in X")):
        with pytest.raises(ValueError, match=r"must be finite.*, got .*nan; missing") as caught:
            load_file(tmp_path / name)
        assert told in str(caught.value)


@pytest.mark.parametrize("drop", [False, True])
def test_an_infinite_number_is_not_missing(tmp_path, drop):
    (tmp_path / "t.csv").write_text("a,b\nNA,2\n3,inf\n")
    with pytest.raises(ValueError, match=r"line 3, column 'b' must be finite, got inf|no value"):
        load_file(tmp_path / "t.csv", drop_missing=drop)


def test_an_index_among_rows_that_are_left_out(tmp_path):
    """It counts the rows of the file."""
    path = tmp_path / "t.csv"
    path.write_text(",a,b\n0,1,2\n1,,4\n2,5,6\n")
    assert load_file(path, drop_missing=True).feature_names == ("a",)
    assert load_file(path, features=[0, "a"], drop_missing=True).feature_names == ("x0", "a")


@pytest.mark.parametrize(
    ("target", "features", "kind", "message"),
    [
        ("price", ["size", "siez"], ValueError,
         "features must be one of city, .*got 'siez'; did you mean 'size'"),
        ("price", ["size", "size"], ValueError, "features has column 'size' twice"),
        (["price", 3], None, ValueError, "target has column 'price' twice"),
        ("price", ["size", "price"], ValueError, "'price' is among the features, and is the targ"),
        (None, ["size", "rent"], ValueError, "the target is the last column, unless it is named"),
        ([0, 1, 2, 3, 4], ["size"], ValueError, "'size' is among the features"),
        ("price", [5], ValueError, "features must be >= -5 and < 5, got 5"),
        ("price", [], ValueError, "features must not be empty"),
        ("price", {"size"}, TypeError, "features must be the name or the number of a column"),
        ("price", {"size": 1}, TypeError, "features must be the name or the number"),
        ("price", ["size", None], TypeError, "features must be the name or the number"),
        ("price", 1.5, TypeError, "features must be the name or the number of a column"),
    ],
)  # fmt: skip
def test_columns_that_are_not_there(houses, target, features, kind, message):
    with pytest.raises(kind, match=message) as caught:
        load_file(houses, target, features, drop_missing=True)
    assert str(caught.value).startswith(str(houses)) or "must be the" in message or not features


def test_a_slip_in_a_name_is_told_before_text(houses):
    with pytest.raises(ValueError, match=r"target must be one of city.*; did you mean 'price'"):
        load_file(houses, "prize")
    with pytest.raises(ValueError, match="text in column 'city'"):
        load_file(houses, "price")


def test_no_feature_is_left(table):
    with pytest.raises(ValueError, match="target names all 4 columns, so no feature is left"):
        load_file(table, [0, 1, 2, 3])


def test_no_row_is_left(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,\n1,2,\n3,4,\n")  # a comma at the end of each line
    with pytest.raises(ValueError, match=r"every row has a missing value; .*2 in column 3; leav"):
        load_file(path, drop_missing=True)
    assert load_file(path, "b", ["a"], drop_missing=True).X.shape == (2, 1)


def test_drop_missing_is_a_truth_value(houses):
    with pytest.raises(TypeError, match="drop_missing must be True or False, got 'yes'"):
        load_file(houses, drop_missing="yes")
