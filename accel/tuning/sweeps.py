"""``grid_search``: the learning rate of one model, by sweeps over a grid of rates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from accel._core.base import BaseProblem
from accel._core.network import Network
from accel._core.optimizers import Optimizer
from accel._runs import checks, driver, notebooks
from accel._runs.checks import Limits, Record, RunOptions
from accel._runs.rates import first_rate
from accel._runs.results import Result
from accel._runs.sweeping import Sweep
from accel._support import validation
from accel._support.validation import flag, integer
from accel.recording.naming import check_quantities, quantities
from accel.recording.quantity import Model as Recorded
from accel.recording.quantity import Quantity
from accel.schedules.schedule import Product, Schedule, range_of
from accel.tuning.trials import Score, Scores

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GridSearch", "grid_search"]

_DECADES, _POINTS = 2, 4  # the default grid: decades either side, points a decade
_INSIDE = 3  # new rates between two neighbours, in a round of refinement
_EXTENSIONS = 4  # the most extensions of a grid at whose edge the best rate lies


def _with_rate(optimizer: Optimizer, rate: float) -> Optimizer:
    """The rule with another rate or, if it goes by a schedule, with that times the rate."""
    shape = optimizer.learning_rate
    return replace(optimizer, learning_rate=rate * shape if isinstance(shape, Schedule) else rate)


def _rate_of(optimizer: Optimizer) -> float:
    """The rate that ``_with_rate`` has set."""
    rate = optimizer.learning_rate
    return range_of(rate.factors[0] if isinstance(rate, Product) else rate)[0]


@dataclass(frozen=True, eq=False)
class GridSearch:
    """What ``grid_search`` returns.

    Attributes
    ----------
    results : tuple of Result
        One a rate, ascending.
    best : Result
    at_edge : bool
        Whether no rate beyond the best one was tried on one of its sides: a better one may lie
        there.
    seconds : float
        Time spent on training, without compilation.
    interrupted : bool
        Whether Ctrl-C ended the search.
    """

    results: tuple[Result, ...]
    best: Result
    at_edge: bool
    seconds: float
    interrupted: bool

    @property
    def learning_rate(self) -> float:
        """The best learning rate, or what the schedule of the optimiser is best multiplied by."""
        return _rate_of(self.best.optimizer)

    def __repr__(self) -> str:
        return (
            f"GridSearch(learning_rate={self.learning_rate:.4g}, status={self.best.status!r}, "
            f"steps={self.best.steps}, loss={self.best.loss:.6g}, rates={len(self.results)}, "
            f"at_edge={self.at_edge})"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: with pandas the table, one row a rate."""
        return notebooks.summary(self)

    def to_pandas(self) -> "pd.DataFrame":
        """Return a table with one row a rate, as ``Sweep.to_pandas`` does."""
        return Sweep(self.results, "completed", self.seconds).to_pandas()


def score(result: Result) -> Score:
    """Sort key, lower is better: the steps to the target, else the loss; dropped runs after others.

    Of equal runs the one with the lowest rate is the best.
    """
    if result.status == "diverged":
        return math.inf, 0.0
    if result.status in ("target", "converged"):
        return 0, result.steps
    return (2 if result.status == "dropped" else 1), result.loss


