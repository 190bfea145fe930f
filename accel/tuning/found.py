"""What ``grid_search`` returns: the runs of all rates, and their scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from accel._core.optimizers import Optimizer
from accel._runs.curves import Least
from accel._runs.pictures import draw_losses
from accel._runs.results import INSTALL, Result
from accel._runs.sweeping import Sweep
from accel._support import showing
from accel._support.arrays import Array
from accel.schedules.schedule import Product, range_of
from accel.tuning.trials import Score

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["GridSearch", "rate_of", "score"]


def rate_of(optimizer: Optimizer) -> float:
    """The rate that a search has set."""
    rate = optimizer.learning_rate
    return range_of(rate.factors[0] if isinstance(rate, Product) else rate)[0]


@dataclass(frozen=True, eq=False)
class GridSearch:
    """What ``grid_search`` returns.

    Attributes
    ----------
    runs : tuple of tuple of Result
        One a rate, ascending; of each a result a seed, in the order of the seeds. Where Ctrl-C
        ended the search, the last rates may lack seeds.
    learning_rate : float
        The best one, or what the schedule of the optimiser is best multiplied by.
    at_edge : bool
        Whether no rate beyond the best one was tried on one of its sides: a better one may lie
        there.
    seconds : float
        Time spent on training, without compilation.
    interrupted : bool
        Whether Ctrl-C ended the search.
    """

    runs: tuple[tuple[Result, ...], ...]
    learning_rate: float
    at_edge: bool
    seconds: float
    interrupted: bool

    @property
    def results(self) -> tuple[Result, ...]:
        """The results of the first seed, one a rate: the runs that ``train`` makes with it."""
        return tuple(first for first, *_ in self.runs)

    @property
    def best(self) -> Result:
        """The result of the best rate with the first seed."""
        return self._best[0]

    @property
    def _best(self) -> tuple[Result, ...]:
        return next(runs for runs in self.runs if rate_of(runs[0].optimizer) == self.learning_rate)

    @property
    def seeds(self) -> int:
        """How many seeds a rate was run with."""
        return max(map(len, self.runs))

    @property
    def learning_rates(self) -> Array:
        """The rates that were tried, (rates,), ascending; of a schedule what multiplies it."""
        return np.array([rate_of(result.optimizer) for result in self.results])

    @property
    def losses(self) -> Array:
        """The loss at the end of every run, (rates, seeds).

        inf for a run that diverged; nan for one that was not made, after Ctrl-C.
        """
        losses = np.full((len(self.runs), self.seeds), math.nan)
        for row, runs in zip(losses, self.runs, strict=True):
            row[: len(runs)] = [math.inf if r.status == "diverged" else r.loss for r in runs]
        return losses

    @property
    def loss_mean(self) -> Array:
        """The mean of the losses over the seeds, (rates,): inf if one of the runs diverged."""
        return np.array([_mean(row[~np.isnan(row)]) for row in self.losses])

    @property
    def loss_std(self) -> Array:
        """The sample standard deviation of the losses over the seeds, (rates,).

        With the divisor seeds - 1: nan for one seed, and where one of the runs diverged.
        """
        return np.array([_std(row[~np.isnan(row)]) for row in self.losses])

    def __repr__(self) -> str:
        runs = self._best
        if self.seeds == 1:
            told = f"steps={self.best.steps}, loss={self.best.loss:.6g}"
        else:
            place = self.runs.index(runs)
            told = (
                f"steps_mean={_mean([result.steps for result in runs]):.6g}, "
                f"loss_mean={self.loss_mean[place]:.6g}, loss_std={self.loss_std[place]:.2g}, "
                f"seeds={self.seeds}"
            )
        return (
            f"GridSearch(learning_rate={self.learning_rate:.4g}, status={_status(runs)!r}, {told}, "
            f"rates={len(self.runs)}, at_edge={self.at_edge})"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: with pandas the table, one row a rate."""
        return showing.summary(self)

    def to_pandas(self) -> "pd.DataFrame":
        """Return a table with one row a rate, as ``Sweep.to_pandas`` does.

        With several seeds it is that of the first seed, but ``status`` names all that occurred, and
        there are columns ``seeds``, ``steps_mean``, ``loss_mean`` and ``loss_std`` at the end.
        """
        frame = Sweep(self.results, "completed", self.seconds).to_pandas()
        frame["learning_rate"] = self.learning_rates
        if self.seeds > 1:
            frame["status"] = [_status(runs) for runs in self.runs]
            frame["seeds"] = [len(runs) for runs in self.runs]
            frame["steps_mean"] = [_mean([result.steps for result in runs]) for runs in self.runs]
            frame["loss_mean"], frame["loss_std"] = self.loss_mean, self.loss_std
        return frame

    def plot(self, ax: "Axes | None" = None, optimum: Least = 0.0, **style: Any) -> "Axes":
        """Draw the loss at the end against the learning rate.

        With several seeds the line is that of the means, and every run is a dot. A star marks the
        best rate, crosses at the top are rates that diverged, rings those that a search with
        ``halving`` gave up, at the loss that they had then.

        Parameters
        ----------
        ax : matplotlib axes, optional
            A new figure by default.
        optimum : float or Optimum
            Of the loss; what is at or below it is left out.
        **style
            Passed to ``ax.plot`` for the line.

        Returns
        -------
        matplotlib axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return draw_losses(
            ax, self.learning_rates, self.losses, self.runs, self.learning_rate, optimum, style,
            INSTALL,
        )  # fmt: skip


def _mean(values: Any) -> float:
    with np.errstate(over="ignore"):
        return float(np.mean(values))


def _std(values: Array) -> float:
    if len(values) < 2 or not np.isfinite(values).all():
        return math.nan
    with np.errstate(over="ignore"):
        return float(np.std(values, ddof=1))


def _status(runs: Sequence[Result]) -> str:
    """The status of some runs, or all that occur."""
    return ", ".join(sorted({result.status for result in runs}))


def score(*runs: Result) -> Score:
    """Sort key of the runs of a rate, one or one a seed; lower is better.

    The mean of the steps to the target if all reached it, else of the losses; dropped runs come
    after others, and if one diverged none counts. Of equal ones the lowest rate is the best.
    """
    kind = max(map(_kind, runs))
    if math.isinf(kind):
        return kind, 0.0
    return kind, _mean([result.loss if kind else result.steps for result in runs])


def _kind(result: Result) -> float:
    kinds = {"target": 0, "converged": 0, "dropped": 2, "diverged": math.inf}
    return kinds.get(result.status, 1)
