"""Progress of a run: a bar in a terminal or a notebook, else a line on stderr now and then."""

import importlib.util
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from accel._runs.bars import Report, bar_of_notebook, bar_of_rich, in_notebook, told

_INTERVAL = 2.0  # seconds between plain lines


def _say(text: str) -> None:
    print(f"accel: {text}", file=sys.stderr, flush=True)


@contextmanager
def progress(wanted: bool, steps: int, name: str = "") -> Iterator[Report]:
    """Show how far a run of so many steps is, if that is wanted.

    It is a bar in a notebook, and if stderr is a terminal and rich is installed; else a line now
    and then. Each begins with the name, which tells one of several runs from the others.

    Yields
    ------
    callable
        To be called with the step and the newest loss.
    """
    if not wanted:
        yield lambda step, loss: None
    elif in_notebook():
        with bar_of_notebook(steps, name) as report:
            yield report
    elif importlib.util.find_spec("rich") and sys.stderr.isatty():
        with bar_of_rich(steps, name) as report:
            yield report
    else:
        yield _lines(steps, name)


def _lines(steps: int, name: str) -> Report:
    last, begin = time.monotonic(), f"{name}: " if name else ""

    def report(step: int, loss: float) -> None:
        nonlocal last
        if step >= steps or time.monotonic() - last >= _INTERVAL:
            last = time.monotonic()
            _say(f"{begin}step {step} of {steps}{', ' * bool(told(loss))}{told(loss)}")

    return report
