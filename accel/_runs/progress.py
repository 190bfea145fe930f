"""Progress of a run: a bar in a terminal or a notebook, else a line on stderr now and then."""

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

Report = Callable[[int, float], None]  # given the step and the newest loss

_INTERVAL = 2.0  # seconds between plain lines


def _say(text: str) -> None:
    print(f"accel: {text}", file=sys.stderr, flush=True)


@contextmanager
def progress(wanted: bool, steps: int, name: str = "") -> Iterator[Report]:
    """Show how far a run of so many steps is, if that is wanted.

    It is a bar if stderr is a terminal, or in a notebook, and rich is installed; else a line now
    and then. Either begins with the name, which tells one of several runs from the others.

    Yields
    ------
    callable
        To be called with the step and the newest loss.
    """
    if not wanted:
        yield lambda step, loss: None
    elif importlib.util.find_spec("rich") and (sys.stderr.isatty() or _in_notebook()):
        with _bar(steps, name) as report:
            yield report
    else:
        yield _lines(steps, name)


def _in_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    from rich.console import Console

    return Console().is_jupyter


@contextmanager
def _bar(steps: int, name: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    # We refresh the bar, so that rich starts no thread, and leave stdout to the caller.
    bar = Progress(
        TextColumn(name or "training"), BarColumn(), MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.6g}"), Remaining(),
        console=Console(stderr=True), auto_refresh=False,
        redirect_stdout=False, redirect_stderr=False,
    )  # fmt: skip
    task = bar.add_task("training", total=steps, loss=float("nan"))
    with _shown(bar) as redraw:

        def report(step: int, loss: float) -> None:
            bar.update(task, completed=step, loss=loss)
            redraw()

        yield report


@contextmanager
def _shown(bar: "Progress") -> Iterator[Callable[[], None]]:
    """Show a bar, which the function that is yielded draws anew."""
    if not bar.console.is_jupyter:
        with bar:
            yield bar.refresh
        return
    # An output that is replaced by rich's HTML. A bar that is started needs ipywidgets, and warns
    # where they are missing; what a widget shows is not kept with the notebook.
    from IPython.display import display

    output = display(bar, display_id=True)
    yield lambda: output.update(bar)


def _lines(steps: int, name: str) -> Report:
    last, begin = time.monotonic(), f"{name}: " if name else ""

    def report(step: int, loss: float) -> None:
        nonlocal last
        if step >= steps or time.monotonic() - last >= _INTERVAL:
            last = time.monotonic()
            _say(f"{begin}step {step} of {steps}, loss {loss:.6g}")

    return report
