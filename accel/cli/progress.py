"""The progress of long commands on stderr, and the Ctrl-C that ends them."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from accel._runs.training import Callback
from accel._support.compiling import stepping_aside
from accel.cli.terminal import say
from accel.experiments.atlas.survey import Progress as ProblemProgress
from accel.experiments.time_left import Stage, StageProgress
from accel.kernels.system.signals import interrupt_handler, interrupts_to
from accel.tuning import Model, Tuned
from accel.tuning.comparison import CallbackFactory

__all__ = ["ending_at_interrupt", "problem_progress", "reproduction_progress", "search_progress"]

_INTERVAL = 10.0  # seconds between lines about long commands where there is no terminal


@contextmanager
def ending_at_interrupt() -> Iterator[Callable[[], None]]:
    """Remember any Ctrl-C in the block.

    ``train`` ends a run at a Ctrl-C; one that comes when the run has ended by itself changes
    nothing in its result, but it must end the search that the run is a part of.

    Yields
    ------
    callable
        Raises KeyboardInterrupt if there was one; does nothing in a thread other than the main one.
    """
    interrupted, previous = False, interrupt_handler()

    def check() -> None:
        if interrupted:
            raise KeyboardInterrupt

    if previous is None:
        yield check
        return

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        try:
            previous(number, frame)
        except KeyboardInterrupt:
            interrupted = True
            raise

    with interrupts_to(handle):
        yield check


@contextmanager
def _bar(*columns: ProgressColumn) -> Iterator[Progress]:
    """Show a bar on stderr that disappears at the end, and while a kernel is compiled.

    The caller refreshes it, so it has no thread.
    """
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=24), *columns,
        console=Console(stderr=True), auto_refresh=False, transient=True,
    )  # fmt: skip
    with bar, stepping_aside(bar.stop, bar.start):
        yield bar


def _outcome(tuned: Tuned) -> str:
    """The line that tells how the search of one model ended."""
    runs = f"{len(tuned.trials)} runs"
    return f"{tuned.model}: rate {tuned.rate:.3g}, distance {tuned.distance:.2e} ({runs})"


@contextmanager
def search_progress(
    steps: int, verbose: bool
) -> Iterator[tuple[CallbackFactory, Callable[[Tuned], object]]]:
    """Show where a comparison is: a bar in a terminal, else a line for every model done.

    Yields
    ------
    watch, done : callables
        As ``compare`` takes them.
    """
    with ending_at_interrupt() as check:
        if not (verbose and sys.stderr.isatty()):

            def begin_run(model: Model, rate: float, number: int) -> Callback | None:
                check()
                return None

            def end_model(tuned: Tuned) -> None:
                if verbose:
                    say(_outcome(tuned))

            yield begin_run, end_model
            return
        with _bar(MofNCompleteColumn(), TimeElapsedColumn()) as bar:
            task = bar.add_task("finding the optimum", total=steps)
            bar.refresh()

            def begin_drawn_run(model: Model, rate: float, number: int) -> Callback:
                check()
                text = f"{model}: rate {rate:.3g}, run {number}"
                bar.update(task, description=text, completed=0)
                bar.refresh()

                def callback(step: int, loss: float) -> None:
                    bar.update(task, completed=step)
                    bar.refresh()

                return callback

            yield begin_drawn_run, lambda tuned: None


def _remaining(seconds: float | None) -> str:
    """The text of an estimate of the time that is left; empty if there is none yet."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"about {minutes}:{rest:02d} left"


@contextmanager
def reproduction_progress(verbose: bool) -> Iterator[StageProgress]:
    """Show stage after stage of a reproduction: a bar in a terminal, else a line now and then.

    Yields
    ------
    callable
        As ``reproduce`` takes it.
    """
    with ending_at_interrupt() as check, _stages(verbose) as show:

        def check_and_show(stage: Stage, step: int, alive: int, left: float | None) -> None:
            check()
            show(stage, step, alive, left)

        yield check_and_show


@contextmanager
def _stages(verbose: bool) -> Iterator[StageProgress]:
    if not verbose:
        yield lambda stage, step, alive, left: None
        return
    if not sys.stderr.isatty():
        yield _stage_lines()
        return
    columns = ("{task.fields[alive]} of {task.fields[models]} models", "{task.fields[left]}")
    with _bar(*map(TextColumn, columns)) as bar:
        task = bar.add_task("loading the data", alive=0, models=0, left="")

        def draw(stage: Stage, step: int, alive: int, left: float | None) -> None:
            bar.update(
                task, description=stage.name, completed=step, total=stage.steps, alive=alive,
                models=stage.models, left=_remaining(left),
            )  # fmt: skip
            bar.refresh()

        yield draw


def _now_and_then(begun: float) -> Callable[[], bool]:
    """Return a function that says whether a line is due, some seconds after the one before."""
    last = begun

    def due() -> bool:
        nonlocal last
        if time.monotonic() - last < _INTERVAL:
            return False
        last = time.monotonic()
        return True

    return due


def _stage_lines() -> StageProgress:
    due = _now_and_then(-_INTERVAL)

    def tell(stage: Stage, step: int, alive: int, left: float | None) -> None:
        if due():
            remaining = f", {_remaining(left)}" if left is not None else ""
            say(
                f"{stage.name}: step {step} of {stage.steps}, {alive} of {stage.models} "
                f"models alive{remaining}"
            )

    return tell


@contextmanager
def problem_progress(verbose: bool) -> Iterator[ProblemProgress]:
    """Show how many problems of an atlas are done: a bar in a terminal, else a line now and then.

    Yields
    ------
    callable
        As ``make_atlas`` takes it.
    """
    with ending_at_interrupt() as check, _problems(verbose) as show:

        def check_and_show(done: int, total: int, left: float | None) -> None:
            check()
            show(done, total, left)

        yield check_and_show


@contextmanager
def _problems(verbose: bool) -> Iterator[ProblemProgress]:
    if not verbose:
        yield lambda done, total, left: None
        return
    if not sys.stderr.isatty():
        yield _problem_lines()
        return
    with _bar(MofNCompleteColumn(), TextColumn("{task.fields[left]}")) as bar:
        task = bar.add_task("problems", total=None, left="")

        def draw(done: int, total: int, left: float | None) -> None:
            bar.update(task, completed=done, total=total, left=_remaining(left))
            bar.refresh()

        yield draw


def _problem_lines() -> ProblemProgress:
    due = _now_and_then(time.monotonic())

    def tell(done: int, total: int, left: float | None) -> None:
        if due():
            remaining = f", {_remaining(left)}" if left is not None else ""
            say(f"{done} of {total} problems{remaining}")

    return tell
