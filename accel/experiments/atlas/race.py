r"""One start on one problem: how soon each depth gets to each target, and at which learning rate.

Rates are points of a grid, four an octave, for every rule around :math:`1 / (N |w|^{2-2/N} L)`, the
rate that suits N factors at a map as large as the minimiser w, for the largest curvature L of the
loss at 0. They run side by side, and are looked at after 1000, 2000, 4000, ... steps. A rate
*fails* if its run diverges, or has a loss above that of the start at a look; it fails for the
targets that it has not reached if at a look the run is farther from the minimum than the one at
half the rate, since it jumps to and fro. For a target the rates below the lowest that fails are
*stable*. Of these the *best* gets there first, and the rate of *equal margin* is half of the
highest.

One rate an octave comes first, to find where the others are needed: those of three octaves below
the lowest that fails, and after some thousand steps those of an octave and a half. Where one fails,
lower ones follow from where they are. Runs end at the last target, at the limit of steps, and where
another one has been first.

Plain descent has no memory, so that a run goes on from its factors alone, to the step.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from accel._core.network import Network
from accel._core.optimizers import EndToEnd, GradientDescent, Optimizer
from accel._runs.rates import first_rate
from accel._runs.sweeping import sweep
from accel._support.arrays import Array
from accel.experiments.atlas.problems import Instance, balanced_network

__all__ = ["MARGINS", "TARGETS", "Outcome", "Reached", "Rule", "Stopped", "race"]

#: The distances that are raced for, as parts of the distance at the start, the last one the least.
TARGETS = (1e-1, 1e-2, 1e-3, 1e-6)
#: How a rate is chosen: the best of the stable ones for each target, or half of the highest.
MARGINS = ("best", "half")

_OCTAVE = 4  # points of the grid, each 19 % above the one before
_COARSE = range(-2 * _OCTAVE, 10 * _OCTAVE, _OCTAVE)  # and so many more, until one diverges
_FIRST_LOOK = 1000  # steps; then after twice as many, and so on
_WIDE, _NARROW = 3 * _OCTAVE, 6  # points that run at once, at first and later
_LATER = 4000  # steps
_RECORDS = 100  # a decade
_ROUNDING = 1e-9  # a relative difference that is none


class Stopped(Exception):
    """The caller asked to stop."""


class Rule(NamedTuple):
    """What is trained: networks of so many factors, or by the end-to-end rule that stands for them.

    Attributes
    ----------
    kind : {"network", "end-to-end"}
    depth : int
    """

    kind: str
    depth: int

    def at(self, start: Array, rate: float) -> tuple[Network, Optimizer]:
        """Return the model that begins as this map."""
        if self.kind == "network":
            return balanced_network(start, self.depth), GradientDescent(rate)
        return balanced_network(start, 1), EndToEnd(rate, self.depth)


class Reached(NamedTuple):
    """How a rule gets to a target.

    Attributes
    ----------
    steps : float
        Infinite if the limit came first.
    rate : float
    """

    steps: float
    rate: float


class Outcome(NamedTuple):
    """How a rule fares from one start.

    Attributes
    ----------
    rule : Rule
    start : float
        Size of the start, see ``Instance.start``.
    stable : list of float
        The highest stable rate for each of ``TARGETS``.
    reached : dict of str to list of Reached
        By margin, one for each of ``TARGETS``.
    """

    rule: Rule
    start: float
    stable: list[float]
    reached: dict[str, list[Reached]]

    def described(self) -> dict[str, Any]:
        """Return it for JSON: null for a target that is not reached."""
        return {
            "kind": self.rule.kind,
            "depth": self.rule.depth,
            "start": self.start,
            "stable": self.stable,
            "reached": {
                margin: [[None if math.isinf(steps) else steps, rate] for steps, rate in each]
                for margin, each in self.reached.items()
            },
        }

    @classmethod
    def read(cls, described: dict[str, Any]) -> "Outcome":
        """Return what ``described`` was of."""
        reached = {
            margin: [
                Reached(math.inf if steps is None else int(steps), float(rate))
                for steps, rate in described["reached"][margin]
            ]
            for margin in MARGINS
        }
        rule = Rule(str(described["kind"]), int(described["depth"]))
        return cls(rule, float(described["start"]), [*map(float, described["stable"])], reached)


@dataclass(eq=False)
class _Run:
    """A rule at one rate, as far as it has come."""

    network: Network
    optimizer: Optimizer
    step: int = 0
    failed: bool = False
    stalled: bool = False  # farther from the minimum than with half the rate
    distances: dict[int, float] = field(default_factory=dict)  # at every look, by its step
    reached: list[float] = field(default_factory=lambda: [math.inf] * len(TARGETS))

    @property
    def done(self) -> bool:
        return math.isfinite(self.reached[-1])

    @property
    def over(self) -> bool:
        return self.done or self.failed or self.stalled

    def fails(self, target: int) -> bool:
        return self.failed or (self.stalled and math.isinf(self.reached[target]))

    def behind(self, other: "_Run") -> bool:
        """Whether it is farther from the minimum than another run, where both were looked at."""
        if self.done:
            return False
        if other.done and other.step <= self.step:
            return True
        step = min(self.step, other.step)
        own, others = self.distances.get(step, 0.0), other.distances.get(step, math.inf)
        return own > (1 + _ROUNDING) * others


class _Course(NamedTuple):
    """What all runs from one start share.

    Attributes
    ----------
    instance : Instance
    start : (1, d) array
    loss : float
        At the start.
    limit : int
        Steps.
    stop : callable
        Whether to stop, asked about ten times a second.
    """

    instance: Instance
    start: Array
    loss: float
    limit: int
    stop: Callable[[], bool]

    @property
    def goals(self) -> list[float]:
        """The losses at the targets."""
        least = self.instance.best.loss
        return [least + part * (self.loss - least) for part in TARGETS]

    def advance(self, runs: Sequence[_Run], end: int) -> None:
        """Bring runs that have made the same number of steps to a later one."""
        begin, goals = runs[0].step, self.goals
        swept = sweep(
            self.instance.problem,
            [(run.network, run.optimizer) for run in runs],
            end - begin,
            record_every=[step - begin for step in _recorded(self.limit) if begin < step <= end],
            target=goals[-1],
            callback=lambda step, losses: self.stop(),
            backend="cpu",
            threads=1,
        )
        if swept.status == "interrupted" or self.stop():
            raise Stopped
        for run, result in zip(runs, swept, strict=True):
            distances = result.history.loss - self.instance.best.loss
            for i, part in enumerate(TARGETS):
                if math.isinf(run.reached[i]):
                    level = part * (self.loss - self.instance.best.loss)
                    run.reached[i] = begin + _crossing(result.history.step, distances, level)
            if result.status == "target":
                run.reached[-1] = begin + result.steps
            run.network, run.step = result.network, end
            run.distances[end] = float(distances[-1])
            above = result.loss > (1 + _ROUNDING) * self.loss
            run.failed = result.status == "diverged" or above


def _recorded(limit: int) -> list[int]:
    """The steps that are recorded: all at first, then a hundred a decade."""
    exponents = range(math.ceil(_RECORDS * math.log10(limit)) + 1)
    return sorted({round(10.0 ** (i / _RECORDS)) for i in exponents})


def _crossing(steps: Array, distances: Array, level: float) -> float:
    """The first step at which a distance is at a level, geometrically between two records."""
    below = np.flatnonzero(distances <= level)
    if not len(below):
        return math.inf
    at = int(below[0])
    if at == 0 or steps[at] - steps[at - 1] == 1 or distances[at] <= 0:
        return int(steps[at])
    fall = math.log(distances[at - 1] / distances[at])
    part = math.log(distances[at - 1] / level) / fall
    gap = int(steps[at] - steps[at - 1])
    return int(steps[at - 1]) + max(math.ceil(part * gap - _ROUNDING), 1)


def _next_look(step: int, limit: int) -> int:
    """The number of steps after which a run that has made so many is looked at next."""
    look = _FIRST_LOOK
    while look <= step:
        look *= 2
    return min(look, limit)


class _Search:
    """The runs of a rule.

    Parameters
    ----------
    rule : Rule
    course : _Course
    reference : float
        The rate at point 0 of the grid.
    """

    def __init__(self, rule: Rule, course: _Course, reference: float) -> None:
        self.rule, self._course, self._reference = rule, course, reference
        self._runs: dict[int, _Run] = {}
        self._failing: list[int] = []  # for each target the lowest point that fails

    def rate(self, point: int) -> float:
        """The rate at a point of the grid."""
        return float(self._reference * 2.0 ** (point / _OCTAVE))

    def at(self, point: int) -> _Run:
        """The run at a point, which begins if it is not there."""
        if point not in self._runs:
            model = self.rule.at(self._course.start, self.rate(point))
            self._runs[point] = _Run(*model)
        return self._runs[point]

    @property
    def bounded(self) -> bool:
        """Whether a run fails for all targets."""
        return any(run.failed for run in self._runs.values())

    def wanted(self) -> list[_Run]:
        """Return the runs that have to go on; none if all is known."""
        for point, run in self._runs.items():
            half = self._runs.get(point - _OCTAVE)
            run.stalled = run.stalled or (half is not None and run.behind(half))
        self._failing = [
            min(point for point, run in self._runs.items() if run.fails(i))
            for i in range(len(TARGETS))
        ]
        firsts = [self._first(i)[0] for i in range(len(TARGETS))]
        return [self.at(point) for point in self._points() if self._goes_on(point, firsts)]

    def outcome(self, start: float) -> Outcome:
        """Return how the rule fares, once no run has to go on."""
        best, half = [], []
        for i, failing in enumerate(self._failing):
            steps, point = self._first(i)
            best.append(Reached(steps, self.rate(point)))
            point = failing - 1 - _OCTAVE
            half.append(Reached(self.at(point).reached[i], self.rate(point)))
        stable = [self.rate(failing - 1) for failing in self._failing]
        return Outcome(self.rule, start, stable, {"best": best, "half": half})

    def _points(self) -> range:
        """The points that are of interest."""
        return range(self._failing[-1] - _WIDE, self._failing[0])

    def _first(self, target: int) -> tuple[float, int]:
        """The fewest steps to a target at a stable rate, and its point; or inf, and the top."""
        top = self._failing[target] - 1
        ends = [(run.reached[target], k) for k, run in self._runs.items() if k <= top]
        steps, point = min(ends, default=(math.inf, top))
        return steps, point if math.isfinite(steps) else top

    def _goes_on(self, point: int, firsts: Sequence[float]) -> bool:
        """Whether the run at a point may be the first at a target, or is that of equal margin."""
        run = self.at(point)
        if run.over or run.step >= self._course.limit:
            return False
        ahead = [i for i, steps in enumerate(run.reached) if math.isinf(steps)]
        if any(point == self._failing[i] - 1 - _OCTAVE for i in ahead):
            return True
        if run.step >= _LATER and point < self._failing[-1] - _NARROW:
            return False
        return any(point < self._failing[i] and run.step < firsts[i] for i in ahead)


def race(
    instance: Instance,
    part: float,
    rules: Sequence[Rule],
    limit: int,
    stop: Callable[[], bool] = lambda: False,
) -> list[Outcome]:
    """Find how soon rules get to the targets, all from the same map.

    Parameters
    ----------
    instance : Instance
    part : float
        Size of the start, see ``Instance.start``.
    rules : sequence of Rule
    limit : int
        Steps of a run at most.
    stop : callable, optional
        Asked about ten times a second whether to stop.

    Returns
    -------
    list of Outcome
        One a rule.

    Raises
    ------
    Stopped
        If ``stop`` says so.
    """
    start = instance.start(part)
    course = _Course(
        instance, start, instance.problem.loss(start, backend="reference"), limit, stop
    )
    size = float(np.linalg.norm(instance.best.W))
    flat = first_rate(instance.problem, "gd")
    searches = [
        _Search(rule, course, flat / (rule.depth * size ** (2 - 2 / rule.depth))) for rule in rules
    ]
    coarse, open_above = _COARSE, searches
    while open_above:
        course.advance(
            [search.at(point) for search in open_above for point in coarse], _next_look(0, limit)
        )
        coarse = range(coarse.stop, coarse.stop + _OCTAVE * len(_COARSE), _OCTAVE)
        open_above = [search for search in open_above if not search.bounded]
    while wanted := [run for search in searches for run in search.wanted()]:
        step = min(run.step for run in wanted)
        course.advance([run for run in wanted if run.step == step], _next_look(step, limit))
    return [search.outcome(part) for search in searches]
