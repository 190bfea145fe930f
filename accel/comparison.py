r"""Several models on one problem, each at the best learning rate that a search finds for it.

The rates of a grid are :math:`10^{i/m}`, m points a decade. A model's score at a rate is its
distance from the optimum after the last step; a run that diverged, at whatever step, has none. From
a rate that the curvature suggests the search walks by half a decade as long as that improves the
score, halves its stride, and so on down to neighbours on the grid. Every model gets the same
treatment, depth 1 included: a comparison is worth what the tuning of the loser is worth.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from accel import validation
from accel.backends import cpu_threads, resolve
from accel.network import LinearNetwork
from accel.optimizers import OPTIMIZERS, EndToEnd, Optimizer, by_name
from accel.optimum import Optimum, optimum
from accel.problem import LpProblem
from accel.results import Result
from accel.training import Callback, train

__all__ = [
    "Comparison",
    "Grid",
    "Model",
    "Start",
    "Trial",
    "Tuned",
    "compare",
    "rounding",
    "suggested_rate",
]

_REACH = 4  # decades either side of where the search begins: all of a grid without a range
_RECORDS = 2000
_FIRST_RATES = {"adagrad": 0.1, "adadelta": 1.0, "rmsprop": 0.01, "adam": 0.01}


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
        validation.integer("depth", self.depth, least=1)
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
        In a decade.
    low, high : float, optional
        Bounds; by default four decades either side of where the search begins.

    Raises
    ------
    TypeError, ValueError
        If points is below 1, or the bounds are not above 0 or leave no rate between them.
    """

    points: int = 32
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        validation.integer("points", self.points, least=1)
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
        reach, slack = _REACH * self.points, 1e-9  # so that a bound on the grid belongs to it
        low = middle - reach if self.low is None else math.log10(self.low) * self.points
        high = middle + reach if self.high is None else math.log10(self.high) * self.points
        return math.ceil(low - slack), math.floor(high + slack)

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
        width = min(problem.d, problem.k) if self.width is None else self.width
        network = LinearNetwork.for_problem(
            problem, model.depth, width, init=self.init, scale=self.scale, seed=self.seed
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

    def distances(self, tuned: Tuned) -> np.ndarray:
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
        for p = 2. 1 if there is no curvature at all.
    """
    loss = problem.spec._replace(p=max(problem.p, 2.0))
    hessian = resolve("auto").lp_loss.hessian
    outputs = [np.ascontiguousarray(y) for y in problem.Y.T]
    curvature = max(
        float(np.linalg.eigvalsh(hessian(problem.X, y, np.zeros(problem.d), loss))[-1])
        for y in outputs
    )
    return 1.0 / curvature if math.isfinite(curvature) and curvature > 0 else 1.0


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


@dataclass
class _Search:
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
        """Less is better: the distance, then how soon, then a lower rate."""
        trial = self.trials[index]
        if trial.distance <= self.floor:
            return 0.0, trial.steps, trial.rate
        return trial.distance, 0, trial.rate

    def outcome(self, model: Model) -> Tuned:
        """Say what was found; a run has been made."""
        assert self.best is not None and self.result is not None
        return Tuned(
            model=model,
            trial=self.trials[self.best],
            result=self.result,
            at_edge=self.best in self.bounds,
            trials=tuple(self.trials[i] for i in sorted(self.trials)),
        )


def compare(
    problem: LpProblem,
    models: Sequence[Model],
    steps: int,
    *,
    grid: Grid | None = None,
    start: Start | None = None,
    target: float | None = None,
    threads: int | None = None,
    watch: Watch | None = None,
    done: Callable[[Tuned], object] | None = None,
) -> Comparison:
    """Train every model at the learning rate that brings it closest to the optimum.

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
    threads : int, optional
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
    >>> from accel.comparison import Model, compare
    >>> problem = accel.LpProblem([[1.0, 0.0], [0.0, 1.0]], [3.0, 1.0], p=4)
    >>> result = compare(problem, [Model("gd", 1), Model("gd", 2)], steps=200)
    >>> result.models[0].distance > result.models[1].distance
    True
    """
    if not models:
        raise ValueError("models must not be empty")
    steps = validation.integer("steps", steps, least=1)
    if target is not None:
        validation.real("target", target, above=0)
    grid, start, threads = grid or Grid(), start or Start(), cpu_threads(threads)
    networks = [start.network(problem, model) for model in models]
    best = optimum(problem)
    floor, first_rate = rounding(problem, best), suggested_rate(problem)
    finished: list[Tuned] = []
    interrupted = False
    for model, network in zip(models, networks, strict=True):

        def run(
            rate: float, number: int, model: Model = model, network: LinearNetwork = network
        ) -> Result:
            callback = watch(model, rate, number) if watch else None
            return train(
                problem, network, model.at(rate), steps, record_every=-(-steps // _RECORDS),
                target=best.loss + floor, callback=callback, threads=threads,
            )  # fmt: skip

        middle = grid.index(_FIRST_RATES.get(model.optimizer, first_rate))
        search = _Search(grid, middle, floor, run, best.loss)
        try:
            search.walk()
        except KeyboardInterrupt:
            interrupted = True
        if search.result is not None:
            finished.append(search.outcome(model))
        if interrupted:
            break
        if done is not None:
            done(finished[-1])
    if target is None:
        ends = [tuned.distance for tuned in finished[:1] if math.isfinite(tuned.distance)]
        target = ends[0] if ends else math.nan
    return Comparison(best, steps, target, tuple(finished), interrupted)


assert OPTIMIZERS.keys() >= _FIRST_RATES.keys()
