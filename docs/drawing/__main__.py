"""The drawings of the pages on theory and on how it works: ``python docs/drawing [FOLDER]``.

They go to ``docs/pictures`` by default. ``--png`` writes PNG, to look at them.
"""

import sys
from pathlib import Path

import matplotlib
from data import DRAWINGS as DATA
from machine import DRAWINGS as MACHINE
from style import SETTINGS, write
from theory import DRAWINGS as THEORY


def main() -> None:
    """Draw everything."""
    kind = "png" if "--png" in sys.argv else "svg"
    folders = [Path(word) for word in sys.argv[1:] if word != "--png"]
    folder = folders[0] if folders else Path(__file__).parent.parent / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(SETTINGS):
        for name, draw in (THEORY | DATA | MACHINE).items():
            write(draw(), folder, name, kind)


if __name__ == "__main__":
    main()
