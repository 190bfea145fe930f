"""Bad calls of the whole library: every message names the argument and shows its value."""

import datetime
import fractions
import itertools
from functools import partial

import numpy as np
import pytest

from accel import (
    AdaDelta,
    AdaGrad,
    Adam,
    Batches,
    DiagonalNetwork,
    EndToEnd,
    GradientDescent,
    GroupRMSProp,
    LabelNoise,
    Langevin,
    LinearNetwork,
    LpProblem,
    MatrixCompletion,
    MatrixFactorization,
    MatrixSensing,
    Momentum,
    Nesterov,
    Optimizer,
    Problem,
    RMSProp,
    standardize,
)  # fmt: skip
from accel._core.optimizers import by_name
from accel.losses import CrossEntropy

from .problems import PROBLEM, make_problem, start
from .refusing import refused

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")

X, y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
WIDE = make_problem(k=2)
STANDARD = standardize(X, y)
RULE = GradientDescent(0.1)
NAN, INF = float("nan"), float("inf")
HUGE = 10**5000  # more digits than Python shows


def changed(a, place, value):
    a = np.array(a)
    a[place] = value
    return a


class Neither:
    """An object whose truth value and whose repr raise."""

    def __bool__(self):
        raise RuntimeError("neither")

    def __repr__(self):
        raise RuntimeError("no words")


# Values that are no matrix of numbers, by the message about them as X.
NO_MATRIX = {
    "None": (TypeError, "X must hold real numbers, got dtype object in None", None),
    "text": (TypeError, "X must hold real numbers, got dtype <U3 in 'abc'", "abc"),
    "digits": (TypeError, r"X must hold real numbers, got dtype <U1", [["1", "2"]] * 6),
    "bytes": (TypeError, r"X must hold real numbers, got dtype \|S1", np.full((6, 2), b"1")),
    "dict": (TypeError, r"X must hold real numbers.*\{'a': 1\}", {"a": 1}),
    "set": (TypeError, r"X must hold real numbers.*\{1\}", {1}),
    "iterator": (TypeError, "X must hold real numbers.*generator", (row for row in X)),
    "map": (TypeError, "X must hold real numbers.*map object", map(list, X)),
    "range": (ValueError, r"X must have 2 dimensions, got shape \(6,\)", range(6)),
    "objects": (TypeError, "X must hold real numbers, got dtype object", X.astype(object)),
    "complex": (TypeError, "X must hold real numbers, got dtype complex128", X * 1j),
    "dates": (TypeError, r"X must hold real numbers, got dtype datetime64\[s\]", X.astype("M8[s]")),
    "spans": (TypeError, r"X must hold real numbers, got dtype timedelta64", X.astype("m8[s]")),
    "date": (TypeError, "X must hold real numbers, got dtype object", [[datetime.date.today()]]),
    "records": (TypeError, "X must hold real numbers, got dtype .*'a'", np.zeros(6, "f8,f8,f8")
                .view([("a", "f8"), ("b", "f8"), ("c", "f8")])),
    "void": (TypeError, r"X must hold real numbers, got dtype \|V8", np.zeros((6, 2), "V8")),
    "ragged": (ValueError, r"X must be a rectangular.*\[\[1, 2\], \[3\]\]", [[1, 2], [3]]),
    "ragged arrays": (ValueError, "X must be a rectangular array", [np.ones(2), np.ones(3)]),
    "masked": (ValueError, "X must not have masked entries", np.ma.masked_less(X, 3)),
    "0-D": (ValueError, r"X must have 2 dimensions, got shape \(\)", 3.0),
    "1-D": (ValueError, r"X must have 2 dimensions, got shape \(6,\)", y),
    "3-D": (ValueError, r"X must have 2 dimensions, got shape \(6, 2, 1\)", X[..., None]),
    "no rows": (ValueError, r"X must not be empty, got shape \(0, 2\)", X[:0]),
    "no columns": (ValueError, r"X must not be empty, got shape \(6, 0\)", X[:, :0]),
    "nothing": (ValueError, r"X must have 2 dimensions, got shape \(0,\)", []),
    "nan": (ValueError, r"X must be finite in float64.*X\[2, 1\] = nan", changed(X, (2, 1), NAN)),
    "inf": (ValueError, r"X must be finite.*X\[0, 0\] = inf", changed(X, (0, 0), INF)),
    "-inf": (ValueError, r"X must be finite.*X\[5, 1\] = -inf", changed(X, (5, 1), -INF)),
    "half nan": (ValueError, r"X must be finite.*X\[2, 1\] = nan",
                 changed(X, (2, 1), NAN).astype("f2")),
    "swapped nan": (ValueError, r"X must be finite.*X\[2, 1\] = nan",
                    changed(X, (2, 1), NAN).astype(">f8")),
    "reversed nan": (ValueError, r"X must be finite.*X\[3, 1\] = nan",
                     changed(X, (2, 1), NAN)[::-1]),
    "longer": (ValueError, r"X and y must have as many rows.*\(7, 2\).*\(6,\)", np.ones((7, 2))),
}  # fmt: skip


