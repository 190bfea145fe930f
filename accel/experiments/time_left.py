"""How long the rest of a reproduction may take, estimated from what it has done so far."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from accel._core.optimizers import OPTIMIZERS
from accel._support.arrays import Array
from accel.experiments.figures.curves import Curve
from accel.tuning.stages import stage_steps

__all__ = ["Stage", "StageProgress", "TimeLeft", "is_wide", "sweep_stage"]

# Cost of a step at p = 2, where X is not read, relative to one at another p: by X'X, and in the
# basis of the singular vectors of X.
_GRAM, _SPECTRAL = 0.2, 0.02
_WIDE = 1.0  # additional cost of hidden layers of a hundred units
#: How many runs the search of one curve is likely to make, and how many are made after it.
_PILOT_RUNS, _FULL_RUNS, _EXTRA_RUNS = 17, 5, 2.5


@dataclass(frozen=True)
class Stage:
    """Models trained side by side.

    Attributes
    ----------
    name : str
    models, steps : int
    units : float
        The expected cost of all of them, in steps of one small model at p = 4.
    """

    name: str
    models: int
    steps: int
    units: float


class StageProgress(Protocol):
    """A function that shows how far a reproduction is."""

    def __call__(self, stage: Stage, step: int, alive: int, left: float | None) -> None:
        """Show a step of a stage, its models that have not diverged, and the seconds left."""


def is_wide(curve: Curve) -> bool:
    """Whether a curve trains factors of many rows."""
    return (curve.start.width or 1) > 1 and curve.model.optimizer != "end-to-end"


def _weight(curve: Curve) -> float:
    wide = _WIDE if is_wide(curve) else 0.0
    if curve.p != 2:
        return 1.0 + wide
    return (_SPECTRAL if OPTIMIZERS[curve.model.optimizer].rotates else _GRAM) + wide


def sweep_stage(name: str, curves: Sequence[Curve], steps: int) -> Stage:
    """Return the stage of a sweep that trains these curves, one listed once for every rate."""
    return Stage(name, len(curves), steps, steps * sum(map(_weight, curves)))


def _expected(curves: Iterable[Curve]) -> float:
    return sum(
        _weight(curve)
        * (_PILOT_RUNS * stage_steps("pilot", curve.steps) + _FULL_RUNS * curve.steps)
        for curve in curves
    )


@dataclass(eq=False)
class TimeLeft:
    """The estimate: the work left, divided by the speed of the work done in this sitting.

    Parameters
    ----------
    progress : callable
        Called when a stage begins and with its every step that is reported.
    """

    progress: StageProgress
    _later: list[float] = field(default_factory=list)  # units of the groups that have not begun
    _group: float = 0.0  # units left of the group underway
    _reserved: float = 0.0  # units of work that is part of no group
    _fresh: float = 0.0  # units done in this sitting, and the seconds that they took
    _seconds: float = 0.0
    _stage: Stage | None = None  # the one underway
    _began: float = 0.0  # when its first step of this sitting began
    _first: int | None = 0  # and which step that was; None until it is known
    _step: int = 0

    def expect(self, groups: Iterable[Sequence[Curve]]) -> None:
        """Note the groups of curves that will be tuned, in this order, and the runs thereafter."""
        groups = list(groups)
        extras = sum(_EXTRA_RUNS * _weight(c) * c.steps for group in groups for c in group)
        self._later += [*map(_expected, groups), extras]

    def reserve(self, units: float) -> None:
        """Note work that is no part of any group; a negative number once it begins."""
        self._reserved += units

    def begin_group(self) -> None:
        """Note that the next group begins, or after all groups the runs beside the searches."""
        self._group = self._later.pop(0)

    def begin(self, stage: Stage, *, resumed: bool) -> Callable[[int, Array], None]:
        """Note that a stage begins, in part done before if ``resumed``; return its callback."""
        self._stage, self._began, self._step = stage, time.perf_counter(), 0
        self._first = None if resumed else 0
        self.progress(stage, 0, stage.models, self.seconds())

        def callback(step: int, losses: Array) -> None:
            if self._first is None:
                self._first, self._began = step, time.perf_counter()
            self._step = step
            alive = int(np.count_nonzero(np.isfinite(losses)))
            self.progress(stage, step, alive, self.seconds())

        return callback

    def end(self) -> None:
        """Note that the stage is done."""
        stage = self._stage
        if stage is None:
            return
        self._step = stage.steps
        first = stage.steps if self._first is None else self._first
        if first < stage.steps:
            self._fresh += stage.units * (1 - first / stage.steps)
            self._seconds += time.perf_counter() - self._began
        self._group = max(self._group - stage.units, 0.0)
        self._stage = None

    def seconds(self) -> float | None:
        """Seconds that the rest may take; None before any work has been done in this sitting."""
        fresh, seconds, rest = self._fresh, self._seconds, sum(self._later) + self._reserved
        if self._stage is not None:
            units = self._stage.units
            done = units * self._step / self._stage.steps
            if self._first is not None and self._step > self._first:
                fresh += units * (self._step - self._first) / self._stage.steps
                seconds += time.perf_counter() - self._began
            rest += max(self._group - done, units - done)
        else:
            rest += self._group
        return seconds / fresh * rest if fresh > 0 else None
