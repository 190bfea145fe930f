r"""Dot products with twice the digits of float64, in one pass over the matrix.

A tile of the matrix is copied, transposed if its columns are contiguous, so that the vectors run
along the sums, whose three parts stay in registers or in the first-level cache: ``high``, the sums
as they are rounded; ``low``, the sums of the rounding errors; ``size``, the sums of the absolute
values. After ``block`` terms they are added to totals in the same way.

The error: let S be the exact ``|x|'|A|``, b the terms of a block and c the number of blocks.
All rounding errors of products and of sums, of which each is at most eps/2 times S or a part of it,
add up to at most ``eps/2 (b + c + 1) S``, and no more than ``b + c + 2`` roundings are made in
summing those up. So what is left is at most ``eps^2/4 (b + c + 2)^2 S``, but for terms of the order
of eps^3, which the bound below covers.

The arithmetic is as written, without fused or reordered operations, which would spoil it.
"""

from functools import cache

import numpy as np

from ..reference.twofold import EPS, HALVES, LEAST
from .jit import aligned_zeros, as_written, entry

#: Columns of a tile, at most, and its rows.
_COLUMNS, _ROWS = 32, 32


@as_written
def _add_row(tile, row, x, sums, width):
    """Add x times a row of the tile to the sums; without a branch, so that it is vectorised."""
    shifted = HALVES * x
    x_high = shifted - (shifted - x)
    x_low = x - x_high
    for j in range(width):
        a = tile[row * _COLUMNS + j]
        product = a * x
        shifted = HALVES * a
        a_high = shifted - (shifted - a)
        a_low = a - a_high
        lost = a_low * x_low - (((product - a_high * x_high) - a_low * x_high) - a_high * x_low)
        before = sums[j]
        after = before + product
        part = after - before
        carried = (before - (after - part)) + (product - part)
        sums[j] = after
        sums[_COLUMNS + j] += lost + carried
        sums[2 * _COLUMNS + j] += abs(product)


@as_written
def _add_block(sums, totals, first, width):
    """Add the sums of a block to the totals, from column ``first`` on; begin the next one at 0."""
    for j in range(width):
        before = totals[0, first + j]
        after = before + sums[j]
        part = after - before
        carried = (before - (after - part)) + (sums[j] - part)
        totals[0, first + j] = after
        totals[1, first + j] += sums[_COLUMNS + j] + carried
        totals[2, first + j] += sums[2 * _COLUMNS + j]
    sums[:] = 0.0


@cache
def _make_dot():
    @entry("twofold")
    def dot(A, transposed, x, block, scratch, totals):
        m, k = x.size, totals.shape[1]
        sums, tile = scratch[: 3 * _COLUMNS], scratch[3 * _COLUMNS :]
        for first in range(0, k, _COLUMNS):
            width = min(_COLUMNS, k - first)
            for start in range(0, m, _ROWS):
                rows = min(_ROWS, m - start)
                if transposed:
                    for j in range(width):
                        for i in range(rows):
                            tile[i * _COLUMNS + j] = A[first + j, start + i]
                else:
                    for i in range(rows):
                        for j in range(width):
                            tile[i * _COLUMNS + j] = A[start + i, first + j]
                for i in range(rows):
                    _add_row(tile, i, x[start + i], sums, width)
                if (start + rows) % block == 0 or start + rows == m:
                    _add_block(sums, totals, first, width)

    return dot


def dot(A: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``x' A`` as high, low and error (k,), for A (m, k) and x (m,), both float64.

    The error is at most ``(b + c + 3)^2 / 4 eps^2`` times ``|x|' |A|`` with b terms in each of c
    blocks, where nothing overflows, and as much as a few denormal numbers.
    """
    m, k = A.shape
    transposed = not A.flags.c_contiguous
    rows = np.ascontiguousarray(A.T if transposed else A).view()
    x = np.ascontiguousarray(x).view()
    rows.flags.writeable = x.flags.writeable = False  # always, since to Numba that is another type
    block = -(-max(int(np.sqrt(m)), _ROWS) // _ROWS) * _ROWS
    totals = np.zeros((3, k))
    scratch = aligned_zeros((3 + _ROWS) * _COLUMNS, np.float64)
    _make_dot()(rows, transposed, x, block, scratch, totals)
    depth = min(block, m) + -(-m // block) + 3
    grain = depth**2 / 4 * EPS**2 * (1 + 4 * m * EPS)
    high, low, size = totals
    return high, low, grain * size + m * LEAST * bool(x.any())
