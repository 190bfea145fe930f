"""``sweep``: many models on one problem, which share the passes over the data."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from accel._core.base import BaseProblem
from accel._core.network import Network
from accel._core.optimizers import Optimizer
from accel._runs import checkpoints, checks, driver, notebooks
from accel._runs.batching import Noise, batches_of, epoch_of
from accel._runs.checks import Callback, Record
from accel._runs.results import Result, table
from accel._support import validation
from accel.schedules.schedule import Schedule

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Sweep", "sweep"]


def _rate(optimizer: Optimizer) -> float | str:
    rate = optimizer.learning_rate
    return repr(rate) if isinstance(rate, Schedule) else rate


@dataclass(frozen=True, eq=False)
class Sweep:
    """The outcome of ``sweep``; a sequence of its results.

    Attributes
    ----------
    results : tuple of Result
        One a model, in the order of the models.
    status : {"completed", "interrupted"}
        Interrupted: stopped by Ctrl-C or by the callback.
    seconds : float
        Time spent on training all of them, without compilation. A result's own ``seconds`` is the
        time until that model ended.
    """

    results: tuple[Result, ...]
    status: Literal["completed", "interrupted"]
    seconds: float

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Result:
        return self.results[index]

    def __repr__(self) -> str:
        counts: dict[str, int] = {}
        for result in self.results:
            counts[result.status] = counts.get(result.status, 0) + 1
        told = ", ".join(f"{count} {status}" for status, count in counts.items())
        return f"Sweep(status={self.status!r}, models: {told}, seconds={self.seconds:.3g})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: with pandas the table, one row a model."""
        return notebooks.summary(self)

    @property
    def best(self) -> Result:
        """The result with the lowest loss among those that did not diverge, if there are any."""
        return min(self.results, key=lambda r: (r.status == "diverged", r.loss))

    def to_pandas(self) -> "pd.DataFrame":
        """Return a table with one row a model; a schedule is there as its ``repr``.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        rows: list[dict[str, Any]] = [
            {
                "optimizer": result.optimizer.name,
                "learning_rate": _rate(result.optimizer),
                "depth": getattr(result.optimizer, "depth", result.network.depth),
                "widths": result.network.widths,
                "status": result.status,
                "steps": result.steps,
                "diverged_at": result.diverged_at,
                "loss": result.loss,
                "seconds": result.seconds,
            }
            for result in self.results
        ]
        return table(rows)


def sweep(
    problem: BaseProblem,
    models: Sequence[tuple[Network, Optimizer]],
    steps: float,
    *,
    batch_size: int | None = None,
    shuffle: str = "epoch",
    seed: int = 0,
    label_noise: Noise = None,
    record: Record = None,
    validation: BaseProblem | None = None,
    record_every: float | None = None,
    tol: float = 0.0,
    target: float | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    backend: str = "auto",
    threads: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = checkpoints.EVERY,
) -> Sweep:
    """Train many models on one problem side by side.

    A step reads the data once for all models: their residuals and gradients are two products with
    as many columns as there are models, tile by tile out of the cache. Models may differ in rate,
    optimiser, depth, widths and start. One that diverges, or reaches ``target`` or ``tol``, leaves
    and costs nothing any more. Each fares as in a run of its own by ``train``, but for rounding. On
    the CPU, with the same number of threads, its bits depend neither on the other models, of which
    there is at least one, nor on its place among them; with several outputs, the spectral method,
    or small data without batches and label noise they are those of ``train``, and so are those of a
    sweep of one model. Each takes the method, see ``Problem``, that it would take alone.

    Parameters
    ----------
    problem : Problem, DaskProblem, MatrixCompletion, MatrixFactorization or MatrixSensing
    models : sequence of (network, Optimizer)
        At least one; not modified.
    steps : int, or a float without a fraction, such as 1e6
        Updates to make, at least 1.
    batch_size, shuffle, seed, label_noise
        As for ``train``: a step has the same rows and labels for all models.
    record, validation, record_every, tol, target
        As for ``train``, for every model.
    callback : callable, optional
        ``callback(step, losses)``, called in the caller's thread about ten times a second with the
        newest losses known, (M,), nan for models that have ended. A true return value stops the
        sweep.
    progress : bool
        Show a progress bar, as ``train`` does, with the lowest loss.
    backend, threads, checkpoint, checkpoint_every
        As for ``train``.

    Returns
    -------
    Sweep
        Also after Ctrl-C: the work done so far.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, if a model does not fit the problem, or
        if the checkpoint is damaged or belongs to another sweep.
    OSError
        If the checkpoint cannot be read, or not be written at the start.
    MemoryError
        If the run would need more memory than the machine has.

    Examples
    --------
    >>> import accel
    >>> problem = accel.LpProblem([[1.0, 0.0], [0.0, 1.0]], [3.0, 1.0], p=4)
    >>> network = accel.LinearNetwork.for_problem(problem, depth=2, width=2, init="balanced")
    >>> rates = [0.001, 0.01, 10.0]
    >>> models = [(network, accel.GradientDescent(rate)) for rate in rates]
    >>> [result.status for result in accel.sweep(problem, models, steps=100)]
    ['completed', 'completed', 'diverged']
    """
    models = checked_models(problem, models)
    batches = batches_of(problem, batch_size, shuffle, seed, label_noise)
    limits = checks.limits(steps, record_every, tol, target, epoch_of(problem, batches))
    options = checks.options(
        callback,
        progress,
        backend,
        threads,
        checkpoint,
        checkpoint_every,
        record,
        validation,
        batches,
    )
    results, seconds = driver.run_models(problem, models, limits, options)
    interrupted = any(result.status == "interrupted" for result in results)
    return Sweep(tuple(results), "interrupted" if interrupted else "completed", seconds)


def checked_models(problem: BaseProblem, models: Any) -> list[tuple[Network, Optimizer]]:
    """Check that all models are pairs (network, optimizer) that fit the problem."""
    listed = validation.members("models", models, "(network, optimizer)")
    for place, model in enumerate(listed):
        try:
            network, optimizer = model
        except (TypeError, ValueError):
            raise TypeError(
                f"models[{place}] must be a pair (network, optimizer), "
                f"got {validation.shown(model)}"
            ) from None
        try:
            checks.check_model(problem, network, optimizer)
        except (TypeError, ValueError) as error:
            raise type(error)(f"models[{place}]: {error}") from None
    return listed
