"""Bad calls of the library: every one is refused by its argument's name, and shows the value."""

import datetime
import fractions
from pathlib import Path

import numpy as np
import pytest

import accel
from accel import (
    AdaDelta, AdaGrad, Adam, EndToEnd, GradientDescent, LinearNetwork, LpProblem, Momentum,
    Nesterov, Optimizer, RMSProp, Result, datasets, grid_search, optimum, standardize, sweep,
    theory, train,
)  # fmt: skip
from accel.backends import cpu_threads, resolve
from accel.comparison import compare
from accel.optimizers import by_name
from accel.rates import stable_rate
from accel.tuning import Grid, Model

from .refusing import refused
from .runs import PROBLEM, make_problem, start

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")

X, y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
WIDE = make_problem(k=2)
RULE = GradientDescent(0.1)
NAN, INF = float("nan"), float("inf")
HUGE = 10**5000  # more digits than Python shows


def changed(a, place, value):
    a = np.array(a)
    a[place] = value
    return a


class Neither:
    """Neither true nor false, and not to be shown either."""

    def __bool__(self):
        raise RuntimeError("neither")

    def __repr__(self):
        raise RuntimeError("no words")


# What is no matrix of numbers, by the message it gets as X.
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
    "ragged": (ValueError, r"X must be a rectangular array, got \[\[1, 2\], \[3\]\]", [[1, 2], [3]]),
    "ragged arrays": (ValueError, "X must be a rectangular array", [np.ones(2), np.ones(3)]),
    "masked": (ValueError, "X must not have masked entries", np.ma.masked_less(X, 3)),
    "0-D": (ValueError, r"X must have 2 dimensions, got shape \(\)", 3.0),
    "1-D": (ValueError, r"X must have 2 dimensions, got shape \(6,\)", y),
    "3-D": (ValueError, r"X must have 2 dimensions, got shape \(6, 2, 1\)", X[..., None]),
    "no rows": (ValueError, r"X must not be empty, got shape \(0, 2\)", X[:0]),
    "no columns": (ValueError, r"X must not be empty, got shape \(6, 0\)", X[:, :0]),
    "nothing": (ValueError, r"X must have 2 dimensions, got shape \(0,\)", []),
    "nan": (ValueError, r"X must be finite in float64, got X\[2, 1\] = nan", changed(X, (2, 1), NAN)),
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
        (lambda pandas: pandas.DataFrame({"a": ["u", "v"], "b": [1, 2]}), TypeError, "dtype object"),
        (lambda pandas: pandas.DataFrame({"a": [1.0, None]}), ValueError, r"X\[1, 0\] = nan"),
        (lambda pandas: pandas.DataFrame({"a": pandas.Categorical(["u", "v"])}), TypeError,
         "dtype object"),
        (lambda pandas: pandas.DataFrame({"a": pandas.to_datetime(["2020-01-01"] * 2)}), TypeError,
         "datetime64"),
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
        refused(TypeError, "X must hold real numbers", lambda: LpProblem(matrix, y))


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
    (ValueError, "p must be finite and >= 1, got -4", lambda: LpProblem(X, y, -4)),
    (ValueError, "p must be finite and >= 1, got nan", lambda: LpProblem(X, y, NAN)),
    (ValueError, "p must be finite and >= 1, got inf", lambda: LpProblem(X, y, INF)),
    (ValueError, "p must be finite and >= 1, got a int that", lambda: LpProblem(X, y, HUGE)),
    (ValueError, r"p must be finite and >= 1, got Fraction\(1, 2\)",
     lambda: LpProblem(X, y, fractions.Fraction(1, 2))),
    (TypeError, "p must be a real number, got True", lambda: LpProblem(X, y, True)),
    (TypeError, r"p must be a real number, got np.True_", lambda: LpProblem(X, y, np.True_)),
    (TypeError, "p must be a real number, got '4'", lambda: LpProblem(X, y, "4")),
    (TypeError, r"p must be a real number, got \(4\+0j\)", lambda: LpProblem(X, y, 4 + 0j)),
    (TypeError, r"p must be a real number, got array\(4\.\)", lambda: LpProblem(X, y, np.array(4.0))),
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
    # Standard units
    (ValueError, "X must have columns whose mean.*from -1.7e.308 to 1.7e.308",
     lambda: standardize([[1.7e308], [1.7e308], [-1.7e308]], [1, 2, 3])),
    (ValueError, "y must have columns whose mean.*finite in float32",
     lambda: standardize([[1], [2], [3]], np.array([3e38, -3e38, -3e38], "f4"))),
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
    # Networks
    (TypeError, "widths must be a sequence, got 7", lambda: LinearNetwork(7)),
    (TypeError, "widths must be a sequence, got None", lambda: LinearNetwork(None)),
    (TypeError, r"widths\[0\] must be an integer, got '4'", lambda: LinearNetwork("41")),
    (ValueError, r"widths must hold at least 2 numbers, d and k, got \(4,\)",
     lambda: LinearNetwork((4,))),
    (ValueError, r"widths must hold at least 2", lambda: LinearNetwork(())),
    (ValueError, r"widths\[1\] must be >= 1, got -3", lambda: LinearNetwork((4, -3, 1))),
    (ValueError, r"widths\[2\] must be >= 1, got 0", lambda: LinearNetwork((4, 2, 0))),
    (TypeError, r"widths\[1\] must be an integer, got 2.0", lambda: LinearNetwork((4, 2.0, 1))),
    (TypeError, r"widths\[0\] must be an integer, got True", lambda: LinearNetwork((True, 1))),
    (TypeError, r"widths\[0\] must be an integer, got nan", lambda: LinearNetwork((NAN, 1))),
    (ValueError, "widths must hold at most 10001 numbers, got 10002",
     lambda: LinearNetwork([1] * 10_002)),
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
    (ValueError, "scale must be finite and >= 0, got inf", lambda: LinearNetwork((4, 1), scale=INF)),
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
    (TypeError, "problem must be of type LpProblem, got array",
     lambda: LinearNetwork.for_problem(X)),
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
    # Runs
    (TypeError, "problem must be of type LpProblem, got None",
     lambda: train(None, start(), RULE, 1)),
    (TypeError, "network must be of type LinearNetwork, got \\(4, 1\\)",
     lambda: train(PROBLEM, (4, 1), RULE, 1)),
    (TypeError, "optimizer must be of type Optimizer, got 'gd'",
     lambda: train(PROBLEM, start(), "gd", 1)),
    (TypeError, "optimizer must be of type Optimizer, got <class",
     lambda: train(PROBLEM, start(), Adam, 1)),
    (ValueError, "network must map d = 4 features to k = 1 outputs, got widths \\(3, 1\\)",
     lambda: train(PROBLEM, LinearNetwork((3, 1)), RULE, 1)),
    (TypeError, "network and problem must have one dtype, got float32 and float64",
     lambda: train(PROBLEM, LinearNetwork((4, 1), dtype="f4"), RULE, 1)),
    (ValueError, "EndToEnd needs a network of depth 1, got depth 2",
     lambda: train(PROBLEM, start(), EndToEnd(1, 2), 1)),
    (ValueError, "steps must be >= 1 and <= 9007199254740992, got 0",
     lambda: train(PROBLEM, start(), RULE, 0)),
    (ValueError, "steps must be >= 1 and <= .*, got -1", lambda: train(PROBLEM, start(), RULE, -1)),
    (ValueError, "steps must be >= 1 and <= .*, got 1000000000000000000000000000000",
     lambda: train(PROBLEM, start(), RULE, 10**30)),
    (TypeError, "steps must be an integer, got 1000.0",
     lambda: train(PROBLEM, start(), RULE, 1e3)),
    (TypeError, "steps must be an integer, got True", lambda: train(PROBLEM, start(), RULE, True)),
    (TypeError, r"steps must be an integer, got array\(5\)",
     lambda: train(PROBLEM, start(), RULE, np.array(5))),
    (ValueError, "record_every must be >= 1 and <= .*, got 0",
     lambda: train(PROBLEM, start(), RULE, 1, record_every=0)),
    (ValueError, "record_every must be >= 1 and <= .*, got 10000000000000000000",
     lambda: train(PROBLEM, start(), RULE, 1, record_every=10**19)),
    (ValueError, "tol must be finite and >= 0, got -1",
     lambda: train(PROBLEM, start(), RULE, 1, tol=-1)),
    (ValueError, "tol must be finite and >= 0, got nan",
     lambda: train(PROBLEM, start(), RULE, 1, tol=NAN)),
    (TypeError, "tol must be a real number, got None",
     lambda: train(PROBLEM, start(), RULE, 1, tol=None)),
    (ValueError, "target must be finite, got nan",
     lambda: train(PROBLEM, start(), RULE, 1, target=NAN)),
    (TypeError, "target must be a real number, got 'low'",
     lambda: train(PROBLEM, start(), RULE, 1, target="low")),
    (TypeError, "callback must be callable, got 5",
     lambda: train(PROBLEM, start(), RULE, 1, callback=5)),
    (TypeError, r"callback must return what is true or false, got array\(\[1, 2\]\)",
     lambda: train(PROBLEM, start(), RULE, 1, callback=lambda *_: np.array([1, 2]))),
    (TypeError, "callback must return what is true or false, got a Neither",
     lambda: train(PROBLEM, start(), RULE, 1, callback=lambda *_: Neither())),
    (TypeError, "progress must be True or False, got 'yes'",
     lambda: train(PROBLEM, start(), RULE, 1, progress="yes")),
    (ValueError, "backend must be one of .*got 'cpuu'; did you mean 'cpu'",
     lambda: train(PROBLEM, start(), RULE, 1, backend="cpuu")),
    (TypeError, "backend must be one of .*got None",
     lambda: train(PROBLEM, start(), RULE, 1, backend=None)),
    (ValueError, "threads must be >= 1 and <= 1024, got 0",
     lambda: train(PROBLEM, start(), RULE, 1, threads=0)),
    (ValueError, "threads must be >= 1 and <= 1024, got 1000000",
     lambda: train(PROBLEM, start(), RULE, 1, threads=10**6)),
    (TypeError, "threads must be an integer, got 2.0",
     lambda: train(PROBLEM, start(), RULE, 1, threads=2.0)),
    (ValueError, "learning_rate must be one of auto, got 'atuo'; did you mean 'auto'",
     lambda: train(PROBLEM, start(), RULE, 1, learning_rate="atuo")),
    (TypeError, "learning_rate must be one of auto, got 0.1",
     lambda: train(PROBLEM, start(), RULE, 1, learning_rate=0.1)),
    (ValueError, "learning_rate 'auto' .* takes no checkpoint",
     lambda: train(PROBLEM, start(), RULE, 1, learning_rate="auto", checkpoint="a.npz")),
    (TypeError, "checkpoint must be a path, got 3",
     lambda: train(PROBLEM, start(), RULE, 1, checkpoint=3)),
    (ValueError, r"checkpoint must be a file, got \.: a folder",
     lambda: train(PROBLEM, start(), RULE, 1, checkpoint=".")),
    (ValueError, "checkpoint must be a file, got /dev/zero: no regular file",
     lambda: train(PROBLEM, start(), RULE, 1, checkpoint="/dev/zero")),
    (ValueError, "checkpoint must be in a folder that is there, got ~nobody-of-this-name/a",
     lambda: train(PROBLEM, start(), RULE, 1, checkpoint="~nobody-of-this-name/a")),
    # Sweeps
    (TypeError, r"models must be a sequence of \(network, optimizer\), got None",
     lambda: sweep(PROBLEM, None, 1)),
    (ValueError, "models must not be empty", lambda: sweep(PROBLEM, [], 1)),
    (TypeError, r"models\[0\] must be a pair \(network, optimizer\), got Grad",
     lambda: sweep(PROBLEM, [RULE], 1)),
    (TypeError, r"models\[1\]: network must be of type LinearNetwork, got None",
     lambda: sweep(PROBLEM, [(start(), RULE), (None, RULE)], 1)),
    (ValueError, r"models\[0\]: network must map d = 4",
     lambda: sweep(PROBLEM, [(LinearNetwork((3, 1)), RULE)], 1)),
    (TypeError, r"models\[0\]: problem must be of type LpProblem",
     lambda: sweep(X, [(start(), RULE)], 1)),
    (TypeError, "callback must return what is true or false",
     lambda: sweep(PROBLEM, [(start(), RULE)] * 2, 1, callback=lambda _, losses: losses)),
    (ValueError, "steps must be >= 1 .*got -5", lambda: sweep(PROBLEM, [(start(), RULE)], -5)),
    (TypeError, "progress must be True or False, got 2",
     lambda: sweep(PROBLEM, [(start(), RULE)], 1, progress=2)),
    # Searches
    (TypeError, "learning_rates must be a sequence of numbers, got 0.1",
     lambda: grid_search(PROBLEM, start(), RULE, 1, learning_rates=0.1)),
    (ValueError, "learning_rates must not be empty",
     lambda: grid_search(PROBLEM, start(), RULE, 1, learning_rates=[])),
    (ValueError, r"learning_rates\[1\] must be finite and > 0, got 0",
     lambda: grid_search(PROBLEM, start(), RULE, 1, learning_rates=[1, 0])),
    (ValueError, r"learning_rates\[0\] must be finite and > 0, got nan",
     lambda: grid_search(PROBLEM, start(), RULE, 1, learning_rates=[NAN])),
    (TypeError, r"learning_rates\[0\] must be a real number, got 'a'",
     lambda: grid_search(PROBLEM, start(), RULE, 1, learning_rates="auto")),
    (ValueError, "halving must be >= 2, got 1",
     lambda: grid_search(PROBLEM, start(), RULE, 1, halving=1)),
    (ValueError, "refine must be >= 0, got -1",
     lambda: grid_search(PROBLEM, start(), RULE, 1, refine=-1)),
    (TypeError, "refine must be an integer, got 1.5",
     lambda: grid_search(PROBLEM, start(), RULE, 1, refine=1.5)),
    (ValueError, "backend must be one of .*got 'gpu'",
     lambda: grid_search(PROBLEM, start(), RULE, 1, backend="gpu")),
    (TypeError, "problem must be of type LpProblem, got None",
     lambda: grid_search(None, start(), RULE, 1)),
    (TypeError, "network must be of type LinearNetwork, got None",
     lambda: stable_rate(PROBLEM, None, RULE)),
    (TypeError, "optimizer must be of type Optimizer, got 0.1",
     lambda: stable_rate(PROBLEM, start(), 0.1)),
    (TypeError, "problem must be of type LpProblem, got array", lambda: optimum(X)),
    (ValueError, "tol must be finite and > 0, got 0", lambda: optimum(PROBLEM, tol=0)),
    (ValueError, "tol must be finite and > 0, got nan", lambda: optimum(PROBLEM, tol=NAN)),
    (ValueError, "max_iter must be >= 1, got 0", lambda: optimum(PROBLEM, max_iter=0)),
    (TypeError, "max_iter must be an integer, got 10.0", lambda: optimum(PROBLEM, max_iter=10.0)),
    (ValueError, "backend must be one of .*got 'refernce'; did you mean 'reference'",
     lambda: optimum(PROBLEM, backend="refernce")),
    (ValueError, "the loss at W = 0 overflows for p = 4: standardize y first",
     lambda: optimum(LpProblem(X, np.full(6, 1e200)))),
    (ValueError, "models must not be empty", lambda: compare(PROBLEM, [], 1)),
    (ValueError, "target must be finite and > 0, got 0",
     lambda: compare(PROBLEM, [Model("gd", 1)], 1, target=0)),
    (ValueError, "points must be >= 1 and <= 10000, got 1000000", lambda: Grid(10**6)),
    (ValueError, "low must be finite and > 0, got 0", lambda: Grid(low=0)),
    (ValueError, "the grid has no rate from 2 to 1", lambda: Grid(low=2, high=1)),
    (ValueError, "depth must be >= 1 and <= 10000, got 0", lambda: Model("gd", 0)),
    (ValueError, "optimizer must be one of .*'sgd'; did you mean 'gd'", lambda: Model("sgd", 1)),
    (ValueError, "threads must be >= 1 and <= 1024, got -1", lambda: cpu_threads(-1)),
    (ValueError, "backend must be one of .*got ''", lambda: resolve("")),
    # Data
    (ValueError, "d must be >= 1, got 0", lambda: datasets.make_ill_conditioned(5, 0)),
    (ValueError, "n must be >= 5, got 3", lambda: datasets.make_ill_conditioned(3, 5)),
    (TypeError, "n must be an integer, got 5.0", lambda: datasets.make_ill_conditioned(5.0, 2)),
    (ValueError, "condition must be finite and >= 1, got 0.5",
     lambda: datasets.make_ill_conditioned(5, 2, 0.5)),
    (ValueError, "condition must be 1 for d = 1, got 10",
     lambda: datasets.make_ill_conditioned(5, 1, 10)),
    (ValueError, "noise must be finite and >= 0, got -1",
     lambda: datasets.make_ill_conditioned(5, 2, noise=-1)),
    (ValueError, "noise must leave y finite in float64, got 1.7e.308",
     lambda: datasets.make_ill_conditioned(50, 2, noise=1.7e308)),
    (ValueError, "noise must leave y finite in float32, got 1e.200",
     lambda: datasets.make_ill_conditioned(5, 2, noise=1e200, dtype="f4")),
    (TypeError, "dtype must be float32 or float64, got 'int'",
     lambda: datasets.make_ill_conditioned(5, 2, dtype="int")),
    (ValueError, "seed must be >= 0, got -1", lambda: datasets.make_ill_conditioned(5, 2, seed=-1)),
    (ValueError, "k must be >= 1, got 0", lambda: datasets.make_ill_conditioned(5, 2, k=0)),
    (ValueError, "y1 must be finite, got nan", lambda: datasets.two_points(NAN, 1)),
    (TypeError, "y2 must be a real number, got '1'", lambda: datasets.two_points(1, "1")),
    (TypeError, "path must be a path, got None", lambda: datasets.load_file(None)),
    (TypeError, "path must be a path, got b'a.csv'", lambda: datasets.load_file(b"a.csv")),
    (TypeError, "path must be a path, got 3", lambda: datasets.load_gas_ethanol(3)),
    (TypeError, "path must be a path, got None", lambda: Result.load(None)),
    (TypeError, "path must be a path, got 3.5", lambda: Result.load(3.5)),
    # Theory
    (ValueError, "depth must be >= 1 and <= 10000, got 0", lambda: theory.preconditioner([1, 2], 0)),
    (ValueError, "depth must be >= 1 and <= 10000, got 10000000",
     lambda: theory.preconditioner([1, 2], 10**7)),
    (ValueError, r"W must be finite.*W\[0\] = inf", lambda: theory.preconditioner([INF], 1)),
    (TypeError, "W must hold real numbers", lambda: theory.preconditioner("W", 1)),
    (ValueError, r"G must have shape \(1, 2\), got \(3,\)",
     lambda: theory.preconditioner([1, 2], 2).apply([1, 2, 3])),
    (ValueError, "W must have at most 4096 entries for a dense matrix, got 1 x 5000",
     lambda: theory.preconditioner(np.ones(5000), 2).dense()),
    (TypeError, "problem must be of type LpProblem, got None",
     lambda: theory.curl(None, [1], 2)),
    (ValueError, "problem must have k = 1 output, got k = 2",
     lambda: theory.curl(WIDE, np.ones(4), 2)),
    (ValueError, r"w must have shape \(4,\), got \(2,\)", lambda: theory.curl(PROBLEM, [1, 2], 2)),
    (ValueError, "w must not be 0 for depth 2", lambda: theory.curl(PROBLEM, np.zeros(4), 2)),
    (ValueError, "problem must have p >= 2, got p = 1.5",
     lambda: theory.curl(make_problem(p=1.5), np.ones(4), 2)),
    (ValueError, "r must be finite and > 0, got 0",
     lambda: theory.closed_curve_integral(PROBLEM, 2, np.ones(4), 0, 1)),
    (ValueError, "R must be finite and > 1, got 1",
     lambda: theory.closed_curve_integral(PROBLEM, 2, np.ones(4), 1, 1)),
    (ValueError, "direction must not be 0",
     lambda: theory.closed_curve_integral(PROBLEM, 2, np.zeros(4), 1, 2)),
    (ValueError, "second must not be parallel to direction",
     lambda: theory.closed_curve_integral(PROBLEM, 2, np.ones(4), 1, 2, second=np.ones(4))),
    (ValueError, "rtol must be finite and >= 1e-13 and < 1, got 2",
     lambda: theory.closed_curve_integral(PROBLEM, 2, np.ones(4), 1, 2, rtol=2)),
    (TypeError, "problem must be in float64",
     lambda: theory.end_to_end_flow(make_problem(dtype="f4"), np.ones(4), 2, 1)),
    (ValueError, r"W0 must have shape \(1, 4\), got \(3,\)",
     lambda: theory.end_to_end_flow(PROBLEM, [1, 2, 3], 2, 1)),
    (ValueError, "t must be >= 0 and ascending, got -1",
     lambda: theory.end_to_end_flow(PROBLEM, np.ones(4), 2, -1)),
    (ValueError, r"t must be >= 0 and ascending, got \[2, 1\]",
     lambda: theory.end_to_end_flow(PROBLEM, np.ones(4), 2, [2, 1])),
    (ValueError, "t must be finite", lambda: theory.end_to_end_flow(PROBLEM, np.ones(4), 2, INF)),
    (ValueError, "t must not be empty", lambda: theory.end_to_end_flow(PROBLEM, np.ones(4), 2, [])),
    (ValueError, "weight_decay must be finite and >= 0, got -1",
     lambda: theory.end_to_end_flow(PROBLEM, np.ones(4), 2, 1, -1)),
    (ValueError, "atol must be finite and > 0, got 0",
     lambda: theory.end_to_end_flow(PROBLEM, np.ones(4), 2, 1, atol=0)),
    (TypeError, "network must be of type LinearNetwork, got None",
     lambda: theory.factor_flow(PROBLEM, None, 1)),
    (ValueError, "network must map d = 4 features",
     lambda: theory.factor_flow(PROBLEM, LinearNetwork((3, 1)), 1)),
    (ValueError, "y2 must be finite and > 0, got 0", lambda: theory.two_point(1, 0)),
    (ValueError, "y1 must be finite and >= 2, got 1", lambda: theory.two_point(1, 2)),
    (ValueError, "p must be finite and > 2, got 2", lambda: theory.two_point(2, 1, 2)),
    (ValueError, "depth must be >= 2 and <= 10000, got 1", lambda: theory.two_point(2, 1, 4, 1)),
    (ValueError, "y1 must have a p-th power that is a number",
     lambda: theory.two_point(1e200, 1)),
    (ValueError, "start must be .*got 1.5", lambda: theory.two_point(2, 1, start=1.5)),
    (ValueError, "scale must be one of mean, 1/p, got 'p'", lambda: theory.two_point(2, 1, scale="p")),
    (ValueError, "max_steps must be >= 1, got 0", lambda: theory.two_point(2, 1, max_steps=0)),
    (ValueError, "max_steps must suffice to reach the target, got 2",
     lambda: theory.two_point(9, 1, max_steps=2)),
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


