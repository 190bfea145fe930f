"""Bars that show how far a run is: of rich in a terminal, of HTML in a notebook."""

import builtins
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

__all__ = ["Report", "bar_of_notebook", "bar_of_rich", "in_notebook", "told"]

Report = Callable[[int, float], None]  # given the step and the newest loss

_REDRAWN = 0.2  # seconds between two drawings of a bar in a notebook


def told(loss: float) -> str:
    """The newest loss in words; nothing as long as none is known."""
    return f"loss {loss:.6g}" if math.isfinite(loss) else ""


def _clock(seconds: float) -> str:
    """A time as 1:02:03, 2:03 or 12.3 s."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.3g} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def in_notebook() -> bool:
    """Whether IPython shows what it is given, and is not a terminal itself."""
    shell = getattr(builtins, "get_ipython", lambda: None)()
    names = {kind.__name__ for kind in type(shell).__mro__}
    return shell is not None and "TerminalInteractiveShell" not in names


@contextmanager
def bar_of_rich(steps: int, name: str) -> Iterator[Report]:
    """Show a bar on stderr, which is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    # We refresh the bar, so that rich starts no thread, and leave stdout to the caller.
    bar = Progress(
        TextColumn(name or "training"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"), Remaining(),
        console=Console(stderr=True), auto_refresh=False,
        redirect_stdout=False, redirect_stderr=False,
    )  # fmt: skip
    task = bar.add_task("training", total=steps, loss="")
    with bar:

        def report(step: int, loss: float) -> None:
            bar.update(task, completed=step, loss=told(loss))
            bar.refresh()

        yield report


class _Shown:
    """What a notebook shows: HTML and, where that cannot be shown, plain text."""

    def __init__(self, html: str, text: str) -> None:
        self._html, self._text = html, text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self._html, "text/plain": self._text}


class _Bar:
    """How far a run of so many steps is.

    Parameters
    ----------
    steps : int
    name : str
        Which of several runs it is.
    """

    def __init__(self, steps: int, name: str) -> None:
        self._steps, self._name = steps, name or "training"
        self._begin = time.monotonic()
        self._first: tuple[float, int] | None = None  # time and step of the first report
        self._step, self._loss = 0, math.nan

    def move(self, step: int, loss: float) -> None:
        """Note the step and the newest loss."""
        self._step = step
        if math.isfinite(loss):
            self._loss = loss
        if self._first is None:  # a run that goes on from a checkpoint does not begin at step 0
            self._first = time.monotonic(), step

    @property
    def _left(self) -> str:
        """The time left, as soon as there is a speed to tell it from."""
        if self._first is None or not self._first[1] < self._step < self._steps:
            return ""
        since, first = self._first
        a_step = (time.monotonic() - since) / (self._step - first)
        return f"{_clock(math.ceil(a_step * (self._steps - self._step)))} left"

    def _line(self, *facts: str) -> str:
        elapsed = _clock(time.monotonic() - self._begin)
        return ", ".join(fact for fact in (*facts, told(self._loss), elapsed) if fact)

    def drawn(self) -> _Shown:
        """The bar."""
        text = ", ".join(filter(None, (self._line(f"{self._step}/{self._steps}"), self._left)))
        html = (
            f'{escape(self._name)} <progress value="{self._step}" max="{self._steps}" '
            f'style="width: 18em; vertical-align: middle"></progress> {text}'
        )
        return _Shown(html, f"{self._name}: {text}")

    def ended(self) -> _Shown:
        """The line that stays."""
        steps = f"{self._steps} steps"
        if self._step < self._steps:
            steps = f"ended at step {self._step} of {self._steps}"
        text = f"{self._name}: {self._line(steps)}"
        return _Shown(escape(text), text)


@contextmanager
def bar_of_notebook(steps: int, name: str) -> Iterator[Report]:
    """Show a bar in an output of the current cell, and in its place a line at the end.

    Plain HTML: widgets need a package of their own, and are not kept with the notebook.
    """
    from IPython.display import display

    bar = _Bar(steps, name)
    output: Any = display(bar.drawn(), display_id=True)
    last = time.monotonic()

    def report(step: int, loss: float) -> None:
        nonlocal last
        bar.move(step, loss)
        if time.monotonic() - last >= _REDRAWN:
            last = time.monotonic()
            output.update(bar.drawn())

    try:
        yield report
    finally:
        output.update(bar.ended())
