"""Several models on one problem, each at the best learning rate that a search finds for it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from accel._core.network import LinearNetwork
from accel._core.problem import LpProblem
from accel._optimum.optimum import Optimum, optimum
from accel._runs import checks
from accel._runs.rates import first_rate
from accel._runs.results import Result
from accel._runs.training import Callback, train
from accel._support import validation
from accel._support.arrays import Array
from accel._support.backends import cpu_threads
from accel.tuning.search import Grid, Model, Search, Start, Tuned

__all__ = ["Comparison", "Watch", "compare", "rounding"]

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
    checks.limits(steps, None, 0.0, None)
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
    >>> from accel.tuning import Model, compare
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
