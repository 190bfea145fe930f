"""What a user may write, with the types that a type checker must find; see ``test_typing``.

It also runs, in seconds.
"""

import sys
from pathlib import Path
from typing import Any, assert_type

import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

import accel
from accel import recording, schedules, tuning
from accel.sklearn import LpRegressor

assert_type(accel.__version__, str)

# Data and a problem.
data = accel.datasets.make_ill_conditioned(n=40, d=3, condition=10.0, seed=0)
assert_type(data, accel.datasets.Dataset)
scaled = accel.standardize(data.X, data.y)
assert_type(scaled, accel.Standardized)
problem = accel.LpProblem(scaled.X, scaled.y, p=4)
other = accel.Problem(scaled.X, scaled.y, accel.losses.Huber(1.35))
assert_type(problem.n, int)

# Networks, and what takes one.
network = accel.LinearNetwork.for_problem(problem, depth=2, init="balanced", seed=0)
assert_type(network, accel.LinearNetwork)
diagonal = accel.DiagonalNetwork.for_problem(problem, depth=2, scale=0.1)
assert_type(diagonal, accel.DiagonalNetwork)
assert_type(network.end_to_end(), NDArray[Any])
assert_type(problem.loss(network, backend="reference"), float)
assert_type(problem.gradient(network, backend="reference"), NDArray[Any])
assert_type(scaled.predict(network, data.X[:3]), NDArray[Any])

# A run, and what it returns.
rule = accel.Adam(schedules.CosineDecay(0.01, 20))
result = accel.train(
    problem, network, rule, 20, record=["balancedness", recording.Sharpness()], backend="reference"
)
assert_type(result, accel.Result)
assert_type(result.history, accel.History)
assert_type(result.history.loss, NDArray[Any])
assert_type(result.history["balancedness"], NDArray[Any])
assert_type(result.steps, int)
assert_type(result.seconds, float)
assert_type(result.loss, float)
assert_type(result.to_pandas(), pd.DataFrame)
assert_type(result.plot(optimum=0.0), Axes)

# The optimum, sweeps and searches.
best = accel.optimum(problem)
assert_type(best, accel.Optimum)
assert_type(best.loss - best.duality_gap, float)
descent = accel.GradientDescent(0.1)
models = [(network, accel.GradientDescent(rate)) for rate in (0.01, 0.1)]
swept = accel.sweep(problem, models, 20, backend="reference")
assert_type(swept, accel.Sweep)
assert_type(swept.best, accel.Result)
assert_type(swept.to_pandas(), pd.DataFrame)
found = accel.grid_search(problem, network, descent, 20, backend="reference")
assert_type(found, accel.GridSearch)
assert_type(found.best, accel.Result)
assert_type(found.to_pandas(), pd.DataFrame)
made = tuning.compare(
    problem, [tuning.Model("gd", 1), tuning.Model("adam", 2)], 20, backend="reference"
)
assert_type(made, tuning.Comparison)

# Theory and estimators.
assert_type(accel.theory.preconditioner(network, 2), accel.theory.Preconditioner)
assert_type(accel.theory.sharpness(problem, network, backend="reference"), float | NDArray[Any])
estimator = LpRegressor(p=4).fit(data.X, data.y)
assert_type(estimator, LpRegressor)
assert_type(estimator.predict(data.X), NDArray[Any])

if len(sys.argv) > 1:
    assert_type(result.save(Path(sys.argv[1])), Path)
    assert_type(accel.Result.load(sys.argv[1]), accel.Result)
