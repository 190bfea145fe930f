"""``grid_search``: the learning rate of one model, by sweeps over a grid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from accel._core.base import Problem
from accel._core.network import LinearNetwork
from accel._core.optimizers import Optimizer
from accel._runs import checks, driver
from accel._runs.checks import Limits, RunOptions
from accel._runs.rates import first_rate
from accel._runs.results import Result
from accel._runs.sweeping import Sweep
from accel._support import validation

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GridSearch", "grid_search"]

_DECADES, _POINTS = 2, 4  # of the default grid: decades either side, points a decade
_INSIDE = 3  # new rates between two of the grid, in a round of refinement
_EXTENSIONS = 4  # of a grid at whose edge the best rate lies


@dataclass(frozen=True, eq=False)
class GridSearch:
    """The outcome of ``grid_search``.

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
        """The best one."""
        return self.best.optimizer.learning_rate

    def __repr__(self) -> str:
        return (
            f"GridSearch(learning_rate={self.learning_rate:.4g}, status={self.best.status!r}, "
            f"steps={self.best.steps}, loss={self.best.loss:.6g}, rates={len(self.results)}, "
            f"at_edge={self.at_edge})"
        )

    def to_pandas(self) -> "pd.DataFrame":
        """Return a table with one row a rate, as ``Sweep.to_pandas`` does."""
        return Sweep(self.results, "completed", self.seconds).to_pandas()


_WORST = (3, 0.0)


def _score(result: Result) -> tuple[int, float]:
    """Less is better: how soon the target, then how low the loss; runs given up come last."""
    if result.status in ("target", "converged"):
        return 0, result.steps
    if result.status == "diverged":
        return _WORST
    return (2 if result.status == "dropped" else 1), result.loss


def _rungs(models: int, steps: int, factor: int) -> tuple[tuple[int, int], ...]:
    """At steps / factor^j, j descending, keep one model in ``factor``."""
    rounds = int(math.log(models, factor) + 1e-9)
    rungs, left = [], models
    for j in range(rounds, 0, -1):
        left = -(-left // factor)
        if step := steps // factor**j:
            rungs.append((step, left))
    return tuple(rungs)


def _checked_rates(problem: Problem, optimizer: Optimizer, given: Any) -> list[float]:
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


class _Search:
    """The results so far, by rate."""

    def __init__(self, problem: Problem, network: LinearNetwork, optimizer: Optimizer) -> None:
        self._problem, self._network, self._optimizer = problem, network, optimizer
        self.results: dict[float, Result] = {}
        self.seconds, self.interrupted = 0.0, False

    def run(self, rates: Sequence[float], limits: Limits, options: RunOptions) -> None:
        """Add what a sweep over new rates yields."""
        models = [(self._network, replace(self._optimizer, learning_rate=rate)) for rate in rates]
        results, seconds = driver.run_models(self._problem, models, limits, options)
        self.results.update(zip(rates, results, strict=True))
        self.seconds += seconds
        self.interrupted = any(result.status == "interrupted" for result in results)

    @property
    def rates(self) -> list[float]:
        """Those that were tried, ascending."""
        return sorted(self.results)

    @property
    def place(self) -> int:
        """Of the best rate among them."""
        return min(range(len(self.rates)), key=lambda i: _score(self.results[self.rates[i]]))

    def beyond(self) -> list[float]:
        """Rates that continue the grid on the side where the best one is the last; else none."""
        rates, place = self.rates, self.place
        ratio = rates[1] / rates[0] if len(rates) > 1 else 10.0 ** (1 / _POINTS)
        found = []
        if place == 0:
            found += [rates[0] / ratio**j for j in range(_POINTS, 0, -1)]
        if place == len(rates) - 1 and self.results[rates[-1]].status != "diverged":
            ratio = rates[-1] / rates[-2] if len(rates) > 1 else ratio
            found += [rates[-1] * ratio**j for j in range(1, _POINTS + 1)]
        return [rate for rate in found if 0 < rate < math.inf]

    def between(self) -> list[float]:
        """Return rates between neighbours of which one is best among its own neighbours.

        The loss after so many steps has several minima as a function of the rate, above all just
        below the rates that diverge, and they are narrow.
        """
        rates = self.rates
        scores = [_score(self.results[rate]) for rate in rates]
        gaps: set[int] = set()
        for i, score in enumerate(scores):
            near = [j for j in (i - 1, i + 1) if 0 <= j < len(rates)]
            if score < _WORST and all(score <= scores[j] for j in near):
                gaps.update(min(i, j) for j in near)
        found: list[float] = []
        for gap in sorted(gaps):
            ends = math.log(rates[gap]), math.log(rates[gap + 1])
            found += np.exp(np.linspace(*ends, _INSIDE + 2)[1:-1]).tolist()
        return [rate for rate in found if rate not in self.results]


def grid_search(
    problem: Problem,
    network: LinearNetwork,
    optimizer: Optimizer,
    steps: int,
    *,
    learning_rates: Sequence[float] | None = None,
    target: float | None = None,
    halving: int | None = None,
    refine: int = 2,
    record_every: int | None = None,
    progress: bool = False,
    backend: str = "auto",
    threads: int | None = None,
) -> GridSearch:
    """Find the constant learning rate that serves a model best, all rates of a grid in one sweep.

    The best rate is the one that reaches ``target`` in the fewest steps; if none does, or without a
    target, the one with the lowest loss after the last step. A run that diverges, at whatever step,
    does not count: the best rate is often just below the largest that survives the whole run.

    A grid at whose edge the best rate lies is continued there. Then the search is refined around
    the best rate, and around others that are better than their neighbours: the loss at the end has
    several minima as a function of the rate. Those of a run that nearly diverges are narrow, and a
    rate that survives between others that diverge may be missed.

    Parameters
    ----------
    problem : LpProblem
    network : LinearNetwork
        Where every run starts.
    optimizer : Optimizer
        The rule and its other constants; its own learning rate is not looked at.
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
    record_every, progress, backend, threads
        As for ``sweep``. ``"auto"`` chooses one backend for the whole search.

    Returns
    -------
    GridSearch
        Also after Ctrl-C: what is there by then.

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
    >>> found = accel.grid_search(problem, network, accel.GradientDescent(1.0), steps=300)
    >>> found.best.status, found.at_edge
    ('completed', False)
    """
    checks.check_model(problem, network, optimizer)
    limits = checks.limits(steps, record_every, 0.0, target)
    progress = validation.flag("progress", progress)
    rates = _checked_rates(problem, optimizer, learning_rates)
    refine = validation.integer("refine", refine, least=0)
    first = limits
    if halving is not None:
        factor = validation.integer("halving", halving, least=2)
        first = replace(limits, rungs=_rungs(len(rates), limits.steps, factor))

    problem = driver.suited(problem, [network], limits)
    # The same for the small sweeps that follow, lest rates be compared across backends.
    chosen = driver.kernels_for(problem, len(rates), limits.steps, backend).name
    options = RunOptions(progress=progress, backend=chosen, threads=threads)
    search = _Search(problem, network, optimizer)
    search.run(rates, first, options)
    for _ in range(_EXTENSIONS):
        if search.interrupted or not (rates := search.beyond()):
            break
        search.run(rates, limits, options)
    for _ in range(refine):
        if search.interrupted or not (rates := search.between()):
            break
        search.run(rates, limits, options)
    ordered, place = search.rates, search.place
    return GridSearch(
        results=tuple(search.results[rate] for rate in ordered),
        best=search.results[ordered[place]],
        at_edge=place in (0, len(ordered) - 1),
        seconds=search.seconds,
        interrupted=search.interrupted,
    )
