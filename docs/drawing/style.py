"""What all drawings have in common: colours, boxes, arrows, cells, and how a file is written."""

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

#: As in the plots of the package: a colour a depth.
DEPTHS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728")
#: Data, weights and maps, residuals and slopes, gradients: the same colours in every drawing.
DATA, MAPS, SLOPES, GRADIENTS = "#cfe0f1", "#fbe0c4", "#efd3e6", "#d3ecd0"
NEUTRAL, EDGE, TEXT, STRONG = "#f2f2f2", "#555555", "#1a1a1a", "#c0392b"

SETTINGS = {
    "svg.hashsalt": "implicit-accel",
    "svg.fonttype": "none",  # letters as letters, so that a drawing can be searched and read aloud
    "font.size": 9,
    "figure.facecolor": "white",  # also where the page is dark
    "savefig.facecolor": "white",
}


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A drawing of so many inches, in units of an inch, without axes."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return figure, axes


def label(axes: Axes, x: float, y: float, text: str, **options) -> None:
    """Text, centred by default."""
    given = {"ha": "center", "va": "center", "color": TEXT, "linespacing": 1.3} | options
    axes.text(x, y, text, **given)


def box(axes: Axes, x, y, width, height, text="", color=NEUTRAL, **options) -> None:
    """A box with rounded corners and a text in it; (x, y) is its lower left corner."""
    shape = "round,pad=0,rounding_size=0.06"
    patch = FancyBboxPatch((x, y), width, height, boxstyle=shape, fc=color, ec=EDGE, lw=0.8)
    axes.add_patch(patch)
    label(axes, x + width / 2, y + height / 2, text, **options)


def block(axes: Axes, x, y, width, height, color, **options) -> None:
    """A matrix, or a part of one: a plain rectangle."""
    given = {"ec": EDGE, "lw": 0.8} | options
    axes.add_patch(Rectangle((x, y), width, height, fc=color, **given))


def cells(axes: Axes, x, y, rows, columns, size, color, marked=(), mark=STRONG) -> None:
    """A matrix of square cells; ``marked`` are (row, column) from the top left, drawn strong."""
    for i in range(rows):
        for j in range(columns):
            here = x + j * size, y + (rows - 1 - i) * size
            strong = (i, j) in marked
            block(axes, *here, size, size, mark if strong else color, ec="white", lw=0.7)
    block(axes, x, y, columns * size, rows * size, "none")


def arrow(axes: Axes, start, end, color=EDGE, **options) -> None:
    """An arrow between two places."""
    given = {"arrowstyle": "-|>", "mutation_scale": 9, "lw": 1.0, "shrinkA": 0, "shrinkB": 0}
    axes.add_patch(FancyArrowPatch(start, end, color=color, **(given | options)))


def write(figure: Figure, folder: Path, name: str, kind: str = "svg") -> None:
    """Write a drawing: the same bytes whenever it is done with the same Matplotlib."""
    with matplotlib.rc_context(SETTINGS):
        figure.savefig(folder / f"{name}.{kind}", metadata={"Date": None} if kind == "svg" else {})
