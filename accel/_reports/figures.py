"""Figures of matplotlib, made without a window system: their legends, limits and files."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "LEGEND_LINE",
    "blank_figure",
    "grid_figure",
    "legend_below",
    "limit_above",
    "save_figure",
]

#: Length of the lines in a legend, in sizes of its letters: all dashes of a pattern are seen.
LEGEND_LINE = 4.0

_PANEL, _ENTRY = 4.5, 0.22  # inches: the side of a pair of axes, the height of a legend's row
_LABELS = 40  # points between axes and legend: tick labels and the label of the axis
_BEYOND = 30.0  # how far above all starts a curve may rise before it leaves the picture


def blank_figure(columns: int, *, sharey: bool = True, entries: int = 0) -> "tuple[Figure, Any]":
    """Make a figure of so many axes side by side, with room for a legend of so many rows below.

    Returns
    -------
    figure, axes
        The axes as an array (columns,).
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('figures need matplotlib: pip install "implicit-accel[cli]"') from error
    # Without pyplot: no window system is looked for, nothing global is changed.
    size = (1.5 + _PANEL * columns, _PANEL + _ENTRY * entries)
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(1, columns, sharey=sharey, squeeze=False)[0]


def legend_below(ax: "Axes", columns: int = 1) -> None:
    """Put the legend of axes under them, where it covers no curve."""
    from matplotlib.transforms import ScaledTranslation

    figure = ax.get_figure()
    assert figure is not None  # axes have one
    under = ax.transAxes + ScaledTranslation(0, -_LABELS / 72, figure.dpi_scale_trans)
    ax.legend(
        loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=under, borderaxespad=0,
        ncols=columns, fontsize="small", handlelength=LEGEND_LINE,
    )  # fmt: skip


def limit_above(ax: "Axes", curves: Iterable[Any]) -> None:
    """Let curves that rise far above every start leave the picture; they would flatten the others.

    Parameters
    ----------
    ax : matplotlib axes
        With a logarithmic axis of values.
    curves : iterable of (m,) arrays
        NaN where nothing is drawn.
    """
    arrays = [np.asarray(curve, dtype=np.float64) for curve in curves]
    drawn = [finite for curve in arrays if len(finite := curve[np.isfinite(curve)])]
    top = _BEYOND * max((curve[0] for curve in drawn), default=math.inf)
    if any(curve.max() > top for curve in drawn):
        ax.set_ylim(top=top)


def save_figure(path: Path, figure: "Figure") -> None:
    """Write a PNG or an SVG, by the suffix."""
    figure.savefig(path, dpi=150)


def grid_figure(count: int, columns: int = 3) -> "tuple[Figure, Any]":
    """Make a figure with so many axes, row after row; return it and its axes, a list.

    Axes have scales of their own.
    """
    wide, rows = min(count, columns), math.ceil(count / columns)
    figure, axes = blank_figure(wide, sharey=False)
    if rows == 1:
        return figure, list(axes)
    figure.clear()
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, rows * height)
    cells = figure.subplots(rows, wide, squeeze=False).ravel()
    for ax in cells[count:]:
        ax.remove()
    return figure, list(cells[:count])
