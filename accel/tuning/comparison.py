"""Several models on one problem, each at the best learning rate that a search finds for it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from accel._core.network import LinearNetwork
from accel._core.problem import Problem
from accel._optimum.any_problem import optimum
from accel._optimum.optimum import Optimum
from accel._runs import checks
from accel._runs.rates import first_rate
from accel._runs.results import Result
from accel._runs.training import Callback, train
from accel._support import validation
from accel._support.arrays import Array
from accel._support.backends import cpu_threads
from accel.tuning.models import Model, Start
from accel.tuning.trials import Grid, Tuned, distances, first_within
from accel.tuning.walk import Search

__all__ = ["CallbackFactory", "Comparison", "compare", "rounding"]

_RECORDS = 2000

#: Called before every run with the model, the rate and the number of the run; returns the callback
#: for the run.
CallbackFactory = Callable[[Model, float, int], Callback | None]


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
        return distances(tuned.result, self.best.loss)

    def reached(self, tuned: Tuned) -> tuple[int, float] | None:
        """Step and seconds of a model's first record no farther away than the target."""
        record = first_within(tuned.result, self.best.loss, self.target)
        if record is None or math.isinf(tuned.distance):
            return None
        history = tuned.result.history
        return int(history.step[record]), float(history.seconds[record])


def rounding(problem: Problem, best: Optimum) -> float:
    """Return a distance from the optimum that is no more than rounding errors.

    Those of the loss, and the error of the optimum itself.

    Parameters
    ----------
    problem : Problem
    best : Optimum

    Returns
    -------
    float
    """
    eps = float(np.finfo(problem.dtype).eps)
    return best.duality_gap + 4 * eps * best.loss


def check_goal(steps: float, target: float | None) -> int:
    """Check what ``compare`` is asked to reach, and return the number of steps."""
    if target is not None:
        validation.real("target", target, above=0)
    return checks.limits(steps, None, 0.0, None).steps


def _end_of_first(finished: Sequence[Tuned], floor: float) -> float:
    """Return the distance at which the first model ended; nan if there is none or it diverged."""
    if not finished or not math.isfinite(finished[0].distance):
        return math.nan
    # Twice the floor: where runs stop there, one may end an ulp of the loss above another.
    return max(finished[0].distance, 2 * floor)


def compare(
    problem: Problem,
    models: Sequence[Model],
    steps: float,
    *,
    grid: Grid | None = None,
    start: Start | None = None,
    target: float | None = None,
    backend: str = "auto",
    threads: int | None = None,
    watch: CallbackFactory | None = None,
    done: Callable[[Tuned], object] | None = None,
) -> Comparison:
    """Train every model at the learning rate that brings it closest to the optimum.

    That is the best of the rates that a ``Search`` tries, not of the whole grid: above the rates at
    which a model descends steadily there may be single ones at which it ends close by chance.

    Parameters
    ----------
    problem : Problem
    models : sequence of Model
    steps : int, or a float without a fraction, such as 1e6
        Of every run. A run that is within rounding errors of the optimum ends earlier.
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
        Also after Ctrl-C, with the models tuned so far.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or if a map separates the labels: then there is no minimum.

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
    steps = check_goal(steps, target)
    grid, start, threads = grid or Grid(), start or Start(), cpu_threads(threads)
    networks = [start.network(problem, model) for model in models]
    best = optimum(problem)
    if best.status == "separable":
        raise ValueError(
            "a linear map separates the labels: the loss has no minimum to compare with"
        )
    floor = rounding(problem, best)
    middles = [grid.index(first_rate(problem, model.optimizer)) for model in models]

    def search_for(model: Model, network: LinearNetwork, middle: int) -> Search:
        def run(rate: float, number: int) -> Result:
            callback = watch(model, rate, number) if watch else None
            return train(
                problem, network, model.at(rate), steps, record_every=-(-steps // _RECORDS),
                target=best.loss + floor, callback=callback, backend=backend, threads=threads,
            )  # fmt: skip

        return Search(grid, middle, floor, run, best.loss)

    finished: list[Tuned] = []
    underway: tuple[Model, Search] | None = None
    interrupted = False
    try:
        for model, network, middle in zip(models, networks, middles, strict=True):
            search = search_for(model, network, middle)
            underway = model, search
            search.walk()
            finished.append(search.outcome(model))
            underway = None
            if done is not None:
                done(finished[-1])
    except KeyboardInterrupt:  # also one that comes between two runs, or is raised by a callback
        interrupted = True
        if underway is not None and underway[1].result is not None:
            finished.append(underway[1].outcome(underway[0]))
    if target is None:
        target = _end_of_first(finished, floor)
    return Comparison(best, steps, target, tuple(finished), interrupted)
