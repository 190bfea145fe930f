"""The figures, laid out like the paper's, with stars where the published curves end."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accel._reports import figures
from accel._runs.styles import Drawn, line_styles
from accel._support.arrays import Array
from accel.experiments.figures.curves import Figure, Panel

if TYPE_CHECKING:
    import matplotlib.figure
    from matplotlib.axes import Axes

__all__ = ["drawn", "explain_stars", "label", "save", "star"]

_STAR: dict[str, Any] = {
    "marker": "*",
    "linestyle": "none",
    "markeredgecolor": "black",
    "markeredgewidth": 0.5,
}
_COLUMNS = 2  # of a legend
_PALE = 0.15  # opacity of a band

Points = tuple[Array, Array]  # iterations and distances
Shaded = tuple[Array, Array, Array]  # iterations, and the least and the largest distance


def star(ax: "Axes", step: int, value: float, color: Any) -> None:
    """Mark the published value at the last iteration."""
    ax.plot([step], [value], color=color, markersize=11, clip_on=False, zorder=3, **_STAR)


def explain_stars(ax: "Axes") -> None:
    """Add what the stars are to the legend that ``label`` makes."""
    ax.plot([], [], color="white", markersize=9, label="published, at the last iteration", **_STAR)


def label(ax: "Axes", title: str, quantity: str, *, columns: int = _COLUMNS) -> None:
    """Add what all axes have: scales, limits, labels, and a legend below."""
    ax.set_yscale("log")
    figures.limit_above(ax, [line.get_ydata() for line in ax.get_lines()])
    ax.set_xlim(left=0)
    ax.set_xlabel("iteration")
    ax.set_ylabel(quantity)
    ax.set_title(title, parse_math=False)
    ax.grid(alpha=0.3)
    figures.legend_below(ax, columns)


def save(path: Path, drawn: "matplotlib.figure.Figure") -> None:
    """Write a figure as PNG, with its title, and as SVG without: a page has a heading above it."""
    figures.save_figure(path.with_suffix(".png"), drawn)
    drawn.suptitle("")
    figures.save_figure(path.with_suffix(".svg"), drawn)


def _positive(values: Array) -> Array:
    """Return what a logarithmic axis can show, nan for the rest."""
    return np.where(values > 0, values, np.nan)


def _draw_panel(
    ax: "Axes",
    panel: Panel,
    points: Mapping[str, Points],
    bands: Mapping[str, Shaded],
    stars: bool,
) -> None:
    models = (line.curve.model for line in panel.lines)
    kinds = [
        Drawn(model.optimizer, model.depth, line.other)
        for model, line in zip(models, panel.lines, strict=True)
    ]
    stars = stars and any(line.published is not None for line in panel.lines)
    for line, style in zip(panel.lines, line_styles(kinds), strict=True):
        step, distance = points[line.label]
        ax.plot(step, _positive(distance), label=line.label, **style)
        if line.label in bands:
            step, least, most = bands[line.label]
            ax.fill_between(
                step, _positive(least), _positive(most), color=style["color"], alpha=_PALE,
                linewidth=0, zorder=1,
            )  # fmt: skip
        if stars and line.published is not None:
            star(ax, line.curve.steps, line.published, style["color"])
    if stars:
        explain_stars(ax)
    label(ax, panel.title, "distance from the optimum")


def drawn(
    figure: Figure,
    points: Mapping[str, Points],
    bands: Mapping[str, Shaded] | None = None,
    *,
    stars: bool,
) -> "matplotlib.figure.Figure":
    """Draw a figure.

    Parameters
    ----------
    figure : Figure
    points : dict of str to (m,) and (m,) arrays
        Iterations and distances of every line.
    bands : dict of str to (m,), (m,) and (m,) arrays, optional
        Iterations, and the least and the largest distance of the band of a line: a pale area.
    stars : bool
        Whether the published values at the last iteration are marked: not in a quick run, whose
        last iteration is another one.

    Returns
    -------
    matplotlib figure
    """
    rows = max(-(-(len(panel.lines) + stars) // _COLUMNS) for panel in figure.panels)
    made, axes = figures.blank_figure(len(figure.panels), sharey=False, entries=rows + 1)
    made.suptitle(figure.title, parse_math=False, fontsize="medium")
    for ax, panel in zip(axes, figure.panels, strict=True):
        _draw_panel(ax, panel, points, bands or {}, stars)
    return made
