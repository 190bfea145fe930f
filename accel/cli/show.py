"""The subcommand ``accel show``: the live page, served on this machine or written to a folder."""

import shlex
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from accel._files import paths
from accel._live.exporting import SINGLE, export_page
from accel._live.serving import PageServer
from accel.cli.options import OUTPUT, Force
from accel.cli.terminal import print_line, say

__all__ = ["show_command"]


def _open(url: str) -> None:
    """Open a browser, or say that there is none."""
    if not webbrowser.open(url):
        say("no browser was found: open that address in one")


def show_command(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the server; 0 takes one that is free.")
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Whether to open the page in a browser.")
    ] = True,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write the page there in place of serving it: to open, or for a web server.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Show live why depth accelerates gradient descent: a page for teaching, without a network.

    Networks of several depths race to the minimum while sliders change loss, rate and data. Only
    this machine can reach the server; Ctrl-C ends it.

    [bold]accel show[/]
    [bold]accel show --port 8000 --no-browser[/]
    [bold]accel show --export page[/]
    """
    console = Console()
    if export is not None:
        folder = paths.given("--export", export)
        export_page(folder, force=force)
        print_line(console, f"written: {folder / SINGLE}, which a browser opens as it is,")
        served = f"python -m http.server -d {shlex.quote(str(folder))}"
        print_line(console, f"and the page's files beside it, for a web server: {served}")
        return
    try:
        server = PageServer(port)
    except OSError as error:
        raise OSError(f"port {port} cannot be used: {error.strerror or error}") from None
    with server:
        print_line(console, f"the page is at {server.url} until Ctrl-C")
        if browser:  # by a thread: a browser in a terminal returns when it is closed
            threading.Thread(target=_open, args=(server.url,), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print_line(console, "")  # after the ^C of the terminal
