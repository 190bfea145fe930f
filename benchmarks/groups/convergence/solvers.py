"""What a user would take instead of a descent: quasi-Newton, Newton, scikit-learn.

A solver runs on the host and leaves a curve, points of (seconds, distance from the optimum), with
the clock stopped while a distance is evaluated only for its record.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.groups.convergence.problems import TOLERANCES, Problem
from benchmarks.harness.timing import Stopwatch
from benchmarks.peers.common import Gap, one_line, require, residual_power

Point = tuple[float, float]


class Solver(NamedTuple):
    """What solves the problem from the start, and the rate that was searched for before, if any."""

    solve: Callable[[], list[Point]]
    rate: float | None = None
    grid_seconds: float = 0.0


class _Curve:
    """The points of a solver under way, whose clock stands still while a point is made."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.points: list[Point] = []
        self._clock = Stopwatch()
        self._clock.start()

    def add(self, w: np.ndarray) -> bool:
        """Add a point; whether the solver may stop."""
        spent, distance = self._clock.stop(), self.problem.distance(np.reshape(w, (1, -1)))
        self.points.append((spent, distance))
        self._clock.start()
        over = spent > self.problem.budget or not np.isfinite(distance)
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

    def stop(curve: _Curve, w: np.ndarray) -> None:
        if curve.add(w):
            raise StopIteration

    def solve() -> list[Point]:
        curve = _Curve(problem)
        minimize(
            lp.loss_and_gradient if with_accel else by_numpy, start, jac=True, method="L-BFGS-B",
            callback=functools.partial(stop, curve),
            options={"maxiter": 10**6, "maxfun": 10**6, "ftol": 0.0, "gtol": 0.0},
        )  # fmt: skip
        return curve.points

    return Solver(solve)


def newton(problem: Problem, start: np.ndarray) -> Solver:
    """Our `optimum`: for every tolerance a run of its own that proves a gap as small as that."""
    from accel import optimum

    def solve() -> list[Point]:
        curve = []
        for tolerance in TOLERANCES:
            with Stopwatch() as clock:
                reached = optimum(problem.lp, tol=tolerance / problem.best.loss)
            curve.append((clock.seconds, problem.distance(reached.W)))
        return curve

    return Solver(solve)


def linear_regression(problem: Problem, start: np.ndarray) -> Solver:
    """scikit-learn's, by least squares."""
    model = _sklearn(problem, "LinearRegression")

    def solve() -> list[Point]:
        with Stopwatch() as clock:
            fitted = model(fit_intercept=False).fit(problem.lp.X, problem.lp.Y[:, 0])
        return [(clock.seconds, problem.distance(fitted.coef_[None]))]

    return Solver(solve)


def sgd(problem: Problem, start: np.ndarray) -> Solver:
    """scikit-learn's, one pass over the data after the other, at the best first rate of a grid."""
    model = _sklearn(problem, "SGDRegressor")
    X, y = problem.lp.X, problem.lp.Y[:, 0]

    def solve(rate: float, budget: float) -> list[Point]:
        fitted = model(penalty=None, fit_intercept=False, eta0=rate, random_state=0)
        curve = _Curve(problem)
        fitted.coef_, fitted.intercept_ = start.copy(), np.zeros(1)
        with np.errstate(all="ignore"):
            while True:
                try:
                    fitted.partial_fit(X, y)
                except ValueError:  # raised where a weight is not finite
                    return [*curve.points, (budget, np.inf)]
                if curve.add(fitted.coef_) or curve.points[-1][0] > budget:
                    return curve.points

    def key(rate: float) -> tuple[float, float]:
        """Sort key, lower is better: the distance at the end, then the seconds."""
        seconds, distance = ends[rate]
        return max(distance, TOLERANCES[-1]) if np.isfinite(distance) else np.inf, seconds

    rates = [10 ** (j / 2) for j in range(-8, 1)]
    with Stopwatch() as clock:
        ends = {rate: solve(rate, 0.1 * problem.budget)[-1] for rate in rates}
        best = min(rates, key=key)
    return Solver(functools.partial(solve, best, problem.budget), best, clock.seconds)


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