@pytest.mark.parametrize("take", [LpProblem, standardize], ids=["LpProblem", "standardize"])
@pytest.mark.parametrize(("kind", "match", "value"), NO_MATRIX.values(), ids=NO_MATRIX)
def test_no_matrix(take, kind, match, value):
    refused(kind, match, lambda: take(value, y))


@pytest.mark.parametrize(
    ("make", "kind", "match"),
    [
        (lambda pandas: pandas.DataFrame({"a": ["u", "v"], "b": [1, 2]}), TypeError,
         "dtype (object|str) in column 'a'"),
        (lambda pandas: pandas.DataFrame({"a": [1.0, None]}), ValueError,
         r"missing.*X\[1, 0\] in column 'a'"),
        (lambda pandas: pandas.DataFrame({"a": pandas.Categorical(["u", "v"])}), TypeError,
         "dtype category in column 'a'"),
        (lambda pandas: pandas.DataFrame({"a": pandas.to_datetime(["2020-01-01"] * 2)}), TypeError,
         "datetime64.* in column 'a'"),
        (lambda pandas: pandas.Series([1.0, 2.0]), ValueError, "2 dimensions"),
    ],
    ids=["text", "missing", "categories", "dates", "series"],
)  # fmt: skip
def test_tables_that_are_no_matrix(make, kind, match):
    pandas = pytest.importorskip("pandas")
    refused(kind, f"^X .*{match}", lambda: LpProblem(make(pandas), [1.0, 2.0]))


def test_a_sparse_matrix_is_none():
    sparse = pytest.importorskip("scipy.sparse")
    for matrix in (sparse.csr_matrix(X), sparse.coo_array(X)):
        refused(TypeError, "X must hold real numbers", partial(LpProblem, matrix, y))


