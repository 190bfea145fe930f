"""The rows of the steps to come, made for many of them at once."""

from typing import Any

import numpy as np

from .. import specs
from ..reference.batches import steps_per_epoch
from .batches import Batches
from .picked import Sampled
from .team import run_apart

#: Rows at hand, half a megabyte of numbers, if that is enough for some steps.
_ROWS, _STEPS = 2**17, 4
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
        self._spec, self._epoch = batches, steps_per_epoch(n, batches.size)
        self._makers: list[Batches] = []  # one a rank
        self._rows = np.zeros(rows + _AHEAD, np.int32)[:rows].reshape(self.steps, self.size)
        self._counts = np.full(self.steps, self.size, np.int32)

    def fill(self, first: int, end: int, ranks: int) -> None:
        """Make the rows of the steps from ``first`` to ``end``: ranks divide the epochs."""
        epochs = range(first // self._epoch, -(-end // self._epoch))
        ranks = min(ranks, len(epochs))
        cuts = [epochs[len(epochs) * rank // ranks] * self._epoch for rank in range(ranks)]
        cuts = [first, *cuts[1:], end]
        while len(self._makers) < ranks:
            self._makers.insert(0, Batches(self._n, *self._spec[:3]))
        # The last maker has the epoch that the last call ended in, which this one begins in.
        makers = self._makers[::-1][:ranks]
        self._makers.remove(makers[-1])
        self._makers.append(makers[-1])
        calls = list(zip(makers, cuts[:-1], cuts[1:], [first] * ranks, strict=True))
        if ranks == 1:
            self._make(*calls[0])
        else:
            run_apart(self._make, calls, lambda: None)

    def _make(self, maker: Batches, first: int, end: int, origin: int) -> None:
        own = slice(first - origin, end - origin)
        maker.fill(self._rows[own], self._counts[own], first)

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
