"""The subcommand ``accel compare``: its options and its output."""

from inspect import signature
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from accel._reports.figures import save_figure
from accel._support import validation
from accel._support.backends import cpu_threads, resolve
from accel.cli import tables
from accel.cli.catalogue import NAMES, Reading
from accel.cli.figures import comparison_figure
from accel.cli.json_results import comparison_json
from accel.cli.options import (
    DEPTHS,
    OPTIMIZERS,
    OUTPUT,
    RUN,
    BackendName,
    DataSource,
    Depths,
    DropMissing,
    Dtype,
    Features,
    Force,
    Init,
    Json,
    LossName,
    Optimizers,
    P,
    Quiet,
    Scale,
    Seed,
    Standardize,
    Steps,
    Target,
    Threads,
    Width,
    parse_grid,
    parse_models,
)
from accel.cli.outputs import comparison_csv, comparison_name, output_paths, write
from accel.cli.progress import search_progress
from accel.cli.task import Task, loss_of
from accel.cli.terminal import INTERRUPTED, print_json, print_line, say
from accel.tuning import Start
from accel.tuning.comparison import check_goal, compare, rounding

__all__ = ["compare_command"]

_OUT = Path("accel-out")
_REPEATS = 5  # runs that times are the median of, where they are short


def compare_command(
    data: DataSource = "diabetes",
    p: P = None,
    loss: LossName = None,
    depths: Depths = DEPTHS,
    optimizers: Optimizers = OPTIMIZERS,
    width: Width = None,
    init: Init = "balanced",
    scale: Scale = None,
    seed: Seed = 0,
    steps: Steps = 1000,
    grid: Annotated[
        str,
        typer.Option(
            help="Learning rates: points a decade, or LOW:HIGH, or LOW:HIGH:POINTS.",
            rich_help_panel=RUN,
        ),
    ] = "32",
    target_distance: Annotated[
        float | None,
        typer.Option(
            help="Distance from the optimum to time; where the first model ends by default.",
            rich_help_panel=RUN,
        ),
    ] = None,
    target: Target = None,
    features: Features = None,
    drop_missing: DropMissing = False,
    standardized: Standardize = None,
    dtype: Dtype = None,
    backend: BackendName = "auto",
    threads: Threads = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the curves, or a .png or .csv file; by default the folder accel-out, "
            "where the files of the same comparison are replaced.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compare depths and optimisers on one data set, each at its own best learning rate.

    The best rate is the constant one, of those that a search up and down
    the grid tries, that ends closest to the optimum. A run that diverges,
    at whatever step, does not count. Every model is searched in the same
    way, depth 1 included.

    [bold]accel compare[/]
    [bold]accel compare gas --steps 1e5[/]
    [bold]accel compare my.csv --target price --depths 1,2,4 --optimizers gd,adam[/]
    """
    models, rates = parse_models(depths, optimizers), parse_grid(grid)
    if target_distance is not None:
        validation.real("target_distance", target_distance, above=0)
    check_goal(steps, target_distance)
    count = cpu_threads(threads)
    resolve(backend)  # before the data is loaded, since it may not be available
    reading = Reading(target, features, drop_missing)
    task = Task(data, loss_of(p, loss), reading, standardized, dtype)
    console, problem = Console(), task.problem
    others: dict[str, object] = {
        "steps": steps, "grid": grid, "init": init, "scale": scale, "dtype": dtype,
        "target_distance": target_distance, "target": target, "features": features,
        "drop_missing": drop_missing, "standardized": standardized, "backend": backend,
    }  # fmt: skip
    usual = signature(compare_command).parameters
    others = {option: value for option, value in others.items() if value != usual[option].default}
    if data not in NAMES:  # a file, or settings of synthetic data
        others["data"] = data if task.path is None else str(task.path.resolve())
    name = comparison_name(task.stem, models, width, seed, others)
    kinds, again = (".png", ".csv"), force or out is None
    paths = output_paths(out or _OUT, name, kinds, task.path, force=again)
    verbose = not (quiet or as_json)
    if verbose:
        print_line(console, f"{task}: {steps} steps of each model at its best learning rate")
    with search_progress(steps, verbose) as (watch, done):
        comparison = compare(
            problem, models, steps,
            grid=rates, start=Start(init, scale, seed, width), target=target_distance,
            backend=backend, threads=count, watch=watch, done=done, repeats=_REPEATS,
        )  # fmt: skip
    if comparison.models:
        write(
            paths,
            {
                ".csv": lambda path: comparison_csv(path, comparison),
                ".png": lambda path: save_figure(
                    path,
                    comparison_figure(comparison, str(task), rounding(problem, comparison.best)),
                ),
            },
        )
    if as_json:
        written = {"files": [str(path) for path in paths] if comparison.models else []}
        print_json(task.described() | comparison_json(comparison) | written)
    elif comparison.models:
        console.print(tables.comparison_table(comparison))
        for note in tables.comparison_notes(comparison):
            print_line(console, note)
        if verbose:
            if sentence := tables.verdict(comparison):
                print_line(console, sentence)
            print_line(console, f"curves: {', '.join(map(str, paths))}")
    if comparison.interrupted:
        say("interrupted: the last model's search is unfinished, later models are missing")
        raise typer.Exit(INTERRUPTED)
