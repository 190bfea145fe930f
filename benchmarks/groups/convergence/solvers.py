"""What a user would take instead of a descent: quasi-Newton, Newton, scikit-learn.

A solver runs on the host and leaves a curve, points of (seconds, distance from the optimum), with
the clock stopped while a distance is evaluated only for its record.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.groups.convergence.problems import TOLERANCES, Problem
from benchmarks.peers.common import Gap, one_line, require, residual_power

Point = tuple[float, float]


class Solver(NamedTuple):
    """What solves the problem from the start, and the rate that was searched for before, if any."""

    solve: Callable[[], list[Point]]
    rate: float | None = None
    rates: int = 0
    grid_seconds: float = 0.0


class _Clock:
    """Stopped while a record is made."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.curve: list[Point] = []
        self._spent, self._since = 0.0, time.perf_counter()

    def look(self, w: np.ndarray) -> bool:
        """Record where the solver is; whether it may stop."""
        self._spent += time.perf_counter() - self._since
        distance = self.problem.distance(np.reshape(w, (1, -1)))
        self.curve.append((self._spent, distance))
        over = self._spent > self.problem.budget or not np.isfinite(distance)
        self._since = time.perf_counter()
        return over or distance <= TOLERANCES[-1]


def lbfgs(problem: Problem, start: np.ndarray, with_accel: bool = False) -> Solver:
    """SciPy's L-BFGS-B; loss and gradient by NumPy, or by our one pass over the data."""
    try:
        from scipy.optimize import minimize
    except ImportError as error:
        raise Gap(one_line(error)) from error
    lp = problem.lp
    X, y, scale = lp.X, lp.Y[:, 0], 1 / lp.n

    def by_numpy(w: np.ndarray) -> tuple[float, np.ndarray]:
        r = X @ w - y
        slopes = residual_power(r, lp.p)
        return scale * float(r @ slopes), (scale * lp.p) * (slopes @ X)

    def stop(clock: _Clock, w: np.ndarray) -> None:
        if clock.look(w):
            raise StopIteration

    def solve() -> list[Point]:
        clock = _Clock(problem)
        minimize(
            lp.loss_and_gradient if with_accel else by_numpy, start, jac=True, method="L-BFGS-B",
            callback=functools.partial(stop, clock),
            options={"maxiter": 10**6, "maxfun": 10**6, "ftol": 0.0, "gtol": 0.0},
        )  # fmt: skip
        return clock.curve

    return Solver(solve)


def newton(problem: Problem, start: np.ndarray) -> Solver:
    """Our `optimum`: for every tolerance a run of its own that proves a gap as small as that."""
    from accel import optimum

    def solve() -> list[Point]:
        curve = []
        for tolerance in TOLERANCES:
            begin = time.perf_counter()
            found = optimum(problem.lp, tol=tolerance / problem.best.loss)
            curve.append((time.perf_counter() - begin, problem.distance(found.W)))
        return curve

    return Solver(solve)


def linear_regression(problem: Problem, start: np.ndarray) -> Solver:
    """scikit-learn's, by least squares."""
    model = _sklearn(problem, "LinearRegression")

    def solve() -> list[Point]:
        begin = time.perf_counter()
        found = model(fit_intercept=False).fit(problem.lp.X, problem.lp.Y[:, 0])
        seconds = time.perf_counter() - begin
        return [(seconds, problem.distance(found.coef_[None]))]

    return Solver(solve)


def sgd(problem: Problem, start: np.ndarray) -> Solver:
    """scikit-learn's, one pass over the data after the other, at the best first rate of a grid."""
    model = _sklearn(problem, "SGDRegressor")
    X, y = problem.lp.X, problem.lp.Y[:, 0]

    def solve(rate: float, budget: float) -> list[Point]:
        found = model(penalty=None, fit_intercept=False, eta0=rate, random_state=0)
        clock = _Clock(problem)
        found.coef_, found.intercept_ = start.copy(), np.zeros(1)
        with np.errstate(all="ignore"):
            while True:
                try:
                    found.partial_fit(X, y)
                except ValueError:  # its way to say that weights are no finite numbers
                    return [*clock.curve, (budget, np.inf)]
                if clock.look(found.coef_) or clock.curve[-1][0] > budget:
                    return clock.curve

    def late(rate: float) -> tuple[float, float]:
        seconds, distance = ends[rate]
        return max(distance, TOLERANCES[-1]) if np.isfinite(distance) else np.inf, seconds

    begin = time.perf_counter()
    rates = [10 ** (j / 2) for j in range(-8, 1)]
    ends = {rate: solve(rate, 0.1 * problem.budget)[-1] for rate in rates}
    best = min(rates, key=late)
    grid_seconds = time.perf_counter() - begin
    solve_best = functools.partial(solve, best, problem.budget)
    return Solver(solve_best, best, len(rates), grid_seconds)


def _sklearn(problem: Problem, name: str) -> Any:
    require("sklearn")
    if problem.lp.p != 2:
        raise Gap("scikit-learn has it for p = 2 only")
    import sklearn.linear_model

    return getattr(sklearn.linear_model, name)


#: From a start (d,).
SOLVERS: dict[str, Callable[[Problem, np.ndarray], Solver]] = {
    "SciPy L-BFGS-B": lbfgs,
    "SciPy L-BFGS-B, gradient by accel": functools.partial(lbfgs, with_accel=True),
    "accel.optimum (Newton, with its proof)": newton,
    "scikit-learn LinearRegression": linear_regression,
    "scikit-learn SGDRegressor": sgd,
}
