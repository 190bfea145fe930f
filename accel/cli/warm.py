"""The subcommand ``accel warm``: its options and its output."""

import time
from typing import Annotated

import typer
from rich.console import Console

from accel._reports.machine import kernel_cache
from accel._runs import checks
from accel._support import validation
from accel._support.backends import cpu_threads, unavailable
from accel.cli import warming
from accel.cli.catalogue import Reading
from accel.cli.options import (
    DEPTHS,
    OPTIMIZERS,
    DataSource,
    Depths,
    DropMissing,
    Dtype,
    Features,
    Init,
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
    parse_models,
)
from accel.cli.task import Task, loss_of
from accel.cli.terminal import print_line, say
from accel.tuning import Start

__all__ = ["warm_command"]

_INCOMPLETE = 1  # exit code


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def warm_command(
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
    target: Target = None,
    features: Features = None,
    drop_missing: DropMissing = False,
    standardized: Standardize = None,
    dtype: Dtype = None,
    threads: Threads = None,
    jobs: Annotated[
        int | None,
        typer.Option(help="Processes that compile at the same time; by default all CPUs."),
    ] = None,
    clear: Annotated[
        bool,
        typer.Option(
            "--clear",
            help="First delete all kernels of the CPU that are kept, those of older versions too.",
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Compile ahead what the CPU needs to train, compare and sweep such models on such data.

    Later runs find the kernels on the disk. Which ones they need depends on the loss, the dtype,
    the number of outputs, and whether data are small.

    [bold]accel warm[/]
    [bold]accel warm my.csv --target price --dtype float32[/]
    [bold]accel warm gas --depths 2 --optimizers adam --jobs 4[/]
    """
    models = parse_models(depths, optimizers)
    steps = checks.limits(steps, None, 0.0, None).steps
    count = cpu_threads(threads)
    jobs = cpu_threads() if jobs is None else validation.integer("jobs", jobs, least=1)
    if reason := unavailable()["cpu"]:
        raise ValueError(f"there is nothing to compile: {reason}")
    try:
        folder = kernel_cache()
    except OSError as error:
        raise OSError(f"kernels cannot be kept: {error}") from None
    task = Task(
        data, loss_of(p, loss), Reading(target, features, drop_missing), standardized, dtype
    )
    console, began = Console(), time.perf_counter()
    if clear:
        print_line(console, f"deleted: {_size(warming.clear(folder))}")
    if not quiet:
        print_line(console, f"{task}: {', '.join(map(str, models))}")
    study = warming.Study(task.problem, models, Start(init, scale, seed, width), steps, count)
    compiled: set[str] = set()
    found: set[str] = set()
    problems: dict[str, None] = {}  # in the order in which they came
    for outcome in warming.warm(study, jobs, quiet):
        for kernel in outcome.compiled:
            compiled.add(kernel.name)
            if not quiet:
                print_line(console, f"compiled {kernel.words}: {kernel.seconds:.1f} s")
        for kernel in outcome.found:
            if not quiet and kernel.name not in compiled and kernel.name not in found:
                print_line(console, f"found {kernel.words}")
            found.add(kernel.name)
        problems |= dict.fromkeys(outcome.problems)
    files, size = warming.kept(folder)
    print_line(
        console,
        f"{len(compiled)} compiled, {len(found - compiled)} found, "
        f"{time.perf_counter() - began:.1f} s; {folder}: {files} files, {_size(size)}",
    )
    for problem in problems:
        say(problem)
    if problems:
        raise typer.Exit(_INCOMPLETE)
