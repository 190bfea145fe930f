"""The map that was fitted, in the user's units and by the names of their columns."""

from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from accel._core.scaling import Scaling
from accel._reports.text import finite
from accel._runs.results import Result
from accel._support import validation
from accel.cli.terminal import print_line
from accel.datasets.columns import unique
from accel.losses.margins import CrossEntropy

__all__ = ["coefficients_json", "print_coefficients"]

_FEATURES, _OUTPUTS = 12, 4  # that a table shows
_NAME = 30  # characters of a name


def coefficients_json(result: Result) -> dict[str, Any]:
    """All coefficients by the names of features, and of outputs where there are several."""
    scaling = result.scaling
    if scaling is None:
        return {}
    coef, intercept = result.coefficients()
    features, outputs = unique(scaling.features), unique(scaling.targets)

    def by_name(row: Any) -> dict[str, float | None]:
        values = (finite(float(value)) for value in row)
        return dict(zip(features, values, strict=True))

    if coef.ndim == 1:
        return {"coefficients": by_name(coef), "intercept": finite(float(intercept))}
    return {
        "coefficients": {name: by_name(row) for name, row in zip(outputs, coef, strict=True)},
        "intercept": {
            name: finite(float(value)) for name, value in zip(outputs, intercept, strict=True)
        },
    }


def _shown(name: str) -> str:
    name = name if name.isprintable() else repr(name)
    return escape(name if len(name) <= _NAME else f"{name[: _NAME - 3]}...")


def _meaning(result: Result, scaling: Scaling) -> str:
    """What the map says, in a sentence."""
    standard = "" if scaling.trivial else ", in the units of the data"
    summed = "the sum of coefficient times feature"
    if not scaling.trivial:
        summed = f"intercept plus {summed}"
    loss = result.loss_function
    target = validation.listed(map(validation.cut, scaling.targets))
    if len(scaling.targets) > _OUTPUTS:
        target = "every target"
    if isinstance(loss, CrossEntropy):
        return f"output of a class = {summed}{standard}; the class of the largest is predicted"
    if loss.classifies:
        return (
            f"margin of {target} = {summed}{standard}; above 0 it predicts +1, with the odds "
            f"e^{'2 margin' if getattr(loss, 'log_odds', 1.0) == 2 else 'margin'}"
        )
    return f"{target} = {summed}{standard}"


def print_coefficients(console: Console, result: Result) -> None:
    """Print the coefficients, the largest ones of many, with what they mean.

    They are large by what the outputs change, beside their own spread, if a feature changes by one
    standard deviation.
    """
    scaling = result.scaling
    if scaling is None:
        return
    coef, intercept = (np.atleast_1d(part) for part in result.coefficients())
    coef = coef.reshape(len(intercept), -1)
    with np.errstate(over="ignore"):
        effect = coef * np.where(np.isfinite(scaling.x_scale), scaling.x_scale, 0.0)
    size = np.abs(effect / scaling.y_scale.reshape(-1, 1)).max(axis=0)
    rows = range(len(size))
    if len(size) > _FEATURES:
        rows = np.argsort(-size, kind="stable")[: _FEATURES - 2].tolist()
    shown = list(zip(map(_shown, scaling.targets), coef, effect, intercept, strict=True))[:_OUTPUTS]
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("feature", no_wrap=True)
    alone = len(shown) == 1 and not scaling.trivial
    for name, *_ in shown:
        table.add_column("coefficient" if len(intercept) == 1 else name, justify="right")
    if alone:
        table.add_column("per standard deviation", justify="right")
    for j in rows:
        cells = [f"{own[j]:.6g}" for _, own, _, _ in shown]
        more = [f"{effect[0, j]:+.4g}"] if alone else []
        table.add_row(_shown(scaling.features[j]), *cells, *more)
    if not scaling.trivial:
        table.add_row("[dim]intercept[/]", *(f"{own:.6g}" for *_, own in shown))
    print_line(console, "")
    print_line(console, _meaning(result, scaling))
    console.print(table)
    told = []
    if len(rows) < len(size):
        told.append(f"the {len(rows)} of {len(size)} features that move the output most")
    if len(shown) < len(intercept):
        told.append(f"the first {len(shown)} of {len(intercept)} outputs")
    if told:
        print_line(console, f"{', '.join(told)}; --json and a .npz of --out have all")
