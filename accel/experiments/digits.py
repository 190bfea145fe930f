"""Figure 5 right, linear: digits by minibatches, depth against depth 1 and the end-to-end rule.

What the paper's figure shows of a convolutional network, with a linear one instead: cross-entropy,
batches of 64, momentum 0.9, and plain descent beside it, whose end-to-end rule goes by the same
batches. There is no published curve. Unlike the paper's experiment there is no penalty on the
weights, the rates are constant, and each curve has the best one of its own search, but for the
end-to-end rule, which has that of its net where it descends with it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accel._optimum.any_problem import optimum
from accel._reports import figures
from accel._reports.csv_files import write_rows
from accel._reports.text import finite
from accel._runs.styles import Drawn, depth_color, line_styles
from accel._support.arrays import Array
from accel.experiments import digits_runs, drawing
from accel.experiments.digits_runs import GRID, SCALE, Best, DigitsRunner, end
from accel.experiments.time_left import TimeLeft
from accel.tuning.models import Model

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["KEY", "expected_units", "run"]

KEY = "5r-linear"
_TITLE = "Figure 5 right, linear: a linear classifier of digits by minibatches"
_ABOUT = (
    "What figure 5 right of Arora, Cohen and Hazan (2018), arXiv 1802.06509, shows of a "
    "convolutional network, here with a linear one."
)
_STEPS = 8500
_NAMES = {"gd": "gradient descent", "momentum": "momentum", "end-to-end": "end-to-end rule"}
_PANELS = {"gd": ("gd", "end-to-end"), "momentum": ("momentum",)}
_TUTORIAL = GRID.index(0.01)  # the rate that the paper's experiment begins with

_ROWS = 6  # of the legend, and what is above it

Values = dict[str, Any]
Curves = Mapping[Model, Best]


def _label(model: Model) -> str:
    return f"{_NAMES[model.optimizer]}, depth {model.depth}"


def _mean(best: Best) -> Array:
    """Mean loss over the seeds at every record, nan from where a run diverged."""
    mean: Array = best.losses.mean(axis=0)
    return mean


def _end(best: Best, least: float) -> float:
    """Mean distance over the end of the runs and over the seeds; inf if one diverged."""
    return float(np.mean([end(result) for result in best.results])) - least


def _reached(best: Best, loss: float) -> int | None:
    """Return the first recorded step at which the mean over the seeds is this or below."""
    below = _mean(best) <= loss
    return int(best.step[np.argmax(below)]) if below.any() else None


def _deviation(deep: Best, rule: Best) -> dict[int, float]:
    """Largest relative difference of two losses on the way, at the points that both survived."""
    both = {
        point: (deep.search[point].history.loss, rule.search[point].history.loss)
        for point in sorted({*deep.search} & {*rule.search})
        if np.isfinite(end(deep.search[point]) + end(rule.search[point]))
    }
    return {
        point: float(np.abs(b / a - 1).max()) for point, (a, b) in both.items() if len(a) == len(b)
    }


def _line(model: Model, best: Best, least: float, goal: float, steps: int) -> Values:
    distance = _end(best, least)
    above = [point for point in sorted(best.search) if point > best.point]
    ends = [finite(end(result) - least) for result in best.results]
    return {
        "panel": _NAMES["momentum" if model.optimizer == "momentum" else "gd"],
        "label": _label(model),
        "optimizer": model.optimizer,
        "depth": model.depth,
        "width": max(best.results[0].network.widths[1:-1], default=None),
        "init": "balanced",
        "scale": SCALE,
        "steps": steps,
        "learning_rate": GRID.rate(best.point),
        "at_edge_of_grid": best.at_edge,
        "next_rate_diverges_at": best.search[above[0]].diverged_at if above else None,
        "published": None,
        "ours": finite(distance),
        "ratio": None,
        "off": False,
        "of_seeds": ends,
        "depth_1_reached_at": _reached(best, goal),
        "trials": [
            {"rate": GRID.rate(point), "distance": finite(end(result) - least)}
            for point, result in sorted(best.search.items())
        ],
    }


def _goals(curves: Curves, least: float) -> dict[str, float]:
    """Return where depth 1 ends, as a loss, by the optimiser of a panel."""
    return {name: _end(curves[Model(name, 1)], least) + least for name in _PANELS}


def _panel_of(model: Model) -> str:
    return next(name for name, members in _PANELS.items() if model.optimizer in members)


def _speed_note(curves: Curves, name: str, goal: float, least: float, per_epoch: int) -> str:
    """Say after how many steps each depth is where depth 1 ends."""
    own = _reached(curves[Model(name, 1)], goal)
    begin = (
        f"{_NAMES[name].capitalize()} at depth 1 ends {goal - least:.3g} from the optimum (mean of "
        "the last tenth of its records)"
    )
    if own is None or not np.isfinite(goal):
        return f"{begin}, which says nothing of the steps to get there."
    told = [f"depth 1 after {own} steps ({own / per_epoch:.3g} epochs)"]
    for depth in (2, 3):
        steps = _reached(curves[Model(name, depth)], goal)
        if steps is None:
            told.append(f"depth {depth} never")
        else:
            ratio = "" if not (own and steps) else f", {steps / own:.3g} times as many"
            told.append(f"depth {depth} after {steps} ({steps / per_epoch:.3g} epochs{ratio})")
    return f"{begin}. First there: {'; '.join(told)}."


def _rule_note(curves: Curves, depth: int) -> str:
    """Say how near the end-to-end rule is to the net that it stands for."""
    near = _deviation(curves[Model("gd", depth)], curves[Model("end-to-end", depth)])
    listed = "; ".join(
        f"{GRID.rate(point):.3g}: {format(value, '.2%') if value <= 1 else 'apart'}"
        for point, value in near.items()
    )
    apart = " (apart: not within 100 %)" if any(value > 1 for value in near.values()) else ""
    if not listed:
        return f"Of the end-to-end rule and the net of depth {depth} no rate was survived by both."
    return (
        f"At one and the same rate and with the same batches the loss of the end-to-end rule is at "
        f"every record within so much of that of the net of depth {depth}{apart}, for each rate "
        f"that both survived: {listed}."
    )


def _other_rate_notes(curves: Curves) -> list[str]:
    """Say where an end-to-end rule has not the rate of the net that it stands for, and why."""
    notes = []
    for depth in (2, 3):
        net, rule = (GRID.rate(curves[Model(name, depth)].point) for name in ("gd", "end-to-end"))
        if net != rule:
            notes.append(
                f"The end-to-end rule of depth {depth} does not descend at {net:.3g}, the rate of "
                f"its net: here it has {rule:.3g}, the best of its own search."
            )
    return notes


def _tutorial_note(curves: Curves, least: float) -> str:
    """Say how momentum ends at the rate that the paper's experiment begins with."""
    told = []
    for depth in (1, 2, 3):
        result = curves[Model("momentum", depth)].search.get(_TUTORIAL)
        if result is not None:
            value = end(result) - least
            told.append(
                f"depth {depth} {'diverged' if not np.isfinite(value) else format(value, '.3g')}"
            )
    return (
        "At the paper's rate of 0.01 for all, constant, momentum ends this far from the optimum "
        f"(one seed): {', '.join(told)}."
    )


