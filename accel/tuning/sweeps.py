"""``grid_search``: the learning rate of one model, by sweeps over a grid of rates."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from accel._core.base import BaseProblem
from accel._core.network import Network
from accel._core.optimizers import Langevin, Optimizer
from accel._runs import checks, driver
from accel._runs.batching import Noise, all_rows, batches_of, epoch_of
from accel._runs.checks import Limits, Record, RunOptions
from accel._runs.intervals import RecordEvery
from accel._runs.rates import first_rate
from accel._runs.results import Result
from accel._runs.rules import named
from accel._support import validation
from accel._support.keywords import helpful
from accel._support.validation import flag, integer
from accel.kernels.specs import Batches
from accel.recording.naming import check_quantities, quantities
from accel.recording.quantity import Model as Recorded
from accel.recording.quantity import Quantity
from accel.schedules.schedule import Schedule, range_of
from accel.tuning.found import GridSearch, rate_of, score
from accel.tuning.trials import Scores

__all__ = ["grid_search"]

_DECADES, _POINTS = 2, 4  # the default grid: decades either side, points a decade
_INSIDE = 3  # new rates between two neighbours, in a round of refinement
_MOST_SEEDS = 10_000  # each is a sweep of its own
_EXTENSIONS = 4  # the most extensions of a grid at whose edge the best rate lies


def _with_rate(optimizer: Optimizer, rate: float) -> Optimizer:
    """The rule with another rate or, if it goes by a schedule, with that times the rate."""
    shape = optimizer.learning_rate
    return replace(optimizer, learning_rate=rate * shape if isinstance(shape, Schedule) else rate)


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
    """The results and scores of the rates tried so far, with a rule and options for each seed."""

    def __init__(
        self,
        problem: BaseProblem,
        network: Network,
        seeded: Sequence[tuple[Optimizer, RunOptions]],
    ) -> None:
        self._problem, self._network, self._seeded = problem, network, seeded
        self.runs: dict[float, list[Result]] = {}
        self.scores: Scores[float] = Scores()
        self.seconds, self.interrupted = 0.0, False
        self._round = 0

    def add(self, rates: Sequence[float], limits: Limits) -> None:
        """Run new rates side by side, a sweep a seed."""
        new: list[list[Result]] = [[] for _ in rates]
        self._round += 1
        for number, (optimizer, options) in enumerate(self._seeded, 1):
            models = [(self._network, _with_rate(optimizer, rate)) for rate in rates]
            name = f"round {self._round}"
            if len(self._seeded) > 1:
                name += f", seed {number} of {len(self._seeded)}"
            options = replace(options, name=name)
            results, seconds = driver.run_models(self._problem, models, limits, options)
            self.seconds += seconds
            for runs, result in zip(new, results, strict=True):
                runs.append(result)
            if any(result.status == "interrupted" for result in results):
                self.interrupted = True
                break
        for rate, runs in zip(rates, new, strict=True):
            self.runs[rate], self.scores[rate] = runs, score(*runs)

    def record(self, quantities: tuple[Quantity, ...], limits: Limits) -> None:
        """Make the run of the best rate, with the first seed, once more and record these.

        Where there were several, a second model goes along, so that it has the same bits.
        """
        best, (optimizer, options) = self.scores.best, self._seeded[0]
        models = [(self._network, _with_rate(optimizer, best))] * min(len(self.runs), 2)
        options = replace(options, record=quantities, name="the best rate once more")
        results, seconds = driver.run_models(self._problem, models, limits, options)
        self.seconds += seconds
        self.interrupted = results[0].status == "interrupted"
        if not self.interrupted:
            self.runs[best][0] = results[0]

    def outcome(self) -> GridSearch:
        rates, best = self.scores.points, self.scores.best
        return GridSearch(
            runs=tuple(tuple(self.runs[rate]) for rate in rates),
            learning_rate=rate_of(self.runs[best][0].optimizer),
            at_edge=best in (rates[0], rates[-1]),
            seconds=self.seconds,
            interrupted=self.interrupted,
        )


def _random(problem: BaseProblem, optimizer: Optimizer, batches: Batches | None) -> bool:
    """Whether runs with other seeds differ."""
    if isinstance(optimizer, Langevin) and range_of(optimizer.temperature)[1]:
        return True
    if batches is None:
        return False
    drawn = batches.shuffle != "none" and not all_rows(problem, batches)
    return bool(drawn or batches.noise)


def _with_seed(optimizer: Optimizer, number: int) -> Optimizer:
    """The rule for the seed of this number: one with noise of its own has that of another seed."""
    if not isinstance(optimizer, Langevin):
        return optimizer
    return replace(optimizer, seed=optimizer.seed + number)


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


@helpful
def grid_search(
    problem: BaseProblem,
    network: Network,
    optimizer: Optimizer | str,
    steps: float,
    *,
    learning_rates: Sequence[float] | None = None,
    batch_size: int | None = None,
    shuffle: str = "epoch",
    seed: int = 0,
    label_noise: Noise = None,
    seeds: int = 1,
    target: float | None = None,
    halving: int | None = None,
    refine: int = 2,
    record: Record = None,
    validation: BaseProblem | None = None,
    record_every: RecordEvery = None,
    progress: bool = False,
    backend: str = "auto",
    threads: int | None = None,
) -> GridSearch:
    """Find the learning rate that serves a model best, all rates of a grid in one sweep.

    The best rate is the one that reaches ``target`` in the fewest steps; if none does, or without a
    target, the one with the lowest loss after the last step. A run that diverges, at whatever step,
    does not count: the best rate is often just below the largest that survives the whole run.
    With ``seeds`` every rate is run several times, and it is the mean over the seeds that counts.

    A grid at whose edge the best rate lies is continued there. Then the search is refined around
    the best rate, and around others that are better than their neighbours: the loss at the end has
    several minima as a function of the rate. Those of a run that nearly diverges are narrow, and a
    rate that survives between others that diverge may be missed.

    Parameters
    ----------
    problem : Problem
    network : LinearNetwork or DiagonalNetwork
        Where every run starts.
    optimizer : Optimizer or str
        The rule and its other constants, or its name for the usual ones. Its own learning rate is
        not looked at, unless that is a schedule: then each rate multiplies it, and is the rate
        itself where the schedule is 1.
    steps : int, or a float without a fraction, such as 1e6
        Of every run.
    learning_rates : sequence of float, optional
        Above 0. By default four a decade, two decades either side of what the curvature at 0
        suggests (of a usual rate for rules that rescale the gradient).
    batch_size, shuffle, seed, label_noise
        As for ``train``: a step has the same rows and labels for all rates.
    seeds : int
        Run every rate with so many seeds, 1 to 10 000: ``seed``, ``seed + 1`` and so on, in as many
        sweeps. The noise of ``Langevin`` has the seeds that begin with its own. A rate of which one
        run diverges does not count. The best is the one with the lowest mean of the steps to the
        target if there are any that reach it with all seeds, else that with the lowest mean of the
        losses.
        ``results`` and ``best`` are those of the first seed; ``losses``, ``loss_mean`` and
        ``loss_std`` are over all. 1 where nothing is random.
    target : float, optional
        A loss.
    halving : int, optional
        Successive halving: with M rates and ``halving`` = 3, only the M/3 runs with the lowest
        losses go on after steps/3^j, of those a third after steps/3^(j-1), and so on; the others
        are ``"dropped"``. Much cheaper, but a rate that is slow at first is never found, and one
        that looks best early may diverge late. For one seed: others would drop other rates.
    refine : int
        Rounds of refinement; each tries three rates, evenly spaced in the logarithm, between the
        best one and either neighbour, and likewise around every other rate that is better than
        both its neighbours.
    record, validation
        As for ``train``, for the best rate only: its run is made once more at the end, and
        ``best`` has the records.
    record_every, progress, backend, threads
        As for ``sweep``. ``"auto"`` chooses one backend for the whole search. Progress is shown for
        every round of rates, the first of which is ``learning_rates``, and in it for every seed.

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
    optimizer = cast(Optimizer, named(optimizer))
    checks.check_model(problem, network, optimizer)
    parts = [batches_of(problem, batch_size, shuffle, seed, label_noise)]
    limits = checks.limits(steps, record_every, 0.0, target, epoch_of(problem, parts[0]))
    progress, recorded = flag("progress", progress), quantities(record, validation)
    check_quantities(recorded, Recorded(problem, network, optimizer))
    rates = _checked_rates(problem, optimizer, learning_rates)
    refine = integer("refine", refine, least=0)
    seeds = integer("seeds", seeds, least=1, most=_MOST_SEEDS)
    if seeds > 1 and not _random(problem, optimizer, parts[0]):
        raise ValueError(
            f"seeds must be 1 where nothing is random, neither batches nor noise, got {seeds}"
        )
    if seeds > 1 and halving is not None:
        raise ValueError(
            f"halving is for one seed, since others would drop other rates, got seeds = {seeds}"
        )
    parts += [
        batches_of(problem, batch_size, shuffle, seed + number, label_noise)
        for number in range(1, seeds)
    ]
    first = limits
    if halving is not None:
        factor = integer("halving", halving, least=2)
        first = replace(limits, rungs=_rungs(len(rates), limits.steps, factor))

    # The small sweeps that follow use the same backend, so that all rates are compared on one.
    models = [(network, optimizer)] * len(rates)
    chosen = driver.backend_for(problem, models, limits, backend, parts[0])
    options = RunOptions(progress=progress, backend=chosen, threads=threads)
    seeded = [
        (_with_seed(optimizer, number), replace(options, batches=batches))
        for number, batches in enumerate(parts)
    ]
    tried = _Tried(problem, network, seeded)
    tried.add(rates, first)
    for propose, rounds in ((_beyond, _EXTENSIONS), (_between, refine)):
        for _ in range(rounds):
            if tried.interrupted or not (rates := propose(tried.scores)):
                break
            tried.add(rates, limits)
    if recorded and not tried.interrupted:
        tried.record(recorded, limits)
    return tried.outcome()
