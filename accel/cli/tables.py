"""How the command shows what it found: tables, sentences and JSON."""

import math
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Column, Table

from accel._core.problem import LpProblem
from accel._optimum.optimum import Optimum
from accel._reports.text import duration, finite
from accel._runs.results import Result
from accel.tuning import Comparison, Tuned

__all__ = [
    "comparison_json",
    "comparison_notes",
    "comparison_table",
    "facts_table",
    "result_json",
    "result_table",
    "verdict",
]


def comparison_table(comparison: Comparison) -> Table:
    """One row a model, narrow enough for 80 columns."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    goal = "it" if math.isnan(comparison.target) else f"{comparison.target:.2e}"
    table.add_column("model", no_wrap=True)
    for header in (
        "best\nrate",
        f"distance after\n{comparison.steps} steps",
        f"steps to\n{goal}",
        "time to\nit",
        "time of\na step",
    ):
        table.add_column(header, justify="right", no_wrap=True)
    for tuned in comparison.models:
        reached = comparison.reached(tuned)
        table.add_row(
            str(tuned.model),
            f"{tuned.rate:.3g}{'*' if tuned.at_edge else ' '}",
            "diverged " if math.isinf(tuned.distance) else f"{tuned.distance:.2e}{_early(tuned)}",
            str(reached[0]) if reached else "-",
            duration(reached[1]) if reached else "-",
            duration(tuned.seconds_per_step),
        )
    return table


def _early(tuned: Tuned) -> str:
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
    return notes


def verdict(comparison: Comparison) -> str:
    """Say in a sentence what depth did to the optimiser of the first model.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    str
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


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Everything but the curves, with null for what is not finite."""
    models = []
    for tuned in comparison.models:
        reached = comparison.reached(tuned)
        models.append(
            {
                "optimizer": tuned.model.optimizer,
                "depth": tuned.model.depth,
                "learning_rate": tuned.rate,
                "at_edge_of_grid": tuned.at_edge,
                "next_rate_diverges_at": tuned.next_diverges_at,
                "backend": tuned.result.backend,
                "status": tuned.result.status,
                "steps": tuned.result.steps,
                "distance": finite(tuned.distance),
                "steps_to_target": reached[0] if reached else None,
                "seconds_to_target": reached[1] if reached else None,
                "seconds": tuned.result.seconds,
                "us_per_step": 1e6 * tuned.seconds_per_step,
                "trials": [
                    asdict(trial) | {"distance": finite(trial.distance)} for trial in tuned.trials
                ],
            }
        )
    return {
        "optimum": comparison.best.loss,
        "duality_gap": comparison.best.duality_gap,
        "steps": comparison.steps,
        "target": finite(comparison.target),
        "interrupted": comparison.interrupted,
        "models": models,
    }


def result_json(problem: LpProblem, result: Result, best: Optimum | None) -> dict[str, Any]:
    """Everything about one run but its curve."""
    history = result.history
    return {
        "learning_rate": result.optimizer.learning_rate,
        "weight_decay": result.optimizer.weight_decay,
        "status": result.status,
        "diverged_at": result.diverged_at,
        "steps": result.steps,
        "loss": finite(result.loss),
        "optimum": None if best is None else best.loss,
        "distance": None if best is None else finite(result.loss - best.loss),
        "gradient_norm": finite(float(history.gradient_norm[-1])),
        "weight_norm": finite(float(history.weight_norm[-1])),
        "balancedness": finite(result.network.balancedness()),
        "seconds": result.seconds,
        "us_per_step": 1e6 * result.seconds / max(result.steps, 1),
        "backend": result.backend,
        "threads": result.threads,
        "method": result.method,  # not the problem's: a low target takes another
    }


def result_table(result: Result, best: Optimum | None) -> Table:
    """How one run ended."""
    table = Table.grid(padding=(0, 2))
    status: str = result.status
    if result.status == "diverged":
        status = (
            f"[red]diverged[/] at step {result.diverged_at}: a lower --learning-rate may help; "
            "below, the last iterate with a finite loss"
        )
    table.add_row("status", status)
    table.add_row("steps", str(result.steps))
    table.add_row("loss", f"{result.loss:.10g}")
    if best is not None:
        proof = f"[dim](the optimum is {best.loss:.10g}, proved to {best.duality_gap:.0e})[/]"
        table.add_row("distance", f"{result.loss - best.loss:.3e} {proof}")
    table.add_row("gradient norm", f"{result.history.gradient_norm[-1]:.3e}")
    table.add_row("weight norm", f"{result.history.weight_norm[-1]:.4g}")
    table.add_row("balancedness", f"{result.network.balancedness():.2e}")
    step = duration(result.seconds / max(result.steps, 1))
    threads = f"{result.threads} thread{'s' if result.threads > 1 else ''}"
    where = "the GPU" if result.backend == "cuda" else threads
    table.add_row("time", f"{duration(result.seconds)}, {step} a step on {where}")
    return table


def facts_table(facts: dict[str, dict[str, str]]) -> Table:
    """Sections of names and values."""
    table = Table.grid("", "", Column(overflow="fold"), padding=(0, 2))  # paths are shown whole
    for section, values in facts.items():
        for number, (name, value) in enumerate(values.items()):
            table.add_row(f"[bold]{section}[/]" if number == 0 else "", name, escape(value))
    return table
