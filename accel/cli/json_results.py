"""Results as ``--json`` prints them: null for a number that is not finite."""

from dataclasses import asdict
from typing import Any

import numpy as np

from accel._core.problem import Problem
from accel._optimum.optimum import Optimum
from accel._reports.text import finite
from accel._runs.results import Result
from accel._support.arrays import Array
from accel.tuning import Comparison

__all__ = ["comparison_json", "result_json"]


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """A comparison, without its curves."""
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
                "at_saddle": tuned.result.at_saddle,
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
        "repeats": comparison.repeats,
        "models": models,
    }


def _last(values: Array) -> Any:
    """The last record: a number, or lists of numbers."""
    if values.ndim > 1:
        return [_last(row[np.newaxis]) for row in values[-1]]
    return finite(float(values[-1]))


def result_json(problem: Problem, result: Result, best: Optimum | None) -> dict[str, Any]:
    """One run, without its curve."""
    history = result.history
    return {
        "learning_rate": result.optimizer.learning_rate,
        "weight_decay": result.optimizer.weight_decay,
        "status": result.status,
        "at_saddle": result.at_saddle,
        "diverged_at": result.diverged_at,
        "steps": result.steps,
        "loss": finite(result.loss),
        "optimum": None if best is None else best.loss,
        "distance": None if best is None else finite(max(result.loss - best.loss, 0.0)),
        "gradient_norm": finite(float(history.gradient_norm[-1])),
        "weight_norm": finite(float(history.weight_norm[-1])),
        "balancedness": finite(result.network.balancedness()),
        "recorded": {name: _last(values) for name, values in history.recorded.items()},
        "seconds": result.seconds,
        "us_per_step": 1e6 * result.seconds / max(result.steps, 1),
        "backend": result.backend,
        "threads": result.threads,
        "method": result.method,  # may differ from the problem's if the target is low
    }
