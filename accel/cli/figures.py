"""The figures of a run and of a comparison."""

import math
from typing import TYPE_CHECKING

from accel._optimum.optimum import Optimum
from accel._reports.figures import blank_figure, grid_figure
from accel._runs.results import Result
from accel.tuning import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["comparison_figure", "result_figure"]


def result_figure(result: Result, best: Optimum | None, title: str) -> "Figure":
    """Draw the distance from the optimum of one run against its steps, and what it recorded."""
    recorded = [name for name, values in result.history.recorded.items() if values.ndim <= 2]
    figure, axes = grid_figure(1 + len(recorded))
    for ax, name in zip(axes, ["loss", *recorded], strict=True):
        result.plot(ax, 0.0 if best is None else best.loss, name)
        ax.grid(alpha=0.3)
        if name == "sharpness":  # the limit of stability has a name
            ax.legend()
    figure.suptitle(title, parse_math=False)
    return figure


def _lowest(comparison: Comparison, floor: float) -> float | None:
    """The lower limit of the axis of distances; None where matplotlib shall choose.

    A hundredth of the least distance that the first model's optimiser ends at, so that models that
    end far below it, and leave the figure, do not flatten its curves.
    """
    name = comparison.models[0].model.optimizer
    ends = [t.distance for t in comparison.models if t.model.optimizer == name]
    ends = [end for end in ends if floor < end < math.inf]
    return min(ends) / 100 if ends else None


def comparison_figure(comparison: Comparison, title: str, floor: float) -> "Figure":
    """Draw the distance from the optimum of every model against steps and against seconds.

    Parameters
    ----------
    comparison : Comparison
    title : str
    floor : float
        The rounding error of a distance: the curve ends where distances are no larger.

    Returns
    -------
    matplotlib figure
    """
    figure, axes = blank_figure(2)
    figure.suptitle(title, parse_math=False)
    longest = max((t.result.seconds for t in comparison.models), default=0.0)
    unit, factor = ("s", 1.0) if longest >= 1 else ("ms", 1e3)
    optimizers = list(dict.fromkeys(tuned.model.optimizer for tuned in comparison.models))
    depths = sorted({tuned.model.depth for tuned in comparison.models})
    for tuned in comparison.models:
        history, distance = tuned.result.history, comparison.distances(tuned)
        distance[distance <= floor] = math.nan
        style = {
            "color": f"C{depths.index(tuned.model.depth) % 10}",
            "linestyle": ("-", "--", ":", "-.")[optimizers.index(tuned.model.optimizer) % 4],
            "label": f"{tuned.model}, rate {tuned.rate:.3g}",
        }
        axes[0].plot(history.step, distance, **style)
        axes[1].plot(factor * history.seconds, distance, **style)
    if not math.isnan(comparison.target):
        for ax in axes:
            ax.axhline(comparison.target, color="0.6", linewidth=0.8, zorder=0)
    axes[0].set_yscale("log")
    axes[0].set_ylim(bottom=_lowest(comparison, floor))
    axes[0].set_xlabel("iteration")
    axes[0].set_ylabel("distance from the optimum")
    axes[1].set_xlabel(f"training time ({unit})")
    for ax in axes:
        ax.grid(alpha=0.3)
    axes[0].legend(fontsize="small")
    return figure
