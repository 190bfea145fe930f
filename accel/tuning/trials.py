"""Parts that every search for a learning rate shares: the grid, the trials and their scores.

Three searches differ in which rates they run next: ``walk`` (one run at a time), ``sweeps`` (all
rates of a grid side by side) and ``stages`` (the rates of many curves side by side).
"""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from accel._runs.results import Result
from accel._support import showing, validation
from accel._support.arrays import Array
from accel.tuning.models import Model

__all__ = [
    "Grid",
    "Score",
    "Scores",
    "Trial",
    "Tuned",
    "distance",
    "distances",
    "first_within",
    "score_on_grid",
]

_MOST_POINTS = 10_000  # a decade
_LEAST, _MOST = -307, 308  # powers of ten that are normal numbers
_REACH = 4  # decades either side of where the search begins: all of a grid without a range

#: Lower is better, compared number by number. The first is infinite if the run diverged.
Score = tuple[float, ...]

Point = TypeVar("Point", int, float)


@dataclass(frozen=True)
class Grid:
    """Learning rates ``10**(i / points)``, of which a search tries a few.

    Parameters
    ----------
    points : int
        In a decade, 1 to 10 000.
    low, high : float, optional
        Bounds; by default four decades either side of where the search begins.

    Raises
    ------
    TypeError, ValueError
        If points is out of bounds, or the bounds are not above 0 or leave no rate between them.
    """

    points: int = 32
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        validation.integer("points", self.points, least=1, most=_MOST_POINTS)
        for bound in ("low", "high"):
            if getattr(self, bound) is not None:
                validation.real(bound, getattr(self, bound), above=0)
        if self.low is not None and self.high is not None:
            first, last = self.bounds(0)
            if first > last:
                raise ValueError(
                    f"the grid has no rate from {self.low:g} to {self.high:g} with "
                    f"{self.points} points a decade"
                )

    def index(self, rate: float) -> int:
        """Return the nearest point."""
        return round(math.log10(rate) * self.points)

    def bounds(self, middle: int) -> tuple[int, int]:
        """Return the first and the last point of a search that begins at ``middle``."""
        slack, reach = 1e-9, _REACH * self.points  # slack: a bound on the grid belongs to it
        low = high = None
        if self.low is not None:
            low = math.ceil(math.log10(self.low) * self.points - slack)
            middle = max(middle, low)
        if self.high is not None:
            high = math.floor(math.log10(self.high) * self.points + slack)
            middle = min(middle, high)
        return (
            max(middle - reach, _LEAST * self.points) if low is None else low,
            min(middle + reach, _MOST * self.points) if high is None else high,
        )

    def rate(self, index: int) -> float:
        """Return the learning rate at a point."""
        return float(10.0 ** (index / self.points))


class Scores(dict[Point, Score]):
    """The scores of the rates that were tried, by rate or by point of a grid."""

    @property
    def points(self) -> list[Point]:
        """All points that were tried, ascending."""
        return sorted(self)

    @property
    def best(self) -> Point:
        """The point with the lowest score; of equal scores the lowest rate. Some must be tried."""
        return min(self.points, key=self.__getitem__)

    @property
    def survivors(self) -> list[Point]:
        """The points whose runs did not diverge, ascending."""
        return [point for point in self.points if self.survived(point)]

    @property
    def minima(self) -> list[Point]:
        """The survivors that score no worse than their neighbours, ascending."""
        return [
            point
            for point in self.survivors
            if all(self[point] <= self[other] for other in self.neighbours(point))
        ]

    @property
    def open_above(self) -> bool:
        """Whether the best rate survived and is the highest tried: a better one may lie above."""
        return self.survived(self.best) and self.best == max(self)

    def value(self, point: Point) -> float:
        """The first number of the score at a point."""
        return self[point][0]

    def survived(self, point: Point) -> bool:
        """Whether the run at a point did not diverge."""
        return self.value(point) < math.inf

    def neighbours(self, point: Point) -> list[Point]:
        """The next lower and the next higher point that were tried: two, one at an end, or none."""
        points = self.points
        place = points.index(point)
        return points[max(place - 1, 0) : place] + points[place + 1 : place + 2]


def score_on_grid(value: float, point: int, steps: int = 0) -> Score:
    """Sort key, lower is better: the value, then the steps, then the higher rate.

    Of runs that diverged, whose value is infinite, the lower rate is better.

    Parameters
    ----------
    value : float
    point : int
        Of the grid.
    steps : int

    Returns
    -------
    Score
    """
    return value, steps, point if math.isinf(value) else -point


@dataclass(frozen=True)
class Trial:
    """One run of a search.

    Attributes
    ----------
    rate : float
    distance : float
        From the optimum after the last step; inf if the run diverged.
    steps : int
        Made until the end, or until nothing but rounding errors was left.
    diverged_at : int or None
    """

    rate: float
    distance: float
    steps: int
    diverged_at: int | None


@dataclass(frozen=True, eq=False)
class Tuned:
    """A model at the best rate that its search tried.

    Attributes
    ----------
    model : Model
    trial : Trial
        The best one.
    result : Result
        Of that run.
    at_edge : bool
        Whether the rate is the last of its grid, so that a better one may lie outside.
    trials : tuple of Trial
        All of them, by rate.
    """

    model: Model
    trial: Trial
    result: Result
    at_edge: bool
    trials: tuple[Trial, ...]

    def __repr__(self) -> str:
        return showing.line(
            self,
            model=repr(str(self.model)),
            rate=f"{self.rate:.4g}",
            distance=f"{self.distance:.3g}",
            steps=self.trial.steps,
            at_edge=self.at_edge,
            trials=len(self.trials),
        )

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.trial.rate

    @property
    def distance(self) -> float:
        """Distance from the optimum after the last step; inf if every run diverged."""
        return self.trial.distance

    @property
    def next_diverges_at(self) -> int | None:
        """The step at which the next larger rate that was tried diverged; None if it did not."""
        larger = [trial for trial in self.trials if trial.rate > self.rate]
        return larger[0].diverged_at if larger else None

    @property
    def seconds_per_step(self) -> float:
        """Mean seconds of a step of the best run."""
        return self.result.seconds / max(self.result.steps, 1)


def distances(result: Result, optimum: float) -> Array:
    """Distance of the loss from the optimal one at every record of a run, at least 0."""
    return np.maximum(result.history.loss - optimum, 0.0)


def distance(result: Result, optimum: float) -> float:
    """Distance of the loss from the optimal one after the last step; inf if the run diverged."""
    return math.inf if result.status == "diverged" else max(result.loss - optimum, 0.0)


def first_within(result: Result, optimum: float, bound: float) -> int | None:
    """Index of a run's first record no farther from the optimum than a bound; None without one."""
    within = np.flatnonzero(distances(result, optimum) <= bound)
    return int(within[0]) if len(within) else None
