"""The rows of the steps to come, made for many of them at once."""

from typing import Any

import numpy as np

from .. import specs
from .batches import Batches
from .picked import Sampled

#: Rows at hand, half a megabyte of numbers, if that is enough for some steps.
_ROWS, _STEPS = 2**17, 16
#: Numbers behind the last row: a pass asks for rows ahead of those that it takes.
_AHEAD = 16


def numbers_of(size: int) -> int:
    """Rows at hand, of so many a step."""
    return max(_ROWS // size, _STEPS) * size


class Tape:
    """The rows of some consecutive steps of a run on n rows.

    Attributes
    ----------
    size : int
        Rows of a step, at most.
    steps : int
        Steps that there is room for.
    """

    def __init__(self, n: int, batches: specs.Batches) -> None:
        self.size, rows = batches.size, numbers_of(batches.size)
        self.steps = rows // self.size
        self._n, self._scattered = n, batches.shuffle != "none"
        self._batches, self._spec = Batches(n, *batches[:3]), batches
        self._rows = np.zeros(rows + _AHEAD, np.int32)[:rows].reshape(self.steps, self.size)
        self._counts = np.full(self.steps, self.size, np.int32)

    def fill(self, first: int, end: int) -> None:
        """Make the rows of the steps from ``first`` to ``end``."""
        self._batches.fill(self._rows[: end - first], self._counts[: end - first], first)

    def sampled(self, data: Any) -> Sampled:
        """Return what the kernels read: these data, and the rows of the steps at hand."""
        everything = np.arange(self._n + _AHEAD, dtype=np.int32)
        everything[self._n :] = 0
        return Sampled(
            data,
            everything,
            self._rows,
            self._counts,
            self._scattered,
            float(self._spec.noise),
            bool(self._spec.signs),
            int(self._spec.seed),
        )
