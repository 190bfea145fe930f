"""The subcommands of ``accel``: what they do with their options, and what they print."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import accel
from accel import artifacts, machine, report, running
from accel.backends import cpu_threads, resolve
from accel.comparison import check_goal, compare, rounding, suggested_rate
from accel.optimizers import EndToEnd, Optimizer, by_name
from accel.optimum import optimum
from accel.options import (
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
)  # fmt: skip
from accel.problem import LpProblem
from accel.reproduce_command import reproduce_command
from accel.terminal import INTERRUPTED, Group, print_json, say, search_progress
from accel.training import train
from accel.tuning import Model, Start

__all__ = ["app"]

app = typer.Typer(
    cls=Group,
    name="accel",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"accel {accel.__version__}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def accel_command(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Deep linear networks and their implicit acceleration.

    Begin with [bold]accel compare[/]: it shows on real data that depth accelerates l4 regression.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


def _print(console: Console, text: str) -> None:
    """A line as it is, however long."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


@app.command("compare")
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

    The best rate is the constant one that ends closest to the optimum.
    A run that diverges, at whatever step, does not count. Every model is
    searched in the same way, depth 1 included.

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
    paths = artifacts.output_paths(out, f"compare-{task.stem}", (".png", ".csv"), task.path)
    talk = not (quiet or as_json)
    if talk:
        _print(console, f"{task}: {steps} steps of each model at its best learning rate")
    with search_progress(steps, talk) as (watch, done):
        found = compare(
            problem, models, steps,
            grid=rates, start=Start(init, scale, seed, width), target=target, backend=backend,
            threads=count, watch=watch, done=done,
        )  # fmt: skip
    if found.models:
        artifacts.write(
            paths,
            {
                ".csv": lambda path: artifacts.comparison_csv(path, found),
                ".png": lambda path: artifacts.save_figure(
                    path,
                    artifacts.comparison_figure(found, str(task), rounding(problem, found.best)),
                ),
            },
        )
    if as_json:
        written = {"files": [str(path) for path in paths] if found.models else []}
        print_json(task.described() | report.comparison_json(found) | written)
    elif found.models:
        console.print(report.comparison_table(found))
        for note in report.comparison_notes(found):
            _print(console, note)
        if talk:
            if sentence := report.verdict(found):
                _print(console, sentence)
            _print(console, f"curves: {', '.join(map(str, paths))}")
    if found.interrupted:
        say("interrupted: the last model's search is unfinished, later models are missing")
        raise typer.Exit(INTERRUPTED)


def _optimizer(problem: LpProblem, model: Model, rate: float | None, decay: float) -> Optimizer:
    constants: dict[str, Any] = {"weight_decay": decay}
    if model.optimizer == EndToEnd.name:
        constants["depth"] = model.depth
    if rate is None and model.optimizer in (EndToEnd.name, "gd", "momentum", "nesterov"):
        rate = suggested_rate(problem)
    return by_name(model.optimizer, rate, **constants)


@app.command("train")
def train_command(
    data: Data = "diabetes",
    p: P = 4.0,
    depth: Annotated[int, typer.Option(help="Number of factors.", rich_help_panel=MODEL)] = 2,
    width: Width = None,
    init: Init = "balanced",
    scale: Scale = None,
    seed: Seed = 0,
    optimizer: Annotated[str, typer.Option(help=OPTIMIZER_NAMES, rich_help_panel=RUN)] = "gd",
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="By default from the curvature at 0; for adaptive rules their usual one.",
            rich_help_panel=RUN,
        ),
    ] = None,
    weight_decay: Annotated[float, typer.Option(rich_help_panel=RUN, help="Decoupled.")] = 0.0,
    steps: Steps = 1000,
    target: Annotated[
        float | None,
        typer.Option(help="Stop at this distance from the optimum.", rich_help_panel=RUN),
    ] = None,
    tol: Annotated[
        float, typer.Option(help="Stop at this norm of the gradient.", rich_help_panel=RUN)
    ] = 0.0,
    with_optimum: Annotated[
        bool,
        typer.Option(
            "--optimum/--no-optimum",
            help="Find the optimum first. Without it distances are losses.",
            rich_help_panel=RUN,
        ),
    ] = True,
    record_every: Annotated[
        int | None,
        typer.Option(help="Steps between records; about 1000 in all.", rich_help_panel=OUTPUT),
    ] = None,
    target_column: Column = None,
    standardized: Standardize = None,
    dtype: Dtype = None,
    backend: BackendName = "auto",
    threads: Threads = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for history and figure; or a .npz or .csv file, with the figure beside "
            "it; or a .png file.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train one model and show how it ended.

    [bold]accel train[/]
    [bold]accel train gas --depth 3 --learning-rate 1e-4 --steps 1e5 --out runs[/]
    """
    model = Model(optimizer, depth)
    running.limits(steps, record_every, tol, target)
    cpu_threads(threads)
    resolve(backend)
    task = Task(data, p, target_column, standardized, dtype)
    console, problem = Console(), task.problem
    kinds = (".npz", ".csv", ".png")
    paths = artifacts.output_paths(out, f"train-{task.stem}", kinds, task.path) if out else []
    talk = not (quiet or as_json)
    network = Start(init, scale, seed, width).network(problem, model)
    chosen = _optimizer(problem, model, learning_rate, weight_decay)
    if talk:
        _print(console, f"{task}: {model}, learning rate {chosen.learning_rate:.3g}")
    best = optimum(problem) if with_optimum else None
    base = 0.0 if best is None else best.loss
    result = train(
        problem, network, chosen, steps,
        record_every=record_every, tol=tol, target=None if target is None else base + target,
        progress=talk, backend=backend, threads=threads,
    )  # fmt: skip
    artifacts.write(
        paths,
        {
            ".npz": result.save,
            ".csv": lambda path: artifacts.history_csv(path, result.history),
            ".png": lambda path: artifacts.save_figure(
                path, artifacts.result_figure(result, best, f"{task}: {model}")
            ),
        },
    )
    if as_json:
        described = {"optimizer": model.optimizer, "depth": model.depth}
        rows = report.result_json(problem, result, best)
        print_json(task.described() | described | rows | {"files": [str(path) for path in paths]})
    else:
        console.print(report.result_table(result, best))
        if paths and talk:
            _print(console, f"written: {', '.join(map(str, paths))}")
    if result.status == "interrupted":
        raise typer.Exit(INTERRUPTED)


app.command("reproduce")(reproduce_command)


@app.command("info")
def info_command(as_json: Json = False) -> None:
    """Show versions, the machine, and what of it will be used."""
    found = machine.facts()
    if as_json:
        print_json(found)
    else:
        Console().print(report.facts_table(found))