def _drawn(
    runner: DigitsRunner, curves: Curves, least: float, per_epoch: int
) -> "matplotlib.figure.Figure":
    figure, axes = figures.blank_figure(len(_PANELS), entries=_ROWS)
    figure.suptitle(_TITLE, parse_math=False, fontsize="medium")
    data = runner.data
    title = f"{data.source}, {runner.problem.n} x {runner.problem.d}"
    for ax, (name, members) in zip(axes, _PANELS.items(), strict=True):
        own = {model: best for model, best in curves.items() if model.optimizer in members}
        styles = line_styles([Drawn(model.optimizer, model.depth) for model in own])
        for (model, best), style in zip(own.items(), styles, strict=True):
            distances = best.losses - least
            distances[~(distances > 0)] = np.nan
            label = f"{_label(model)}, rate {GRID.rate(best.point):.2g}"
            ax.plot(best.step, distances.mean(axis=0), label=label, **style)
            low, high = distances.min(axis=0), distances.max(axis=0)
            band = depth_color(model.depth)
            ax.fill_between(best.step, low, high, color=band, alpha=0.15, linewidth=0)
        drawing.label(ax, f"{_NAMES[name]}: {title}", "distance from the optimum", columns=1)
        ax.set_xlabel(f"step, of {runner.batch} images each ({per_epoch} steps an epoch)")
    return figure


