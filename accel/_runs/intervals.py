"""Which iterates of a run are recorded: one every so many steps, or those of chosen steps."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from accel._support import validation
from accel._support.arrays import Array

__all__ = ["MOST_STEPS", "Chosen", "Every", "RecordEvery", "checked", "records_of"]

MOST_STEPS = 2**53  # the kernels count them in float64
_A_DECADE = 100  # log-spaced records

#: What ``record_every`` may be.
RecordEvery = float | Sequence[float] | Array | Literal["log"] | None
#: The same, checked: steps that were chosen are ascending, and each stands there once.
Checked = int | tuple[int, ...] | Literal["log"]


class Every:
    """Records at the multiples of a number of steps.

    Parameters
    ----------
    steps : int
        At least 1.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def due(self, steps: Array) -> Array:
        """Which of these steps are to be recorded, as bools."""
        due: Array = np.asarray(steps) % self._steps == 0
        return due

    def after(self, step: int) -> int:
        """The first step to record after this one."""
        return step + self._steps - step % self._steps

    def before(self, step: int) -> int:
        """The last step to record up to this one."""
        return step - step % self._steps

    def count(self, steps: int) -> int:
        """Records of a run of so many steps, but for the first one or the last."""
        return steps // self._steps

    def stretch(self, step: int, end: int) -> tuple[int, int]:
        """The step up to which a loop may go in one call, and the interval to be given to it."""
        return end, self._steps


class Chosen:
    """Records at steps that were chosen, of which step 0 always is one.

    Parameters
    ----------
    steps : iterable of int
        Ascending, at least 0, each once.
    """

    def __init__(self, steps: Iterable[int]) -> None:
        listed = np.array([0, *steps], np.int64)
        self._steps = listed[1:] if len(listed) > 1 and listed[1] == 0 else listed
        # The place of the last step of the even spacing that each step but the last begins.
        gaps = np.diff(self._steps)
        turns = np.append(np.flatnonzero(np.diff(gaps)), len(gaps) - 1) + 1
        self._ends = turns[np.searchsorted(turns, np.arange(len(gaps)), side="right")]

    def _place(self, step: int) -> int:
        """How many of the steps are smaller than this one."""
        return int(np.searchsorted(self._steps, step))

    def due(self, steps: Array) -> Array:
        """Which of these steps are to be recorded, as bools."""
        places = np.searchsorted(self._steps, steps)
        due: Array = self._steps[np.minimum(places, len(self._steps) - 1)] == steps
        return due

    def after(self, step: int) -> int:
        """The first step to record after this one; beyond every run if there is none."""
        place = self._place(step + 1)
        return int(self._steps[place]) if place < len(self._steps) else MOST_STEPS + 1

    def before(self, step: int) -> int:
        """The last step to record up to this one."""
        return int(self._steps[self._place(step + 1) - 1])

    def count(self, steps: int) -> int:
        """Records of a run of so many steps, but for the last."""
        return self._place(steps)

    def stretch(self, step: int, end: int) -> tuple[int, int]:
        """The step up to which a loop may go in one call, and the interval to be given to it.

        A loop records at multiples of its interval, so that one call serves steps that are evenly
        spaced if they are multiples of their distance.
        """
        place = self._place(step)
        if place == len(self._steps) or self._steps[place] >= end:
            return end, 0
        if self._steps[place] > step:
            return int(self._steps[place]), 0
        if place < len(self._ends):
            gap = int(self._steps[place + 1]) - step
            if step % gap == 0:
                return min(int(self._steps[self._ends[place]]) + 1, end), gap
        return step + 1, 1


def _log_spaced(steps: int) -> list[int]:
    """Return the whole numbers next to 10^(i/100), i = 0, 1, 2, ..., up to a number of steps."""
    last = math.ceil(_A_DECADE * math.log10(steps)) + 1
    spaced = dict.fromkeys(round(10.0 ** (i / _A_DECADE)) for i in range(last))
    return [step for step in spaced if step <= steps]


def checked(record_every: Any) -> Checked:
    """Check what a caller chose.

    Raises
    ------
    TypeError, ValueError
        If it is neither an integer of at least 1, nor steps of at least 0, nor ``"log"``.
    """
    if isinstance(record_every, str):
        validation.choice("record_every", record_every, ["log"])
        return "log"
    if not hasattr(record_every, "__iter__"):
        return validation.count("record_every", record_every, least=1, most=MOST_STEPS)
    steps = validation.members("record_every", record_every, "steps")
    named = (
        validation.count(f"record_every[{i}]", step, least=0, most=MOST_STEPS)
        for i, step in enumerate(steps)
    )
    return tuple(sorted(set(named)))


def records_of(record_every: Checked, steps: int) -> Every | Chosen:
    """Return where a run of so many steps records, from what ``checked`` returned."""
    if isinstance(record_every, int):
        return Every(record_every)
    return Chosen(_log_spaced(steps) if record_every == "log" else record_every)