def test_absurd_rates_end_in_a_status():
    for rate, status in ((1e308, "diverged"), (5e-324, "completed")):
        assert train(PROBLEM, start(), GradientDescent(rate), 5).status == status
        assert train(PROBLEM, start(), Adam(rate), 5).status == status


def test_the_deepest_network_trains():
    """Ten thousand factors, a thousandth of a second a step and more."""
    network = start(depth=10_000, width=2, init="identity", scale=0.01)
    result = train(PROBLEM, network, GradientDescent(1e-6), 20)
    assert result.status == "completed"
    assert result.loss < result.history.loss[0]
    end_to_end = train(PROBLEM, start(depth=1), EndToEnd(1e-6, 10_000), 20)
    assert end_to_end.status == "completed"


@pytest.mark.parametrize("scale", [1e-170, 1e160])
def test_features_of_absurd_size(scale):
    """What the curvature suggests is then no number, or none that a rate may be."""
    problem = LpProblem(X * scale, y)
    network = LinearNetwork.for_problem(problem, 1)
    assert train(problem, network, RULE, 5, learning_rate="auto").steps in (0, 5)
    assert grid_search(problem, network, RULE, 5).learning_rate > 0
    assert compare(problem, [Model("gd", 1)], 5, grid=Grid(2)).models[0].rate > 0


def test_rates_at_the_ends_of_the_numbers():
    for rates in ([1e308, 1e307], [5e-324, 1e-323]):
        found = grid_search(PROBLEM, start(), RULE, 5, learning_rates=rates)
        assert all(result.optimizer.learning_rate > 0 for result in found.results)


def test_two_points_without_a_stable_rate():
    refused(ValueError, "y1 must leave a stable learning rate, got none at depth 2",
            lambda: theory.two_point(1e70, 1e69, max_steps=20))  # fmt: skip


def test_every_public_name_has_a_row():
    """But for what functions return, and what takes no arguments."""
    rows = Path(__file__).read_text()
    made = {"GridSearch", "History", "Optimum", "Standardized", "Sweep", "theory", "datasets"}
    made |= {"ClosedCurveIntegral", "Descent", "FactorFlow", "Flow", "Preconditioner", "TwoPoint"}
    made |= {"Dataset", "load_diabetes"}
    public = {*accel.__all__, *datasets.__all__, *theory.__all__} - made
    assert [n for n in sorted(public) if f"{n}(" not in rows and f"{n}.load(" not in rows] == []
