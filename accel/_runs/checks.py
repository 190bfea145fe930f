"""Arguments that all runs share, and their checks: limits, options, models, callbacks."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from accel._core.base import BaseProblem, checked_problem
from accel._core.matrix_problems import MatrixProblem
from accel._core.network import Network
from accel._core.optimizers import EndToEnd, Optimizer
from accel._runs import intervals
from accel._runs.checkpoints import Place, place
from accel._support import validation
from accel._support.arrays import Array
from accel.kernels.specs import Batches, Entrywise
from accel.recording.naming import quantities
from accel.recording.quantity import Quantity

_RECORDS = 1000

#: ``callback(step, losses)``: the newest losses known, nan for models that have ended.
Callback = Callable[[int, Array], object]

#: What ``record`` may hold, or one such thing by itself.
Recorded = str | Quantity | Callable[[int, Network], Any]
Record = Sequence[Recorded] | Recorded | None


@dataclass(frozen=True)
class RunOptions:
    """Options that all kinds of runs share; all have been checked but ``backend`` and ``threads``.

    Attributes
    ----------
    callback : callable, optional
    progress : bool
        Whether to show how far the run is on stderr.
    backend : str
    threads : int, optional
    checkpoint : Place, optional
    record : tuple of Quantity
        What to record beside loss and norms.
    batches : Batches, optional
        The rows and labels of each step, if it has not all as they are.
    name : str
        Of a run that is one of several, for its progress.
    kept : bool
        Whether results keep what a run needs that goes on from them.
    """

    callback: Callback | None = None
    progress: bool = False
    backend: str = "auto"
    threads: int | None = None
    checkpoint: Place | None = None
    record: tuple[Quantity, ...] = ()
    batches: Batches | None = None
    name: str = ""
    kept: bool = True


@dataclass(frozen=True)
class Limits:
    """When a run records its iterates, and when it ends; the values have been checked.

    Attributes
    ----------
    steps : int
    record_every : int, tuple of int or "log"
        Steps between two records, the steps to record, or log-spaced ones; see ``intervals``.
    tol, target : float
    rungs : tuple of (int, int)
        Pairs (step, models), ascending: at that step so many models stay, those of the lowest loss.
    usual : bool
        Whether ``record_every`` was left to us: a run that goes on keeps the one that it has.
    """

    steps: int
    record_every: intervals.Checked
    tol: float
    target: float
    rungs: tuple[tuple[int, int], ...] = ()
    usual: bool = False


def checked_steps(steps: Any) -> int:
    """Check a number of updates to make."""
    return validation.count("steps", steps, least=1, most=intervals.MOST_STEPS)


def limits(
    steps: float | None,
    record_every: intervals.RecordEvery,
    tol: float,
    target: float | None,
    epoch: int = 1,
) -> Limits:
    """Check these arguments of ``train`` and ``sweep``, and fill in their defaults.

    By default there is at most one record in an ``epoch`` of so many steps.
    """
    steps = checked_steps(steps)
    usual = record_every is None
    if record_every is None:
        record_every = max(-(-steps // _RECORDS), epoch)
    wanted = intervals.checked(record_every)
    tol = validation.real("tol", tol, least=0)
    goal = -math.inf if target is None else validation.real("target", target)
    return Limits(steps, wanted, tol, goal, usual=usual)


def options(
    callback: Any,
    progress: object,
    backend: str,
    threads: int | None,
    checkpoint: Any,
    checkpoint_every: Any,
    record: Any = None,
    held_out: Any = None,
    batches: Batches | None = None,
) -> RunOptions:
    """Check the options that ``train`` and ``sweep`` were given."""
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, got {validation.shown(callback)}")
    progress = validation.flag("progress", progress)
    where, recorded = place(checkpoint, checkpoint_every), quantities(record, held_out)
    return RunOptions(callback, progress, backend, threads, where, recorded, batches)


def check_is_optimizer(optimizer: object) -> None:
    """Raise TypeError for what is no optimiser."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"optimizer must be of type Optimizer, got {validation.shown(optimizer)}: give a rule "
            "with its rate, such as accel.Adam(0.001)"
        )


def check_is_network(network: object) -> None:
    """Raise TypeError for what is no network."""
    if not isinstance(network, Network):
        raise TypeError(
            "network must be of type LinearNetwork or DiagonalNetwork, "
            f"got {validation.shown(network)}"
        )


def check_network(problem: BaseProblem, network: Network) -> None:
    """Check the types of a problem and a network, and that the shapes and dtypes of the two fit."""
    checked_problem(problem)
    check_is_network(network)
    if (network.widths[0], network.widths[-1]) != (problem.d, problem.k):
        raise ValueError(
            f"network must map d = {problem.d} features to k = {problem.k} outputs, "
            f"got widths {network.widths}"
        )
    if isinstance(network.structure, Entrywise) and isinstance(problem, MatrixProblem):
        raise ValueError(
            f"a {type(problem).__name__} is for a product of matrices, got {network!r}"
        )
    if network.dtype != problem.dtype:
        raise TypeError(
            f"network and problem must have one dtype, got {network.dtype} and {problem.dtype}"
        )


def check_model(problem: BaseProblem, network: Network, optimizer: Optimizer) -> None:
    """Check the types of problem, network and optimizer, and that they fit together."""
    checked_problem(problem)
    check_is_network(network)
    check_is_optimizer(optimizer)
    check_network(problem, network)
    if isinstance(optimizer, EndToEnd) and isinstance(network.structure, Entrywise):
        raise ValueError(
            "EndToEnd is the rule of products of matrices, not of a diagonal network, got "
            f"{network!r}"
        )
    if isinstance(optimizer, EndToEnd) and network.depth != 1:
        raise ValueError(
            f"EndToEnd needs a network of depth 1, got depth {network.depth}: its own depth "
            f"({optimizer.depth}) is that of the net it stands for"
        )
