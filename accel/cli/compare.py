"""``accel compare``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from accel._reports.figures import save_figure
from accel._support.backends import cpu_threads, resolve
from accel.cli import tables
from accel.cli.figures import comparison_csv, comparison_figure
from accel.cli.options import (
    MODEL,
    OPTIMIZER_NAMES,
    OUTPUT,
    RUN,
    BackendName,
    Column,
    Data,
    Dtype,
    Init,
    Json,
    P,
    Quiet,
    Scale,
    Seed,
    Standardize,
    Steps,
    Task,
    Threads,
    Width,
    parse_grid,
    parse_models,
)
from accel.cli.outputs import output_paths, write
from accel.cli.terminal import INTERRUPTED, print_json, print_line, say, search_progress
from accel.tuning import Start
from accel.tuning.comparison import check_goal, compare, rounding


def compare_command(
    data: Data = "diabetes",
    p: P = 4.0,
    depths: Annotated[
        str, typer.Option(help="Separated by commas.", rich_help_panel=MODEL)
    ] = "1,2,3",
    optimizers: Annotated[
        str,
        typer.Option(
            help=f"{OPTIMIZER_NAMES} Separated by commas; NAME@DEPTH for that depth alone.",
            rich_help_panel=MODEL,
        ),
    ] = "gd,adagrad@1,adam@1",
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
    target: Annotated[
        float | None,
        typer.Option(
            help="Distance from the optimum to time; where the first model ends by default.",
            rich_help_panel=RUN,
        ),
    ] = None,
    target_column: Column = None,
    standardized: Standardize = None,
    dtype: Dtype = None,
    backend: BackendName = "auto",
    threads: Threads = None,
    out: Annotated[
        Path,
        typer.Option(help="Folder for the curves, or a .png or .csv file.", rich_help_panel=OUTPUT),
    ] = Path("accel-out"),
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
    [bold]accel compare my.csv --target-column price --depths 1,2,4 --optimizers gd,adam[/]
    """
    models, rates = parse_models(depths, optimizers), parse_grid(grid)
    check_goal(steps, target)
    count = cpu_threads(threads)
    resolve(backend)  # it may be missing: better said before the data is loaded
    task = Task(data, p, target_column, standardized, dtype)
    console, problem = Console(), task.problem
    paths = output_paths(out, f"compare-{task.stem}", (".png", ".csv"), task.path)
    talk = not (quiet or as_json)
    if talk:
        print_line(console, f"{task}: {steps} steps of each model at its best learning rate")
    with search_progress(steps, talk) as (watch, done):
        found = compare(
            problem, models, steps,
            grid=rates, start=Start(init, scale, seed, width), target=target, backend=backend,
            threads=count, watch=watch, done=done,
        )  # fmt: skip
    if found.models:
        write(
            paths,
            {
                ".csv": lambda path: comparison_csv(path, found),
                ".png": lambda path: save_figure(
                    path,
                    comparison_figure(found, str(task), rounding(problem, found.best)),
                ),
            },
        )
    if as_json:
        written = {"files": [str(path) for path in paths] if found.models else []}
        print_json(task.described() | tables.comparison_json(found) | written)
    elif found.models:
        console.print(tables.comparison_table(found))
        for note in tables.comparison_notes(found):
            print_line(console, note)
        if talk:
            if sentence := tables.verdict(found):
                print_line(console, sentence)
            print_line(console, f"curves: {', '.join(map(str, paths))}")
    if found.interrupted:
        say("interrupted: the last model's search is unfinished, later models are missing")
        raise typer.Exit(INTERRUPTED)
