"""How the command behaves in a terminal: one-line errors, Ctrl-C, and word of what goes on."""

import json
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from typer.core import TyperGroup

from accel._runs.training import Callback
from accel.tuning import Model, Tuned
from accel.tuning.comparison import CallbackFactory

__all__ = ["INTERRUPTED", "Group", "noticing", "print_json", "print_line", "search_progress", "say"]

REFUSED, INTERRUPTED = 2, 130
#: What the library raises for bad input, absent data, absent packages and unwritable files.
_EXPECTED = (ValueError, TypeError, ImportError, OSError, MemoryError)


def say(text: str) -> None:
    """Print a line to stderr, with nothing in it that a terminal would obey."""
    line = "".join(
        character if character.isprintable() else ascii(character)[1:-1]
        for character in " ".join(text.split())
    )
    print(f"accel: {line}", file=sys.stderr, flush=True)


def _say_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    say(str(message))


def print_line(console: Console, text: str) -> None:
    """Print a line as it is, however long."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print to stdout; refuses what JSON has no number for."""
    print(json.dumps(value, indent=2, allow_nan=False))


class Group(TyperGroup):
    """Commands whose warnings are a line on stderr, and so are errors, with the exit code 2."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line and exit, or return if not ``standalone_mode``."""
        if not extra.get("standalone_mode", True):
            return super().main(*args, **extra)
        extra["standalone_mode"] = False
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _say_warning
                sys.exit(super().main(*args, **extra) or 0)
        except (KeyboardInterrupt, typer.Abort):
            sys.exit(INTERRUPTED)
        except _EXPECTED as error:
            say(str(error) or type(error).__name__)
        except Exception as error:
            # Errors of usage: typer brings its own click, or depends on it, by its version.
            if not hasattr(error, "format_message"):
                raise
            say(f"{error.format_message()} (see accel --help)")
        sys.exit(REFUSED)


@contextmanager
def noticing() -> Iterator[Callable[[], bool]]:
    """Know of any Ctrl-C in the block.

    ``train`` ends a run at a Ctrl-C; one that comes when the run has ended by itself changes
    nothing in its result, but it must end the search that the run is a part of.

    Yields
    ------
    callable
        Returns whether there was one.
    """
    noticed, previous = False, signal.getsignal(signal.SIGINT)

    def notice(number: int, frame: FrameType | None) -> None:
        nonlocal noticed
        try:
            previous(number, frame)  # type: ignore[operator, misc]
        except KeyboardInterrupt:
            noticed = True
            raise

    main = threading.current_thread() is threading.main_thread()
    if not (main and callable(previous)):  # else it is ignored, or ends the process
        yield lambda: False
        return
    signal.signal(signal.SIGINT, notice)
    try:
        yield lambda: noticed
    finally:
        signal.signal(signal.SIGINT, previous)


def _outcome(tuned: Tuned) -> str:
    spent = f"{len(tuned.trials)} runs"
    return f"{tuned.model}: rate {tuned.rate:.3g}, distance {tuned.distance:.2e} ({spent})"


@contextmanager
def search_progress(
    steps: int, shown: bool
) -> Iterator[tuple[CallbackFactory, Callable[[Tuned], object]]]:
    """Show where a comparison is: a bar in a terminal, else a line for every model done.

    Yields
    ------
    watch, done : callables
        As ``compare`` takes them.
    """
    with noticing() as interrupted:

        def check() -> None:
            if interrupted():
                raise KeyboardInterrupt

        if not (shown and sys.stderr.isatty()):

            def run_begins(model: Model, rate: float, number: int) -> Callback | None:
                check()
                return None

            yield (
                run_begins,
                (lambda tuned: say(_outcome(tuned))) if shown else (lambda tuned: None),
            )
            return
        # Refreshed by us, so that rich starts no thread.
        bar = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True), auto_refresh=False, transient=True,
        )  # fmt: skip
        with bar:
            task = bar.add_task("finding the optimum", total=steps)
            bar.refresh()

            def run_is_drawn(model: Model, rate: float, number: int) -> Callback:
                check()
                text = f"{model}: rate {rate:.3g}, run {number}"
                bar.update(task, description=text, completed=0)
                bar.refresh()

                def callback(step: int, loss: float) -> None:
                    bar.update(task, completed=step)
                    bar.refresh()

                return callback

            yield run_is_drawn, lambda tuned: None
