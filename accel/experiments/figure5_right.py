"""Figure 5 right: the MNIST convolutional network, whose dense layers become products of two."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from accel import artifacts
from accel.experiments import drawing, mnist, mnist_data
from accel.experiments.curves import is_off
from accel.experiments.ledger import Ledger, Stage
from accel.experiments.mnist import MnistResult, NetResult
from accel.experiments.mnist_training import import_torch
from accel.report import finite

__all__ = ["KEY", "convnet"]

KEY = "5r"
_TITLE = "Figure 5 right: a convolutional network on MNIST, original and overparameterised"
_STEPS = 8500
_UNITS = 2000.0  # of a step of both networks, in steps of a small linear model
_PUBLISHED = {"original": 1.6, "overparameterised": 5e-2}
_COLUMNS = ("step", "loss", "smoothed_loss", "cross_entropy", "smoothed_cross_entropy")

Findings = dict[str, Any]


def _nets(result: MnistResult) -> dict[str, NetResult]:
    return dict(zip(_PUBLISHED, (result.original, result.overparameterized), strict=True))


def _draw(path: Path, result: MnistResult, quick: bool) -> None:
    figure, (ax,) = artifacts.blank_figure(1)
    for number, (label, net) in enumerate(_nets(result).items()):
        color = f"C{number}"
        ax.plot(net.step, net.loss, color=color, alpha=0.25, linewidth=0.8)
        ax.plot(net.step, net.smoothed_loss, color=color, label=label)
        ax.plot(
            net.step, net.smoothed_cross_entropy, color=color, linestyle=":",
            label=f"{label}, without the penalty",
        )  # fmt: skip
        drawing.star(ax, result.steps, _PUBLISHED[label], color)
    figure.suptitle(_TITLE, parse_math=False, fontsize="medium")
    drawing.finish(ax, result.source, "batch loss and its mean over 100 steps", quick)
    drawing.save(path, figure)


def _write_curves(folder: Path, result: MnistResult) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for label, net in _nets(result).items():
        columns = {name: getattr(net, name) for name in _COLUMNS}
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        artifacts.write_rows(folder / f"convnet-{label}.csv", _COLUMNS, rows)
        np.savez(folder / f"convnet-{label}.npz", **columns)


def _findings(result: MnistResult) -> Findings:
    lines = []
    for label, net in _nets(result).items():
        ours = float(net.smoothed_loss[-1])
        ratio = ours / _PUBLISHED[label]
        lines.append(
            {
                "panel": result.source,
                "label": label,
                "published": _PUBLISHED[label],
                "ours": finite(ours),
                "ratio": finite(ratio),
                "off": is_off(ratio),
                "steps": result.steps,
                "cross_entropy": finite(float(net.smoothed_cross_entropy[-1])),
                "validation_error": net.validation_error,
                "n_parameters": net.n_parameters,
            }
        )
    ends = ", ".join(f"{line['label']} {line['cross_entropy']:.3g}" for line in lines)
    errors = ", ".join(f"{line['label']} {line['validation_error']:.2%}" for line in lines)
    return {
        "key": KEY,
        "title": _TITLE,
        "skipped": None,
        "lines": lines,
        "common_rates": [],
        "checks": [],
        "notes": [
            f"The data: {result.note}.",
            "Ours is the mean of the batch loss over the last 100 steps. Most of it is the penalty "
            "on the weights, which begins at 3.1 for the original by the tutorial's "
            f"initialisation and depends on it ({result.init} for the overparameterised one; the "
            "paper does not say). The cross-entropy alone, the fair comparison, ends at: "
            f"{ends}. Errors on the images held out: {errors}.",
        ],
    }


def convnet(
    out: Path, *, divisor: int, seed: int, ledger: Ledger, state: Path, threads: int | None
) -> Findings:
    """Run the experiment, or go on with it, and write figure and curves.

    Parameters
    ----------
    out : Path
        Folder of the figure; the curves go to ``curves`` in it.
    divisor : int
        What the steps are divided by.
    seed : int
    ledger : Ledger
    state : Path
        Folder of the checkpoint.
    threads : int or None

    Returns
    -------
    dict
        As ``figure_findings`` returns; where the experiment cannot run, with the reason.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, with the progress saved.
    """
    steps = max(_STEPS // divisor, 1)
    try:
        import_torch()  # before the data is downloaded in vain
        data = mnist_data.load()
    except ImportError as error:
        return skipped(str(error))
    digest = hashlib.sha256(data.images.tobytes() + data.labels.tobytes()).hexdigest()[:16]
    state.mkdir(parents=True, exist_ok=True)
    path = state / f"convnet-{steps}-{seed}-{digest}.npz"
    told = ledger.begin(Stage(KEY, 2, steps, _UNITS * steps), resumed=path.exists())
    result = mnist.run(
        data, steps, seed=seed, threads=threads, checkpoint=path,
        callback=lambda step, *losses: told(step, np.array(losses)),
    )  # fmt: skip
    if result.status == "interrupted":
        raise KeyboardInterrupt
    ledger.end()
    _write_curves(out / "curves", result)
    _draw(out / f"figure{KEY}", result, quick=divisor > 1)
    return _findings(result)


def skipped(reason: str) -> Findings:
    """Return the findings of the figure where it cannot run."""
    nothing: Findings = {"lines": [], "common_rates": [], "checks": [], "notes": []}
    return {"key": KEY, "title": _TITLE, "skipped": reason, **nothing}