def _write_curves(folder: Path, curves: Curves, least: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for model, best in curves.items():
        path = folder / f"digits-{model.optimizer}-depth{model.depth}.csv"
        header = ["step", *(f"distance_{number}" for number in range(len(best.results)))]
        rows = zip(best.step.tolist(), *(best.losses - least).tolist(), strict=True)
        write_rows(path, header, rows)


def _empty() -> Values:
    return {
        "key": KEY, "title": _TITLE, "about": _ABOUT, "skipped": None, "seconds": 0.0, "lines": [],
        "common_rates": [], "checks": [], "notes": [],
    }  # fmt: skip


def _steps(divisor: int) -> int:
    return max(_STEPS // divisor, 1)


def expected_units(divisor: int) -> float:
    """Return what the experiment will cost, as ``Stage`` counts."""
    return digits_runs.expected_units(_steps(divisor))


def run(
    out: Path, *, divisor: int, seed: int, time_left: TimeLeft, state: Path, threads: int | None,
    backend: str,
) -> Values:  # fmt: skip
    """Run the experiment, or go on with it, and write figure and curves.

    Parameters
    ----------
    out : Path
        Folder of the figure; the curves go to ``curves`` in it.
    divisor : int
        What the steps are divided by.
    seed : int
        The first of the seeds.
    time_left : TimeLeft
    state : Path
        Folder of the checkpoints.
    threads : int or None
    backend : str
        As for ``train``.

    Returns
    -------
    dict
        As ``figure_report`` returns; with the reason if the experiment cannot run.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, with the progress saved.
    """
    try:
        data = digits_runs.load()
    except ImportError as error:
        return _empty() | {"skipped": str(error)}
    steps = _steps(divisor)
    runner = DigitsRunner(data, steps, seed, state, time_left, threads, backend)
    problem, curves = runner.problem, dict(runner.tuned())
    best = optimum(problem)
    least = best.loss if best.status == "optimal" else 0.0
    per_epoch = -(-problem.n // runner.batch)
    _write_curves(out / "curves", curves, least)
    drawing.save(out / f"figure{KEY}", _drawn(runner, curves, least, per_epoch))
    goals = _goals(curves, least)
    return _empty() | {
        "about": f"{_ABOUT} The data: {data.source} ({problem.n} x {problem.d}).",
        "seconds": runner.seconds,
        "optimum": {"loss": best.loss, "status": best.status},
        "lines": [
            _line(model, found, least, goals[_panel_of(model)], steps)
            for model, found in curves.items()
        ],
        "notes": _notes(runner, curves, least, goals, per_epoch),
    }


def _notes(
    runner: DigitsRunner, curves: Curves, least: float, goals: Mapping[str, float], per_epoch: int
) -> Sequence[str]:
    problem = runner.problem
    return [
        f"The data: {runner.data.note}; the mean of every 2 x 2 pixels of the images that fill "
        f"batches, {problem.n} x {problem.d}, and a loss of {least:.4g} at the optimum. Batches of "
        f"{runner.batch}, all images once in an epoch of {per_epoch} steps; momentum 0.9; no "
        "penalty, no intercept, constant rates.",
        f"Ours is the mean over the last tenth of the records, and over {digits_runs.SEEDS} seeds "
        "of start and batches; bands are from the lowest to the highest of them. The rate is the "
        "best for the first seed; the end-to-end rule has that of its net, if it descends with it "
        "from all seeds. The paper has no such figure: there is nothing published.",
        *(_speed_note(curves, name, goals[name], least, per_epoch) for name in _PANELS),
        _tutorial_note(curves, least),
        *_other_rate_notes(curves),
        *(_rule_note(curves, depth) for depth in (2, 3)),
    ]
