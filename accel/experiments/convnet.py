"""Figure 5 right: the MNIST convolutional network, whose dense layers become products of two."""

import hashlib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from accel._reports import figures
from accel._reports.csv_files import write_rows
from accel._reports.text import finite
from accel._support.arrays import Array
from accel.datasets import mnist as mnist_data
from accel.experiments import drawing, mnist
from accel.experiments.figures.curves import is_off
from accel.experiments.mnist.contest import MnistResult, NetResult
from accel.experiments.mnist.training import Init, import_torch
from accel.experiments.time_left import Stage, TimeLeft

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["KEY", "expected_units", "run"]

KEY = "5r"
_TITLE = "Figure 5 right: a convolutional network on MNIST, original and overparameterised"
_STEPS = 8500
_UNITS = 2000.0  # the cost of a step of both networks, in steps of a small linear model
_ORIGINAL, _DEEPER = 1.6, 5e-2  # published, after the last step
#: Of the two matrices in place of one; the paper does not say which it took.
_STARTS: tuple[Init, ...] = ("balanced", "near_zero")
_COLUMNS = ("step", "loss", "smoothed_loss", "cross_entropy", "smoothed_cross_entropy")

Values = dict[str, Any]
StepCallback = Callable[[int, Array], None]


class _Line(NamedTuple):
    label: str
    published: float
    net: NetResult


def _lines(results: Sequence[MnistResult]) -> list[_Line]:
    """Return the original, the same in all results, and the other network of each."""
    deeper = (
        _Line(f"overparameterised, {result.init} start", _DEEPER, result.overparameterized)
        for result in results
    )
    return [_Line("original", _ORIGINAL, results[0].original), *deeper]


def _drawn(results: Sequence[MnistResult], stars: bool) -> "matplotlib.figure.Figure":
    lines = _lines(results)
    figure, (ax,) = figures.blank_figure(1, entries=2 * len(lines) + 2)
    for number, (label, published, net) in enumerate(lines):
        color = f"C{number}"
        ax.plot(net.step, net.loss, color=color, alpha=0.25, linewidth=0.8)
        ax.plot(net.step, net.smoothed_loss, color=color, label=label)
        ax.plot(
            net.step, net.smoothed_cross_entropy, color=color, linestyle=":",
            label=f"{label}, without the penalty",
        )  # fmt: skip
        if stars:
            drawing.star(ax, results[0].steps, published, color)
    if stars:
        drawing.explain_stars(ax)
    figure.suptitle(_TITLE, parse_math=False, fontsize="medium")
    drawing.label(ax, results[0].source, "batch loss and its mean over 100 steps", columns=1)
    return figure


def _write_curves(folder: Path, results: Sequence[MnistResult]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for label, _, net in _lines(results):
        path = folder / f"convnet-{label.replace(', ', '-').replace(' ', '-')}.csv"
        columns = {name: getattr(net, name) for name in _COLUMNS}
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        write_rows(path, _COLUMNS, rows)
        np.savez(path.with_suffix(".npz"), **columns)


def _report(results: Sequence[MnistResult], judged: bool) -> Values:
    lines, ends = [], []
    original = results[0].original
    penalty = float(original.loss[0] - original.cross_entropy[0])
    for label, published, net in _lines(results):
        loss, entropy = float(net.smoothed_loss[-1]), float(net.smoothed_cross_entropy[-1])
        lines.append(
            {
                "panel": results[0].source,
                "label": label,
                "published": published,
                "ours": finite(loss),
                "ratio": finite(loss / published) if judged else None,
                "off": judged and is_off(loss / published),
                "steps": results[0].steps,
                "cross_entropy": finite(entropy),
                "validation_error": net.validation_error,
                "n_parameters": net.n_parameters,
            }
        )
        ends.append(f"{label} {entropy:.3g} ({net.validation_error:.2%})")
    return _empty() | {
        "seconds": sum(result.seconds for result in results),
        "lines": lines,
        "notes": [
            f"The data: {results[0].note}.",
            "Ours is the mean of the batch loss over the last 100 steps. Most of it is the penalty "
            f"on the weights: the original's start with {penalty:.3g} of it, which decays by "
            "itself. What two matrices in place of one start with depends on how they are drawn, "
            "and the paper does not say how; hence several starts.",
            "The cross-entropy alone, without the penalty, is the fair comparison. It ends at "
            f"(errors on the images held out in brackets): {'; '.join(ends)}.",
        ],
    }


def _empty() -> Values:
    return {
        "key": KEY, "title": _TITLE, "skipped": None, "seconds": 0.0, "lines": [],
        "common_rates": [], "checks": [], "notes": [],
    }  # fmt: skip


def expected_units(divisor: int) -> float:
    """Return what the experiment will cost, as ``Stage`` counts; nothing without PyTorch."""
    return len(_STARTS) * _units(divisor) if find_spec("torch") else 0.0


def _steps(divisor: int) -> int:
    return max(_STEPS // divisor, 1)


def _units(divisor: int) -> float:
    return _UNITS * _steps(divisor)


def run(
    out: Path, *, divisor: int, seed: int, time_left: TimeLeft, state: Path, threads: int | None,
    backend: str = "auto",
) -> Values:  # fmt: skip
    """Run the experiment, or go on with it, and write figure and curves.

    Parameters
    ----------
    out : Path
        Folder of the figure; the curves go to ``curves`` in it.
    divisor : int
        What the steps are divided by.
    seed : int
    time_left : TimeLeft
    state : Path
        Folder of the checkpoint.
    threads : int or None
    backend : str
        Of no use here: PyTorch on the CPU trains the networks.

    Returns
    -------
    dict
        As ``figure_report`` returns; with the reason if the experiment cannot run.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, with the progress saved.
    """
    steps = _steps(divisor)
    try:
        import_torch()  # before the data is downloaded in vain
        data = mnist_data.load()
    except ImportError as error:
        return _empty() | {"skipped": str(error)}
    digest = hashlib.sha256(data.images.tobytes() + data.labels.tobytes()).hexdigest()[:16]
    state.mkdir(parents=True, exist_ok=True)
    results = []
    for init in _STARTS:
        path = state / f"convnet-{init}-{steps}-{seed}-{digest}.npz"
        stage = Stage(f"figure {KEY}, {init} start", 2, steps, _units(divisor))
        time_left.reserve(-stage.units)
        progress = time_left.begin(stage, resumed=path.exists())

        def callback(step: int, *losses: float, progress: StepCallback = progress) -> None:
            progress(step, np.array(losses))

        results.append(
            mnist.run(
                data, steps, seed=seed, init=init, threads=threads, checkpoint=path,
                callback=callback,
            )
        )  # fmt: skip
        if results[-1].status == "interrupted":
            raise KeyboardInterrupt
        time_left.end()
    _write_curves(out / "curves", results)
    judged = divisor == 1
    drawing.save(out / f"figure{KEY}", _drawn(results, stars=judged))
    return _report(results, judged)