def _rungs(models: int, steps: int, factor: int) -> tuple[tuple[int, int], ...]:
    """Successive halving: at the steps / factor^j, ascending, keep one model in ``factor``."""
    rounds = int(math.log(models, factor) + 1e-9)
    rungs, left = [], models
    for j in range(rounds, 0, -1):
        left = -(-left // factor)
        if step := steps // factor**j:
            rungs.append((step, left))
    return tuple(rungs)


def _checked_rates(problem: BaseProblem, optimizer: Optimizer, given: Any) -> list[float]:
    if given is None:
        middle = first_rate(problem, optimizer.name)
        exponents = np.arange(-_DECADES * _POINTS, _DECADES * _POINTS + 1) / _POINTS
        made = [middle * 10.0 ** float(exponent) for exponent in exponents]
        return [rate for rate in made if 0 < rate < math.inf]
    listed = validation.members("learning_rates", given, "numbers")
    rates = (
        validation.real(f"learning_rates[{i}]", rate, above=0) for i, rate in enumerate(listed)
    )
    return sorted(set(rates))


class _Tried:
    """The results and scores of the rates tried so far."""

    def __init__(
        self, problem: BaseProblem, network: Network, optimizer: Optimizer, options: RunOptions
    ) -> None:
        self._problem, self._network, self._optimizer = problem, network, optimizer
        self._options = options
        self.results: dict[float, Result] = {}
        self.scores: Scores[float] = Scores()
        self.seconds, self.interrupted = 0.0, False

    def add(self, rates: Sequence[float], limits: Limits) -> None:
        """Run new rates side by side."""
        models = [(self._network, _with_rate(self._optimizer, rate)) for rate in rates]
        results, seconds = driver.run_models(self._problem, models, limits, self._options)
        self.results.update(zip(rates, results, strict=True))
        self.scores.update(zip(rates, map(score, results), strict=True))
        self.seconds += seconds
        self.interrupted = any(result.status == "interrupted" for result in results)

    def record(self, quantities: tuple[Quantity, ...], limits: Limits) -> None:
        """Make the run of the best rate once more, and record these quantities.

        Where there were several, a second model goes along, so that it has the same bits.
        """
        best = self.scores.best
        model = (self._network, _with_rate(self._optimizer, best))
        models = [model] * min(len(self.results), 2)
        options = replace(self._options, record=quantities)
        results, seconds = driver.run_models(self._problem, models, limits, options)
        self.seconds += seconds
        self.interrupted = results[0].status == "interrupted"
        if not self.interrupted:
            self.results[best] = results[0]

    def outcome(self) -> GridSearch:
        rates, best = self.scores.points, self.scores.best
        return GridSearch(
            results=tuple(self.results[rate] for rate in rates),
            best=self.results[best],
            at_edge=best in (rates[0], rates[-1]),
            seconds=self.seconds,
            interrupted=self.interrupted,
        )


def _beyond(scores: Scores[float]) -> list[float]:
    """Return rates that continue the grid on the side where the best one is the last; else none."""
    rates = scores.points
    ratio = rates[1] / rates[0] if len(rates) > 1 else 10.0 ** (1 / _POINTS)
    beyond = []
    if scores.best == rates[0]:
        beyond += [rates[0] / ratio**j for j in range(_POINTS, 0, -1)]
    if scores.open_above:
        ratio = rates[-1] / rates[-2] if len(rates) > 1 else ratio
        beyond += [rates[-1] * ratio**j for j in range(1, _POINTS + 1)]
    return [rate for rate in beyond if 0 < rate < math.inf]


def _between(scores: Scores[float]) -> list[float]:
    """Return rates between neighbours of which one is best among its own neighbours.

    The loss after so many steps has several minima as a function of the rate, above all just
    below the rates that diverge, and they are narrow.
    """
    gaps = {
        tuple(sorted((rate, other))) for rate in scores.minima for other in scores.neighbours(rate)
    }
    between: list[float] = []
    for low, high in sorted(gaps):
        logarithms = np.linspace(math.log(low), math.log(high), _INSIDE + 2)
        between += np.exp(logarithms[1:-1]).tolist()
    return [rate for rate in between if rate not in scores]


def grid_search(
    problem: BaseProblem,
    network: Network,
    optimizer: Optimizer,
    steps: int,
    *,
    learning_rates: Sequence[float] | None = None,
    target: float | None = None,
    halving: int | None = None,
    refine: int = 2,
    record: Record = None,
    validation: BaseProblem | None = None,
    record_every: int | None = None,
    progress: bool = False,
    backend: str = "auto",
    threads: int | None = None,
) -> GridSearch:
    """Find the learning rate that serves a model best, all rates of a grid in one sweep.

    The best rate is the one that reaches ``target`` in the fewest steps; if none does, or without a
    target, the one with the lowest loss after the last step. A run that diverges, at whatever step,
    does not count: the best rate is often just below the largest that survives the whole run.

    A grid at whose edge the best rate lies is continued there. Then the search is refined around
    the best rate, and around others that are better than their neighbours: the loss at the end has
    several minima as a function of the rate. Those of a run that nearly diverges are narrow, and a
    rate that survives between others that diverge may be missed.

    Parameters
    ----------
    problem : Problem
    network : LinearNetwork or DiagonalNetwork
        Where every run starts.
    optimizer : Optimizer
        The rule and its other constants. Its own learning rate is not looked at, unless that is a
        schedule: then each rate multiplies it, and is the rate itself where the schedule is 1.
    steps : int
        Of every run.
    learning_rates : sequence of float, optional
        Above 0. By default four a decade, two decades either side of what the curvature at 0
        suggests (of a usual rate for rules that rescale the gradient).
    target : float, optional
        A loss.
    halving : int, optional
        Successive halving: with M rates and ``halving`` = 3, only the M/3 runs with the lowest
        losses go on after steps/3^j, of those a third after steps/3^(j-1), and so on; the others
        are ``"dropped"``. Much cheaper, but a rate that is slow at first is never found, and one
        that looks best early may diverge late.
    refine : int
        Rounds of refinement; each tries three rates, evenly spaced in the logarithm, between the
        best one and either neighbour, and likewise around every other rate that is better than
        both its neighbours.
    record, validation
        As for ``train``, for the best rate only: its run is made once more at the end, and
        ``best`` has the records.
    record_every, progress, backend, threads
        As for ``sweep``. ``"auto"`` chooses one backend for the whole search.

    Returns
    -------
    GridSearch
        Also after Ctrl-C, with the runs made so far.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    References
    ----------
    Successive halving: Jamieson, Talwalkar (2016), arXiv 1502.07943.

    Examples
    --------
    >>> import accel
    >>> problem = accel.LpProblem([[1.0, 0.0], [0.0, 1.0]], [3.0, 1.0], p=4)
    >>> network = accel.LinearNetwork.for_problem(problem, depth=2, width=2, init="balanced")
    >>> search = accel.grid_search(problem, network, accel.GradientDescent(1.0), steps=300)
    >>> search.best.status, search.at_edge
    ('completed', False)
    """
    checks.check_model(problem, network, optimizer)
    limits = checks.limits(steps, record_every, 0.0, target)
    progress, recorded = flag("progress", progress), quantities(record, validation)
    check_quantities(recorded, Recorded(problem, network, optimizer))
    rates = _checked_rates(problem, optimizer, learning_rates)
    refine = integer("refine", refine, least=0)
    first = limits
    if halving is not None:
        factor = integer("halving", halving, least=2)
        first = replace(limits, rungs=_rungs(len(rates), limits.steps, factor))

    # The small sweeps that follow use the same backend, so that all rates are compared on one.
    chosen = driver.backend_for(problem, [(network, optimizer)] * len(rates), limits, backend)
    options = RunOptions(progress=progress, backend=chosen, threads=threads)
    tried = _Tried(problem, network, optimizer, options)
    tried.add(rates, first)
    for propose, rounds in ((_beyond, _EXTENSIONS), (_between, refine)):
        for _ in range(rounds):
            if tried.interrupted or not (rates := propose(tried.scores)):
                break
            tried.add(rates, limits)
    if recorded and not tried.interrupted:
        tried.record(recorded, limits)
    return tried.outcome()
