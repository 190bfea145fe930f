"""The runs behind the linear version of figure 5 right: data, learning rates, and seeds."""

import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from accel._core.problem import Problem
from accel._runs.results import Result
from accel._runs.sweeping import sweep
from accel._support.arrays import Array
from accel.datasets import mnist as mnist_data
from accel.experiments.runner import data_digest
from accel.experiments.time_left import Stage, TimeLeft
from accel.losses import CrossEntropy
from accel.tuning.models import Model, Start
from accel.tuning.trials import Grid

__all__ = [
    "BATCH", "GRID", "MODELS", "SCALE", "SEEDS", "Best", "Digits", "DigitsRunner", "expected_units",
    "load",
]  # fmt: skip

#: Images of a batch, as in TensorFlow's tutorial, of which the paper's experiment is made.
BATCH = 64
#: What is drawn, in this order: GradientDescent and Momentum (0.9) by depth, and the rule.
MODELS = (
    *(Model("gd", depth) for depth in (1, 2, 3)),
    *(Model("end-to-end", depth) for depth in (2, 3)),
    *(Model("momentum", depth) for depth in (1, 2, 3)),
)
#: How many runs, of seeds one after the other, a curve is the mean of.
SEEDS = 5
#: Standard deviation of the entries of the matrix that every network begins with, balanced.
SCALE = 0.01
#: Of learning rates; every rate is one of its points.
GRID = Grid(points=4)

_FIRST = range(-6, 5, 2)  # points of the grid, for descent: 0.03 to 10
_SLOWER = 4  # points that the rates of momentum are lower by: 1 / (1 - 0.9) is ten times
_FARTHEST = 12  # no point is farther from 0
_ROUNDS = 8
_RUNS = 8  # of a search, about
_RECORDS = 200
_TAIL = 10  # a run is judged by the mean over the last tenth of its records
_CLASSES = 10
_MOST_IMAGES = 10_000  # of MNIST: the loss that is recorded is that of all
_PLAN = 1  # version of the above: sweeps of another one are not resumed
_COST = 6.0  # of a step, in steps of a small linear model


class Digits(NamedTuple):
    """Images as rows of numbers from -0.5 to 0.5, (n, d), and their digits, (n,)."""

    X: Array
    y: Array
    source: str
    note: str


class Best(NamedTuple):
    """A curve at its best rate.

    Attributes
    ----------
    point : int
        The rate, as a point of ``GRID``.
    results : list of Result
        Of all seeds, the first being that of the search.
    search : dict of int to Result
        Of the first seed, at every point that was tried.
    at_edge : bool
        Whether the rate is the least or the largest of its own search.
    """

    point: int
    results: list[Result]
    search: dict[int, Result]
    at_edge: bool

    @property
    def step(self) -> Array:
        """Updates made before each record: (m,)."""
        return self.results[0].history.step

    @property
    def losses(self) -> Array:
        """Loss of all rows at every record, nan from where a run diverged: (seeds, m)."""
        table = np.full((len(self.results), max(len(r.history) for r in self.results)), np.nan)
        for row, result in zip(table, self.results, strict=True):
            if result.status != "diverged":
                row[: len(result.history)] = result.history.loss
        return table


