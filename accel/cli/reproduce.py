"""The subcommand ``accel reproduce``: its options, its output and its exit codes."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from accel._core.problem import Problem
from accel._support.backends import cpu_threads
from accel.cli import tables
from accel.cli.options import (
    OUTPUT,
    BackendName,
    Force,
    Json,
    Quiet,
    Seed,
    Threads,
    completed,
)
from accel.cli.outputs import output_paths
from accel.cli.progress import reproduction_progress
from accel.cli.task import Task
from accel.cli.terminal import print_json, print_line, resumable, say
from accel.experiments.reproduce import (
    KEYS,
    Settings,
    default_figures,
    finished_report,
    other_settings,
    paged,
    reproduce,
)
from accel.experiments.runner import data_digest
from accel.losses import Lp

__all__ = ["reproduce_command"]

_FAILS = 1  # exit code of --check if a claim does not hold


def _run(
    settings: Settings, out: Path, make: Callable[[float], Problem], threads: int, verbose: bool
) -> dict[str, Any]:
    with reproduction_progress(verbose) as show, resumable(out / "state"):
        return reproduce(settings, out, make, progress=show, threads=threads)


def _tell(report: dict[str, Any], page: Path, check: bool, as_json: bool) -> None:
    """Print a report, and exit with an error if a claim does not hold and that is checked."""
    verdicts = [claim["holds"] for figure in report["figures"] for claim in figure["checks"]]
    if as_json:
        print_json(report)
    else:
        console = Console()
        console.print(tables.reproduction_table(report))
        for note in tables.reproduction_notes(report, page):
            print_line(console, note)
        if check and all(verdict is None for verdict in verdicts):
            print_line(console, "--check: nothing was judged")
    if check and False in verdicts:
        raise typer.Exit(_FAILS)


def reproduce_command(
    figures: Annotated[
        str | None,
        typer.Option(
            help=f"Which, separated by commas: {', '.join(KEYS)}. By default all; with --quick all "
            "but the last, which takes as long as the others together.",
            autocompletion=completed(*KEYS, several=True),
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="A fiftieth of the steps: under a minute. Claims are about full length, and not "
            "judged.",
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Exit with 1 if a claim of the paper does not hold; runs only what a complete "
            "report in --out does not answer. With --quick nothing is judged, and it exits with 0.",
        ),
    ] = False,
    report_file: Annotated[
        Path | None,
        typer.Option(
            "--report",
            help="Make the page of this report.json, and run nothing.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(help="Folder for figures, curves, report and state.", rich_help_panel=OUTPUT),
    ] = Path("accel-reproduce"),
    seed: Seed = 0,
    backend: BackendName = "auto",
    threads: Threads = None,
    data: Annotated[
        str, typer.Option(help="Other data for the linear figures.", hidden=True)
    ] = "gas",
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Reproduce the figures of Arora, Cohen and Hazan (2018); run it again to go on.

    [bold]accel reproduce --quick[/]
    [bold]accel reproduce --figures 3l,3r --out runs --check[/]
    """
    if report_file is not None:
        _tell(*paged(report_file), check, as_json)
        return
    page = output_paths(out, "report", (".html",), None, force=True)[0]
    count = cpu_threads(threads)
    words = (figures or "").split(",")
    chosen = tuple(word.strip() for word in words if word.strip())
    wanted = default_figures(quick) if figures is None else chosen
    settings = Settings(wanted, quick, seed, data, backend)

    def make(p: float) -> Problem:
        return Task(data, Lp(p), None, None, "float64").problem

    if not force and (other := other_settings(out, settings)) is not None:
        raise ValueError(
            f"{out} has a report of other settings ({other}): --force replaces it, --out takes "
            "another folder"
        )
    report = None
    if check:
        # The gas data is the same everywhere, and loading it only to compare may download it.
        known = data == "gas" or not settings.linear()
        digest = None if known else data_digest(make(2.0))
        report = finished_report(out, settings, digest)
    verbose = not (quiet or as_json)
    if report is None and verbose and (out / "report.html").exists():
        say(f"the report in {out} will be replaced; what {out / 'state'} keeps is not run again")
    if report is None:
        report = _run(settings, out, make, count, verbose)
    _tell(report, page, check, as_json)
