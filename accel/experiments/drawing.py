"""The figures, laid out like the paper's, with stars where the published curves end."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accel._reports import figures
from accel._support.arrays import Array
from accel.experiments.figures.curves import Figure, Panel

if TYPE_CHECKING:
    import matplotlib.figure
    from matplotlib.axes import Axes

__all__ = ["draw", "finish", "label", "save", "star"]

_DASHES = ("-", "--", ":")
_STAR: dict[str, Any] = {
    "marker": "*",
    "linestyle": "none",
    "markeredgecolor": "black",
    "markeredgewidth": 0.5,
}

Points = tuple[Array, Array]  # iterations and distances


def star(ax: "Axes", step: int, value: float, color: str) -> None:
    """Mark the published value at the last iteration."""
    ax.plot([step], [value], color=color, markersize=11, clip_on=False, zorder=3, **_STAR)


def finish(ax: "Axes", title: str, quantity: str, quick: bool) -> None:
    """Add what all axes with stars have: scales, labels, and a legend that explains the stars."""
    when = "published, at full length" if quick else "published, at the last iteration"
    ax.plot([], [], color="white", markersize=9, label=when, **_STAR)
    label(ax, title, quantity)


def label(ax: "Axes", title: str, quantity: str) -> None:
    """Add what all axes have: scales, labels and a legend."""
    ax.set_yscale("log")
    ax.set_xlim(left=0)
    ax.set_xlabel("iteration")
    ax.set_ylabel(quantity)
    ax.set_title(title, parse_math=False)
    ax.grid(alpha=0.3)
    ax.legend(fontsize="small")


def save(path: Path, drawn: "matplotlib.figure.Figure") -> None:
    """Write a figure as PNG and as SVG."""
    for suffix in (".png", ".svg"):
        figures.save_figure(path.with_suffix(suffix), drawn)


def _draw_panel(ax: "Axes", panel: Panel, points: Mapping[str, Points], quick: bool) -> None:
    for line in panel.lines:
        step, distance = points[line.label]
        positive = np.where(distance > 0, distance, np.nan)
        color = f"C{line.color}"
        ax.plot(step, positive, color=color, linestyle=_DASHES[line.dash], label=line.label)
        star(ax, line.curve.steps, line.published, color)
    finish(ax, panel.title, "distance from the optimum", quick)


def draw(path: Path, figure: Figure, points: Mapping[str, Points], *, quick: bool) -> None:
    """Draw a figure and write it as PNG and SVG.

    Parameters
    ----------
    path : Path
        Its suffix is replaced.
    figure : Figure
    points : dict of str to (m,) and (m,) arrays
        Iterations and distances of every line.
    quick : bool
        Whether the published values belong to longer runs.
    """
    drawn, axes = figures.blank_figure(len(figure.panels), sharey=False)
    drawn.suptitle(figure.title, parse_math=False, fontsize="medium")
    for ax, panel in zip(axes, figure.panels, strict=True):
        _draw_panel(ax, panel, points, quick)
    save(path, drawn)
