"""The subcommand ``accel reproduce``: its options, its progress and its exit codes."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from accel._core.problem import LpProblem
from accel._reports.text import duration
from accel._support.backends import cpu_threads
from accel.cli.options import OUTPUT, BackendName, Json, Quiet, Seed, Task, Threads
from accel.cli.outputs import output_paths
from accel.cli.terminal import INTERRUPTED, noticing, print_json, print_line, say
from accel.experiments.reproduce import KEYS, Settings, finished_report, reproduce
from accel.experiments.runner import data_digest
from accel.experiments.time_left import Stage, StageProgress

__all__ = ["reproduce_command"]

_FAILS = 1
_SILENCE = 10.0  # seconds between lines where there is no terminal

Report = dict[str, Any]


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"about {minutes}:{rest:02d} left"


@contextmanager
def _progress(wanted: bool) -> Iterator[StageProgress]:
    """Show stage after stage: a bar in a terminal, else a line now and then."""
    if not wanted:
        yield lambda stage, step, alive, left: None
        return
    if not sys.stderr.isatty():
        yield _lines()
        return
    # Refreshed by us, so that rich starts no thread.
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=24),
        TextColumn("{task.fields[alive]} of {task.fields[models]} models"),
        TextColumn("{task.fields[left]}"),
        console=Console(stderr=True), auto_refresh=False, transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("loading the data", alive=0, models=0, left="")

        def draw(stage: Stage, step: int, alive: int, left: float | None) -> None:
            bar.update(
                task, description=stage.name, completed=step, total=stage.steps, alive=alive,
                models=stage.models, left=_left(left),
            )  # fmt: skip
            bar.refresh()

        yield draw


def _lines() -> StageProgress:
    last = -_SILENCE

    def tell(stage: Stage, step: int, alive: int, left: float | None) -> None:
        nonlocal last
        if time.monotonic() - last >= _SILENCE:
            last = time.monotonic()
            say(
                f"{stage.name}: step {step} of {stage.steps}, {alive} of {stage.models} "
                f"models alive{_left(left) and ', '}{_left(left)}"
            )

    return tell


def _ends_table(report: Report) -> Table:
    """One row a line, narrow enough for 80 columns."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for header in ("figure", "line"):
        table.add_column(header, no_wrap=True)
    for header in ("published", "ours", "ratio", "rate"):
        table.add_column(header, justify="right", no_wrap=True)
    for figure in report["figures"]:
        for line in figure["lines"]:
            rate = line.get("learning_rate")
            table.add_row(
                escape(figure["key"]),
                escape(line["label"]),
                *(
                    "-" if line[name] is None else f"{line[name]:.3g}"
                    for name in ("published", "ours", "ratio")
                ),
                "" if rate is None else f"{rate:.3g}{'*' if line['at_edge_of_grid'] else ' '}",
            )
    return table


def _show(report: Report, out: Path) -> None:
    console = Console()
    tell = partial(print_line, console)
    console.print(_ends_table(report))
    lines = [line for figure in report["figures"] for line in figure["lines"]]
    if any(line.get("at_edge_of_grid") for line in lines):
        tell("* the edge of the grid: a better rate may lie beyond")
    for figure in report["figures"]:
        if figure["skipped"]:
            tell(f"figure {figure['key']} was not run: {figure['skipped']}")
        for check in figure["checks"]:
            verdict = "holds" if check["holds"] else "FAILS"
            tell(f"{verdict}: figure {figure['key']}, {check['text']}")
    if report["settings"]["quick"]:
        tell("a quick run: published values and claims are about fifty times the steps")
    tell(f"training took {duration(report['seconds']['training'])}; written: {out / 'report.html'}")


def _run(
    settings: Settings,
    out: Path,
    make: Callable[[float], LpProblem],
    threads: int,
    shown: bool,
) -> Report:
    with noticing() as interrupted, _progress(shown) as progress:

        def told(stage: Stage, step: int, alive: int, left: float | None) -> None:
            if interrupted():
                raise KeyboardInterrupt
            progress(stage, step, alive, left)

        try:
            return reproduce(settings, out, make, progress=told, threads=threads)
        except KeyboardInterrupt:
            say(f"interrupted: the same command goes on from what is kept in {out / 'state'}")
            raise typer.Exit(INTERRUPTED) from None


def reproduce_command(
    figures: Annotated[
        str, typer.Option(help="Which, separated by commas.", show_default=True)
    ] = ",".join(KEYS),
    quick: Annotated[
        bool, typer.Option("--quick", help="A fiftieth of the steps: under a minute.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Exit with 1 if a claim of the paper does not hold; runs only what a complete "
            "report in --out does not answer.",
        ),
    ] = False,
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
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Reproduce the figures of Arora, Cohen and Hazan (2018); run it again to go on.

    [bold]accel reproduce --quick[/]
    [bold]accel reproduce --figures 3l,3r --out runs --check[/]
    """
    output_paths(out, "report", (".html",), None)
    count = cpu_threads(threads)
    words = tuple(word.strip() for word in figures.split(",") if word.strip())
    settings = Settings(words, quick, seed, data, backend)

    def make(p: float) -> LpProblem:
        return Task(data, p, None, None, "float64").problem

    report = None
    if check:
        # The gas data is one and the same everywhere; to look for it may mean to download it.
        known = data == "gas" or not settings.linear()
        digest = None if known else data_digest(make(2.0))
        report = finished_report(out, settings, digest)
    if report is None:
        report = _run(settings, out, make, count, shown=not (quiet or as_json))
    if as_json:
        print_json(report)
    else:
        _show(report, out)
    holds = all(check["holds"] for figure in report["figures"] for check in figure["checks"])
    if check and not holds:
        raise typer.Exit(_FAILS)
