"""How a run is timed: once with the clock stopped at checkpoints, then in rounds without them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.groups.convergence.methods import DivergedError, Fresh, Task
from benchmarks.groups.convergence.problems import TOLERANCES
from benchmarks.groups.convergence.solvers import Point
from benchmarks.harness.timing import Stopwatch

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
    ran, clock = Trace(), Stopwatch()
    with clock:
        run = fresh()
    try:
        for step in checkpoints():
            with clock:
                run.advance(step - ran.steps)
            ran.steps = step
            distance = task.distance(run.params())
            ran.points.append((clock.seconds, distance))
            for tolerance in TOLERANCES:
                if distance <= tolerance:
                    ran.reached.setdefault(tolerance, step)
            if distance <= TOLERANCES[-1]:
                ran.ended = "reached"
                break
            if clock.seconds > budget:
                break
    except DivergedError:
        ran.ended = "diverged"
    return ran


def timed(task: Task, fresh: Fresh, steps: Sequence[int]) -> list[float]:
    """Seconds from the making of the run until each of these numbers of steps.

    Raises
    ------
    DivergedError
        If it does not end where the run with checkpoints was.
    """
    clock, done, seconds = Stopwatch(), 0, []
    with clock:
        run = fresh()
    for step in steps:
        with clock:
            run.advance(step - done)
        seconds.append(clock.seconds)
        done = step
    if task.distance(run.params()) > _SLACK * TOLERANCES[len(steps) - 1]:
        raise DivergedError
    return seconds
