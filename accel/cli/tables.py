"""The tables and sentences in which the command shows results."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Column, Table

from accel._optimum.optimum import Optimum
from accel._reports.text import duration
from accel._runs.history import BATCH_LOSS
from accel._runs.results import Result
from accel.experiments.atlas.speedups import Cell
from accel.experiments.summary import claim_text, has_published, verdict_on
from accel.tuning import Comparison, Tuned

__all__ = [
    "ATLAS_NOTE",
    "atlas_table",
    "comparison_notes",
    "comparison_table",
    "facts_table",
    "reproduction_notes",
    "reproduction_table",
    "result_table",
    "verdict",
]

_FIRST = 5  # numbers of a vector that are shown
_ATLAS_TARGET = 1e-3  # of the distance at the start, which the table of an atlas is about
#: What stands below that table.
ATLAS_NOTE = (
    "steps of depth 1 for one of the best depth, which stands after the @, to a thousandth of the "
    "distance; medians over seeds, ≥ and ≤ where runs were not there at the limit, in brackets "
    "those of fewer than 10 steps"
)
_LARGER = "leave --scale to its default, or --init balanced or identity"  # factors at a saddle


def _table(names: Sequence[str], numbers: Sequence[str]) -> Table:
    """A table with columns of names, then of numbers, narrow enough for 80 columns."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for header in names:
        table.add_column(header, no_wrap=True)
    for header in numbers:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _rate(rate: float, at_edge: bool) -> str:
    """A learning rate, marked if it is at the edge of the grid."""
    return f"{rate:.3g}{'*' if at_edge else ' '}"


def comparison_table(comparison: Comparison) -> Table:
    """One row a model."""
    goal = "it" if math.isnan(comparison.target) else f"{comparison.target:.2e}"
    numbers = (
        "best\nrate",
        f"distance after\n{comparison.steps} steps",
        f"steps to\n{goal}",
        "time to\nit",
        "time of\na step",
    )
    table = _table(["model"], numbers)
    for tuned in comparison.models:
        reached = comparison.reached(tuned)
        table.add_row(
            str(tuned.model),
            _rate(tuned.rate, tuned.at_edge),
            "diverged " if math.isinf(tuned.distance) else f"{tuned.distance:.2e}{_early(tuned)}",
            str(reached[0]) if reached else "-",
            duration(reached[1]) if reached else "-",
            duration(tuned.seconds_per_step),
        )
    return table


def _early(tuned: Tuned) -> str:
    """The mark of a run that ended before its last step."""
    return "+" if tuned.result.status == "target" else " "


def comparison_notes(comparison: Comparison) -> list[str]:
    """Lines that explain the marks in the table."""
    notes = []
    if any(tuned.at_edge for tuned in comparison.models):
        notes.append("* the edge of the grid: there may be better rates beyond, widen --grid")
    early = [tuned for tuned in comparison.models if _early(tuned) == "+"]
    if early:
        when = ", ".join(f"{tuned.model} after {tuned.result.steps} steps" for tuned in early)
        notes.append(f"+ ended early, with nothing but rounding errors left: {when}")
    held = [str(tuned.model) for tuned in comparison.models if tuned.result.at_saddle]
    if held:
        notes.append(
            f"at the saddle where it began, with factors too small to move: {', '.join(held)}; "
            f"{_LARGER}"
        )
    if comparison.repeats > 1:
        notes.append(f"times are medians of {comparison.repeats} runs")
    return notes


def verdict(comparison: Comparison) -> str:
    """Say in a sentence what depth did to the optimiser of the first model.

    Empty if there is nothing to compare.
    """
    if not comparison.models:
        return ""
    base, *others = comparison.models
    same = [t for t in others if t.model.optimizer == base.model.optimizer]
    deeper = [t for t in same if t.model.depth > base.model.depth]
    own = comparison.reached(base)
    if not deeper or own is None:
        return ""
    goal = f"{comparison.target:.2e} from the optimum"
    sooner = [
        (there[0], tuned.model.depth)
        for tuned in deeper
        if (there := comparison.reached(tuned)) and there[0] < own[0]
    ]
    if not sooner:
        return f"Depth does not help {base.model.optimizer} here: none gets to {goal} sooner."
    steps, depth = min(sooner)
    return (
        f"{base.model.optimizer} gets to {goal} in {own[0]} steps at depth {base.model.depth} and "
        f"in {steps} at depth {depth}, fewer by a factor of {own[0] / max(steps, 1):.2f}."
    )


