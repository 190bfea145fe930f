"""Products of matrices by many blocks: a block has a tile of the result, and adds up in one order.

A block brings ``_DEPTH`` terms of its rows and columns to shared memory at a time, while the terms
before are multiplied. Its threads form ``_SLICES`` groups, which share out these terms; each group
has the whole tile, a thread ``_TALL`` x ``_TALL`` entries of it in registers. At the end the sums
of the groups are added up. So the bits of an entry depend on its own row, its own column and the
number of terms: not on its place in a tile, nor on what other blocks do.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from . import estimates
from .jit import SIMULATED, THREADS, device
from .reduce import this_thread

#: Rows and columns of a tile; those of a thread, ``_SIDE`` apart; terms that lie in shared memory
#: at a time. In the simulator less, since it makes one multiply-add after the other.
TILE, _TALL, _DEPTH = (8, 2, 16) if SIMULATED else (estimates.TILE, 4, 32)
#: Threads that have a tile are ``_SIDE * _SIDE``; so many groups of them share out the terms.
_SIDE = TILE // _TALL
_SLICES = THREADS // _SIDE**2
_SHARE = _DEPTH // _SLICES
#: Entries of the result that a thread hands on: ``e = thread + THREADS * i``, row by row.
ENTRIES = TILE**2 // THREADS
#: What a thread brings of either factor, and how far apart terms, and rows of sums, lie: threads
#: that write or read at the same time find different banks.
_BROUGHT = TILE * _DEPTH // THREADS
_STEP, _OF_ROW = TILE + 1, TILE + _SIDE
#: Elements of shared memory that a product needs.
PRODUCT_SIZE = max(2 * _DEPTH * _STEP, _SLICES * TILE * _OF_ROW)


class Factor(NamedTuple):
    """A factor of a product: ``count`` lines of terms, from ``values[start]`` on.

    Lines are rows of the left factor, columns of the right one. If terms lie ``along`` the memory,
    a line begins every ``stride`` elements; else so many lie between two terms of a line.
    """

    values: Any
    start: int
    stride: int
    count: int


def tiles(count: int) -> int:
    """Return how many tiles cover so many rows or columns."""
    return -(-count // TILE)


@device
def tiles_over(count):
    """Return the same in a kernel."""
    return (count + TILE - 1) // TILE


@cache
def _make_bring(dtype: np.dtype[Any], along: bool) -> Any:
    """Make ``fetch(factor, line, first, last, values)`` and ``store(values, shared, at)``.

    A thread's elements of the terms from ``first`` on, into registers, and from there into shared
    memory. Beyond the last line and term is zero.
    """
    zero = dtype.type(0)

    @device
    def place_of(i):
        at = this_thread() + THREADS * i
        if along:
            return at // _DEPTH, at % _DEPTH
        return at % TILE, at // TILE

    @device
    def fetch(factor, line, first, last, values):
        for i in range(_BROUGHT):
            of_line, of_term = place_of(i)
            j, q = line + of_line, first + of_term
            at = factor.start + (j * factor.stride + q if along else q * factor.stride + j)
            values[i] = factor.values[at] if j < factor.count and q < last else zero

    @device
    def store(values, shared, at):
        for i in range(_BROUGHT):
            of_line, of_term = place_of(i)
            shared[at + of_term * _STEP + of_line] = values[i]

    return fetch, store


@cache
def make_product(dtype: np.dtype[Any], left_along: bool, right_along: bool) -> Any:
    """Make ``product(left, right, row, column, first, last, shared, totals)``.

    It leaves in ``totals`` a thread's ``ENTRIES`` of the tile that begins at ``row`` and
    ``column``, over the terms from ``first`` to ``last``. All threads of the block take part.
    ``shared`` has ``PRODUCT_SIZE`` elements, which nothing else may use from the last barrier
    before to the first one after it.
    """
    scalar, of_sums, at_right = dtype.type, _TALL**2, _DEPTH * _STEP
    fetch_left, store_left = _make_bring(dtype, left_along)
    fetch_right, store_right = _make_bring(dtype, right_along)

    @device
    def product(left, right, row, column, first, last, shared, totals):
        thread = this_thread()
        group, within = thread // _SIDE**2, thread % _SIDE**2
        down, across = within // _SIDE, within % _SIDE
        of_left = cuda.local.array(_BROUGHT, dtype)
        of_right = cuda.local.array(_BROUGHT, dtype)
        a = cuda.local.array(_TALL, dtype)
        b = cuda.local.array(_TALL, dtype)
        sums = cuda.local.array(of_sums, dtype)
        for i in range(of_sums):
            sums[i] = scalar(0)
        fetch_left(left, row, first, last, of_left)
        fetch_right(right, column, first, last, of_right)
        for start in range(first, last, _DEPTH):
            store_left(of_left, shared, 0)
            store_right(of_right, shared, at_right)
            cuda.syncthreads()
            # On their way while these are multiplied.
            fetch_left(left, row, start + _DEPTH, last, of_left)
            fetch_right(right, column, start + _DEPTH, last, of_right)
            for q in range(_SHARE):
                at = (group * _SHARE + q) * _STEP
                for i in range(_TALL):
                    a[i] = shared[at + down + _SIDE * i]
                    b[i] = shared[at_right + at + across + _SIDE * i]
                for i in range(_TALL):
                    for j in range(_TALL):
                        sums[i * _TALL + j] += a[i] * b[j]
            cuda.syncthreads()
        for i in range(_TALL):
            for j in range(_TALL):
                of_row = group * TILE + down + _SIDE * i
                shared[of_row * _OF_ROW + across + _SIDE * j] = sums[i * _TALL + j]
        cuda.syncthreads()
        for i in range(ENTRIES):
            e = thread + THREADS * i
            at = e // TILE * _OF_ROW + e % TILE
            total = shared[at]
            for other in range(1, _SLICES):
                total += shared[other * TILE * _OF_ROW + at]
            totals[i] = total

    return product
