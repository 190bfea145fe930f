"""The command ``accel``: its entry point, which needs none of the packages that the rest needs."""

import importlib.util
import sys

__all__ = ["main"]

_REQUIRED = ("typer", "rich", "matplotlib")


def main() -> None:
    """Run the command and exit: with 0, with 2 after an error, with 130 after Ctrl-C."""
    missing = [name for name in _REQUIRED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f'accel: the command needs {", ".join(missing)}: pip install "implicit-accel[cli]"',
            file=sys.stderr,
        )
        sys.exit(2)
    from accel.cli.app import app

    app(prog_name="accel")  # by ``python -m accel``, too: completion is for this name
