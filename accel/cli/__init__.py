"""The command ``accel``: where it begins, and how whatever goes wrong ends in one line."""

import importlib.util
import sys

__all__ = ["main"]

_NEEDED = ("typer", "rich", "matplotlib")


def main() -> None:
    """Run the command and exit: with 0, with 2 after an error, with 130 after Ctrl-C."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f'accel: the command needs {", ".join(missing)}: pip install "implicit-accel[cli]"',
            file=sys.stderr,
        )
        sys.exit(2)
    from accel.cli.app import app

    app()
