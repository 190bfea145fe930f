"""Figures of matplotlib, made without a window system, and their files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["blank_figure", "save_figure"]


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
