"""The runs of an atlas, problem by problem; what is made is kept, and not made again."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from accel._files import archives
from accel.experiments.atlas.problems import Task
from accel.experiments.atlas.race import Outcome, race
from accel.experiments.atlas.settings import Settings

__all__ = ["Progress", "Surveyed", "survey"]

_LOOK = 0.2  # seconds between two looks at whether a problem is done, when progress is shown

#: ``progress(done, all, left)``: problems, and the seconds that the others may take, or None.
Progress = Callable[[int, int, float | None], None]


class Surveyed(NamedTuple):
    """What came out on one problem.

    Attributes
    ----------
    task : Task
    loss, duality_gap : float
        Of the minimum.
    outcomes : list of Outcome
        Of every start and rule.
    """

    task: Task
    loss: float
    duality_gap: float
    outcomes: list[Outcome]


def _key(task: Task, settings: Settings) -> dict[str, Any]:
    return {**settings.of_task(), **asdict(task)}


def _read(path: Path, task: Task, settings: Settings) -> Surveyed | None:
    """Read what was kept of a problem; None if it is not there, damaged or of other settings."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] != _key(task, settings):
            return None
        outcomes = [Outcome.read(each) for each in kept["outcomes"]]
        return Surveyed(task, float(kept["loss"]), float(kept["duality_gap"]), outcomes)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _make(path: Path, task: Task, settings: Settings, stop: Callable[[], bool]) -> Surveyed:
    """Run everything on one problem, and keep it."""
    instance = task.instance()
    outcomes = [
        outcome
        for start in settings.starts
        for outcome in race(instance, start, settings.rules(start), settings.steps, stop)
    ]
    best = instance.best
    kept = {
        "key": _key(task, settings),
        "loss": best.loss,
        "duality_gap": best.duality_gap,
        "outcomes": [outcome.described() for outcome in outcomes],
    }
    archives.write_text(path, json.dumps(kept, allow_nan=False))
    return Surveyed(task, best.loss, best.duality_gap, outcomes)


def survey(settings: Settings, state: Path, threads: int, progress: Progress) -> list[Surveyed]:
    """Run what is not there yet, on several problems at a time, each on one thread.

    So results do not depend on the number of threads.

    Parameters
    ----------
    settings : Settings
    state : Path
        Folder with a file for every problem that is done.
    threads : int
    progress : callable

    Returns
    -------
    list of Surveyed
        In the order of ``settings.tasks()``.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C; the same call goes on from there.
    OSError
        If a file cannot be written.
    """
    state.mkdir(parents=True, exist_ok=True)
    tasks = settings.tasks()
    paths = {task: state / f"{task.name}-{settings.digest}.json" for task in tasks}
    found: dict[Task, Surveyed | None] = {
        task: _read(path, task, settings) for task, path in paths.items()
    }
    missing = [task for task in tasks if found[task] is None]
    halted, began = threading.Event(), time.perf_counter()

    def make(task: Task) -> Surveyed:
        return _make(paths[task], task, settings, halted.is_set)

    def show(made: int) -> None:
        left = (time.perf_counter() - began) / made * (len(missing) - made) if made else None
        progress(len(tasks) - len(missing) + made, len(tasks), left)

    with ThreadPoolExecutor(threads, "accel-atlas") as pool:
        try:
            show(0)
            for tasks_at_once in (missing[:1], missing[1:]):  # the first compiles for most
                waiting = {pool.submit(make, task) for task in tasks_at_once}
                while waiting:
                    done, waiting = wait(waiting, _LOOK, FIRST_COMPLETED)
                    found |= {each.task: each for each in (future.result() for future in done)}
                    show(sum(found[task] is not None for task in missing))
        except BaseException:
            halted.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [each for each in found.values() if each is not None]
