"""The figures, laid out like the paper's: distance from the optimum against iterations."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from accel import artifacts
from accel.experiments.curves import Figure, Panel
from accel.validation import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

_DASHES = ("-", "--", ":")

Points = tuple[Array, Array]  # iterations and distances


def _draw_panel(ax: "Axes", panel: Panel, points: Mapping[str, Points], quick: bool) -> None:
    for line in panel.lines:
        step, distance = points[line.label]
        shown = np.where(distance > 0, distance, np.nan)
        color = f"C{line.color}"
        ax.plot(step, shown, color=color, linestyle=_DASHES[line.dash], label=line.label)
        if line.published is not None:
            ax.plot(
                [line.curve.steps], [line.published], color=color, marker="*", markersize=11,
                markeredgecolor="black", markeredgewidth=0.5, linestyle="none", clip_on=False,
                zorder=3,
            )  # fmt: skip
    if any(line.published is not None for line in panel.lines):
        when = "published at full length" if quick else "published, at the last iteration"
        ax.plot([], [], "k*", markersize=9, label=when)
    ax.set_yscale("log")
    ax.set_xlim(left=0)
    ax.set_xlabel("iteration")
    ax.set_ylabel("distance from the optimum")
    ax.set_title(panel.title, parse_math=False)
    ax.grid(alpha=0.3)
    ax.legend(fontsize="small")


def draw(path: Path, figure: Figure, points: Mapping[str, Points], *, quick: bool) -> list[Path]:
    """Draw a figure and write it as PNG and SVG.

    Parameters
    ----------
    path : Path
        Without suffix.
    figure : Figure
    points : dict of str to (m,) and (m,) arrays
        Iterations and distances of every line.
    quick : bool
        Whether the published values belong to longer runs.

    Returns
    -------
    list of Path
    """
    drawn, axes = artifacts.blank_figure(len(figure.panels), sharey=False)
    drawn.suptitle(figure.title, parse_math=False, fontsize="medium")
    for ax, panel in zip(axes, figure.panels, strict=True):
        _draw_panel(ax, panel, points, quick)
    paths = [path.with_suffix(suffix) for suffix in (".png", ".svg")]
    for target in paths:
        artifacts.save_figure(target, drawn)
    return paths
