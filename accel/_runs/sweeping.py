"""``sweep``: many models on one problem, which share the passes over the data."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from accel._core.base import BaseProblem
from accel._core.network import Network
from accel._core.optimizers import Optimizer
from accel._runs import checkpoints, checks, continuing, driver
from accel._runs.batching import Noise, batches_of, epoch_of
from accel._runs.checks import Callback, Record
from accel._runs.curves import Least
from accel._runs.ends import End, State
from accel._runs.intervals import RecordEvery
from accel._runs.pictures import draw_models
from accel._runs.results import INSTALL, Result, table
from accel._support import showing, validation
from accel._support.keywords import helpful
from accel.schedules.schedule import Schedule

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["Sweep", "sweep"]


def _rate(optimizer: Optimizer) -> float | str:
    rate = optimizer.learning_rate
    return repr(rate) if isinstance(rate, Schedule) else rate


def _model(result: Result) -> dict[str, Any]:
    """What tables say of a model."""
    return {
        "optimizer": result.optimizer.name,
        "learning_rate": _rate(result.optimizer),
        "depth": getattr(result.optimizer, "depth", result.network.depth),
        "widths": result.network.widths,
    }


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

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the end of the sweep in one piece, so that a copy can go on as the sweep can."""
        try:
            end = _end_of(self).portable()
        except ValueError:  # not as sweep returned it: each result takes its own along
            return Sweep, (self.results, self.status, self.seconds)
        bare = tuple(replace(result, _state=None) for result in self.results)
        return _revived, (bare, self.status, self.seconds, end)

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
        still = sum(result.at_saddle for result in self.results)
        if still:
            told += f" ({still} at a saddle)"
        return f"Sweep(status={self.status!r}, models: {told}, seconds={self.seconds:.3g})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: with pandas the table, one row a model."""
        return showing.summary(self)

    @property
    def best(self) -> Result:
        """The result with the lowest loss among those that did not diverge, if there are any."""
        return min(self.results, key=lambda r: (r.status == "diverged", r.loss))

    def to_pandas(self, long: bool = False) -> "pd.DataFrame":
        """Return a table with one row a model, or one row a record.

        Parameters
        ----------
        long : bool
            A row for every record of every model: the model's ``number`` in the sweep, optimizer,
            learning rate, depth and widths, then the columns of ``History.columns``. NaN stands for
            what was not recorded of a model.

        Returns
        -------
        pandas.DataFrame
            A schedule is there as its ``repr``.

        Raises
        ------
        TypeError
            If ``long`` is neither True nor False.
        ImportError
            If pandas is not installed.
        """
        if validation.flag("long", long):
            return self._records()
        rows: list[dict[str, Any]] = [
            {
                **_model(result),
                "status": result.status,
                "steps": result.steps,
                "diverged_at": result.diverged_at,
                "loss": result.loss,
                "seconds": result.seconds,
            }
            for result in self.results
        ]
        return table(rows)

    def _records(self) -> "pd.DataFrame":
        """One row a record."""
        frames = []
        for number, result in enumerate(self.results):
            model: dict[str, Any] = {"number": number, **_model(result)}
            columns = result.history.columns()
            own = {f"{k}_" if k in model else k: column for k, column in columns.items()}
            length = len(result.history)
            frames.append(table({**{k: [v] * length for k, v in model.items()}, **own}))
        import pandas as pd

        return pd.concat(frames, ignore_index=True)

    def plot(
        self,
        ax: "Axes | None" = None,
        optimum: Least = 0.0,
        what: str = "loss",
        **style: Any,
    ) -> "Axes":
        """Draw the curve of every model, as ``Result.plot`` draws one.

        Models that differ by their rates only have colours along a bar if there are more than six.
        Others are listed beside the axes by what they differ in. A cross marks where a model
        diverged; what rises far above all that survived leaves the picture.

        Parameters
        ----------
        ax : matplotlib axes, optional
            A new figure by default.
        optimum : float or Optimum
            The least loss; records at or below it are left out.
        what : str
            A name in ``history``, see ``Result.plot``. Models of which it was not recorded, as the
            rate of those without a schedule, are left out.
        **style
            Passed to ``ax.plot`` for every curve. A ``label`` is for all of them together.

        Returns
        -------
        matplotlib axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError, ValueError
            If nothing of that name was recorded, or matrices.
        """
        return draw_models(ax, self.results, what, optimum, style, INSTALL)


