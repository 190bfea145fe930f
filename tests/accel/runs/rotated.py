"""Problems and starts for runs in rotated coordinates; several files share them."""

import numpy as np
import pytest

from accel import LinearNetwork, LpProblem

#: Have a rotation chosen for small problems and few steps as well.
always_worth_it = pytest.mark.usefixtures("_always_worth_it")


def problem_of(n, d, k=1, p=4.0, rank=None, seed=0, dtype="f8", **how):
    rng = np.random.default_rng(seed)
    rank = min(n, d) if rank is None else rank
    X = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d)) / np.sqrt(rank)
    X = X if rank < min(n, d) else rng.standard_normal((n, d))
    Y = X @ rng.standard_normal((d, k)) / np.sqrt(d) + 0.3 * rng.standard_normal((n, k))
    return LpProblem(X.astype(dtype), Y.astype(dtype), p, **how)


def like(problem, method):
    return LpProblem(problem.X, problem.Y, problem.p, scale=problem.scale, method=method)


def start_of(problem, depth, kind, seed=0):
    """A start of every kind; "given" has the row space's part and another one."""
    width = max(min(problem.d, problem.k), 3)
    if kind == "given":
        rng = np.random.default_rng(seed)
        shapes = [(width, problem.d), *[(width, width)] * (depth - 2), (problem.k, width)]
        shapes = shapes if depth > 1 else [(problem.k, problem.d)]
        factors = [rng.standard_normal(shape) / np.sqrt(shape[1]) for shape in shapes]
        factors[0][0] = problem.X[0]  # one row in the row space, the others not
        widths = (problem.d, *[width] * (depth - 1), problem.k)
        return LinearNetwork(widths, init=factors, dtype=problem.dtype)
    kind, scale = ("near_zero", 0.0) if kind == "zero" else (kind, 0.3)
    return LinearNetwork.for_problem(problem, depth, width, init=kind, scale=scale, seed=seed)
