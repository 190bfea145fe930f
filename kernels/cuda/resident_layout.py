"""What a resident kernel is specialised for, and where the parts of its shared memory begin."""

from typing import Any, NamedTuple

import numpy as np

from .entrywise import PRODUCT
from .epilogue import DOUBLES
from .estimates import pairs, vectors
from .factor_chain import TABLE
from .jit import THREADS, WARP
from .reduce import SUMS_SIZE
from .updates import SCHEDULABLE

#: Most blocks of a team.
MOST_BLOCKS = 256


class ResidentLayout(NamedTuple):
    """What a kernel is specialised for: the problem's shape, and how the blocks hold it.

    A warp holds ``rows`` rows of ``d`` elements in registers; ``spills`` where there are more, in
    shared memory. ``deepest`` is the room for factors in a model's table, ``kind`` that of all
    rules or ANY, ``form`` the loss's: a diagonal has no rows. ``inside`` where the model's memory
    is shared, too; ``structure`` is what makes the maps, and ``scheduled`` whether a rule has a
    program.
    """

    d: int
    outputs: int
    rows: int
    deepest: int
    kind: int
    form: str
    spills: bool
    inside: bool
    structure: str = PRODUCT
    scheduled: bool = False

    @property
    def size(self) -> int:
        """Elements of the end-to-end matrix."""
        return self.outputs * self.d

    @property
    def vectors(self) -> int:
        """Elements of a row that a lane holds."""
        return vectors(self.d)

    def batch(self, dtype: np.dtype[Any]) -> int:
        """Return how many rows of the shared part a warp works on at a time: up to four."""
        return max(min(16 // (self.vectors * dtype.itemsize // 4), 4), 1)

    def words(self, dtype: np.dtype[Any]) -> int:
        """Return the words of 32 bits that a lane spends on rows, targets, weights, gradient."""
        rows = self.rows + self.batch(dtype) * self.spills
        return (2 * self.outputs * self.vectors + rows * (self.vectors + self.outputs)) * (
            dtype.itemsize // 4
        )

    def pairs(self, dtype: np.dtype[Any]) -> int:
        """Return the pairs of words that a block posts: its gradient, and its loss at the end."""
        return pairs(self.size, dtype.itemsize)


class SharedMemory(NamedTuple):
    """Where the parts of the shared memory begin, counted in their own elements.

    ``doubles``, ``extra`` and ``losses`` are float64, the others of the run's dtype.
    """

    doubles: int
    extra: int
    losses: int
    scratch: int
    partial: int
    collected: int
    memory: int


def shared_memory(dtype: np.dtype[Any], layout: ResidentLayout) -> SharedMemory:
    """Lay out the shared memory, up to the model's memory and the rows that registers don't hold.

    Vectors of ``size`` elements are padded to an even length, for pairs of float32. ``losses`` has
    one a warp, then one a block; ``collected`` a block's own entries, from all blocks. In the form
    "diagonal" there are no partial sums, and a block by itself.
    """
    warps, step = THREADS // WARP, layout.size + layout.size % 2
    doubles = layout.deepest * TABLE
    extra = doubles + SUMS_SIZE
    losses = extra + DOUBLES + SCHEDULABLE * layout.scheduled
    scratch = (losses + warps + MOST_BLOCKS) * (8 // dtype.itemsize)
    partial = scratch + THREADS
    if layout.form == "diagonal":
        return SharedMemory(doubles, extra, losses, scratch, partial, partial, partial)
    collected = partial + warps * step
    size = (layout.pairs(dtype) + MOST_BLOCKS) * (8 // dtype.itemsize)
    return SharedMemory(doubles, extra, losses, scratch, partial, collected, collected + size)
