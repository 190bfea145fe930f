"""The subcommand ``accel train``: its options and its output."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from accel._core.network import LinearNetwork
from accel._core.optimizers import OPTIMIZERS, USUAL_RATES, EndToEnd, Langevin, Optimizer, by_name
from accel._core.problem import Problem
from accel._optimum.any_problem import optimum
from accel._reports.csv_files import history_csv
from accel._reports.figures import save_figure
from accel._runs import checks
from accel._runs.batching import all_rows, batches_of
from accel._runs.checkpoints import EVERY, digest_of
from accel._runs.rates import first_rate, stable_rate
from accel._runs.results import Result
from accel._runs.saddles import unwarned
from accel._runs.training import train
from accel._support import validation
from accel._support.backends import cpu_threads, resolve
from accel.cli import tables
from accel.cli.catalogue import Reading
from accel.cli.coefficients import coefficients_json, print_coefficients
from accel.cli.figures import result_figure
from accel.cli.json_results import result_json
from accel.cli.options import (
    MODEL,
    OPTIMIZER_NAMES,
    OUTPUT,
    PROGRESS,
    RUN,
    BackendName,
    BatchSeed,
    BatchSize,
    DataSource,
    DropMissing,
    Dtype,
    Features,
    Force,
    Init,
    Json,
    LabelNoise,
    LossName,
    P,
    Quiet,
    Record,
    RecordEvery,
    Scale,
    Seed,
    Shuffle,
    Standardize,
    Steps,
    Target,
    Threads,
    Width,
    completed,
)
from accel.cli.outputs import output_paths, train_name, write
from accel.cli.task import Task, loss_of
from accel.cli.terminal import INTERRUPTED, print_json, print_line, say
from accel.kernels.specs import Batches
from accel.recording.naming import names_in, quantities
from accel.tuning import Model, Start

__all__ = ["train_command"]


def _optimizer(
    problem: Problem,
    network: LinearNetwork,
    model: Model,
    rate: float | None,
    decay: float,
    seed: int,
    batches: Batches | None,
) -> Optimizer:
    constants: dict[str, Any] = {"weight_decay": decay}
    if model.optimizer == EndToEnd.name:
        constants["depth"] = model.depth
    if model.optimizer == Langevin.name:
        constants |= {"temperature": model.temperature, "seed": seed}
    if rate is None and model.optimizer not in USUAL_RATES:
        rate = first_rate(problem, model.optimizer)
        if batches is not None and not all_rows(problem, batches):  # one may bend far more
            rule = by_name(model.optimizer, rate, **constants)
            size, shuffle, batch_seed = batches[:3]
            along = stable_rate(
                problem, network, rule, batch_size=size, shuffle=shuffle, seed=batch_seed
            )
            rate = min(rate, along)
    return by_name(model.optimizer, rate, **constants)


def _told(batches: Batches | None, n: int) -> str:
    """What a step has in place of all rows as they are, for the line that says what is run."""
    if batches is None:
        return ""
    told = ""
    if batches.size < n or batches.shuffle != "none":
        told += f", batches of {batches.size} rows ({batches.shuffle})"
    if batches.noise:
        told += f", label noise {batches.noise:g}"
    return f"{told}, batch seed {batches.seed}"


def _check_checkpoint(checkpoint: Path | None, resume: bool) -> None:
    """Raise ValueError if ``--resume`` lacks a checkpoint, or an old one would be overwritten."""
    if checkpoint is None and resume:
        raise ValueError("--resume needs --checkpoint FILE, the file to go on from")
    if checkpoint is not None and checkpoint.exists() and not resume:
        raise ValueError(
            f"--checkpoint {checkpoint} is there already: --resume goes on from it; else choose "
            "another file, or delete it"
        )


def _is_of(path: Path, problem: Problem, optimizer: Optimizer) -> bool:
    """Whether a file is no result, or one of this problem and rule, which a run goes on with."""
    if path.suffix.lower() != ".npz" or not path.exists():
        return True
    with contextlib.suppress(OSError, ValueError):
        state = Result.load(path)._state
        if state is not None:
            run = state.end.identity()
            return bool(
                run["data"] == digest_of(problem) and run["optimizers"] == [repr(optimizer)]
            )
    return False


def train_command(
    data: DataSource = "diabetes",
    p: P = None,
    loss: LossName = None,
    depth: Annotated[int, typer.Option(help="Number of factors.", rich_help_panel=MODEL)] = 2,
    width: Width = None,
    init: Init = "balanced",
    scale: Scale = None,
    seed: Seed = 0,
    optimizer: Annotated[
        str,
        typer.Option(
            help=OPTIMIZER_NAMES, autocompletion=completed(*OPTIMIZERS), rich_help_panel=RUN
        ),
    ] = "gd",
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            "--lr",
            help="By default from the curvature at 0, and of batches along the start; for adaptive "
            "rules their usual one.",
            rich_help_panel=RUN,
        ),
    ] = None,
    weight_decay: Annotated[float, typer.Option(rich_help_panel=RUN, help="Decoupled.")] = 0.0,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="Of the noise of langevin, in the unit of the loss; its seed is --seed.",
            rich_help_panel=RUN,
        ),
    ] = None,
    batch_size: BatchSize = None,
    shuffle: Shuffle = "epoch",
    batch_seed: BatchSeed = 0,
    label_noise: LabelNoise = 0.0,
    steps: Steps = 1000,
    target_distance: Annotated[
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
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep the progress in this file, for --resume.",
            rich_help_panel=PROGRESS,
        ),
    ] = None,
    checkpoint_every: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Between two saves; one more at Ctrl-C and at the end.",
            rich_help_panel=PROGRESS,
        ),
    ] = EVERY,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the --checkpoint of the same command, also to more --steps; begin if "
            "it is not there yet.",
            rich_help_panel=PROGRESS,
        ),
    ] = False,
    record: Record = None,
    record_every: RecordEvery = None,
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
            help="Folder for history and figure; or a .npz or .csv file, with the figure beside "
            "it; or a .png file.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train one model and show how it ended.

    [bold]accel train[/]
    [bold]accel train my.csv --target price --features size,age --drop-missing[/]
    [bold]accel train gas --depth 3 --learning-rate 1e-4 --steps 1e5 --out runs[/]
    [bold]accel train gas --batch-size 64 --optimizer momentum --steps 1e5[/]
    [bold]accel train gas --steps 1e8 --checkpoint run.npz --resume[/]
    """
    model = Model(optimizer, depth, temperature)
    if target_distance is not None:
        validation.real("target_distance", target_distance)
    checks.limits(steps, record_every, tol, target_distance)
    quantities(names := names_in(record or ""))
    validation.integer("batch_seed", batch_seed, least=0, most=2**63 - 1)
    cpu_threads(threads)
    resolve(backend)
    _check_checkpoint(checkpoint, resume)
    reading = Reading(target, features, drop_missing)
    task = Task(data, loss_of(p, loss), reading, standardized, dtype)
    console, problem = Console(), task.problem
    verbose = not (quiet or as_json)
    network = Start(init, scale, seed, width).network(problem, model)
    batches = batches_of(problem, batch_size, shuffle, batch_seed, label_noise)
    chosen = _optimizer(problem, network, model, learning_rate, weight_decay, seed, batches)
    paths = []
    if out is not None:
        name = train_name(task.stem, chosen, network, seed)
        kinds = (".npz", ".csv", ".png")
        again = force or (checkpoint is not None and checkpoint.exists())  # the same files
        paths = output_paths(out, name, kinds, task.path, force=again)
        if not force and (other := [path for path in paths if not _is_of(path, problem, chosen)]):
            raise ValueError(f"{other[0]} is of another run: --force replaces it")
    if checkpoint is not None and checkpoint.resolve() in [path.resolve() for path in paths]:
        raise ValueError(f"--out would overwrite --checkpoint {checkpoint}")
    if verbose:
        told = f"learning rate {chosen.learning_rate:.3g}{_told(batches, problem.n)}"
        print_line(console, f"{task}: {model}, {told}")
        if resume and checkpoint is not None and not checkpoint.exists():
            print_line(console, f"no {checkpoint} yet: the run begins")
    best = optimum(problem) if with_optimum else None
    if best is not None and best.status == "separable":
        say("a linear map separates the labels: the loss has no minimum, distances are losses")
        best = None
    base = 0.0 if best is None else best.loss
    with unwarned():  # the table says it
        result = train(
            problem, network, chosen, steps,
            batch_size=batch_size, shuffle=shuffle, seed=batch_seed, label_noise=label_noise,
            record=names, record_every=record_every,
            tol=tol, target=None if target_distance is None else base + target_distance,
            progress=verbose, backend=backend, threads=threads,
            checkpoint=checkpoint, checkpoint_every=checkpoint_every,
        )  # fmt: skip
    if paths and result.scaling is not None:
        result = replace(result, scaling=replace(result.scaling, source=task.told()))
    write(
        paths,
        {
            ".npz": result.save,
            ".csv": lambda path: history_csv(path, result.history),
            ".png": lambda path: save_figure(path, result_figure(result, best, f"{task}: {model}")),
        },
    )
    if as_json:
        described = {
            "optimizer": model.optimizer, "depth": model.depth, "temperature": temperature,
            "init": init, "scale": scale, "width": width, "seed": seed,
            "batch_size": batch_size, "shuffle": shuffle, "batch_seed": batch_seed,
            "label_noise": label_noise,
        }  # fmt: skip
        rows = result_json(problem, result, best) | coefficients_json(result)
        print_json(task.described() | described | rows | {"files": [str(path) for path in paths]})
    else:
        console.print(tables.result_table(result, best))
        print_coefficients(console, result)
        if paths and verbose:
            print_line(console, f"written: {', '.join(map(str, paths))}")
        elif verbose and task.path is not None:
            print_line(console, "--out model.npz keeps the model, for accel predict")
    if result.status == "interrupted":
        if checkpoint is not None:
            say(f"interrupted: the same command with --resume goes on from {checkpoint}")
        raise typer.Exit(INTERRUPTED)
