"""How a run is timed: once with the clock stopped at checkpoints, then in rounds without them."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.groups.convergence.methods import DivergedError, Fresh, Task
from benchmarks.groups.convergence.problems import TOLERANCES
from benchmarks.groups.convergence.solvers import Point

_SLACK = 1.01  # where sums are added up in another order every time
_GROWTH = 1.05  # of the steps from one checkpoint to the next, the same for every library


@dataclass
class Trace:
    """A run with checkpoints.

    ``points`` are seconds and distances; ``reached`` has the step of the first checkpoint within
    each tolerance that was met. ``ended`` is "reached", "budget" or "diverged".
    """

    points: list[Point] = field(default_factory=list)
    reached: dict[float, int] = field(default_factory=dict)
    steps: int = 0
    ended: str = "budget"


def checkpoints() -> Iterator[int]:
    """Steps after which a run is looked at: 1, 2, 3, ..., then every 5 % more."""
    step = 1
    while True:
        yield step
        step = max(step + 1, round(step * _GROWTH))


def trace(task: Task, fresh: Fresh, budget: float) -> Trace:
    """Run until the last tolerance is met or the clock has come to the budget."""
    found, clock = Trace(), 0.0
    begin = time.perf_counter()
    run = fresh()
    clock += time.perf_counter() - begin
    try:
        for step in checkpoints():
            begin = time.perf_counter()
            run.advance(step - found.steps)
            clock += time.perf_counter() - begin
            found.steps = step
            distance = task.distance(run.params())
            found.points.append((clock, distance))
            for tolerance in TOLERANCES:
                if distance <= tolerance:
                    found.reached.setdefault(tolerance, step)
            if distance <= TOLERANCES[-1]:
                found.ended = "reached"
                break
            if clock > budget:
                break
    except DivergedError:
        found.ended = "diverged"
    return found


def timed(task: Task, fresh: Fresh, steps: Sequence[int]) -> list[float]:
    """Seconds from the making of the run until each of these numbers of steps.

    Raises
    ------
    DivergedError
        If it does not end where the run with checkpoints was.
    """
    clock, done, seconds = 0.0, 0, []
    begin = time.perf_counter()
    run = fresh()
    for step in steps:
        run.advance(step - done)
        clock += time.perf_counter() - begin
        seconds.append(clock)
        done, begin = step, time.perf_counter()
    if task.distance(run.params()) > _SLACK * TOLERANCES[len(steps) - 1]:
        raise DivergedError
    return seconds