def load() -> Digits:
    """Load MNIST where ``ACCEL_MNIST`` names it, else scikit-learn's digits, which need no network.

    Each square of 2 x 2 pixels becomes its mean, and of the first 10 000 images the last, which
    fill no batch, are left out: 9984 x 196 numbers of MNIST, 1792 x 16 of the digits. So it is
    quick, and a linear map cannot separate the digits. It can with all their 64 pixels; no loss is
    the least then, and depth 1 gains by every larger rate.

    Raises
    ------
    ImportError
        If scikit-learn is needed and not installed; the message says what to do.
    ValueError
        If ``ACCEL_MNIST`` names a file that is missing, damaged or of another kind.
    """
    if os.environ.get("ACCEL_MNIST"):
        given = mnist_data.load()
        images, labels, source, note = given.images / 255, given.labels, "MNIST", given.note
    else:
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise ImportError(
                "scikit-learn's digits need pip install 'implicit-accel[cli]'"
            ) from error
        bunch = load_digits()
        images, labels, source = bunch.images / 16, bunch.target, "digits"
        note = "scikit-learn's digits, since ACCEL_MNIST names no MNIST"
    # An epoch's last batch would be one of five digits, whose noise all curves would show.
    n = min(len(images), _MOST_IMAGES) // BATCH * BATCH
    images, labels = images[:n], labels[:n]
    _, height, width = images.shape
    halved = images.reshape(n, height // 2, 2, width // 2, 2).mean(axis=(2, 4))
    return Digits(halved.reshape(n, -1) - 0.5, labels.astype(np.int64), source, note)


def expected_units(steps: int) -> float:
    """Return what all runs will cost, about, as ``Stage`` counts."""
    return len(MODELS) * (_RUNS + SEEDS - 1) * _COST * steps


def end(result: Result) -> float:
    """Mean loss over the last tenth of the records; inf if the run diverged."""
    if result.status == "diverged":
        return math.inf
    with np.errstate(over="ignore"):  # a run about to diverge counts as one that did
        return float(result.history.loss[-max(1, len(result.history) // _TAIL) :].mean())


def first_points(model: Model) -> list[int]:
    """Return the points of the grid that a search begins with."""
    lower = _SLOWER if model.optimizer == "momentum" else 0
    return [point - lower for point in _FIRST]


def next_points(ends: Mapping[int, float]) -> list[int]:
    """Return the points to try next: beyond an edge that is best, then beside the best."""
    best = min(ends, key=lambda point: (ends[point], point))
    if best == max(ends):
        wanted = [best + 2, best + 4]
    elif best == min(ends):
        wanted = [best - 4, best - 2]
    else:
        wanted = [best - 1, best + 1]
    return [point for point in wanted if point not in ends and abs(point) <= _FARTHEST]


@dataclass(eq=False)
class DigitsRunner:
    """Trains the curves, in sweeps whose checkpoints are kept: none is made twice.

    A sweep has the rates of one curve: the models of a small sweep stay in the caches.

    Parameters
    ----------
    data : Digits
    steps : int
    seed : int
        The first one, of the start and of the batches.
    state : Path
        Folder of the checkpoints.
    time_left : TimeLeft
    threads : int or None
    backend : str

    Attributes
    ----------
    seconds : float
        Of training, over all sittings.
    problem : Problem
    """

    data: Digits
    steps: int
    seed: int
    state: Path
    time_left: TimeLeft
    threads: int | None = None
    backend: str = "auto"
    seconds: float = 0.0
    problem: Problem = field(init=False)
    _reserved: float = 0.0

    def __post_init__(self) -> None:
        self.problem = Problem(self.data.X, self.data.y, CrossEntropy(_CLASSES))

    @property
    def batch(self) -> int:
        """Rows of a batch."""
        return min(BATCH, self.problem.n)

    def tuned(self) -> Iterator[tuple[Model, Best]]:
        """Search the best rate of every model, and run it there from all seeds.

        An end-to-end rule is searched for, too, but has the rate of its net if it ends nearer than
        it began there, from all seeds.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, with the sweep's progress saved.
        """
        self._reserve(expected_units(self.steps))
        points: dict[Model, int] = {}
        for model in MODELS:
            net = Model("gd", model.depth) if model.optimizer == "end-to-end" else None
            best = self._tuned(model, None if net is None else points.get(net))
            points[model] = best.point
            yield model, best
        self._reserve(-self._reserved)

    def _reserve(self, units: float) -> None:
        self._reserved += units
        self.time_left.reserve(units)

    def _tuned(self, model: Model, preferred: int | None = None) -> Best:
        search: dict[int, Result] = {}
        ends: dict[int, float] = {}
        points = first_points(model)

        def add(points: Sequence[int]) -> None:
            found = self._run(model, points, self.seed)
            search.update(zip(points, found, strict=True))
            ends.update((point, end(search[point])) for point in points)

        for _ in range(_ROUNDS):
            if not points:
                break
            add(points)
            points = next_points(ends)
        edges = min(ends), max(ends)
        if preferred is not None and preferred not in ends:
            add([preferred])
        ranked = sorted(ends, key=lambda point: (point != preferred, ends[point], point))
        for point in ranked:
            most = search[point].history.loss[0] if point == preferred else math.inf
            if ends[point] < most:
                results = [search[point], *self._of_other_seeds(model, point)]
                if all(end(result) < most for result in results):
                    return Best(point, results, search, point in edges)
        point = min(ends, key=lambda point: (ends[point], point))  # none survives all seeds
        return Best(point, [search[point]], search, point in edges)

    def _of_other_seeds(self, model: Model, point: int) -> list[Result]:
        return [self._run(model, [point], self.seed + number)[0] for number in range(1, SEEDS)]

    def _run(self, model: Model, points: Sequence[int], seed: int) -> Sequence[Result]:
        """Train a model at points of the grid, side by side on the batches of a seed."""
        start = Start("balanced", SCALE, seed)
        models = [
            (start.network(self.problem, model), model.at(GRID.rate(point))) for point in points
        ]
        facts = (_PLAN, data_digest(self.problem), model, *points, seed, self.steps, self.backend)
        digest = hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()[:16]
        self.state.mkdir(parents=True, exist_ok=True)
        path = self.state / f"digits-{digest}.npz"
        name = f"digits, {model}, seed {seed}"
        stage = Stage(name, len(points), self.steps, _COST * len(points) * self.steps)
        self._reserve(-min(stage.units, self._reserved))
        callback = self.time_left.begin(stage, resumed=path.exists())
        swept = sweep(
            self.problem, models, self.steps, batch_size=self.batch, seed=seed,
            record_every=-(-self.steps // _RECORDS), callback=callback, backend=self.backend,
            threads=self.threads, checkpoint=path,
        )  # fmt: skip
        if swept.status == "interrupted":
            raise KeyboardInterrupt
        self.time_left.end()
        self.seconds += swept.seconds
        return swept.results
