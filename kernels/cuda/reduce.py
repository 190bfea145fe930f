"""Sums of a lane, over a warp and over a block, in an order that is always the same."""

from functools import cache
from typing import Any

from numba import cuda, types

from .jit import ALL, THREADS, WARP, device, in_parts

#: Sums that ``block_sums`` can add up at a time.
SUMS = 4
#: Entries of ``shared`` that it needs for that.
SUMS_SIZE = SUMS * THREADS // WARP


@device
def this_thread():
    """Return the number of a thread in its block; the mask tells that it is not negative."""
    return cuda.threadIdx.x & (THREADS - 1)


@device
def warp_sum(value):
    """Add up over the lanes of a warp; every lane gets the same bits."""
    value += cuda.shfl_xor_sync(ALL, value, 16)
    value += cuda.shfl_xor_sync(ALL, value, 8)
    value += cuda.shfl_xor_sync(ALL, value, 4)
    value += cuda.shfl_xor_sync(ALL, value, 2)
    value += cuda.shfl_xor_sync(ALL, value, 1)
    return value


@device
def _keep(values):
    """Leave values as they are."""


@cache
def make_lane_sums(count: int, *distances: int) -> Any:
    """Make ``add(values)``: so many, each added up over the lanes at these distances.

    A function for each distance, since one loop over all of them may be too long for a compiler to
    unroll it; the values would then lie in local memory.
    """
    if not distances:
        return _keep
    distance, rest = distances[0], make_lane_sums(count, *distances[1:])

    @device
    def add(values):
        for i in range(count):
            values[i] += cuda.shfl_xor_sync(ALL, values[i], distance)
        rest(values)

    return add


@cache
def make_products(dtype: Any, rows: int, maps: int, columns: int, at_once: int) -> Any:
    """Make ``multiply(x, w, r)``: a lane's part of x (rows, columns) by w' (columns, maps).

    The products go to r (rows, maps); so many rows ``at_once`` are one loop, see ``in_parts``.
    """
    scalar = dtype.type

    def make_part(begin: int, end: int) -> Any:
        @device
        def products(x, w, r):
            for i in range(begin, end):
                for m in range(maps):
                    dot = scalar(0)
                    for c in range(columns):
                        dot += x[i * columns + c] * w[m * columns + c]
                    r[i * maps + m] = dot

        return products

    return in_parts(rows, at_once, make_part)


@device
def block_sums(values: Any, count, holders, shared, at):
    """Add up the first ``count`` of four float64 over the first ``holders`` warps of a block.

    There is one barrier in it, after which every thread has the sums in ``values``. All must have
    passed another one since the ``SUMS_SIZE`` entries of ``shared`` from ``at`` on were last read.
    """
    warp, lane = this_thread() // WARP, this_thread() % WARP
    if warp < holders:
        for i in range(SUMS):
            if i < count:
                values[i] = warp_sum(values[i])
                if lane == 0:
                    shared[at + SUMS * warp + i] = values[i]
    cuda.syncthreads()
    for i in range(SUMS):
        if i < count:
            total = 0.0
            for w in range(holders):
                total += shared[at + SUMS * w + i]
            values[i] = total


@device
def block_sum(value, shared):
    """Add up one float64 over a whole block; see ``block_sums``."""
    values = cuda.local.array(SUMS, types.float64)
    values[0] = value
    block_sums(values, 1, THREADS // WARP, shared, 0)
    return values[0]
