r"""The search for the learning rate of a model.

The rates of a grid are :math:`10^{i/m}`, m points a decade. A model's score at a rate is its
distance from the optimum after the last step; a run that diverged, at whatever step, has none. From
a rate that the curvature suggests the search walks by half a decade as long as that improves the
score, halves its stride, and so on down to neighbours on the grid. Every model gets the same
treatment, depth 1 included: a comparison is worth what the tuning of the loser is worth.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from accel._core.network import LinearNetwork
from accel._core.optimizers import EndToEnd, Optimizer, by_name
from accel._core.problem import LpProblem
from accel._runs.results import Result
from accel._support import validation

__all__ = ["Grid", "Model", "Search", "Start", "Trial", "Tuned"]

_MOST_POINTS = 10_000  # a decade
_LEAST, _MOST = -307, 308  # powers of ten that are normal numbers
_REACH = 4  # decades either side of where the search begins: all of a grid without a range


@dataclass(frozen=True)
class Model:
    """An optimiser and a depth.

    Parameters
    ----------
    optimizer : str
        As ``by_name`` takes it.
    depth : int
        At least 1. For the end-to-end rule the depth of the net that it stands for.

    Raises
    ------
    TypeError, ValueError
        If there is no such optimiser, or the depth is no such number.
    """

    optimizer: str
    depth: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", validation.depth(self.depth))
        object.__setattr__(self, "optimizer", self.at(1.0).name)

    def __str__(self) -> str:
        return f"{self.optimizer}, depth {self.depth}"

    def at(self, rate: float) -> Optimizer:
        """Return the optimiser with this learning rate."""
        if self.optimizer == EndToEnd.name:
            return EndToEnd(rate, self.depth)
        try:
            return by_name(self.optimizer, rate)
        except TypeError:  # another spelling of the end-to-end rule
            return by_name(self.optimizer, rate, depth=self.depth)


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


@dataclass(frozen=True)
class Start:
    """How the networks begin.

    Parameters
    ----------
    init, scale, seed
        As for ``LinearNetwork``. With ``"balanced"`` networks of every depth begin as one and the
        same linear map; near zero a deeper one begins much closer to the saddle at 0.
    width : int, optional
        Of every hidden layer; min(d, k) by default, the least that ``"balanced"`` allows.
    """

    init: str = "balanced"
    scale: float | None = None
    seed: int = 0
    width: int | None = None

    def network(self, problem: LpProblem, model: Model) -> LinearNetwork:
        """Return the network that a model begins with."""
        network = LinearNetwork.for_problem(
            problem, model.depth, self.width, init=self.init, scale=self.scale, seed=self.seed
        )
        if model.optimizer == EndToEnd.name:  # the map that the net it stands for begins with
            return LinearNetwork.for_problem(problem, 1, init=[network.end_to_end()])
        return network


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
    """A model at the best rate found.

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
        """Of the best run."""
        return self.result.seconds / max(self.result.steps, 1)


@dataclass
class Search:
    """The search for one model's rate; ``run`` makes a run, and is asked once for any rate."""

    grid: Grid
    middle: int
    floor: float
    run: Callable[[float, int], Result]
    loss: float
    trials: dict[int, Trial] = field(default_factory=dict)
    best: int | None = None
    result: Result | None = None

    def walk(self) -> None:
        """Search; ends with a KeyboardInterrupt if a run was interrupted."""
        first, last = self.bounds
        here = min(max(self.middle, first), last)
        self._try(here)
        stride = max(1, self.grid.points // 2)
        while stride:
            # Upwards first: a rate that is too high costs least, for it diverges early.
            for change in (stride, -stride):
                while first <= here + change <= last and self._try(here + change):
                    here += change
            stride //= 2

    @property
    def bounds(self) -> tuple[int, int]:
        """The first and the last point of the grid."""
        return self.grid.bounds(self.middle)

    def _try(self, index: int) -> bool:
        """Make a run, unless it was made; whether it is now the best."""
        if index not in self.trials:
            rate = self.grid.rate(index)
            result = self.run(rate, len(self.trials) + 1)
            if result.status == "interrupted":
                raise KeyboardInterrupt
            diverged = result.status == "diverged"
            distance = math.inf if diverged else max(result.loss - self.loss, 0.0)
            self.trials[index] = Trial(rate, distance, result.steps, result.diverged_at)
            if self.best is None or self._score(index) < self._score(self.best):
                self.best, self.result = index, result
        return self.best == index

    def _score(self, index: int) -> tuple[float, int, float]:
        """Less is better: the distance, then how soon; where runs diverge, a lower rate."""
        trial = self.trials[index]
        if trial.distance <= self.floor:
            return 0.0, trial.steps, -trial.rate
        return trial.distance, 0, trial.rate if math.isinf(trial.distance) else -trial.rate

    def outcome(self, model: Model) -> Tuned:
        """Say what was found; a run has been made."""
        assert self.best is not None
        assert self.result is not None
        return Tuned(
            model=model,
            trial=self.trials[self.best],
            result=self.result,
            at_edge=self.best in self.bounds,
            trials=tuple(self.trials[i] for i in sorted(self.trials)),
        )
