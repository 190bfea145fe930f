"""Fair timing: samples of several contenders in turn, medians, and the spread of the rest."""

import functools
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from benchmarks.harness.cases import OURS
from benchmarks.peers import Stepper

#: OpenBLAS's and OpenMP's workers spin for some 25 ms after their last task. Without this pause
#: they would take a core from the contender that is timed next.
PAUSE = 0.05

Name = TypeVar("Name", bound=Hashable)
Sample = TypeVar("Sample")


class Stopwatch:
    """The seconds that were spent inside its ``with`` blocks, or between `start` and `stop`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def start(self) -> None:
        """Go on counting."""
        self._since = time.perf_counter()

    def stop(self) -> float:
        """Stand still; all seconds so far."""
        self.seconds += time.perf_counter() - self._since
        return self.seconds

    def __enter__(self) -> "Stopwatch":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def elapsed(
    call: Callable[[], object], repeats: int = 1, clock: Callable[[], float] | None = None
) -> float:
    """Seconds of one call, the mean of so many in a row, by the wall clock or by another one."""
    clock = clock or time.perf_counter
    begin = clock()
    for _ in range(repeats):
        call()
    return (clock() - begin) / repeats


def seconds_each(call: Callable[[int], object], least: float = 0.005) -> float:
    """Seconds of a step of ``call(steps)``, from as many steps as take at least so long."""
    call(1)
    steps = 1
    while True:
        seconds = elapsed(functools.partial(call, steps))
        if seconds >= least:
            return seconds / steps
        steps *= 4


def in_turn(
    calls: Mapping[Name, Callable[[], Sample]],
    rounds: int | Mapping[Name, int],
    pause: float = 0.0,
) -> dict[Name, list[Sample]]:
    """One sample of each in every round, in turn; every second round backwards.

    A call returns its sample, such as the seconds that it took. `rounds` may be a number for each;
    those with fewer rounds are left out of the last ones. After each sample there is a pause, in
    seconds.
    """
    often = rounds if isinstance(rounds, Mapping) else dict.fromkeys(calls, rounds)
    samples: dict[Name, list[Sample]] = {name: [] for name in calls}
    for turn in range(max(often.values(), default=0)):
        for name in list(calls)[:: 1 if turn % 2 == 0 else -1]:
            if turn < often[name]:
                samples[name].append(calls[name]())
                time.sleep(pause)
    return samples


def medians(samples: Mapping[Name, list[float]]) -> dict[Name, float]:
    return {name: float(np.median(values)) for name, values in samples.items()}


@dataclass
class Samples:
    """Seconds per step of one contender; `gap` says why there are none.

    `note` and `layout` are those of its `Stepper`.
    """

    name: str
    gap: str = ""
    note: str = ""
    layout: tuple[int, int] | None = None
    steps: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds a step."""
        return float(np.median(self.seconds)) if self.seconds else float("nan")

    @property
    def iqr(self) -> float:
        """Interquartile range of the seconds a step."""
        if not self.seconds:
            return float("nan")
        low, high = np.percentile(self.seconds, [25, 75])
        return float(high - low)


def interleaved(
    contenders: Mapping[str, Stepper],
    rounds: int,
    seconds: float,
    pause: float = PAUSE,
    peers: bool = False,
) -> list[Samples]:
    """Time every contender once a round, in turn; every second round backwards.

    `seconds` is the length of a sample, from which the number of its steps follows. With `peers`,
    one that is not ours and has diverged in the end is a gap; else that is an error.
    """
    results = {}
    for name, stepper in contenders.items():
        steps = _steps_of_a_sample(stepper, seconds)
        results[name] = Samples(name, note=stepper.note, layout=stepper.layout, steps=steps)
        time.sleep(pause)
    calls = {
        name: functools.partial(seconds_a_step, stepper, results[name].steps)
        for name, stepper in contenders.items()
    }
    for name, samples in in_turn(calls, rounds, pause).items():
        results[name].seconds = samples
        if not np.isfinite(contenders[name].params()).all():
            may = peers and not name.startswith(OURS)
            assert may, f"{name} diverged while it was timed"
            results[name] = Samples(name, gap="diverged while it was timed")
    return list(results.values())


def _steps_of_a_sample(stepper: Stepper, seconds: float) -> int:
    seconds *= stepper.longer
    # A multiple of ten, as PyTorch's compiled form takes several steps a call.
    estimate = seconds / seconds_each(stepper.advance, 0.2 * seconds)
    return max(10 * round(estimate / 10), 5)


def seconds_a_step(stepper: Stepper, steps: int) -> float:
    """One sample of so many steps, after a tenth of them."""
    stepper.advance(max(1, steps // 10))  # caches and threads awake again
    return elapsed(functools.partial(stepper.advance, steps)) / steps


def speedup(samples: Sequence[Samples], against: str) -> tuple[float, float, float] | None:
    """Ratio of the medians, theirs over ours, and the quartiles of the ratio round by round."""
    ours = next(s for s in samples if s.name == OURS)
    other = next((s for s in samples if s.name == against and s.seconds), None)
    if other is None or not ours.seconds:
        return None
    paired = np.divide(other.seconds, ours.seconds)
    low, high = np.percentile(paired, [25, 75])
    return other.median / ours.median, float(low), float(high)
