"""Several models on one problem, each at the best learning rate that a search finds for it."""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from accel._core.network import LinearNetwork
from accel._core.optimizers import Optimizer
from accel._core.problem import Problem
from accel._optimum.any_problem import optimum
from accel._optimum.optimum import Optimum
from accel._runs import checks
from accel._runs.rates import first_rate
from accel._runs.results import Result
from accel._runs.saddles import unwarned
from accel._runs.training import Callback, train
from accel._support import showing, validation
from accel._support.arrays import Array
from accel._support.backends import cpu_threads
from accel.tuning.models import Model, Start
from accel.tuning.trials import Grid, Tuned, distances, first_within
from accel.tuning.walk import Search

__all__ = ["CallbackFactory", "Comparison", "compare", "rounding"]

_RECORDS = 2000
_LONG = 2.0  # seconds that all best runs may take to be timed more than once

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
    repeats : int
        The number of runs that the seconds of every model's best run are the median of.
    """

    best: Optimum
    steps: int
    target: float
    models: tuple[Tuned, ...]
    interrupted: bool = False
    repeats: int = 1

    def __repr__(self) -> str:
        return showing.line(
            self,
            models=len(self.models),
            steps=self.steps,
            target=f"{self.target:.3g}",
            best_loss=f"{self.best.loss:.6g}",
            interrupted=self.interrupted,
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the best rate of every model, and when it was there."""
        facts: dict[str, object] = {
            "steps": self.steps,
            "optimum": f"{self.best.loss:.6g}",
            "target": f"{self.target:.3g} above it",
        }
        for tuned in self.models:
            reached = self.reached(tuned)
            when = "" if reached is None else f", at the target after {reached[0]} steps"
            distance = f"distance {tuned.distance:.3g} at the end"
            facts[str(tuned.model)] = f"rate {tuned.rate:.3g}, {distance}{when}"
        return showing.table(facts)

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


def _timed(
    finished: Sequence[Tuned], again: Sequence[Callable[[], Result]], repeats: int
) -> tuple[list[Tuned], int]:
    """Run all of them again, by turns; return them with median times, and of how many runs.

    The first run, whose caches are cold, is one of them. Ctrl-C ends the timing and no more: what
    was to be found is found.
    """
    rounds = [[tuned.result for tuned in finished]]
    with contextlib.suppress(KeyboardInterrupt):
        while len(rounds) < repeats:
            results = [run() for run in again]
            if any(result.status == "interrupted" for result in results):
                break
            rounds.append(results)
    timed = []
    for tuned, *results in zip(finished, *rounds, strict=True):
        seconds = np.median([result.history.seconds for result in results], axis=0)
        history = replace(tuned.result.history, seconds=seconds)
        # Of the whole run, not of the last record: what comes after it belongs to the run.
        whole = float(np.median([result.seconds for result in results]))
        timed.append(replace(tuned, result=replace(tuned.result, history=history, seconds=whole)))
    return timed, len(rounds)


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
    repeats: int = 1,
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
    repeats : int
        How often the best run of every model is timed, at least once: by turns, at the end, and its
        seconds are the median. Where the best runs take more than two seconds together they are
        timed once, while they are found: then they are long enough for that.

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
    validation.integer("repeats", repeats, least=1)
    grid, start, threads = grid or Grid(), start or Start(), cpu_threads(threads)
    networks = [start.network(problem, model) for model in models]
    best = optimum(problem)
    if best.status == "separable":
        raise ValueError(
            "a linear map separates the labels: the loss has no minimum to compare with"
        )
    floor = rounding(problem, best)
    middles = [grid.index(first_rate(problem, model.optimizer)) for model in models]

    def run_at(network: LinearNetwork, rule: Optimizer, callback: Callback | None = None) -> Result:
        with unwarned():  # one of many rates, or again for its time: the result tells
            return train(
                problem, network, rule, steps, record_every=-(-steps // _RECORDS),
                target=best.loss + floor, callback=callback, backend=backend, threads=threads,
            )  # fmt: skip

    def search_for(model: Model, network: LinearNetwork, middle: int) -> Search:
        def run(rate: float, number: int) -> Result:
            callback = watch(model, rate, number) if watch else None
            return run_at(network, model.at(rate), callback)

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
    if interrupted or sum(tuned.result.seconds for tuned in finished) > _LONG:
        repeats = 1
    if repeats > 1:
        again = [
            partial(run_at, network, tuned.result.optimizer)
            for network, tuned in zip(networks, finished, strict=True)
        ]
        finished, repeats = _timed(finished, again, repeats)
    return Comparison(best, steps, target, tuple(finished), interrupted, repeats)
