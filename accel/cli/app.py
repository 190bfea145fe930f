"""The command ``accel``: its subcommands, and ``accel info``."""

from typing import Annotated

import typer
from rich.console import Console

import accel
from accel._reports import machine
from accel.cli import tables
from accel.cli.atlas import atlas_command
from accel.cli.compare import compare_command
from accel.cli.options import Json
from accel.cli.predict import predict_command
from accel.cli.reproduce import reproduce_command
from accel.cli.show import show_command
from accel.cli.terminal import Group, print_json
from accel.cli.train import train_command
from accel.cli.warm import warm_command

__all__ = ["app"]

app = typer.Typer(
    cls=Group,
    name="accel",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(requested: bool) -> None:
    if requested:
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


app.command("compare")(compare_command)
app.command("train")(train_command)
app.command("predict")(predict_command)
app.command("reproduce")(reproduce_command)
app.command("atlas")(atlas_command)
app.command("show")(show_command)
app.command("warm")(warm_command)


@app.command("info")
def info_command(as_json: Json = False) -> None:
    """Show versions, the machine, and what of it will be used."""
    facts = machine.facts()
    if as_json:
        print_json(facts)
    else:
        Console().print(tables.facts_table(facts))
