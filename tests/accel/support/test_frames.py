"""Data frames of pandas and Polars as arguments: columns of any dtype, and missing numbers."""

import numpy as np
import pytest

import accel
from accel import LpProblem, standardize
from accel._support import validation

from ..refusing import refused

pd = pytest.importorskip("pandas")

Y = [1.0, 2.0, 4.0, 3.0]
TRUTH, NUMBER = [True, False, True, True], [1, 2, 3, 5]
TABLE = np.column_stack([TRUTH, NUMBER]).astype(float)

FRAMES = {
    "truth beside integers": {"a": TRUTH, "b": NUMBER},
    "truth beside floats": {"a": TRUTH, "b": np.float64(NUMBER)},
    "truth as small integers": {"a": np.uint8(TRUTH), "b": NUMBER},
    "nullable": {"a": pd.array(TRUTH, "boolean"), "b": pd.array(NUMBER, "Int64")},
    "nullable floats": {"a": pd.array(TRUTH, "boolean"), "b": pd.array(NUMBER, "Float64")},
    "nullable beside not": {"a": TRUTH, "b": pd.array(NUMBER, "UInt8")},
    "all nullable": {"a": pd.array(np.int64(TRUTH), "Int64"), "b": pd.array(NUMBER, "Int64")},
    "categories": {"a": pd.Categorical(np.int64(TRUTH)), "b": NUMBER},
    "sparse": {"a": pd.arrays.SparseArray(TRUTH), "b": pd.arrays.SparseArray(NUMBER)},
    "half": {"a": TRUTH, "b": np.float16(NUMBER)},
}


@pytest.mark.parametrize("columns", FRAMES.values(), ids=FRAMES)
def test_frames(columns):
    frame = pd.DataFrame(columns, index=[7, 3, 9, 1])
    problem = LpProblem(frame, pd.Series(Y, index=[7, 3, 9, 1]))
    assert problem.dtype == np.float64
    np.testing.assert_array_equal(problem.X, TABLE)
    np.testing.assert_array_equal(problem.Y[:, 0], Y)
    data, expected = standardize(frame, Y), standardize(TABLE, Y)
    np.testing.assert_array_equal(data.X, expected.X)
    np.testing.assert_array_equal(data.predict([1, 2], frame), expected.predict([1, 2], TABLE))
    np.testing.assert_array_equal(LpProblem(TABLE[:, 1:], frame).Y, TABLE)  # targets, too


def test_one_hot_columns():
    frame = pd.get_dummies(pd.DataFrame({"size": [0.5, 1.5, 2.5, 4.0], "kind": list("abca")}))
    np.testing.assert_array_equal(
        LpProblem(frame, Y).X,
        [[0.5, 1, 0, 0], [1.5, 0, 1, 0], [2.5, 0, 0, 1], [4.0, 1, 0, 0]],
    )


@pytest.mark.parametrize("dtype", ["boolean", "Int64", "Float64", "bool", "int8"])
def test_targets_in_a_column(dtype):
    target = pd.Series(np.int64(TRUTH), dtype=dtype)
    np.testing.assert_array_equal(LpProblem(TABLE, target).Y[:, 0], np.float64(TRUTH))


def test_dtypes_are_promoted_as_numpy_does():
    single = pd.DataFrame({"a": TRUTH, "b": np.float32(NUMBER)})
    assert LpProblem(single, np.float32(Y)).dtype == np.float32
    nullable = pd.DataFrame({"a": pd.array(TRUTH, "boolean"), "b": pd.array(NUMBER, "Float32")})
    assert LpProblem(nullable, np.float32(Y)).dtype == np.float32
    refused(TypeError, "dtype must be given when values would be rounded",
            lambda: LpProblem(nullable, Y))  # fmt: skip
    assert LpProblem(pd.DataFrame({"a": NUMBER, "b": np.float32(NUMBER)}), Y).dtype == np.float64


def test_a_frame_of_one_dtype_is_not_copied():
    frame = pd.DataFrame(np.ones((4, 3)))
    array = validation.numeric("X", frame, ndim=(2,))
    assert np.shares_memory(array, frame.to_numpy())


