"""The subcommand ``accel atlas``: its options and its output."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from accel._support.backends import cpu_threads
from accel.cli import tables
from accel.cli.options import OUTPUT, Force, Json, Quiet, Threads
from accel.cli.outputs import output_paths
from accel.cli.progress import problem_progress
from accel.cli.terminal import print_json, print_line, resumable
from accel.experiments.atlas.atlas import make_atlas, other_settings
from accel.experiments.atlas.settings import chosen

__all__ = ["atlas_command"]


def atlas_command(
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A few problems, of one seed each: under a minute."),
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option(help="How many of each problem; 5 by default, 1 with --quick."),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(help="Folder for table, figures, report and state.", rich_help_panel=OUTPUT),
    ] = Path("accel-atlas"),
    threads: Threads = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Map where depth speeds gradient descent up, and where it slows it down.

    On synthetic problems with many exponents p and condition numbers networks of several depths
    race to the same targets, each at the best of its own learning rates. Run it again to go on.

    [bold]accel atlas --quick[/]
    [bold]accel atlas --seeds 3 --out maps[/]
    """
    table = output_paths(out, "atlas", (".csv",), None, force=True)[0]
    if table.name != "atlas.csv":
        raise ValueError(f"--out must be a folder, got {out}")
    folder = table.parent
    count = cpu_threads(threads)
    settings = chosen(quick, seeds)
    if not force and (other := other_settings(folder, settings)) is not None:
        raise ValueError(
            f"{out} has an atlas of other settings ({other}): --force replaces it, --out takes "
            "another folder"
        )
    with problem_progress(not (quiet or as_json)) as show, resumable(folder / "state"):
        report, cells = make_atlas(settings, folder, threads=count, progress=show)
    if as_json:
        print_json(report)
        return
    console = Console()
    console.print(tables.atlas_table(cells, settings.predicted_start))
    for line in (tables.ATLAS_NOTE, *report["sentences"], report["prediction"]):
        print_line(console, line)
    print_line(console, f"written: {table} and figures beside it")
