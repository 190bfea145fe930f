"""Minibatches, compiled: the rows of many steps at once, to the bit those of the reference.

The labels of an epoch are shuffled in one pass, in which each row is appended to its batch as soon
as its label is known. That leaves the batches of the epoch, one after the other, in ``order``; it
is kept, so that steps within an epoch are copies. The jumps of the shuffle are made in vectors, few
at a time, so that the processor makes the next ones while it waits for the memory of the last. With
replacement the rows that have been drawn are sorted by their digits.
"""

from typing import NamedTuple

import numpy as np

from ..specs import ROWS, SHUFFLES
from .jit import aligned_zeros, entry, inner
from .philox import Counter, in_widest_vectors, index, pair
from .pointers import pointer, shift

EPOCH, REPLACEMENT, NONE = range(3)
if SHUFFLES != ("epoch", "replacement", "none"):
    raise AssertionError("the numbers of the shuffles are not their places in SHUFFLES")

#: Random numbers that are made at a time, an even number: two loops on the processor at once.
_TILE = 64
#: Rows are sorted by this number of their bits in a pass, or so few of them by insertion.
_BITS, _FEW = 8, 48


class Plan(NamedTuple):
    """What batches depend on: n rows, 1 to 2^31 - 1, ``size`` a batch, a place in ``SHUFFLES``."""

    n: int
    size: int
    shuffle: int
    seed: int


class Memory(NamedTuple):
    """What is kept between calls. A thread that works by itself has its own.

    ``order`` and ``labels``, int32, are for all n rows ("epoch") or for those of a batch
    ("replacement"); ``places`` is for a number a batch of an epoch, or a digit; ``jumps`` is for a
    tile; ``epoch``, int64, holds the epoch whose batches lie in ``order``, or -1.
    """

    order: np.ndarray
    labels: np.ndarray
    places: np.ndarray
    jumps: np.ndarray
    epoch: np.ndarray


def memory(plan: Plan) -> Memory:
    """Allocate what ``fill`` works with."""
    rows = {EPOCH: plan.n, REPLACEMENT: plan.size, NONE: 0}[plan.shuffle]
    batches = -(-plan.n // plan.size) if plan.shuffle == EPOCH else 1 << _BITS
    lengths = (rows, rows, batches, _TILE)
    return Memory(*(aligned_zeros(n, np.int32) for n in lengths), np.full(1, -1, np.int64))


@inner
def _draw(out, first, n, shrinks, counter):
    """Draw a tile of integers below n; that at place i below n - i if ``shrinks`` is 1, not 0.

    Where n - i is not above 0 they mean nothing.
    """
    in_widest_vectors()
    for b in range(_TILE // 2):
        z, w = pair((first >> 1) + b, counter)
        out[2 * b] = index(z, n - shrinks * 2 * b)
        out[2 * b + 1] = index(w, n - shrinks * (2 * b + 1))


@inner
def partition(memory, plan, epoch):
    """Partition all rows: the batches of an epoch, one after the other, to ``memory.order``."""
    n, size = plan.n, plan.size
    order, labels = pointer(memory.order), pointer(memory.labels)
    places, jumps = pointer(memory.places), pointer(memory.jumps)
    counter = Counter(ROWS, epoch, plan.seed)
    for batch in range((n + size - 1) // size):
        places[batch] = batch * size
        for i in range(batch * size, min((batch + 1) * size, n)):
            labels[i] = batch
    for first in range(0, n, _TILE):
        _draw(jumps, first, n - first, 1, counter)
        for i in range(first, min(first + _TILE, n)):
            j = i + jumps[i - first]
            label = labels[j]
            labels[j] = labels[i]
            place = places[label]
            order[place] = i
            places[label] = place + 1
    memory.epoch[0] = epoch


@inner
def _insert(rows, count):
    """Sort a few integers, in place."""
    for i in range(1, count):
        row, j = rows[i], i
        while j > 0 and rows[j - 1] > row:
            rows[j] = rows[j - 1]
            j -= 1
        rows[j] = row


@inner
def _by_digit(rows, out, count, low, places):
    """Sort integers by a digit, the bits from ``low`` on, and as they came where it is the same."""
    digit = (1 << _BITS) - 1
    for i in range(digit + 1):
        places[i] = 0
    for i in range(count):
        places[(rows[i] >> low) & digit] += 1
    total = 0
    for i in range(digit + 1):
        total, places[i] = total + places[i], total
    for i in range(count):
        at = (rows[i] >> low) & digit
        out[places[at]] = rows[i]
        places[at] += 1


@inner
def _replaced(rows, memory, plan, step):
    """Draw the rows of a step one by one from all, and sort them."""
    n, size = plan.n, plan.size
    drawn, other = pointer(memory.order), pointer(memory.labels)
    places, jumps = pointer(memory.places), pointer(memory.jumps)
    counter = Counter(ROWS, step, plan.seed)
    for first in range(0, size, _TILE):
        _draw(jumps, first, n, 0, counter)
        for i in range(min(_TILE, size - first)):
            drawn[first + i] = jumps[i]
    if size <= _FEW:
        _insert(drawn, size)
    else:
        low = 0
        while (n - 1) >> low > 0:
            _by_digit(drawn, other, size, low, places)
            drawn, other = other, drawn
            low += _BITS
    for i in range(size):
        rows[i] = drawn[i]


@inner
def fill(rows, counts, memory, plan, first_step):
    """Write the rows of consecutive steps.

    ``rows`` (K, size), int32 or int64, contiguous, has those of step ``first_step`` + s in its row
    s, ``counts`` (K,), of the same kinds, how many; what is beyond them is left as it is.
    """
    n, size = plan.n, plan.size
    steps = (n + size - 1) // size
    for s in range(rows.shape[0]):
        here, step = shift(pointer(rows), s * size), first_step + s
        if plan.shuffle == REPLACEMENT:
            counts[s] = size
            _replaced(here, memory, plan, step)
            continue
        epoch = step // steps
        first = (step - epoch * steps) * size
        count = min(size, n - first)
        counts[s] = count
        if plan.shuffle == NONE:
            for i in range(count):
                here[i] = first + i
            continue
        if memory.epoch[0] != epoch:
            partition(memory, plan, epoch)
        order = shift(pointer(memory.order), first)
        for i in range(count):
            here[i] = order[i]


@entry("batches")
def _fill(rows, counts, memory, plan, first_step):
    fill(rows, counts, memory, plan, first_step)


class Batches:
    """The batches of ``reference.batches``, and the epoch that they are in.

    Parameters
    ----------
    n : int
        The number of rows, 1 to 2^31 - 1.
    size : int
        1 to n.
    shuffle : {"epoch", "replacement", "none"}
    seed : int
        0 to 2^63 - 1.
    """

    def __init__(self, n: int, size: int, shuffle: str, seed: int) -> None:
        self.plan = Plan(n, size, SHUFFLES.index(shuffle), seed)
        self.memory = memory(self.plan)

    def fill(self, rows: np.ndarray, counts: np.ndarray, first_step: int) -> None:
        """Write the rows of consecutive steps, as the compiled ``fill``.

        Any steps may be asked for in any order. To begin another epoch costs as much as all of it.
        """
        _fill(rows, counts, self.memory, self.plan, first_step)