MISSING = {
    "Int64": pd.array([1, None, 3, 4], "Int64"),
    "Float64": pd.array([1, None, 3, 4], "Float64"),
    "boolean": pd.array([True, None, False, True], "boolean"),
    "float64": [1, np.nan, 3, 4],
    "category": pd.Categorical([1, None, 3, 4]),
    "every one but the first": pd.array([1, None, None, None], "Int64"),
}


@pytest.mark.parametrize("column", MISSING.values(), ids=MISSING)
def test_what_is_missing_is_named(column):
    frame = pd.DataFrame({"whole": NUMBER, "the age": column, "last": Y})
    message = r"^X must not have missing values, got one at X\[1, [01]\] in column 'the age'$"
    for call in (LpProblem, standardize):
        refused(ValueError, message, lambda call=call: call(frame, Y))
        refused(ValueError, message, lambda call=call: call(frame[["the age"]], Y))
        refused(ValueError, r"^y must not have missing values, got one at y\[1\]$",
                lambda call=call: call(TABLE, frame["the age"]))  # fmt: skip
    refused(ValueError, r"got one at X_new\[1, 1\] in column 'the age'",
            lambda: standardize(np.eye(4, 3), Y).predict([1, 2, 3], frame))  # fmt: skip


OTHER = {
    "str": list("abcd"),
    "object": np.array(NUMBER, dtype=object),
    "object with None": np.array([True, None, False, True], dtype=object),
    "category": pd.Categorical(list("abca")),
    "datetime64": pd.to_datetime(["2020-01-01"] * 4),
    "complex128": np.array(NUMBER) * 1j,
}


@pytest.mark.parametrize("column", OTHER.values(), ids=OTHER)
def test_what_is_no_number_is_named(column):
    frame = pd.DataFrame({"a": NUMBER, "the\nname": column})
    refused(TypeError, r"^X must hold real numbers, got dtype .* in column 'the\\nname'$",
            lambda: LpProblem(frame, Y))  # fmt: skip
    refused(TypeError, "^y must hold real numbers, got dtype ",
            lambda: LpProblem(TABLE, frame["the\nname"]))  # fmt: skip


def test_columns_may_share_a_name():
    frame = pd.DataFrame(np.column_stack([TABLE, TABLE]), columns=["a", "a", 3, ("b", "c")])
    np.testing.assert_array_equal(LpProblem(frame, Y).X[:, 2:], TABLE)
    frame = pd.concat([frame, pd.DataFrame({"a": TRUTH})], axis=1)
    assert LpProblem(frame, Y).d == 5


def test_empty_frames():
    for empty in (pd.DataFrame(), pd.DataFrame({"a": []}), pd.DataFrame(index=range(4))):
        refused(ValueError, "X must not be empty", lambda empty=empty: LpProblem(empty, Y))


def test_a_frame_is_trained_on():
    frame = pd.DataFrame({"a": TRUTH, "b": pd.array(NUMBER, "Int64")})
    one, other = (
        accel.train(LpProblem(X, Y), accel.LinearNetwork((2, 1)), accel.GradientDescent(0.01), 5,
                    backend="reference")
        for X in (frame, TABLE)
    )  # fmt: skip
    np.testing.assert_array_equal(one.network.params, other.network.params)


def test_polars():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": TRUTH, "b": NUMBER})
    np.testing.assert_array_equal(LpProblem(frame, pl.Series(Y)).X, TABLE)
    np.testing.assert_array_equal(standardize(frame, Y).X, standardize(TABLE, Y).X)
    for values in ([1, None, 3, 4], [True, None, False, True], [1.5, None, 3, 4]):
        missing = pl.DataFrame({"a": TRUTH, "the age": values})
        refused(ValueError, r"missing values, got one at X\[1, 1\] in column 'the age'",
                lambda missing=missing: LpProblem(missing, Y))  # fmt: skip
        refused(ValueError, r"y must not have missing values, got one at y\[1\]",
                lambda missing=missing: LpProblem(TABLE, missing["the age"]))  # fmt: skip
    refused(TypeError, "X must hold real numbers, got dtype String in column 'b'",
            lambda: LpProblem(pl.DataFrame({"a": TRUTH, "b": list("abcd")}), Y))  # fmt: skip