def _revived(
    results: tuple[Result, ...],
    status: Literal["completed", "interrupted"],
    seconds: float,
    end: End | None,
) -> Sweep:
    """Return a sweep from what ``Sweep.__reduce__`` made of it."""
    if end is not None:
        results = tuple(replace(each, _state=State(end, m)) for m, each in enumerate(results))
    return Sweep(results, status, seconds)


@helpful
def sweep(
    problem: BaseProblem,
    models: Sequence[tuple[Network, Optimizer]] | None = None,
    steps: float | None = None,
    *,
    start: Sweep | None = None,
    batch_size: int | None = None,
    shuffle: str = "epoch",
    seed: int = 0,
    label_noise: Noise = None,
    record: Record = None,
    validation: BaseProblem | None = None,
    record_every: RecordEvery = None,
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
    or small data without batches, label noise and Gram matrix they are those of ``train``, and so
    are those of a sweep of one model. Each takes the method, see ``Problem``, that it would take
    alone.

    Parameters
    ----------
    problem : Problem, DaskProblem, MatrixCompletion, MatrixFactorization or MatrixSensing
    models : sequence of (network, Optimizer)
        At least one; not modified. May be left out with ``start``.
    steps : int, or a float without a fraction, such as 1e6
        Updates to make in this call, at least 1.
    start : Sweep, optional
        Go on with this sweep, as ``train`` does with a result: bit for bit as one sweep of all
        steps. Models that have ended, at ``target`` or ``tol`` too, stay as they are; ``train``
        goes on with one of them by itself.
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
        if the checkpoint is damaged or belongs to another sweep, or if ``start`` is another one.
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
    end: End | None = None
    if start is None:
        models = checked_models(problem, models)
        batches = batches_of(problem, batch_size, shuffle, seed, label_noise)
    else:
        end = _end_of(start)
        models = checked_models(problem, _models_to_go_on(start, end, models))
        batches = continuing.batches_to_go_on(end, problem, batch_size, shuffle, seed, label_noise)
        record, validation = continuing.record_to_go_on(end, record, validation), None
        steps = end.step + checks.checked_steps(steps)
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
    results, seconds = driver.run_models(problem, models, limits, options, start=end)
    interrupted = any(result.status == "interrupted" for result in results)
    return Sweep(tuple(results), "interrupted" if interrupted else "completed", seconds)


def _end_of(start: Any) -> End:
    """The end of a sweep, all of whose results have it.

    Raises
    ------
    TypeError
        If it is no ``Sweep``.
    ValueError
        If its results are not those of one sweep.
    """
    if not isinstance(start, Sweep):
        raise TypeError(f"start must be of type Sweep, got {validation.shown(start)}")
    states = [result._state for result in start.results]
    if not states or states[0] is None:
        raise continuing.stateless()
    end = states[0].end
    together = all(s is not None and s.end is end and s.place == m for m, s in enumerate(states))
    if not together or len(states) != len(end.models):
        raise ValueError(
            f"start must be as sweep returned it, got {validation.shown(start)} with results that "
            "were not made together: train goes on with each by itself"
        )
    return end


def _models_to_go_on(start: Sweep, end: End, models: Any) -> Sequence[tuple[Network, Optimizer]]:
    """The models of a sweep as they began; those that are given, if any, must be these."""
    if models is None:
        return end.models
    listed = validation.members("models", models, "(network, optimizer)")
    if len(listed) != len(end.models):
        raise ValueError(
            f"models must be left out with start, or be its {len(end.models)}, got {len(listed)}"
        )
    for m, model in enumerate(listed):
        network, optimizer = _pair(m, model)
        try:
            continuing.model_to_go_on(start[m], end, network, optimizer, m=m)
        except (TypeError, ValueError) as error:
            raise type(error)(f"models[{m}]: {error}") from None
    return end.models


def _pair(place: int, model: Any) -> tuple[Any, Any]:
    """A network and an optimiser."""
    try:
        network, optimizer = model
    except (TypeError, ValueError):
        raise TypeError(
            f"models[{place}] must be a pair (network, optimizer), got {validation.shown(model)}"
        ) from None
    return network, optimizer


def checked_models(problem: BaseProblem, models: Any) -> list[tuple[Network, Optimizer]]:
    """Check that all models are pairs (network, optimizer) that fit the problem."""
    listed = validation.members("models", models, "(network, optimizer)")
    for place, model in enumerate(listed):
        network, optimizer = _pair(place, model)
        try:
            checks.check_model(problem, network, optimizer)
        except (TypeError, ValueError) as error:
            raise type(error)(f"models[{place}]: {error}") from None
    return listed
