r"""Dot products with twice the digits of float64, in one pass over the matrix.

Some vectors of columns at a time run down the rows, and the three parts of their sums stay in
registers: ``high``, the sums as they are rounded; ``low``, the sums of the rounding errors;
``size``, the sums of the absolute values. After ``block`` terms they are added to totals in the
same way. Where the columns of the matrix are contiguous, or too few are left, tiles of it are
copied, transposed or padded with zeros.

The error: let S be the exact ``|x|'|A|``, b the terms of a block and c the number of blocks.
All rounding errors of products and of sums, of which each is at most eps/2 times S or a part of it,
add up to at most ``eps/2 (b + c + 1) S``, and no more than ``b + c + 2`` roundings are made in
summing those up. So what is left is at most ``eps^2/4 (b + c + 2)^2 S``, but for terms of the order
of eps^3, which the bound below covers.

The arithmetic is as written: reordered, it would lose what it is for. Only the error of a product
is a fused operation, ``a x - fl(a x)`` rounded once, and so exact.
"""

from functools import cache

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..reference.twofold import EPS, LEAST
from .any_power import intrinsic as call
from .jit import aligned_zeros, as_written, entry, named
from .pointers import pointer, shift
from .processor import vector_bytes, vector_registers
from .simd import EXACT, Emitter

#: Rows of a tile.
_ROWS = 32


def _two_sum(builder, a, b):
    """``a + b`` rounded, and the rounding error; as in the reference."""
    total = builder.fadd(a, b, flags=EXACT)
    part = builder.fsub(total, a, flags=EXACT)
    left = builder.fsub(a, builder.fsub(total, part, flags=EXACT), flags=EXACT)
    right = builder.fsub(b, part, flags=EXACT)
    return total, builder.fadd(left, right, flags=EXACT)


def _make_add_rows(lanes: int, vectors: int):
    """``add_rows(A, stride, x, sums, rows)``: add ``x' A`` of some rows to the sums.

    A points to the first of ``vectors * lanes`` columns, its rows lie ``stride`` elements apart; x
    points to the factors, and sums to those columns of high, low and size, one after the other.
    """

    @intrinsic
    def add_rows(typing_context, A, stride, x, sums, rows):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, np.dtype(np.float64), lanes)
            A, stride, x, sums, rows = arguments
            places = [v * lanes for v in range(3 * vectors)]
            parts = emit.variables(3 * vectors)
            for part, place in zip(parts, places, strict=True):
                builder.store(emit.load(sums, place), part)
            with cgutils.for_range(builder, rows) as loop:
                row = emit.at(A, (loop.index, stride))
                factor = emit.broadcast(emit.at(x, (loop.index, 1)))
                for v in range(vectors):
                    high, low, size = parts[v::vectors]
                    term = emit.load(row, v * lanes)
                    product = builder.fmul(term, factor, flags=EXACT)
                    lost = call(builder, "fma", term, factor, builder.fneg(product))
                    total, carried = _two_sum(builder, builder.load(high), product)
                    lost = builder.fadd(lost, carried, flags=EXACT)
                    builder.store(total, high)
                    builder.store(builder.fadd(builder.load(low), lost, flags=EXACT), low)
                    here = call(builder, "fabs", product)
                    builder.store(builder.fadd(builder.load(size), here, flags=EXACT), size)
            for part, place in zip(parts, places, strict=True):
                emit.store(builder.load(part), sums, place)
            return context.get_dummy_value()

        return types.void(A, stride, x, sums, rows), generate

    return add_rows


@as_written
def _add_block(sums, totals, first, width):
    """Add the sums of a block to the totals, from column ``first`` on; begin the next one at 0."""
    for j in range(width):
        before = totals[0, first + j]
        after = before + sums[0, j]
        part = after - before
        carried = (before - (after - part)) + (sums[0, j] - part)
        totals[0, first + j] = after
        totals[1, first + j] += sums[1, j] + carried
        totals[2, first + j] += sums[2, j]
    sums[:] = 0.0


@cache
def _make_dot(lanes: int, vectors: int):
    emitted, columns = _make_add_rows(lanes, vectors), lanes * vectors

    @as_written
    @named(lanes, vectors)
    def add_rows(A, stride, x, sums, rows):
        emitted(A, stride, x, sums, rows)

    @entry("twofold", lanes, vectors)
    def dot(A, transposed, x, block, scratch, totals):
        m, k = x.size, totals.shape[1]
        sums, tile = scratch[:3], scratch[3:]
        for first in range(0, k, columns):
            width = min(columns, k - first)
            if width < columns:
                tile[:] = 0.0
            for start in range(0, m, _ROWS):
                rows = min(_ROWS, m - start)
                here, stride = pointer(tile), columns
                if transposed:
                    for j in range(width):
                        for i in range(rows):
                            tile[i, j] = A[first + j, start + i]
                elif width < columns:
                    for i in range(rows):
                        for j in range(width):
                            tile[i, j] = A[start + i, first + j]
                else:
                    here, stride = shift(pointer(A), start * k + first), k
                add_rows(here, stride, shift(pointer(x), start), pointer(sums), rows)
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
    # Three sums a vector of columns stay in registers.
    lanes, vectors = vector_bytes() // 8, 4 if vector_registers() > 16 else 2
    scratch = aligned_zeros((3 + _ROWS) * lanes * vectors, np.float64).reshape(3 + _ROWS, -1)
    _make_dot(lanes, vectors)(rows, transposed, x, block, scratch, totals)
    depth = min(block, m) + -(-m // block) + 3
    grain = depth**2 / 4 * EPS**2 * (1 + 4 * m * EPS)
    high, low, size = totals
    return high, low, grain * size + m * LEAST * bool(x.any())
