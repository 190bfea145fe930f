"""The figures of an atlas: heat maps of the speed-up, and the two points."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from accel._reports.figures import grid_figure
from accel._runs.styles import depth_color
from accel.experiments.atlas.race import TARGETS
from accel.experiments.atlas.settings import Settings
from accel.experiments.atlas.speedups import Cell, Interval
from accel.experiments.atlas.two_points import Pair

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

__all__ = ["pictures", "shade"]

_MOST = 16.0  # the speed-up of the darkest colour, and its inverse
_COLOURS, _UNKNOWN = "RdBu", "0.85"
_PALE = 0.3  # how much of its colour a cell with few steps has
_DARK = 0.6  # the mean of red, green and blue below which numbers are white
_SIDE = 3.1  # inches of a map
_WORDS = ("tenth", "hundredth", "thousandth", "millionth")  # TARGETS, in words
_MAIN = 2  # of them that of the other figures
_TICKS = {1 / 16: "1/16", 1 / 8: "1/8", 1 / 4: "1/4", 1 / 2: "1/2", 1: "1", 2: "2", 4: "4",
          8: "8", 16: "16", 32: "32"}  # fmt: skip
_NOTE = (
    "Numbers: steps of depth 1 for one of this depth, medians over seeds. Hatched: a bound,\n"
    "since runs were not there at the limit; grey: unknown; pale, in brackets: fewer than 10 steps."
)


class _Picture(NamedTuple):
    """A figure of heat maps: rows that a property of the cells tells apart, a column a depth.

    Attributes
    ----------
    name, title : str
    rows : list of (str, callable)
        What stands beside a row, and whether a cell belongs to it.
    """

    name: str
    title: str
    rows: list[tuple[str, Callable[[Cell], bool]]]


def _planned(settings: Settings) -> Iterator[_Picture]:
    start, spread = settings.predicted_start, settings.alignments[-1]

    def those(**wanted: Any) -> Callable[[Cell], bool]:
        wanted = {"kind": "network", "margin": "best", "start": start} | wanted
        return lambda cell: all(getattr(cell, name) == value for name, value in wanted.items())

    def by_alignment(**wanted: Any) -> list[tuple[str, Callable[[Cell], bool]]]:
        return [(f"target {each}", those(alignment=each, **wanted)) for each in settings.alignments]

    for target, word in zip(TARGETS, _WORDS, strict=True):
        told = f"to a {word} of the distance at the start, each depth at its best stable rate"
        yield _Picture(f"atlas-{word}", told, by_alignment(target=target))
    target, word = TARGETS[_MAIN], _WORDS[_MAIN]
    told = f"to a {word} of the distance at the start, each depth at half of its largest rate"
    yield _Picture("atlas-half", told, by_alignment(target=target, margin="half"))
    if len(settings.starts) > 1:
        told = f"to a {word} of the distance, from starts of several sizes, target {spread}"
        rows = [
            (f"start {each:g}", those(start=each, alignment=spread, target=target))
            for each in settings.starts
        ]
        yield _Picture("atlas-starts", told, rows)
    told = f"to a {word} of the distance: networks and the end-to-end rule, target {spread}"
    rows = [
        (name, those(kind=kind, alignment=spread, target=target))
        for kind, name in (("network", "measured: networks"), ("end-to-end", "predicted: the rule"))
    ]
    yield _Picture("atlas-predicted", told, rows)


def pictures(
    cells: Sequence[Cell], settings: Settings, pairs: Sequence[Pair]
) -> "Iterator[tuple[str, Figure]]":
    """Draw all figures.

    Parameters
    ----------
    cells : sequence of Cell
    settings : Settings
    pairs : sequence of Pair

    Yields
    ------
    str, matplotlib figure
        The name of its files, without suffix.
    """
    depths = [depth for depth in settings.depths if depth > 1]
    shades = _shades()
    for picture in _planned(settings):
        figure, axes = grid_figure(len(picture.rows) * len(depths), len(depths))
        figure.set_size_inches(_SIDE * len(depths) + 1.5, _SIDE * len(picture.rows) + 1.2)
        figure.suptitle(f"Speed-up by depth {picture.title}", fontsize="medium")
        panels = [(row, depth) for row in picture.rows for depth in depths]
        for ax, ((name, belongs), depth) in zip(axes, panels, strict=True):
            own = [cell for cell in cells if cell.depth == depth and belongs(cell)]
            _heat_map(ax, own, settings, shades)
            ax.set_title(f"depth {depth}, {name}", fontsize="small")
        bar = figure.colorbar(shades, ax=axes, extend="both", shrink=0.6)
        ticks = [tick for tick in _TICKS if tick <= _MOST]
        bar.set_ticks(ticks, labels=[_TICKS[tick] for tick in ticks])
        bar.ax.minorticks_off()
        bar.set_label("speed-up")
        figure.supxlabel(_NOTE, fontsize="small")
        yield picture.name, figure
    if pairs:
        yield "atlas-two-points", _two_points(pairs)


def shade(speedup: Interval) -> float:
    """Return the number by which a cell is coloured; nan if it says neither help nor harm."""
    if speedup.exact:
        return speedup.low
    if math.isfinite(speedup.high) and speedup.low > 0:
        return math.sqrt(speedup.low * speedup.high)
    if speedup.low >= 1:
        return speedup.low
    return speedup.high if speedup.high <= 1 else math.nan


def _shades() -> "ScalarMappable":
    """Return what turns speed-ups into colours: logarithmic, 1 being white."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    colours = colormaps[_COLOURS].with_extremes(bad=_UNKNOWN)
    return ScalarMappable(LogNorm(1 / _MOST, _MOST), colours)


