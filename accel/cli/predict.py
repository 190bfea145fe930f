"""The subcommand ``accel predict``: a model that ``accel train`` saved, applied to other data."""

import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.console import Console

from accel._core.scaling import Scaling
from accel._files import paths
from accel._reports.csv_files import write_rows
from accel._reports.text import finite
from accel._runs.results import Result
from accel._support import validation
from accel._support.arrays import Array
from accel.cli.catalogue import NAMES, open_data
from accel.cli.options import OUTPUT, Force, Json, Quiet
from accel.cli.outputs import output_file
from accel.cli.terminal import print_json, print_line, say
from accel.datasets.columns import unique
from accel.datasets.samples import Samples, Wanted, read_samples, samples_of
from accel.losses.margins import CrossEntropy

__all__ = ["predict_command"]

_STDOUT = Path("-")


class _Predicted(NamedTuple):
    """What the model says of samples: columns of a table, by their names."""

    columns: dict[str, Array]
    scores: dict[str, float]


def _model(path: Path) -> tuple[Result, Scaling]:
    """Read a model, and refuse one that does not know its units."""
    path = paths.given("model", path)
    if reason := paths.refusal(path):
        raise ValueError(f"model {paths.text(path)}: {reason}")
    result = Result.load(path)
    if result.scaling is None:
        raise ValueError(
            f"model {paths.text(path)} does not say in which units its data were, since it is from "
            "an earlier version, or of arrays alone: train it again by accel train --out, or, in "
            "Python, make its problem of accel.standardize(X, y) or of a data frame"
        )
    return result, result.scaling


def _targets(result: Result, scaling: Scaling) -> tuple[str, ...]:
    """The names of the columns of y, of which labels of several classes have one."""
    names = scaling.targets
    if isinstance(result.loss_function, CrossEntropy) and scaling.target_names is not None:
        base = names[0].removesuffix("=0")
        if names == tuple(f"{base}={c}" for c in range(len(names))):
            return (base,)
    return ("label",) if isinstance(result.loss_function, CrossEntropy) else names


def _samples(data: str, wanted: Wanted) -> Samples:
    """Read the samples of a file, or of a data set by its name."""
    name = data.partition(":")[0]
    path = paths.given("data", data)
    if name not in NAMES or path.suffix or path.is_file():
        return read_samples(path, wanted)
    held = open_data(data).dataset
    table = np.column_stack([held.X, held.y])
    return samples_of(name, wanted, table, [*held.feature_names, *held.target_names])


def _predicted(result: Result, scaling: Scaling, samples: Samples) -> _Predicted:
    loss, y = result.loss_function, samples.y
    outputs = result.decision_function(samples.X)
    columns = outputs.reshape(len(outputs), -1)
    scores: dict[str, float] = {}
    if y is not None:
        try:
            scores["loss"] = float(np.mean(loss.value(*_standard(scaling, outputs, y))))
        except ValueError as error:
            raise ValueError(f"the targets in the data do not fit the model: {error}") from None
    if not loss.classifies:
        if y is not None:
            errors = np.sqrt(np.mean((columns - y) ** 2, axis=0)).tolist()
            names = ["rmse"] if len(errors) == 1 else [f"rmse of {t}" for t in scaling.targets]
            scores |= dict(zip(names, errors, strict=True))
        return _Predicted(dict(zip(unique(scaling.targets), columns.T, strict=True)), scores)
    labels, chances = result.predict(samples.X), result.predict_proba(samples.X)
    (target,) = _targets(result, scaling)
    told = {target: labels}
    if isinstance(loss, CrossEntropy):
        names = [f"p({name})" for name in unique(scaling.targets)]
        told |= dict(zip(names, chances.T, strict=True))
        truth = None if y is None else y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0]
    else:
        told[f"p({target}=1)"] = chances[:, 1]
        truth = None if y is None else y[:, 0]
    if truth is not None:
        scores["accuracy"] = float(np.mean(labels == truth))
    return _Predicted(told, scores)


def _standard(scaling: Scaling, outputs: Array, y: Array) -> tuple[Array, Array]:
    """Outputs and targets in the units of the loss."""
    if y.shape[1] != scaling.y_mean.size:  # labels of classes
        return outputs, y[:, 0] if y.shape[1] == 1 else y
    shaped = y.reshape(outputs.shape) if y.size == outputs.size else y
    return scaling.standard_targets(outputs), scaling.standard_targets(shaped)


def _rows(columns: Iterable[Array]) -> Iterable[Sequence[Any]]:
    return zip(*(column.tolist() for column in columns), strict=True)


def predict_command(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="The .npz of accel train --out, or Result.save.")
    ],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A .csv, .tsv, .parquet, .npy or .npz. Columns are found by the names that the "
            "model's data had, or without names by their order.",
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "--target-column",
            metavar="NAME,...",
            help="The column with the true targets, for loss and error, by name or number; by "
            "default that of the model's name, if it is there.",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Where the .csv goes; - is stdout.", rich_help_panel=OUTPUT
        ),
    ] = _STDOUT,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Predict, in the units of the data that a model was trained on.

    [bold]accel train my.csv --out model.npz[/]
    [bold]accel predict model.npz new.csv --out predictions.csv[/]
    """
    result, scaling = _model(model)
    chosen = None if target is None else [word.strip() for word in target.split(",")]
    targets = _targets(result, scaling)
    if chosen is not None and len(chosen) != len(targets):
        raise ValueError(
            f"--target must name as many columns as the model predicts, {len(targets)}: "
            f"{validation.listed(targets)}, got {validation.shown(target)}"
        )
    source = Path(data)
    written = None
    if out != _STDOUT:
        read = {"model": model} | ({"data": source} if source.is_file() else {})
        written = output_file(out, read, force=force)
    samples = _samples(data, Wanted(scaling.features, targets, chosen))
    columns, scores = _predicted(result, scaling, samples)
    if not quiet and samples.ignored:
        say(f"columns that the model has not are left out: {validation.listed(samples.ignored)}")
    if written is not None:
        written.parent.mkdir(parents=True, exist_ok=True)
        write_rows(written, list(columns), _rows(columns.values()))
    if as_json:
        print_json(
            {
                "model": str(model),
                "trained_on": scaling.source,
                "data": data,
                "n": len(samples.X),
                "predictions": {
                    name: [finite(value) for value in column.tolist()]
                    for name, column in columns.items()
                },
                **{name.replace(" ", "_"): finite(value) for name, value in scores.items()},
                "ignored_columns": list(samples.ignored),
                "files": [] if written is None else [str(written)],
            }
        )
        return
    told = ", ".join(f"{name} {value:.6g}" for name, value in scores.items())
    if told and not scaling.trivial:
        told += "; the loss in the units of the run, all else in those of the data"
    if written is None:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(_rows(columns.values()))
        if told:
            say(f"on {len(samples.X)} rows: {told}")
        return
    console = Console()
    if told:
        print_line(console, f"on {len(samples.X)} rows: {told}")
    if not quiet:
        print_line(console, f"{len(samples.X)} predictions by a model of {scaling.source}")
        print_line(console, f"written: {written}")
