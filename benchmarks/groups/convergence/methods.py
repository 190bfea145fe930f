"""The methods: an optimiser and a depth, in our library and in those that have the same one.

A library *prepares* a method: it brings the data where it needs them, compiles, finds its best
settings. What it returns makes fresh runs from the start, and the clock of a run begins there.
"""

import copy
import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from accel import EndToEnd, LinearNetwork, LpProblem, Optimizer
from accel._runs.checks import limits
from accel._runs.methods import methods_of
from accel._runs.rotating import begin
from accel._support.backends import resolve
from accel.kernels import specs
from accel.tuning import Model, Start
from benchmarks.groups.convergence import jax_methods, torch_methods
from benchmarks.groups.convergence.problems import Problem
from benchmarks.peers import Descent, Gap, Stepper
from benchmarks.peers.common import suffix_products

OURS, TORCH, JAX = "accel", "PyTorch", "JAX"

MODELS = (
    *(Model("gd", depth) for depth in (1, 2, 3, 4)),
    *(
        Model(name, depth)
        for name in ("momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam")
        for depth in (1, 3)
    ),
    *(Model("end-to-end", depth) for depth in (2, 3)),
)
QUICK_MODELS = (Model("gd", 1), Model("gd", 2), Model("adam", 1), Model("end-to-end", 2))

#: Makes a run from the start, as often as it is asked.
Fresh = Callable[[], Stepper]


class DivergedError(Exception):
    """The run has left the finite numbers."""


@dataclass(frozen=True, eq=False)
class Task:
    """A method at a learning rate on a problem: what every library is given."""

    problem: Problem
    model: Model
    rate: float
    threads: int
    backend: str = "cpu"

    @functools.cached_property
    def network(self) -> LinearNetwork:
        """Where it starts: nets of every depth at the same linear map."""
        return Start().network(self.problem.lp, self.model)

    @property
    def optimizer(self) -> Optimizer:
        """At the task's learning rate."""
        return self.model.at(self.rate)

    @property
    def descent(self) -> Descent:
        """The same, as the peers of a step are given it."""
        lp, network = self.problem.lp, self.network
        return Descent(
            lp.X, lp.Y, lp.p, network.widths, network.params, self.rate,
            lp.form(), self.threads,
        )  # fmt: skip

    def at(self, rate: float) -> "Task":
        """The same at another learning rate."""
        return replace(self, rate=rate)

    def distance(self, params: np.ndarray) -> float:
        """The distance of flat parameters from the optimum."""
        if not np.isfinite(params).all():
            raise DivergedError
        W = suffix_products(self.descent.factors(params))[0]
        distance = self.problem.distance(W)
        if not np.isfinite(distance):
            raise DivergedError
        return distance


def method_of(task: Task, steps: int) -> str:
    """The method by which ``train`` makes so many steps."""
    asked_for = limits(steps, record_every=None, tol=0.0, target=None)
    (method,) = methods_of(task.problem.lp, [(task.network, task.optimizer)], asked_for)
    return method


def ours(task: Task, method: str | None = None) -> Fresh:
    """Our loop; what it computes beforehand is on the clock: at p = 2, X'X or a decomposition."""
    lp = task.problem.lp
    data: tuple[Any, Any] = lp.X, lp.Y
    if task.backend == "cuda":
        cupy = importlib.import_module("cupy")
        data = cupy.asarray(lp.X), cupy.asarray(lp.Y)
    problem = LpProblem(*data, p=lp.p)
    return functools.partial(_our_run, task, task.backend, problem, method or lp.form())


def reference(task: Task) -> Stepper:
    """The same by the plain NumPy backend: every library's first steps are held to it."""
    lp = task.problem.lp
    return _our_run(task, "reference", lp, lp.form())


def _our_run(task: Task, backend: str, problem: LpProblem, method: str) -> Stepper:
    problem = copy.copy(problem)  # what it remembers of its data, it remembers for this run
    network = task.network
    models = [specs.ModelSpec(network.widths, network.params, task.optimizer.rule)]
    loop, _ = begin(problem, resolve(backend), [method], models, task.threads)

    def advance(steps: int) -> None:
        loop.advance(steps)
        if not len(loop.active):
            raise DivergedError

    return Stepper(advance, lambda: loop.params(0))


def torch(task: Task) -> Fresh:
    return torch_methods.prepare(
        task.descent, _with_peers(task), "cuda" if task.backend == "cuda" else "cpu"
    )


def jax(task: Task) -> Fresh:
    return jax_methods.prepare(
        task.descent, _with_peers(task), "gpu" if task.backend == "cuda" else "cpu"
    )


def _with_peers(task: Task) -> Optimizer:
    if isinstance(task.optimizer, EndToEnd):
        raise Gap("the end-to-end rule is in no other library")
    return task.optimizer


LIBRARIES: dict[str, Callable[[Task], Fresh]] = {OURS: ours, TORCH: torch, JAX: jax}
