"""Pictures of several runs: the curves of a sweep, the losses of a search. Needs matplotlib."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from accel._runs.curves import (
    Least,
    axes_of,
    is_linear,
    loss_of,
    named,
    set_scales,
    told,
    values_of,
)
from accel._runs.results import Result
from accel._support.arrays import Array
from accel.schedules.schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_losses", "draw_models"]

_LISTED = 6  # models that differ by their rates only are listed in a legend, more get a colour bar
_COLORS = 10  # curves with the colours that matplotlib gives by itself
_ROWS = 22  # of a column of a legend
_STYLES = ("-", "--", "-.", ":")
_MARGIN = 10.0  # how far above what survives a curve that diverges is drawn, as a factor


def _facts(result: Result) -> dict[str, str]:
    """What a legend may say of a model."""
    rule, network = result.optimizer, result.network
    hidden = {str(width) for width in network.widths[1:-1]}
    return {
        "optimizer": rule.name,
        "depth": f"depth {getattr(rule, 'depth', network.depth)}",
        "width": f"width {', '.join(sorted(hidden))}" if hidden else "",
        "rate": f"rate {told(rule.learning_rate)}",
    }


def _labels(results: Sequence[Result]) -> tuple[list[str], str]:
    """Name every model by what it differs in, and say what all have in common."""
    facts = [_facts(result) for result in results]
    values = {key: {fact[key] for fact in facts} - {""} for key in facts[0]}
    common = {key for key, told in values.items() if len(told) <= 1 and len(facts) > 1}
    labels = [", ".join(v for k, v in fact.items() if v and k not in common) for fact in facts]
    if len(set(labels)) < len(labels):  # they differ in something else, such as their starts
        labels = [f"{i}: {label}".removesuffix(": ") for i, label in enumerate(labels)]
    return labels, ", ".join(value for key in values if key in common for value in values[key])


def _rates(results: Sequence[Result]) -> list[float] | None:
    """The rate of every model, if they are different numbers above 0 and no rule differs else."""
    rates = [result.optimizer.learning_rate for result in results]
    numbers = [rate for rate in rates if not isinstance(rate, Schedule) and rate > 0]
    others = {
        (repr(replace(result.optimizer, learning_rate=1.0)), result.network.structure)
        for result in results
    }
    alone = len(set(numbers)) == len(results) and len(others) == 1
    return numbers if alone else None


def _limits(curves: Sequence[Array], results: Sequence[Result]) -> tuple[float, float] | None:
    """The least and the largest value to be seen, where some model diverged.

    What rises far above all that survived, and above the starts, leaves the picture: else the other
    curves could not be told apart.
    """
    if all(result.status != "diverged" for result in results):
        return None
    kept = [
        curve[:1] if result.status == "diverged" else curve
        for curve, result in zip(curves, results, strict=True)
    ]
    finite = np.concatenate([part[np.isfinite(part)] for part in kept])
    if not len(finite):
        return None
    top = _MARGIN * min(float(finite.max()), np.finfo(float).max / _MARGIN)
    low = min(float(np.nanmin(np.where(curve <= top, curve, top))) for curve in curves)
    return low / (top / low) ** 0.05, top


def draw_models(
    ax: "Axes | None",
    results: Sequence[Result],
    what: str,
    optimum: Least,
    style: dict[str, Any],
    install: str,
) -> "Axes":
    """Draw the curve of every model of a sweep; see ``Sweep.plot``."""
    drawn = [r for r in results if isinstance(what, str) and what in r.history.recorded]
    drawn = drawn or list(results)  # a rate is recorded where it follows a schedule
    optimum = loss_of(optimum)
    curves = [values_of(result.history, what, optimum) for result in drawn]
    labels, common = _labels(drawn)
    rates = _rates(drawn)
    bar = rates is not None and len(rates) > _LISTED and style.keys().isdisjoint({"color", "c"})
    columns = 0 if bar else -(-len(drawn) // _ROWS)
    size = 7 if columns > 1 else 8  # points
    ax = axes_of(ax, install, 6.4 + columns * (0.5 + max(map(len, labels)) * size / 115))
    logarithmic = not any(is_linear(what, curve) for curve in curves)
    if logarithmic:
        curves = [np.where(curve > 0, curve, math.nan) for curve in curves]
        if limits := _limits(curves, drawn):
            was = ax.get_ylim() if ax.has_data() else limits
            ax.set_yscale("log")
            ax.set_ylim(min(was[0], limits[0]), max(was[1], limits[1]))
    colors = _colors(len(drawn), rates if bar else None)
    for i, (result, curve) in enumerate(zip(drawn, curves, strict=True)):
        own: dict[str, Any] = {"color": colors[i]}
        if len(drawn) > _COLORS and not bar:
            own["linestyle"] = _STYLES[i % len(_STYLES)]
        lines = ax.plot(result.history.step, curve, **{**own, **style, "label": "_"})
        if "label" not in style and not bar:
            lines[0].set_label(labels[i])
        elif "label" in style and i == 0:
            lines[0].set_label(style["label"])
    longest = max((result.history.step for result in drawn), key=lambda steps: steps[-1])
    set_scales(ax, longest, logarithmic)
    crosses = _mark_diverged(ax, drawn, curves)
    ax.set_xlabel("iteration")
    ax.set_ylabel(named(what, optimum))
    if rates is not None and bar:
        _add_bar(ax, rates)
        ax.set_title(f"{common}; a cross: diverged" if crosses else common, fontsize="medium")
    elif crosses:
        crosses[0].set_label("diverged")
    if ax.get_legend_handles_labels()[1]:
        ax.legend(
            loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, title=common or None,
            alignment="left", ncols=max(columns, 1), fontsize=size, title_fontsize=size + 1,
            frameon=False,
        )  # fmt: skip
    return ax


def _colors(count: int, rates: Sequence[float] | None) -> list[Any]:
    """A colour for every curve: by its rate, or one of its own."""
    import matplotlib

    if rates is not None:
        scale = matplotlib.colormaps["viridis"]
        places = np.log(rates)
        span = max(places.max() - places.min(), 1e-300)
        return [scale(float(place)) for place in 0.95 * (places - places.min()) / span]
    if count <= _COLORS:
        return [f"C{i}" for i in range(count)]
    scale = matplotlib.colormaps["turbo"]
    return [scale(float(place)) for place in np.linspace(0.05, 0.95, count)]


def _add_bar(ax: "Axes", rates: Sequence[float]) -> None:
    """Put the colours of rates beside the axes."""
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm

    # The top of viridis is a yellow that cannot be seen on white.
    scale = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0, 0.95, 256)))
    shades = ScalarMappable(LogNorm(min(rates), max(rates)), scale)
    ax.figure.colorbar(shades, ax=ax, label="learning rate")


def _mark_diverged(ax: "Axes", results: Sequence[Result], curves: Sequence[Array]) -> list[Any]:
    """Put a cross where a curve ends, or leaves the picture, since the model diverged."""
    crosses: list[Any] = []
    for result, curve, line in zip(results, curves, _first_lines(ax, curves), strict=True):
        if result.status != "diverged":
            continue
        top = ax.get_ylim()[1]
        first = curve.reshape(len(curve), -1)[:, 0]
        (beyond,) = np.nonzero(~(first <= top))
        last = int(beyond[0]) if len(beyond) else len(first) - 1
        height = min(first[last], top) if math.isfinite(first[last]) else top
        crosses += ax.plot(
            result.history.step[last], height, "X", color=line.get_color(), markersize=7,
            markeredgecolor="white", clip_on=False, zorder=3, label="_",
        )  # fmt: skip
    return crosses


def _first_lines(ax: "Axes", curves: Sequence[Array]) -> list[Any]:
    """The first line of each of the curves that were drawn last."""
    counts = [curve.reshape(len(curve), -1).shape[1] for curve in curves]
    lines = list(ax.lines)[len(ax.lines) - sum(counts) :]
    return [lines[place] for place in np.cumsum([0, *counts[:-1]])]


def draw_losses(
    ax: "Axes | None",
    rates: Array,
    losses: Array,
    runs: Sequence[Sequence[Result]],
    best: float,
    optimum: Least,
    style: dict[str, Any],
    install: str,
) -> "Axes":
    """Draw the losses of a search, (rates, seeds), against the rate; see ``GridSearch.plot``."""
    ax = axes_of(ax, install)
    optimum = loss_of(optimum)
    heights = np.where(losses > optimum, losses - optimum, math.nan)  # also of a run not made
    ended = np.isfinite(heights)
    diverged = np.array([any(r.status == "diverged" for r in its) for its in runs])
    dropped = np.array([any(r.status == "dropped" for r in its) for its in runs])
    with np.errstate(over="ignore"):
        means = np.array([row[~np.isnan(row)].mean() - optimum for row in losses])
    means = np.where(diverged | ~(means > 0), math.nan, means)
    (line,) = ax.plot(rates, means, **{"marker": "o", "markersize": 4, "label": "_", **style})
    color = line.get_color()
    if losses.shape[1] > 1:
        places = np.repeat(rates, losses.shape[1]).reshape(losses.shape)[ended]
        ax.plot(places, heights[ended], ".", color=color, alpha=0.4, label="one seed")
    if dropped.any():
        ax.plot(
            rates[dropped], means[dropped], "o", color="white", markeredgecolor=color,
            markersize=6, label="dropped",
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    at = int(np.flatnonzero(rates == best)[0])
    if not diverged[at]:
        label = f"best: {best:.4g}"
        ax.axvline(best, color="0.7", linewidth=1, zorder=0)
        ax.plot(best, means[at], "*", color="C3", markersize=13, zorder=4, label=label)
    if diverged.any():
        ax.plot(
            rates[diverged], np.full(diverged.sum(), 0.97), "X", color="0.4", markersize=6,
            transform=ax.get_xaxis_transform(), label="diverged",
        )  # fmt: skip
        low, high = ax.get_ylim()
        low = low if low > 0 else high / _MARGIN  # nothing but them is drawn
        ax.set_ylim(low, high * (high / low) ** 0.08)  # room for them
    ax.set_xlabel("learning rate")
    ax.set_ylabel(named("loss", optimum) if optimum else "loss at the end")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False)
    return ax
