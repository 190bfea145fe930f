"""Several models on one problem, each at the best learning rate that a search finds for it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from accel import running, validation
from accel.backends import cpu_threads, resolve
from accel.network import LinearNetwork
from accel.optimizers import USUAL_RATES
from accel.optimum import Optimum, optimum
from accel.problem import LpProblem
from accel.rates import rate_for
from accel.results import Result
from accel.training import Callback, train
from accel.tuning import Grid, Model, Search, Start, Tuned
from accel.validation import Array

__all__ = ["Comparison", "Watch", "compare", "first_rate", "rounding", "suggested_rate"]

_RECORDS = 2000


@dataclass(frozen=True, eq=False)
class Comparison:
    """Models side by side.

    Attributes
    ----------
    best : Optimum
    steps : int
    target : float
        A distance from the optimum: the one asked for, or where the first model ended; nan without
        either.
    models : tuple of Tuned
    interrupted : bool
        Whether Ctrl-C ended it before all models were tuned.
    """

    best: Optimum
    steps: int
    target: float
    models: tuple[Tuned, ...]
    interrupted: bool = False

    def distances(self, tuned: Tuned) -> Array:
        """Distance from the optimum at every record of a model's best run, at least 0."""
        return np.maximum(tuned.result.history.loss - self.best.loss, 0.0)

    def reached(self, tuned: Tuned) -> tuple[int, float] | None:
        """Step and seconds of a model's first record no farther away than the target."""
        there = np.flatnonzero(self.distances(tuned) <= self.target)
        if not len(there) or math.isinf(tuned.distance):
            return None
        history = tuned.result.history
        return int(history.step[there[0]]), float(history.seconds[there[0]])


#: Told of a run that begins: the model, the rate, and the number of the run. What it returns is
#: the callback of that run.
Watch = Callable[[Model, float, int], Callback | None]


def suggested_rate(problem: LpProblem) -> float:
    """Half of what the curvature at W = 0 allows plain gradient descent at depth 1.

    Parameters
    ----------
    problem : LpProblem

    Returns
    -------
    float
        ``1 / lambda_max`` of the Hessian at 0; for p < 2, where there may be none, of the Hessian
        for p = 2. 1 if there is no curvature at all, and the smallest normal number if it
        overflows.
    """
    loss = problem.spec._replace(p=max(problem.p, 2.0))
    hessian = resolve("cpu").lp_loss.hessian
    X, Y = problem.host.X, problem.host.Y
    outputs = [np.ascontiguousarray(y) for y in Y.T]
    largest = 0.0
    for y in outputs:
        with np.errstate(over="ignore", invalid="ignore"):
            H = hessian(X, y, np.zeros(problem.d), loss)
        if not np.isfinite(H).all():  # LAPACK finds no eigenvalues then
            return rate_for(math.inf)
        largest = max(largest, float(np.linalg.eigvalsh(H)[-1]))
    return rate_for(largest)


def first_rate(problem: LpProblem, optimizer: str) -> float:
    """Where a search for the learning rate of an optimiser begins.

    Parameters
    ----------
    problem : LpProblem
    optimizer : str
        A name, as ``by_name`` takes it.

    Returns
    -------
    float
        ``suggested_rate`` for the rules that descend along the gradient; for rules that rescale it,
        whose rates have little to do with the curvature, a usual one.
    """
    return USUAL_RATES.get(optimizer) or suggested_rate(problem)


def rounding(problem: LpProblem, best: Optimum) -> float:
    """Distance from the optimum that is no more than errors of rounding, or of the optimum.

    Parameters
    ----------
    problem : LpProblem
    best : Optimum

    Returns
    -------
    float
    """
    eps = float(np.finfo(problem.dtype).eps)
    return best.duality_gap + 4 * eps * best.loss


def check_goal(steps: int, target: float | None) -> None:
    """Check what ``compare`` is asked to reach."""
    running.limits(steps, None, 0.0, None)
    if target is not None:
        validation.real("target", target, above=0)


def compare(
    problem: LpProblem,
    models: Sequence[Model],
    steps: int,
    *,
    grid: Grid | None = None,
    start: Start | None = None,
    target: float | None = None,
    backend: str = "auto",
    threads: int | None = None,
    watch: Watch | None = None,
    done: Callable[[Tuned], object] | None = None,
) -> Comparison:
    """Train every model at the learning rate that brings it closest to the optimum.

    That is the best rate of those that a search tries (``accel.tuning``), not of the whole grid:
    beyond the rates at which a model descends there may be single ones at which it lands by luck.

    Parameters
    ----------
    problem : LpProblem
    models : sequence of Model
    steps : int
        Of every run. A run that has only rounding errors left ends before.
    grid : Grid, optional
    start : Start, optional
    target : float, optional
        A distance from the optimum, above 0, that the models are timed to; by default where the
        first of them ends.
    backend, threads
        As for ``train``.
    watch : callable, optional
        ``watch(model, rate, number)``, called before every run; the callback for the run.
    done : callable, optional
        ``done(tuned)``, called after every model.

    Returns
    -------
    Comparison
        Also after Ctrl-C: what is there by then.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import accel
    >>> from accel.comparison import compare
    >>> from accel.tuning import Model
    >>> problem = accel.LpProblem([[1.0, 0.0], [0.0, 1.0]], [3.0, 1.0], p=4)
    >>> result = compare(problem, [Model("gd", 1), Model("gd", 2)], steps=200)
    >>> result.models[0].distance > result.models[1].distance
    True
    """
    if not models:
        raise ValueError("models must not be empty")
    check_goal(steps, target)
    grid, start, threads = grid or Grid(), start or Start(), cpu_threads(threads)
    networks = [start.network(problem, model) for model in models]
    best = optimum(problem)
    floor = rounding(problem, best)
    middles = [grid.index(first_rate(problem, model.optimizer)) for model in models]
    finished: list[Tuned] = []
    underway: tuple[Model, Search] | None = None
    interrupted = False
    try:
        for model, network, middle in zip(models, networks, middles, strict=True):

            def run(
                rate: float, number: int, model: Model = model, network: LinearNetwork = network
            ) -> Result:
                callback = watch(model, rate, number) if watch else None
                return train(
                    problem, network, model.at(rate), steps, record_every=-(-steps // _RECORDS),
                    target=best.loss + floor, callback=callback, backend=backend,
                    threads=threads,
                )  # fmt: skip

            search = Search(grid, middle, floor, run, best.loss)
            underway = model, search
            search.walk()
            finished.append(search.outcome(model))
            underway = None
            if done is not None:
                done(finished[-1])
    except KeyboardInterrupt:  # also one that comes between two runs, or in what they tell
        interrupted = True
        if underway is not None and underway[1].result is not None:
            finished.append(underway[1].outcome(underway[0]))
    if target is None:
        ends = [tuned.distance for tuned in finished[:1] if math.isfinite(tuned.distance)]
        # Twice the floor: where runs stop there, one may end an ulp of the loss above another.
        target = max(ends[0], 2 * floor) if ends else math.nan
    return Comparison(best, steps, target, tuple(finished), interrupted)