ROWS = [
    # The problem
    (TypeError, "y must hold real numbers, got dtype object in None", lambda: LpProblem(X, None)),
    (ValueError, r"y must have 1 or 2 dimensions, got shape \(\)", lambda: LpProblem(X, 1.0)),
    (ValueError, r"y must have 1 or 2 dim.*\(6, 1, 1\)", lambda: LpProblem(X, y[:, None, None])),
    (ValueError, r"y must not be empty.*\(6, 0\)", lambda: LpProblem(X, np.ones((6, 0)))),
    (ValueError, r"y must be finite.*y\[3\] = inf", lambda: LpProblem(X, changed(y, 3, INF))),
    (ValueError, r"y must be finite in float32, got y\[0\] = 1e\+300",
     lambda: LpProblem(X, np.full(6, 1e300), dtype="float32")),
    (TypeError, "dtype must be given.*X float32 and y float64",
     lambda: LpProblem(X.astype("f4"), y)),
    (TypeError, "dtype must be float32 or float64, got 'float16'",
     lambda: LpProblem(X, y, dtype="float16")),
    (TypeError, "dtype must be float32 or float64, got 'flaot32'",
     lambda: LpProblem(X, y, dtype="flaot32")),
    (TypeError, "dtype must be float32 or float64, got <class 'int'>",
     lambda: LpProblem(X, y, dtype=int)),
    (ValueError, "p must be finite and >= 1, got 0.5", lambda: LpProblem(X, y, 0.5)),
    (ValueError, "sample_weight must hold a number for each of 6 rows, got 5",
     lambda: LpProblem(X, y, sample_weight=np.ones(5))),
    (ValueError, r"sample_weight must be >= 0, got sample_weight\[2\] = -3",
     lambda: LpProblem(X, y, sample_weight=changed(np.ones(6), 2, -3))),
    (ValueError, "sample_weight must not be 0 for every sample",
     lambda: LpProblem(X, y, sample_weight=np.zeros(6))),
    (ValueError, r"sample_weight must be finite in float64, got sample_weight\[1\] = nan",
     lambda: LpProblem(X, y, sample_weight=changed(np.ones(6), 1, NAN))),
    (TypeError, "sample_weight must hold real numbers", lambda: LpProblem(X, y, sample_weight="w")),
    (ValueError, "sample_weight must have 1 dim", lambda: LpProblem(X, y, sample_weight=2.0)),
    (ValueError, "p must be finite and >= 1, got -4", lambda: LpProblem(X, y, -4)),
    (ValueError, "p must be finite and >= 1, got nan", lambda: LpProblem(X, y, NAN)),
    (ValueError, "p must be finite and >= 1, got inf", lambda: LpProblem(X, y, INF)),
    (ValueError, "p must be finite and >= 1, got a int that", lambda: LpProblem(X, y, HUGE)),
    (ValueError, r"p must be finite and >= 1, got Fraction\(1, 2\)",
     lambda: LpProblem(X, y, fractions.Fraction(1, 2))),
    (TypeError, "p must be a real number, got True", lambda: LpProblem(X, y, True)),
    (TypeError, r"p must be a real number, got (np.True_|True)", lambda: LpProblem(X, y, np.True_)),
    (TypeError, "p must be a real number, got '4'", lambda: LpProblem(X, y, "4")),
    (TypeError, r"p must be a real number, got \(4\+0j\)", lambda: LpProblem(X, y, 4 + 0j)),
    (TypeError, r"p must be a real number, got array", lambda: LpProblem(X, y, np.array(4.0))),
    (TypeError, r"p must be a real number, got \[4\]", lambda: LpProblem(X, y, [4])),
    (TypeError, "p must be a real number, got None", lambda: LpProblem(X, y, None)),
    (TypeError, "p must be a real number, got datetime",
     lambda: LpProblem(X, y, datetime.date(2018, 6, 11))),
    (TypeError, "p must be a real number, got a Neither", lambda: LpProblem(X, y, Neither())),
    (ValueError, "scale must be one of mean, 1/p, got 'maen'; did you mean 'mean'",
     lambda: LpProblem(X, y, scale="maen")),
    (TypeError, "scale must be one of mean, 1/p, got 0.5", lambda: LpProblem(X, y, scale=0.5)),
    (ValueError, "method must be one of .*got 'gramm'; did you mean 'gram'",
     lambda: LpProblem(X, y, method="gramm")),
    (ValueError, "method 'gram' needs p = 2, got p = 4", lambda: LpProblem(X, y, method="gram")),
    (ValueError, "method 'gram' needs float64, got dtype float32",
     lambda: LpProblem(X, y, 2, dtype="f4", method="gram")),
    (ValueError, r"W must have shape \(1, 4\), got \(3,\)", lambda: PROBLEM.loss([1, 2, 3])),
    (ValueError, r"W must be finite.*W\[1\] = nan", lambda: PROBLEM.gradient([1, NAN, 3, 4])),
    (TypeError, "W must hold real numbers", lambda: PROBLEM.loss_and_gradient(["a"] * 4)),
    (ValueError, r"W must have shape \(2, 4\), got \(4,\)", lambda: WIDE.loss(np.ones(4))),
    (ValueError, "backend must be one of .*got 'cdua'; did you mean 'cuda'",
     lambda: PROBLEM.loss(np.ones(4), backend="cdua")),
    # Matrices
    (TypeError, "shape must be a sequence of two integers, got 5",
     lambda: MatrixCompletion(5, [0], [0], [1])),
    (ValueError, r"shape must hold two integers, k and d, got \(3,\)",
     lambda: MatrixCompletion((3,), [0], [0], [1])),
    (ValueError, "shape must hold at most 2, got more",
     lambda: MatrixCompletion((3, 3, 3), [0], [0], [1])),
    (ValueError, r"shape\[1\] must be >= 1, got 0",
     lambda: MatrixCompletion((3, 0), [0], [0], [1])),
    (TypeError, r"shape\[0\] must be an integer, got 2.0",
     lambda: MatrixCompletion((2.0, 2), [0], [0], [1])),
    (ValueError, "rows must be from 0 to 1, got 2",
     lambda: MatrixCompletion((2, 3), [2], [0], [1])),
    (ValueError, "columns must be from 0 to 2, got -1",
     lambda: MatrixCompletion((2, 3), [0], [-1], [1])),
    (TypeError, "rows must hold integers, got dtype float64",
     lambda: MatrixCompletion((2, 3), [0.0], [0], [1])),
    (TypeError, "columns must hold integers, got dtype bool",
     lambda: MatrixCompletion((2, 3), [0], [True], [1])),
    (ValueError, "rows must have one entry a value, 2, got 1",
     lambda: MatrixCompletion((2, 3), [0], [0, 1], [1, 2])),
    (ValueError, r"rows must have 1 dimensions, got shape \(1, 1\)",
     lambda: MatrixCompletion((2, 3), [[0]], [0], [1])),
    (ValueError, "values must not be empty", lambda: MatrixCompletion((2, 3), [], [], [])),
    (ValueError, r"values must be finite.*values\[1\] = nan",
     lambda: MatrixCompletion((2, 3), [0, 1], [0, 1], [1, NAN])),
    (TypeError, "values must hold real numbers", lambda: MatrixCompletion((2, 3), [0], [0], ["a"])),
    (TypeError, "values must not hold integers that float64 would round",
     lambda: MatrixCompletion((2, 3), [0], [0], [2**53 + 1])),
    (TypeError, "dtype must be given when values would be rounded, got values float128",
     lambda: MatrixCompletion((2, 3), [0], [0], np.ones(1, np.longdouble))),
    (TypeError, "dtype must be float32 or float64, got 'int8'",
     lambda: MatrixCompletion((2, 3), [0], [0], [1], dtype="int8")),
    (TypeError, "loss must be of accel.losses, as Huber\\(1.35\\), got 0.5",
     lambda: MatrixCompletion((2, 3), [0], [0], [1], 0.5)),
    (ValueError, r"loss must be one of single numbers, got CrossEntropy\(classes=None\)",
     lambda: MatrixCompletion((2, 3), [0], [0], [1], CrossEntropy())),
    (ValueError, r"y must hold labels -1 and \+1, got 3",
     lambda: MatrixCompletion((2, 3), [0], [0], [3], "logistic")),
    (ValueError, "method must be one of auto, direct, got 'gram'",
     lambda: MatrixCompletion((2, 3), [0], [0], [1], method="gram")),
    (ValueError, r"M must have 2 dimensions, got shape \(3,\)",
     lambda: MatrixFactorization([1, 2, 3])),
    (ValueError, r"M must be finite.*M\[0, 1\] = inf", lambda: MatrixFactorization([[1, INF]])),
    (ValueError, "loss must be one of lp, huber, .*, got 'hubert'",
     lambda: MatrixFactorization([[1]], "hubert")),
    (ValueError, r"A must have 3 dimensions, got shape \(2, 2\)",
     lambda: MatrixSensing([[1, 2], [3, 4]], [1, 2])),
    (ValueError, r"A and y must have as many measurements, got shapes \(1, 1, 2\) and \(2,\)",
     lambda: MatrixSensing([[[1, 2]]], [1, 2])),
    (ValueError, r"y must be finite.*y\[0\] = nan", lambda: MatrixSensing([[[1, 2]]], [NAN])),
    (TypeError, "dtype must be given when values would be rounded, got A float32 and y float64",
     lambda: MatrixSensing(np.ones((1, 2, 2), "f4"), [1.0])),
    (ValueError, r"W must have shape \(1, 2\), got \(3,\)",
     lambda: MatrixSensing([[[1, 2]]], [1]).loss([1, 2, 3])),
    (ValueError, "backend must be one of .*got 'cdua'; did you mean 'cuda'",
     lambda: MatrixFactorization([[1]]).loss([[1]], backend="cdua")),
    # Standard units
    (ValueError, "X must have columns whose mean.*from -1.7e.308 to 1.7e.308",
     lambda: standardize([[1.7e308], [1.7e308], [-1.7e308]], [1, 2, 3])),
    (ValueError, "y must have columns whose mean.*from -1e.308 to 1e.308",
     lambda: standardize([[1], [2], [3]], [1e308, -1e308, -1e308])),
    (ValueError, r"W must be finite.*W\[0\] = nan",
     lambda: standardize(X, y).predict([NAN, 1], X)),
    (ValueError, r"W must have shape \(1, 2\), got \(3,\)",
     lambda: standardize(X, y).coefficients([1, 2, 3])),
    (ValueError, r"W must be finite.*W\[1\] = inf",
     lambda: standardize(X, y).coefficients([1, INF])),
    (ValueError, "X_new must have 2 columns", lambda: standardize(X, y).predict([1, 2], X[:, :1])),
    (ValueError, r"X_new must be finite.*X_new\[0, 0\] = nan",
     lambda: standardize(X, y).predict([1, 2], [[NAN, 1]])),
    (TypeError, "X_new must hold real numbers",
     lambda: standardize(X, y).predict([1, 2], [["a", "b"]])),
    (ValueError, "X_new must be in the user's units, .* got the standardised X itself",
     lambda: STANDARD.predict([1, 2], STANDARD.X)),
    (TypeError, "y must hold real numbers, got dtype object in None", lambda: standardize(X)),
    (ValueError, r"X must be in the user's units, got Standardized\(.* already: use it as it is",
     lambda: standardize(STANDARD)),
    (ValueError, "X must be in the user's units, got Standard", lambda: standardize(STANDARD, y)),
    (ValueError, r"y must be the whole of the standardised y, .* part of it, of shape \(6, 1\)",
     lambda: LpProblem((two := standardize(X, np.column_stack([y, y]))), two.y[:, :1])),
    (TypeError, "y must hold real numbers, got dtype object in None", lambda: LpProblem(X)),
    (ValueError, "y must hold labels for Logistic.*, got them standardised: give them as they were",
     lambda: Problem(STANDARD, loss="logistic")),
    # Networks
    (TypeError, "widths must be a sequence, got 7", lambda: LinearNetwork(7)),
    (TypeError, "widths must be a sequence, got None", lambda: LinearNetwork(None)),
    (TypeError, r"widths\[0\] must be an integer, got '4'", lambda: LinearNetwork("41")),
    (ValueError, r"widths must hold at least 2 numbers, d and k, got \(4,\)",
     lambda: LinearNetwork((4,))),
    (ValueError, "widths must not be empty", lambda: LinearNetwork(())),
    (ValueError, r"widths\[1\] must be >= 1, got -3", lambda: LinearNetwork((4, -3, 1))),
    (ValueError, r"widths\[2\] must be >= 1, got 0", lambda: LinearNetwork((4, 2, 0))),
    (TypeError, r"widths\[1\] must be an integer, got 2.0", lambda: LinearNetwork((4, 2.0, 1))),
    (TypeError, r"widths\[0\] must be an integer, got True", lambda: LinearNetwork((True, 1))),
    (TypeError, r"widths\[0\] must be an integer, got nan", lambda: LinearNetwork((NAN, 1))),
    (ValueError, "widths must hold at most 10001, got more",
     lambda: LinearNetwork([1] * 10_002)),
    (ValueError, "widths must hold at most 10001, got more",
     lambda: LinearNetwork(itertools.repeat(1))),
    (ValueError, "init must be one of .*got 'balancd'; did you mean 'balanced'",
     lambda: LinearNetwork((4, 1), init="balancd")),
    (TypeError, "init must be one of .*got None", lambda: LinearNetwork((4, 1), init=None)),
    (ValueError, "init must hold 1 arrays, one a factor, got 2",
     lambda: LinearNetwork((2, 1), init=[[[1, 2]], [[3]]])),
    (ValueError, r"init\[0\] must have shape \(1, 2\), got \(2, 1\)",
     lambda: LinearNetwork((2, 1), init=[[[1], [2]]])),
    (ValueError, r"init\[0\] must be finite.*nan", lambda: LinearNetwork((1, 1), init=[[[NAN]]])),
    (ValueError, r"init\[0\] must be a rectangular array",
     lambda: LinearNetwork((2, 2), init=[[[1, 2], [3]]])),
    (TypeError, r"init\[0\] must hold real numbers",
     lambda: LinearNetwork((1, 1), init={"factors": 1})),
    (ValueError, "init 'balanced' needs hidden widths of at least .* = 2, got 1",
     lambda: LinearNetwork((3, 1, 2), init="balanced")),
    (ValueError, "scale must be finite and >= 0, got -0.1",
     lambda: LinearNetwork((4, 1), scale=-0.1)),
    (ValueError, "scale must be .*got inf", lambda: LinearNetwork((4, 1), scale=INF)),
    (TypeError, "scale must be a real number, got 'big'",
     lambda: LinearNetwork((4, 1), scale="big")),
    (ValueError, "scale must be left out where init is given as arrays, got 1",
     lambda: LinearNetwork((1, 1), init=[[[1]]], scale=1)),
    (ValueError, r"init\[0\] must be finite in float32, got init\[0\]\[",
     lambda: LinearNetwork((4, 1), scale=1e300, dtype="f4")),
    (ValueError, "seed must be >= 0, got -1", lambda: LinearNetwork((4, 1), seed=-1)),
    (TypeError, "seed must be an integer, got 1.5", lambda: LinearNetwork((4, 1), seed=1.5)),
    (TypeError, "seed must be an integer, got None", lambda: LinearNetwork((4, 1), seed=None)),
    (TypeError, "dtype must be .*got 'int8'", lambda: LinearNetwork((4, 1), dtype="int8")),
    (TypeError, "problem must be of type Problem, got array",
     lambda: LinearNetwork.for_problem(X)),
    # Diagonal networks
    (TypeError, "d must be an integer, got None", lambda: DiagonalNetwork(None)),
    (TypeError, "d must be an integer, got 2.0", lambda: DiagonalNetwork(2.0)),
    (ValueError, "d must be >= 1, got 0", lambda: DiagonalNetwork(0)),
    (ValueError, "depth must be >= 1 and <= 10000, got 0", lambda: DiagonalNetwork(3, 0)),
    (ValueError, "depth must be >= 1 and <= 10000, got a int", lambda: DiagonalNetwork(3, HUGE)),
    (TypeError, "depth must be an integer, got 'hadamard'", lambda: DiagonalNetwork(3, "hadamard")),
    (ValueError, "form must be one of .*got 'hadamar'; did you mean 'hadamard'",
     lambda: DiagonalNetwork(3, 2, "hadamar")),
    (TypeError, "form must be one of .*got None", lambda: DiagonalNetwork(3, 2, None)),
    (ValueError, "init must be one of constant, near_zero, got 'balanced'",
     lambda: DiagonalNetwork(3, init="balanced")),
    (TypeError, "init must be one of constant, near_zero or a sequence of arrays, got None",
     lambda: DiagonalNetwork(3, init=None)),
    (ValueError, "init must hold 2 arrays, one a factor, got 3",
     lambda: DiagonalNetwork(2, 3, init=np.ones((3, 2)))),
    (ValueError, "init must hold 3 arrays, one a factor, got 2",
     lambda: DiagonalNetwork(2, 3, "hadamard", init=np.ones((2, 2)))),
    (ValueError, r"init\[1\] must have shape \(2,\), got \(3,\)",
     lambda: DiagonalNetwork(2, init=[[1, 2], [1, 2, 3]])),
    (ValueError, r"init\[0\] must have 1 dimensions",
     lambda: DiagonalNetwork(2, init=np.ones((2, 1, 2)))),
    (ValueError, r"init\[0\] must be finite.*nan", lambda: DiagonalNetwork(1, init=[[NAN], [1]])),
    (ValueError, "scale must be .*got -0.1", lambda: DiagonalNetwork(3, scale=-0.1)),
    (ValueError, "scale must be .*got nan", lambda: DiagonalNetwork(3, scale=NAN)),
    (ValueError, "scale must be left out where init is given as arrays, got 1",
     lambda: DiagonalNetwork(1, init=[[1], [1]], scale=1)),
    (ValueError, r"init\[0\] must be finite", lambda: DiagonalNetwork(3, scale=1e300, dtype="f4")),
    (ValueError, "seed must be >= 0, got -1", lambda: DiagonalNetwork(3, seed=-1)),
    (TypeError, "dtype must be .*got 'int8'", lambda: DiagonalNetwork(3, dtype="int8")),
    (TypeError, "problem must be of type Problem, got array",
     lambda: DiagonalNetwork.for_problem(X)),
    (ValueError, "problem must have one output for a DiagonalNetwork, got k = 2",
     lambda: DiagonalNetwork.for_problem(make_problem(k=2))),
    (ValueError, r"params must have shape \(6,\), got \(3,\)",
     lambda: DiagonalNetwork(3).with_params([1, 2, 3])),
    (ValueError, "X must have 3 columns", lambda: DiagonalNetwork(3).predict(X)),
    (ValueError, "depth must be >= 1 and <= 10000, got 0", lambda: start(depth=0)),
    (ValueError, "depth must be >= 1 and <= 10000, got 10001", lambda: start(depth=10_001)),
    (ValueError, "depth must be >= 1 and <= 10000, got a int", lambda: start(depth=HUGE)),
    (TypeError, "depth must be an integer, got 2.0", lambda: start(depth=2.0)),
    (ValueError, "width must be >= 1, got -1", lambda: start(width=-1)),
    (TypeError, "width must be an integer, got '3'", lambda: start(width="3")),
    (ValueError, r"X must have 4 columns, got shape \(6, 2\)", lambda: start().predict(X)),
    (ValueError, r"X must be finite.*X\[0, 0\] = nan", lambda: start().predict([[NAN] * 4])),
    (TypeError, "X must hold real numbers", lambda: start().predict(None)),
    (ValueError, r"params must have shape \(15,\), got \(1,\)", lambda: start().with_params([1])),
    (ValueError, r"params must be finite.*params\[0\] = nan",
     lambda: start().with_params([NAN] * 15)),
    # Noise on the labels
    (ValueError, "scale must be finite and >= 0, got -1", lambda: LabelNoise(-1)),
    (TypeError, "scale must be a real number, got None", lambda: LabelNoise(None)),
    (ValueError, "kind must be one of gaussian, sign", lambda: LabelNoise(1, "uniform")),
    # Batches
    (TypeError, "n must be an integer, got 6.0", lambda: Batches(6.0, 2)),
    (TypeError, "n must be an integer, got True", lambda: Batches(True, 1)),
    (ValueError, "n must be >= 1 and <= 2147483647, got 0", lambda: Batches(0, 1)),
    (ValueError, "n must be >= 1 and <= 2147483647, got 2147483648", lambda: Batches(2**31, 1)),
    (ValueError, "n must be >= 1 and <= 2147483647, got a int that", lambda: Batches(HUGE, 1)),
    (ValueError, "size must be >= 1 and <= 6, got 7", lambda: Batches(6, 7)),
    (ValueError, "size must be >= 1 and <= 6, got 0", lambda: Batches(6, 0)),
    (TypeError, "size must be an integer, got None", lambda: Batches(6, None)),
    (ValueError, "shuffle must be one of epoch, replacement, none, got 'epochs'; did you mean 'ep",
     lambda: Batches(6, 2, "epochs")),
    (TypeError, "shuffle must be one of epoch, replacement, none, got True",
     lambda: Batches(6, 2, True)),
    (ValueError, r"seed must be >= 0 and <= 9223372036854775807, got -1",
     lambda: Batches(6, 2, seed=-1)),
    (ValueError, r"seed must be >= 0 and <= 9223372036854775807, got 9223372036854775808",
     lambda: Batches(6, 2, seed=2**63)),
    (TypeError, "seed must be an integer, got False", lambda: Batches(6, 2, seed=False)),
    (TypeError, "step must be an integer, got 1.0", lambda: Batches(6, 2).rows(1.0)),
    (ValueError, "step must be >= 0 and <= 9223372036854775807, got -1",
     lambda: Batches(6, 2).rows(-1)),
    # Optimisers
    (ValueError, "learning_rate must be finite and >= 0, got -1", lambda: GradientDescent(-1)),
    (ValueError, "learning_rate must be finite and >= 0, got nan", lambda: Momentum(NAN)),
    (ValueError, "learning_rate must be finite and >= 0, got inf", lambda: Nesterov(INF)),
    (ValueError, "learning_rate must be finite and >= 0, got a int", lambda: AdaGrad(HUGE)),
    (TypeError, "learning_rate must be a real number, got '0.1'", lambda: AdaDelta("0.1")),
    (TypeError, "learning_rate must be a real number, got False", lambda: RMSProp(False)),
    (TypeError, r"learning_rate must be a real number, got array\(\[0.1\]\)",
     lambda: Adam(np.array([0.1]))),
    (TypeError, "learning_rate must be a real number, got 1j", lambda: EndToEnd(1j, 2)),
    (ValueError, "weight_decay must be finite and >= 0, got -1e-09",
     lambda: GradientDescent(1, weight_decay=-1e-9)),
    (ValueError, "momentum must be finite and >= 0 and < 1, got 1", lambda: Momentum(1, 1)),
    (ValueError, "momentum must be finite and >= 0 and < 1, got nan", lambda: Nesterov(1, NAN)),
    (ValueError, "eps must be finite and > 0, got 0", lambda: AdaGrad(1, 0)),
    (ValueError, "rho must be finite and >= 0 and < 1, got 1.5", lambda: AdaDelta(1, 1.5)),
    (ValueError, "alpha must be finite and >= 0 and < 1, got -1", lambda: RMSProp(1, -1)),
    (ValueError, "alpha must be finite and >= 0 and < 1, got 1", lambda: GroupRMSProp(1, 1)),
    (ValueError, "scale must be one of network, factor, got 'factors'; did you mean 'factor'",
     lambda: GroupRMSProp(scale="factors")),
    (TypeError, "scale must be one of network, factor, got None", lambda: GroupRMSProp(scale=None)),
    (ValueError, "temperature must be finite and >= 0, got -0.1", lambda: Langevin(1, -0.1)),
    (ValueError, "temperature must be finite and >= 0, got inf", lambda: Langevin(1, INF)),
    (TypeError, "temperature must be a real number, got None", lambda: Langevin(1, None)),
    (ValueError, "seed must be >= 0 and <= 9007199254740992, got 9007199254740993",
     lambda: Langevin(1, 1, 2**53 + 1)),
    (TypeError, "seed must be an integer, got True", lambda: Langevin(1, 1, True)),
    (TypeError, "langevin needs a value for temperature", lambda: by_name("langevin", 1)),
    (ValueError, "beta1 must be finite and >= 0 and < 1, got 1", lambda: Adam(1, 1)),
    (ValueError, "beta2 must be finite and >= 0 and < 1, got 2", lambda: Adam(1, 0, 2)),
    (ValueError, "depth must be >= 1 and <= 10000, got 0", lambda: EndToEnd(1, 0)),
    (ValueError, "depth must be >= 1 and <= 10000, got 1000000000000",
     lambda: EndToEnd(1, 10**12)),
    (TypeError, "depth must be an integer, got 2.5", lambda: EndToEnd(1, 2.5)),
    (TypeError, "Optimizer is no rule of its own, take one of gd, ", lambda: Optimizer(0.1)),
    (ValueError, "optimizer must be one of .*got 'adma'; did you mean 'adam'",
     lambda: by_name("adma")),
    (TypeError, "optimizer must be a name, got None", lambda: by_name(None)),
    (TypeError, "gd has no parameter 'momentum', only", lambda: by_name("gd", 1, momentum=0.9)),
    (TypeError, "end-to-end needs a value for depth", lambda: by_name("end-to-end", 1)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "match", "call"), ROWS, ids=[f"{row[1]:.50}" for row in ROWS])
def test_refused(kind, match, call):
    refused(kind, match, call)


def test_constant_columns_are_named(caplog):
    standardize([[1, 1, 2], [1, 2, 2], [1, 3, 2]], [5, 5, 5])
    assert [record.getMessage() for record in caplog.records] == [
        "X is constant in column 0, 2, which becomes 0",
        "y is constant in column 0, which becomes 0",
    ]
