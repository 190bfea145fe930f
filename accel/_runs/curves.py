"""Curves of what a run recorded, as papers draw them. Needs matplotlib."""

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from accel._core.optimizers import GradientDescent, Langevin, Momentum, Nesterov, Optimizer
from accel._runs.history import History
from accel._support import validation
from accel._support.arrays import Array
from accel.schedules.schedule import Constant, Product, Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["axes_of", "draw", "is_linear", "label_of", "named", "set_scales", "told", "values_of"]

#: On a linear axis; all else is drawn on a logarithmic one.
_LINEAR = ("effective_rank", "stable_rank", "alignment", "alignment_layers")
_DECADES = 1e6  # a rate that falls by more is on a linear axis, too, as one that is zero
_MANY = 10  # curves that are named one by one
_EARLY = 4  # half of log-spaced records are of the first part of so many of the run


def _limit(rule: Optimizer) -> tuple[float, str] | None:
    r"""The curvature above which a quadratic diverges, and its formula; None without such a limit.

    The constants of the rule are those at one step.
    Polyak (1964); for Nesterov's form Lessard, Recht, Packard (2016), arXiv 1408.3595.
    """
    rate, decay, mu, *_ = rule.rule.hyper
    if rate == 0 or decay:
        return None
    if isinstance(rule, GradientDescent | Langevin):
        return 2 / rate, r"$2/\eta$"
    if isinstance(rule, Momentum):
        return (2 + 2 * mu) / rate, r"$(2 + 2\mu)/\eta$"
    if isinstance(rule, Nesterov):
        limit = (2 + 2 * mu) / (1 + 2 * mu) / rate
        return limit, r"$(2 + 2\mu)/((1 + 2\mu)\,\eta)$"
    return None


def told(rate: float | Schedule) -> str:
    """A rate in a label: a number, or the names of schedules."""
    if isinstance(rate, Product):
        return " * ".join(map(told, rate.factors))
    if isinstance(rate, Constant):
        rate = rate.value
    return type(rate).__name__ if isinstance(rate, Schedule) else f"{rate:.3g}"


def label_of(rule: Optimizer, depth: int) -> str:
    """Name a run in a legend: the rule, its own depth or that of the network, its rate."""
    depth = getattr(rule, "depth", depth)
    return f"{rule.name}, depth {depth}, rate {told(rule.learning_rate)}"


def is_linear(what: str, values: Array) -> bool:
    """Whether what was recorded is drawn on a linear axis."""
    if what == "loss":
        return False
    if what == "rate":
        # A warm-up begins at zero; a cosine that ends near it is a cliff on a logarithmic axis.
        return bool((values <= np.maximum.accumulate(values) / _DECADES).any())
    return what in _LINEAR or bool((values < 0).any())


def _is_log_spaced(steps: Array) -> bool:
    """Whether half of the records after the first are of the first quarter of the run."""
    later = steps[steps > 0]
    return len(later) > 2 and float(np.median(later)) * _EARLY <= later[-1]


class _Minimum(Protocol):
    """What has the least loss, as an ``Optimum`` does."""

    @property
    def loss(self) -> float: ...


#: The least loss, or what has it.
Least = float | _Minimum


def loss_of(optimum: Least) -> float:
    """The loss of an ``Optimum``, or what is a loss itself."""
    return validation.real("optimum", getattr(optimum, "loss", optimum))


def values_of(history: History, what: object, optimum: float) -> Array:
    """What was recorded under a name, (m,) or (m, r); of the loss its distance from the optimum."""
    if not isinstance(what, str):
        raise TypeError(f"what must be a name, got {validation.shown(what)}")
    try:
        values: Array = history[what]
    except KeyError as error:
        raise ValueError(f"what cannot be drawn: {error.args[0]}") from None
    if values.ndim > 2:
        raise ValueError(f"what must name numbers or vectors, {what} are arrays of more dimensions")
    return values - optimum if what == "loss" else values


def axes_of(ax: "Axes | None", install: str, width: float | None = None) -> "Axes":
    """The axes that are given, or those of a new figure, of so many inches."""
    if ax is not None:
        if not hasattr(ax, "plot"):
            raise TypeError(
                f"ax must be axes of matplotlib, got {validation.shown(ax)}: what to draw is named "
                "by what=, as in plot(what='loss')"
            )
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f"plot() needs matplotlib: {install}") from error
    figure, ax = plt.subplots(layout="constrained")
    if width is not None:
        figure.set_figwidth(width)
    return ax


def named(what: str, optimum: float) -> str:
    """The label of the axis of what was recorded."""
    return "distance from the optimum" if what == "loss" and optimum else what.replace("_", " ")


def set_scales(ax: "Axes", steps: Array, logarithmic: bool) -> None:
    """Make the axis of values logarithmic, if it is to be, and that of log-spaced steps."""
    if logarithmic:
        ax.set_yscale("log")
    if _is_log_spaced(steps):
        # Logarithmic from step 1 on, with room for step 0.
        ax.set_xscale("symlog", linthresh=1, linscale=0.3, subs=range(2, 10))
        ax.set_xlim(-0.3, 1.3 * float(ax.dataLim.x1))


def draw(
    ax: "Axes | None",
    history: History,
    rule: Optimizer,
    what: str,
    optimum: Least,
    style: dict[str, Any],
    install: str,
) -> "Axes":
    """Draw one thing that was recorded against the step; see ``Result.plot``."""
    optimum = loss_of(optimum)
    values = values_of(history, what, optimum)
    ax = axes_of(ax, install)
    logarithmic = not is_linear(what, values)
    if logarithmic:
        values = np.where(values > 0, values, np.nan)
    if values.ndim == 2 and isinstance(label := style["label"], str):
        several = [f"{label}, {i + 1}" for i in range(values.shape[1])]
        style["label"] = several if len(several) <= _MANY else [label, *["_"] * (len(several) - 1)]
    (line, *_) = ax.plot(history.step, values, **style)
    set_scales(ax, history.step, logarithmic)
    ax.set_xlabel("iteration")
    ax.set_ylabel(named(what, optimum))
    limits = [_limit(rule.at(int(step))) for step in history.step] if what == "sharpness" else []
    if formulas := [limit[1] for limit in limits if limit is not None]:
        known = formulas[0] in ax.get_legend_handles_labels()[1]
        dashed: dict[str, Any] = {
            "color": line.get_color(), "linestyle": "--", "linewidth": 1,
            "label": "_" if known else formulas[0],
        }  # fmt: skip
        heights = [math.nan if limit is None else limit[0] for limit in limits]
        if len(set(heights)) == 1:
            ax.axhline(heights[0], **dashed)
        else:
            ax.plot(history.step, heights, **dashed)
    return ax
