"""What the command writes: curves as CSV, figures as PNG, and where they go."""

import csv
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel import paths
from accel.comparison import Comparison
from accel.optimum import Optimum
from accel.results import History, Result
from accel.validation import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "blank_figure",
    "comparison_csv",
    "comparison_figure",
    "history_csv",
    "output_paths",
    "result_figure",
    "save_figure",
    "write",
    "write_rows",
]

_COLUMNS = tuple(f.name for f in fields(History))
_INSTALL = 'pip install "implicit-accel[cli]"'
_SUFFIXES = (".npz", ".csv", ".png")


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _records(history: History) -> Iterable[tuple[Any, ...]]:
    return zip(*(getattr(history, name).tolist() for name in _COLUMNS), strict=True)


def history_csv(path: Path, history: History, distances: Array | None = None) -> None:
    """Write a history, one line a record; distances from the optimum, if given, come first."""
    if distances is None:
        write_rows(path, _COLUMNS, _records(history))
        return
    rows = (
        (distance, *record)
        for distance, record in zip(distances.tolist(), _records(history), strict=True)
    )
    write_rows(path, ("distance", *_COLUMNS), rows)


def comparison_csv(path: Path, comparison: Comparison) -> None:
    """Write the curves of all models, one line a record."""
    rows = (
        (tuned.model.optimizer, tuned.model.depth, tuned.rate, distance, *record)
        for tuned in comparison.models
        for distance, record in zip(
            comparison.distances(tuned).tolist(), _records(tuned.result.history), strict=True
        )
    )
    write_rows(path, ("optimizer", "depth", "learning_rate", "distance", *_COLUMNS), rows)


def blank_figure(columns: int, *, sharey: bool = True) -> "tuple[Figure, Any]":
    """Make a figure with so many axes side by side; return it and its axes."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"figures need matplotlib: {_INSTALL}") from error
    # Without pyplot: no window system is looked for, nothing global is changed.
    figure = Figure(figsize=(1.5 + 4.5 * columns, 4.5), layout="constrained")
    return figure, figure.subplots(1, columns, sharey=sharey, squeeze=False)[0]


def save_figure(path: Path, figure: "Figure") -> None:
    """Write a PNG or an SVG, by the suffix."""
    figure.savefig(path, dpi=150)


def result_figure(result: Result, best: Optimum | None, title: str) -> "Figure":
    """Draw the distance from the optimum of one run against its steps."""
    figure, (ax,) = blank_figure(1)
    result.plot(ax, 0.0 if best is None else best.loss)
    ax.set_title(title, parse_math=False)
    ax.grid(alpha=0.3)
    return figure


def _lowest(comparison: Comparison, floor: float) -> float | None:
    """Where the axis ends: models that leave the first one's optimiser far below may leave it."""
    name = comparison.models[0].model.optimizer
    ends = [t.distance for t in comparison.models if t.model.optimizer == name]
    ends = [end for end in ends if floor < end < math.inf]
    return min(ends) / 100 if ends else None


def comparison_figure(comparison: Comparison, title: str, floor: float) -> "Figure":
    """Draw the distance from the optimum of every model against steps and against seconds.

    Parameters
    ----------
    comparison : Comparison
    title : str
    floor : float
        Distances that are no more than rounding errors end the curve.

    Returns
    -------
    matplotlib figure
    """
    figure, axes = blank_figure(2)
    figure.suptitle(title, parse_math=False)
    longest = max((t.result.seconds for t in comparison.models), default=0.0)
    unit, factor = ("s", 1.0) if longest >= 1 else ("ms", 1e3)
    optimizers = list(dict.fromkeys(tuned.model.optimizer for tuned in comparison.models))
    depths = sorted({tuned.model.depth for tuned in comparison.models})
    for tuned in comparison.models:
        history, distance = tuned.result.history, comparison.distances(tuned)
        distance[distance <= floor] = math.nan
        style = {
            "color": f"C{depths.index(tuned.model.depth) % 10}",
            "linestyle": ("-", "--", ":", "-.")[optimizers.index(tuned.model.optimizer) % 4],
            "label": f"{tuned.model}, rate {tuned.rate:.3g}",
        }
        axes[0].plot(history.step, distance, **style)
        axes[1].plot(factor * history.seconds, distance, **style)
    if not math.isnan(comparison.target):
        for ax in axes:
            ax.axhline(comparison.target, color="0.6", linewidth=0.8, zorder=0)
    axes[0].set_yscale("log")
    axes[0].set_ylim(bottom=_lowest(comparison, floor))
    axes[0].set_xlabel("iteration")
    axes[0].set_ylabel("distance from the optimum")
    axes[1].set_xlabel(f"training time ({unit})")
    for ax in axes:
        ax.grid(alpha=0.3)
    axes[0].legend(fontsize="small")
    return figure


def output_paths(out: Path, name: str, kinds: Sequence[str], source: Path | None) -> list[Path]:
    """Where to write what a command leaves behind, checked before the work begins.

    Parameters
    ----------
    out : Path
        A folder, or a file that ends in one of the kinds: then that file, and a PNG beside it.
    name : str
        Of the files in a folder, without their suffix.
    kinds : sequence of str
        Suffixes.
    source : Path or None
        The file the data came from, never to be overwritten.

    Returns
    -------
    list of Path
        Files in a folder that is there or can be made.

    Raises
    ------
    ValueError
        If there is no writing at that place.
    """
    out, where = paths.given("--out", out), paths.told(out)
    if out.suffix.lower() in _SUFFIXES and not out.is_dir():
        if out.suffix.lower() not in kinds:
            raise ValueError(f"--out must be a folder or end in {', '.join(kinds)}, got {where}")
        found = list(dict.fromkeys([out, out.with_suffix(".png")]))
    else:
        found = [out / f"{name}{kind}" for kind in kinds]
    for path in found:
        refusal = paths.refusal(path)
        if source is not None and not refusal and path.samefile(source):
            raise ValueError(f"--out would overwrite the data in {paths.told(source)}")
        if refusal not in ("", paths.MISSING):
            raise ValueError(f"--out {where}: {paths.told(path)} cannot be written: {refusal}")
    folder = found[0].absolute().parent
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ValueError(
            f"--out {where}: {paths.told(existing)} is no folder that can be written to"
        )
    return found


def write(paths: Sequence[Path], writers: Mapping[str, Callable[[Path], object]]) -> None:
    """Write every file by the writer for its suffix; their folder is made if it is not there."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        writers[path.suffix.lower()](path)