def result_table(result: Result, best: Optimum | None) -> Table:
    """How one run ended."""
    table = Table.grid(padding=(0, 2))
    status: str = result.status
    if result.status == "diverged":
        status = (
            f"[red]diverged[/] at step {result.diverged_at}: a lower --learning-rate may help; "
            "below, the last iterate with a finite loss"
        )
    elif result.at_saddle:
        status = (
            f"{result.status}, [red]at the saddle where it began[/]: the factors are too small to "
            f"move; {_LARGER}"
        )
    table.add_row("status", status)
    table.add_row("steps", str(result.steps))
    table.add_row("loss", f"{result.loss:.10g}")
    if best is not None:
        proof = f"[dim](the optimum is {best.loss:.10g}, proved to {best.duality_gap:.0e})[/]"
        distance = max(result.loss - best.loss, 0.0)  # below it is rounding
        table.add_row("distance", f"{distance:.3e} {proof}")
    table.add_row("gradient norm", f"{result.history.gradient_norm[-1]:.3e}")
    table.add_row("weight norm", f"{result.history.weight_norm[-1]:.4g}")
    table.add_row("balancedness", f"{result.network.balancedness():.2e}")
    for name, values in result.history.recorded.items():
        # There is no batch at the last record, since no update follows it.
        if name not in ("balancedness", BATCH_LOSS) and values.ndim <= 2:
            last = np.atleast_1d(values[-1])
            more = ", ..." if len(last) > _FIRST else ""
            numbers = ", ".join(f"{value:.4g}" for value in last[:_FIRST])
            table.add_row(escape(name.replace("_", " ")), numbers + more)
    step = duration(result.seconds / max(result.steps, 1))
    threads = f"{result.threads} thread{'s' if result.threads > 1 else ''}"
    where = "the GPU" if result.backend == "cuda" else threads
    table.add_row("time", f"{duration(result.seconds)}, {step} a step on {where}")
    return table


def reproduction_table(report: dict[str, Any]) -> Table:
    """One row a line of a figure."""
    published = has_published(report) and not report["settings"]["quick"]
    names = ("published", "ours", "ratio") if published else ("ours",)
    table = _table(["figure", "line"], [*names, "rate"])
    for figure in report["figures"]:
        for line in figure["lines"]:
            rate = line.get("learning_rate")
            table.add_row(
                escape(figure["key"]),
                escape(line["label"]),
                *("-" if line[name] is None else f"{line[name]:.3g}" for name in names),
                "" if rate is None else _rate(rate, line["at_edge_of_grid"]),
            )
    return table


def reproduction_notes(report: dict[str, Any], page: Path) -> list[str]:
    """Lines below the table: its marks, what was not run, the paper's claims, time and place."""
    notes = []
    lines = [line for figure in report["figures"] for line in figure["lines"]]
    if any(line.get("at_edge_of_grid") for line in lines):
        notes.append("* the edge of the grid: a better rate may lie beyond")
    for figure in report["figures"]:
        if figure["skipped"]:
            notes.append(f"figure {figure['key']} was not run: {figure['skipped']}")
        for check in figure["checks"]:
            outcome = verdict_on(check).replace("fails", "FAILS")
            notes.append(f"{outcome}: figure {figure['key']}, {claim_text(check)}")
    if report["settings"]["quick"] and not has_published(report):
        notes.append("a quick run: a fiftieth of the steps")
    elif report["settings"]["quick"]:
        notes.append("a quick run: published values and claims are about fifty times the steps")
    seconds = duration(report["seconds"]["training"])
    notes.append(f"training took {seconds}; written: {page}")
    return notes


def _best_depth(cell: Cell) -> str:
    """A speed-up and its depth, in brackets if it is one of few steps."""
    if not cell.speedup.known:
        return "?"
    return f"({cell.speedup})@{cell.depth}" if cell.few else f"{cell.speedup}@{cell.depth}"


def atlas_table(cells: Sequence[Cell], start: float) -> Table:
    """One row an alignment and an exponent, one column a condition number, from one start."""
    conditions = sorted({cell.condition for cell in cells})
    table = _table(["target", "p"], [f"condition\n{condition:g}" for condition in conditions])
    shown = "network", "best", _ATLAS_TARGET, start
    own = [cell for cell in cells if (cell.kind, cell.margin, cell.target, cell.start) == shown]
    rows: dict[tuple[str, float], dict[float, Cell]] = {
        (alignment, p): {}
        for alignment in dict.fromkeys(cell.alignment for cell in own)
        for p in dict.fromkeys(cell.p for cell in own)
    }
    for cell in own:
        row = rows[cell.alignment, cell.p]
        held = row.get(cell.condition)
        if held is None or cell.speedup > held.speedup:
            row[cell.condition] = cell
    for (alignment, p), row in rows.items():
        found = (row[condition] for condition in conditions)
        table.add_row(alignment, f"{p:g}", *map(_best_depth, found))
    return table


def facts_table(facts: dict[str, dict[str, str]]) -> Table:
    """Sections of names and values."""
    table = Table.grid("", "", Column(overflow="fold"), padding=(0, 2))  # paths are shown whole
    for section, values in facts.items():
        for number, (name, value) in enumerate(values.items()):
            table.add_row(f"[bold]{section}[/]" if number == 0 else "", name, escape(value))
    return table
