"""The figures of a run and of a comparison."""

import math
import textwrap
from typing import TYPE_CHECKING

from accel._optimum.optimum import Optimum
from accel._reports.figures import LEGEND_LINE, blank_figure, grid_figure, limit_above
from accel._runs.results import Result
from accel._runs.styles import Drawn, line_styles
from accel.cli.tables import verdict
from accel.tuning import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["comparison_figure", "result_figure"]

_COLUMNS = 3  # of the legend of a comparison
_WIDTH = 120  # characters of a line of its title


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

    A hundredth of the least distance that the first model's optimiser ends at, where models end
    farther below it: they leave the figure, so as not to flatten its curves.
    """
    name = comparison.models[0].model.optimizer
    own, others = (
        [t.distance for t in comparison.models if (t.model.optimizer == name) == same]
        for same in (True, False)
    )
    ends = [end for end in own if floor < end < math.inf]
    least = min(ends) / 100 if ends else 0.0
    return least if any(end < least for end in others) else None


def _target(comparison: Comparison) -> str:
    """Say what the line at the target is."""
    first, target = comparison.models[0], comparison.target
    ends = math.isfinite(first.distance) and math.isclose(first.distance, target, rel_tol=1e-12)
    return f"{target:.2e}: {f'where {first.model} ends' if ends else 'the target'}"


def comparison_figure(comparison: Comparison, title: str, floor: float) -> "Figure":
    """Draw the distance from the optimum of every model against steps and against seconds.

    Parameters
    ----------
    comparison : Comparison
    title : str
        Of the data. Above it stands what came out, in a sentence.
    floor : float
        The rounding error of a distance: the curve ends where distances are no larger.

    Returns
    -------
    matplotlib figure
    """
    models = comparison.models
    aimed = comparison.target > floor  # else, or nan, there is no line of it
    entries = len(models) + aimed
    figure, axes = blank_figure(2, entries=-(-entries // _COLUMNS) + 1)
    sentence = "\n".join(textwrap.wrap(verdict(comparison), _WIDTH))
    above = "\n".join(filter(None, (sentence, title)))
    figure.suptitle(above, parse_math=False, fontsize="medium")
    longest = max((t.result.seconds for t in models), default=0.0)
    unit, factor = ("s", 1.0) if longest >= 1 else ("ms", 1e3)
    styles = line_styles([Drawn(t.model.optimizer, t.model.depth) for t in models])
    curves = []
    for tuned, style in zip(models, styles, strict=True):
        history, distance = tuned.result.history, comparison.distances(tuned)
        distance[distance <= floor] = math.nan
        style["label"] = f"{tuned.model}, rate {tuned.rate:.3g}"
        axes[0].plot(history.step, distance, **style)
        axes[1].plot(factor * history.seconds, distance, **style)
        curves.append(distance)
    if aimed:
        for ax in axes:
            ax.axhline(
                comparison.target, color="0.5", linewidth=1, zorder=0, label=_target(comparison)
            )
    axes[0].set_yscale("log")
    limit_above(axes[0], curves)
    axes[0].set_ylim(bottom=_lowest(comparison, floor))
    axes[0].set_xlabel("iteration")
    axes[0].set_ylabel("distance from the optimum")
    of = f", median of {comparison.repeats} runs" if comparison.repeats > 1 else ""
    axes[1].set_xlabel(f"training time ({unit}{of})")
    for ax in axes:
        ax.grid(alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(_COLUMNS, entries),
        fontsize="small", handlelength=LEGEND_LINE,
    )  # fmt: skip
    return figure
