"""How the command prints, and how its errors, warnings and Ctrl-C end it."""

import contextlib
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

__all__ = ["INTERRUPTED", "Group", "print_json", "print_line", "resumable", "say"]

REFUSED, INTERRUPTED = 2, 130  # exit codes
#: What the library raises for bad input, absent data, absent packages and unwritable files.
_EXPECTED = (ValueError, TypeError, ImportError, OSError, MemoryError)


def say(text: str) -> None:
    """Print a line to stderr, with control characters escaped."""
    line = "".join(
        character if character.isprintable() else ascii(character)[1:-1]
        for character in " ".join(text.split())
    )
    print(f"accel: {line}", file=sys.stderr, flush=True)


def _say_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    say(str(message))


def print_line(console: Console, text: str) -> None:
    """Print a line without wrapping it or reading markup in it."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print JSON to stdout.

    Raises
    ------
    ValueError
        If a number is not finite, which JSON has no word for.
    """
    print(json.dumps(value, indent=2, allow_nan=False))


@contextlib.contextmanager
def resumable(kept: Path) -> Iterator[None]:
    """End the command after Ctrl-C by saying where that is which it goes on from."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"interrupted: the same command goes on from what is kept in {kept}")
        raise typer.Exit(INTERRUPTED) from None


class Group(TyperGroup):
    """The command line: a warning is one line on stderr; so is an error, with the exit code 2."""

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
            # An error of usage. Its class is click's, of which some versions of typer have a copy.
            if not hasattr(error, "format_message"):
                raise
            say(f"{error.format_message()} (see accel --help)")
        sys.exit(REFUSED)
