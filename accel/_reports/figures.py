"""Figures of matplotlib, made without a window system, and their files."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["blank_figure", "grid_figure", "save_figure"]


def blank_figure(columns: int, *, sharey: bool = True) -> "tuple[Figure, Any]":
    """Make a figure with so many axes side by side; return it and its axes."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('figures need matplotlib: pip install "implicit-accel[cli]"') from error
    # Without pyplot: no window system is looked for, nothing global is changed.
    figure = Figure(figsize=(1.5 + 4.5 * columns, 4.5), layout="constrained")
    return figure, figure.subplots(1, columns, sharey=sharey, squeeze=False)[0]


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