def _heat_map(
    ax: "Axes", cells: Iterable[Cell], settings: Settings, shades: "ScalarMappable"
) -> None:
    """Draw p against the condition number, numbers in the cells."""
    from matplotlib.patches import Rectangle

    place = {(cell.p, cell.condition): cell for cell in cells}
    rows = [[place[p, condition] for condition in settings.conditions] for p in settings.exponents]
    values = np.array([[shade(cell.speedup) for cell in row] for row in rows])
    pale = np.array([[cell.few for cell in row] for row in rows])
    image = shades.to_rgba(np.ma.masked_invalid(values))[..., :3]
    image[pale] = 1 - _PALE * (1 - image[pale])
    ax.imshow(image, origin="lower", aspect="auto")
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            ax.text(
                j, i, f"({cell.speedup})" if cell.few else str(cell.speedup), ha="center",
                va="center", fontsize=7, color="white" if image[i, j].mean() < _DARK else "black",
            )  # fmt: skip
            if not cell.speedup.exact and not math.isnan(values[i, j]):
                ax.add_patch(
                    Rectangle(
                        (j - 0.5, i - 0.5), 1, 1, fill=False, hatch="//", linewidth=0,
                        edgecolor="0.75",
                    )
                )  # fmt: skip
    exponents = [round(math.log10(condition), 2) for condition in settings.conditions]
    ax.set_xticks(range(len(exponents)), [f"$10^{{{e:g}}}$" for e in exponents])
    ax.set_yticks(range(len(settings.exponents)), [f"{p:g}" for p in settings.exponents])
    ax.set_xlabel("condition number of X'X", fontsize="small")
    ax.set_ylabel("p", fontsize="small")
    ax.tick_params(labelsize="small")


def _two_points(pairs: Sequence[Pair]) -> "Figure":
    """Draw steps and speed-ups on the two points against the ratio of their targets."""
    exponents = sorted({pair.p for pair in pairs})
    figure, axes = grid_figure(len(exponents), len(exponents))
    figure.suptitle(
        "Two points: the end-to-end rule (lines) and networks (markers), each at its largest "
        "stable rate", fontsize="medium",
    )  # fmt: skip
    for ax, p in zip(axes, exponents, strict=True):
        for depth in sorted({pair.depth for pair in pairs}):
            own = sorted(pair for pair in pairs if (pair.p, pair.depth) == (p, depth))
            ratios = [pair.ratio for pair in own]
            colour = depth_color(depth)
            ax.plot(ratios, [pair.plain / pair.predicted for pair in own], color=colour,
                    label=f"depth {depth}")  # fmt: skip
            ax.plot(ratios, [pair.plain / pair.measured for pair in own], "o", color=colour)
        ax.axhline(1, color="0.5", linewidth=1)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
        low, high = ax.get_ylim()
        ticks = [tick for tick in _TICKS if low <= tick <= high]
        ax.set_yticks(ticks, [_TICKS[tick] for tick in ticks])
        ax.minorticks_off()
        ax.set_xlabel("y1 / y2")
        ax.set_ylabel("speed-up")
        plain = {pair.ratio: pair.plain for pair in pairs if pair.p == p}
        ax.set_title(
            f"p = {p:g}: {plain[min(plain)]:g} to {plain[max(plain)]:g} steps at depth 1",
            fontsize="medium",
        )
        ax.grid(alpha=0.3)
        ax.legend(fontsize="small")
    return figure
