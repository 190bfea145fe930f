"""Wrong calls of runs, searches, data and theory raise errors; unusual but valid calls do not."""

import itertools
from pathlib import Path

import numpy as np
import pytest

import accel
from accel import (
    Adam,
    DiagonalNetwork,
    EndToEnd,
    GradientDescent,
    Langevin,
    LinearNetwork,
    LpProblem,
    Result,
    datasets,
    grid_search,
    optimum,
    stable_rate,
    sweep,
    theory,
    train,
)
from accel._support.backends import cpu_threads, resolve
from accel.tuning import Grid, Model, compare

from .problems import PROBLEM, make_problem, start
from .refusing import refused
from .test_bad_calls import INF, NAN, RULE, WIDE, Neither, X, y

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")

ROWS = [
    # Runs
    (TypeError, "problem must be of type Problem, got None",
     lambda: train(None, start(), RULE, 1)),
    (TypeError, "network must be of type LinearNetwork or DiagonalNetwork, got \\(4, 1\\)",
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
    (ValueError, "EndToEnd is the rule of products of matrices, not of a diagonal network, got Dia",
     lambda: train(PROBLEM, DiagonalNetwork(4), EndToEnd(1, 2), 1)),
    (ValueError, "EndToEnd is the rule of products of matrices",
     lambda: train(PROBLEM, DiagonalNetwork(4, 1, "hadamard"), EndToEnd(1, 1), 1)),
    (ValueError, "network must map d = 4 features to k = 1 outputs, got widths \\(3, 1\\)",
     lambda: train(PROBLEM, DiagonalNetwork(3), RULE, 1)),
    (ValueError, "network must map d = 4 features to k = 3 outputs, got widths \\(4, 1\\)",
     lambda: train(make_problem(k=3), DiagonalNetwork(4), RULE, 1)),
    (TypeError, "network and problem must have one dtype, got float32 and float64",
     lambda: train(PROBLEM, DiagonalNetwork(4, dtype="f4"), RULE, 1)),
    (ValueError, "method 'spectral' needs networks that commute with rotations of the input",
     lambda: train(make_problem(p=2, method="spectral"), DiagonalNetwork(4), RULE, 1)),
    (ValueError, "method 'spectral' needs rules that commute with rotations .* and 'langevin' does",
     lambda: train(make_problem(p=2, method="spectral"), start(), Langevin(1, 1), 1)),
    (ValueError, "learning_rate 'auto' follows the loss, which the noise of Langevin raises: .*got",
     lambda: train(PROBLEM, start(), Langevin(1, 1), 1, learning_rate="auto")),
    (TypeError, "langevin needs a value for temperature", lambda: Model("langevin", 2)),
    (TypeError, "gd has no parameter 'temperature', only", lambda: Model("gd", 2, 0.5)),
    (ValueError, r"models\[1\]: EndToEnd is the rule of products of matrices",
     lambda: sweep(PROBLEM, [(start(), RULE), (DiagonalNetwork(4), EndToEnd(1, 2))], 1)),
    (ValueError, "record 'balancedness' needs factors that are matrices",
     lambda: train(PROBLEM, DiagonalNetwork(4), RULE, 1, record="balancedness")),
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
    (TypeError, "checkpoint must be a path, got 3",
     lambda: train(PROBLEM, start(), RULE, 1, checkpoint=3)),
    (ValueError, r"checkpoint must be a file, got \.: a folder",
     lambda: train(PROBLEM, start(), RULE, 1, checkpoint=".")),
    (ValueError, "checkpoint must be a file, got /dev/zero: no regular file",
     lambda: train(PROBLEM, start(), RULE, 1, checkpoint="/dev/zero")),
    (ValueError, "checkpoint must be in a folder that is there, got ~nobody-of-this-name/a",
     lambda: train(PROBLEM, start(), RULE, 1, checkpoint="~nobody-of-this-name/a")),
    # Curvature
    (ValueError, "network must map d = 4 features",
     lambda: theory.sharpness(PROBLEM, LinearNetwork((5, 1)))),
    (ValueError, "top must be >= 1 and <= 15, got 16",
     lambda: theory.sharpness(PROBLEM, start(), top=16)),
    (ValueError, "passes must be >= 4, got 2",
     lambda: theory.sharpness(PROBLEM, start(), top=3, passes=2)),
    (ValueError, "tol must be finite and >= 0, got nan",
     lambda: theory.sharpness(PROBLEM, start(), tol=NAN)),
    (ValueError, r"direction must have shape \(15,\), got \(3,\)",
     lambda: theory.hessian_vector_product(PROBLEM, start(), np.ones(3))),
    (TypeError, "network must be of type LinearNetwork or DiagonalNetwork, got None",
     lambda: theory.hessian_vector_product(PROBLEM, None, np.ones(3))),
    # Sweeps
    (TypeError, r"models must be a sequence of \(network, optimizer\), got None",
     lambda: sweep(PROBLEM, None, 1)),
    (ValueError, "models must not be empty", lambda: sweep(PROBLEM, [], 1)),
    (ValueError, "models must hold at most 1000000, got more",
     lambda: sweep(PROBLEM, itertools.repeat((start(), RULE)), 1)),
    (TypeError, r"models\[0\] must be a pair \(network, optimizer\), got Grad",
     lambda: sweep(PROBLEM, [RULE], 1)),
    (TypeError, r"models\[1\]: network must be of type LinearNetwork or DiagonalNetwork, got None",
     lambda: sweep(PROBLEM, [(start(), RULE), (None, RULE)], 1)),
    (ValueError, r"models\[0\]: network must map d = 4",
     lambda: sweep(PROBLEM, [(LinearNetwork((3, 1)), RULE)], 1)),
    (TypeError, r"models\[0\]: problem must be of type Problem",
     lambda: sweep(X, [(start(), RULE)], 1)),
    (TypeError, "callback must return what is true or false",
     lambda: sweep(PROBLEM, [(start(), RULE)] * 2, 1, callback=lambda _, losses: losses)),
    (ValueError, "steps must be >= 1 .*got -5", lambda: sweep(PROBLEM, [(start(), RULE)], -5)),
    (TypeError, "progress must be True or False, got 2",
     lambda: sweep(PROBLEM, [(start(), RULE)], 1, progress=2)),
    # Searches
    (TypeError, "learning_rates must be a sequence of numbers, got 0.1",
     lambda: grid_search(PROBLEM, start(), RULE, 1, learning_rates=0.1)),
    (ValueError, "learning_rates must hold at most 1000000, got more",
     lambda: grid_search(PROBLEM, start(), RULE, 1, learning_rates=itertools.repeat(0.1))),
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
    (ValueError, "seeds must be 1 where nothing is random, neither batches nor noise, got 2",
     lambda: grid_search(PROBLEM, start(), RULE, 1, seeds=2)),
    (ValueError, "seeds must be >= 1 and <= 10000, got 0",
     lambda: grid_search(PROBLEM, start(), RULE, 1, batch_size=1, seeds=0)),
    (ValueError, "seeds must be >= 1 and <= 10000, got 1000000000",
     lambda: grid_search(PROBLEM, start(), RULE, 1, batch_size=1, seeds=10**9)),
    (ValueError, "batch_size must be >= 1 and <= 40, got 0",
     lambda: grid_search(PROBLEM, start(), RULE, 1, batch_size=0)),
    (ValueError, "batch_size must be >= 1 and <= 40, got 0",
     lambda: stable_rate(PROBLEM, start(), RULE, batch_size=0)),
    (ValueError, "backend must be one of .*got 'gpu'",
     lambda: grid_search(PROBLEM, start(), RULE, 1, backend="gpu")),
    (TypeError, "problem must be of type Problem, got None",
     lambda: grid_search(None, start(), RULE, 1)),
    (TypeError, "network must be of type LinearNetwork or DiagonalNetwork, got None",
     lambda: stable_rate(PROBLEM, None, RULE)),
    (TypeError, "optimizer must be of type Optimizer, got 0.1",
     lambda: stable_rate(PROBLEM, start(), 0.1)),
    (TypeError, "problem must be of type Problem, got array", lambda: optimum(X)),
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
    (ValueError, "rank must be >= 1 and <= 2, got 3", lambda: datasets.make_low_rank((2, 3), 3)),
    (ValueError, "observed must be <= 6, all entries, got 7",
     lambda: datasets.make_low_rank((2, 3), 1, 7)),
    (ValueError, "observed must be >= 1, got 0", lambda: datasets.make_low_rank((2, 3), 1, 0)),
    (ValueError, "measurements must be >= 1, got 0",
     lambda: datasets.make_low_rank((2, 3), 1, 1, measurements=0)),
    (ValueError, "noise must be finite and >= 0, got nan",
     lambda: datasets.make_low_rank((2, 3), 1, 1, noise=NAN)),
    (TypeError, "dtype must be float32 or float64, got 'i4'",
     lambda: datasets.make_low_rank((2, 3), 1, 1, dtype="i4")),
    (TypeError, "seed must be an integer, got 0.5",
     lambda: datasets.make_low_rank((2, 3), 1, 1, seed=0.5)),
    (TypeError, "problem must be of type MatrixCompletion or MatrixSensing, got LpProblem",
     lambda: accel.minimum_nuclear_norm(PROBLEM)),
    (ValueError, "max_iter must be >= 1, got 0",
     lambda: optimum(accel.MatrixFactorization([[1.0]]), max_iter=0)),
    (ValueError, "y1 must be finite, got nan", lambda: datasets.two_points(NAN, 1)),
    (TypeError, "y2 must be a real number, got '1'", lambda: datasets.two_points(1, "1")),
    (TypeError, "path must be a path, got None", lambda: datasets.load_file(None)),
    (TypeError, "path must be a path, got b'a.csv'", lambda: datasets.load_file(b"a.csv")),
    (TypeError, "path must be a path, got 3", lambda: datasets.load_gas_ethanol(3)),
    (TypeError, "path must be a path, got None", lambda: Result.load(None)),
    (TypeError, "path must be a path, got 3.5", lambda: Result.load(3.5)),
    # Theory
    (ValueError, "depth must be >= 1 and.*got 0", lambda: theory.preconditioner([1, 2], 0)),
    (ValueError, "depth must be >= 1 and <= 10000, got 10000000",
     lambda: theory.preconditioner([1, 2], 10**7)),
    (ValueError, r"W must be finite.*W\[0\] = inf", lambda: theory.preconditioner([INF], 1)),
    (TypeError, "W must hold real numbers", lambda: theory.preconditioner("W", 1)),
    (ValueError, r"G must have shape \(1, 2\), got \(3,\)",
     lambda: theory.preconditioner([1, 2], 2).apply([1, 2, 3])),
    (ValueError, "W must have at most 4096 entries for a dense matrix, got 1 x 5000",
     lambda: theory.preconditioner(np.ones(5000), 2).dense()),
    (TypeError, "problem must be of type Problem, got None",
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
    (TypeError, "network must be of type LinearNetwork or DiagonalNetwork, got None",
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
    (ValueError, "scale must be one of.*'p'", lambda: theory.two_point(2, 1, scale="p")),
    (ValueError, "max_steps must be >= 1, got 0", lambda: theory.two_point(2, 1, max_steps=0)),
    (ValueError, "max_steps must suffice to reach the target, got 2",
     lambda: theory.two_point(9, 1, max_steps=2)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "match", "call"), ROWS, ids=[f"{row[1]:.50}" for row in ROWS])
def test_refused(kind, match, call):
    refused(kind, match, call)


def test_absurd_rates_end_in_a_status():
    for rate, status in ((1e308, "diverged"), (5e-324, "completed")):
        assert train(PROBLEM, start(), GradientDescent(rate), 5).status == status
        assert train(PROBLEM, start(), Adam(rate), 5).status == status


def test_the_deepest_network_trains():
    """With ten thousand factors a step takes a millisecond or more."""
    network = start(depth=10_000, width=2, init="identity", scale=0.01)
    result = train(PROBLEM, network, GradientDescent(1e-6), 20)
    assert result.status == "completed"
    assert result.loss < result.history.loss[0]
    end_to_end = train(PROBLEM, start(depth=1), EndToEnd(1e-6, 10_000), 20)
    assert end_to_end.status == "completed"


@pytest.mark.parametrize("scale", [1e-170, 1e160])
def test_features_of_absurd_size(scale):
    """The rate that the curvature suggests would be nan, 0 or infinite there."""
    problem = LpProblem(X * scale, y)
    network = LinearNetwork.for_problem(problem, 1)
    assert train(problem, network, RULE, 5, learning_rate="auto").steps in (0, 5)
    assert grid_search(problem, network, RULE, 5).learning_rate > 0
    assert compare(problem, [Model("gd", 1)], 5, grid=Grid(2)).models[0].rate > 0


def test_rates_at_the_ends_of_the_numbers():
    for rates in ([1e308, 1e307], [5e-324, 1e-323]):
        search = grid_search(PROBLEM, start(), RULE, 5, learning_rates=rates)
        assert all(result.optimizer.learning_rate > 0 for result in search.results)


def test_two_points_far_beyond_the_rates_of_double_precision():
    refused(ValueError, "max_steps must suffice to reach the target, got 20 at depth 1",
            lambda: theory.two_point(1e70, 1e69, max_steps=20))  # fmt: skip


def test_every_public_name_has_a_row():
    """All but the classes that functions return, and functions without arguments."""
    here = Path(__file__)
    rows = "".join(path.read_text() for path in (here, here.with_name("test_bad_calls.py")))
    made = {
        "GridSearch",
        "History",
        "Optimum",
        "Standardized",
        "Sweep",
        "theory",
        "datasets",
        "recording",
        "losses",
        "schedules",
    }
    made |= {"ClosedCurveIntegral", "Descent", "FactorFlow", "Flow", "Preconditioner", "TwoPoint"}
    made |= {"Dataset", "LowRank", "MinimumNuclearNorm", "SaddleWarning", "load_diabetes"}
    public = {*accel.__all__, *datasets.__all__, *theory.__all__} - made
    assert [n for n in sorted(public) if f"{n}(" not in rows and f"{n}.load(" not in rows] == []
