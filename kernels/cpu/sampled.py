"""Products of factors with a matrix of which some entries are seen, and nothing else.

Where few entries of the end-to-end matrix ``W = U V'`` are seen, V being the first factor's
transpose (d, h) and U the product of all others (k, h), neither W nor its gradient G is made:

    predictions   W_ij = u_i v_j, a product of two rows for each entry (i, j) that was seen;
    above         G V,   row i the sum of G_ij v_j over the entries of row i (k, h);
    below         G' U,  row j the sum of G_ij u_i over the entries of column j (d, h).

The first is known as a sampled product of dense matrices. All three go along the rows of U and V,
so each costs as many multiply-adds as there are entries, times h.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import inner, named
from .simd import Emitter, cover, halves

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def _number(builder, numbers, place):
    """Load one of the int32 numbers from an address on."""
    return builder.sext(builder.load(builder.gep(numbers, [place])), _I64)


@cache
def make_row_products(dtype: np.dtype[Any], lanes: int):
    """Compile ``products(u, B, columns, count, out, length)``: products of a row with rows of B.

    ``out[e]`` = u' B[columns[e]] for e < ``count``, rows of ``length`` elements, whole vectors. All
    but the last two are addresses, ``columns`` that of int32 numbers. No product depends on others.
    """
    most = min(8, lanes)

    @intrinsic
    def emitted(typing_context, u, matrix, columns, count, out, length):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            pointer, (count, length) = emit.scalar.as_pointer(), (arguments[3], arguments[5])
            u, matrix, out = (builder.inttoptr(arguments[i], pointer) for i in (0, 1, 4))
            columns = builder.inttoptr(arguments[2], _I32.as_pointer())

            def some(first, number):
                rows = [
                    emit.at(matrix, (_number(builder, columns, place), length))
                    for place in (builder.add(first, _I64(e)) for e in range(number))
                ]
                totals = emit.variables(number)
                with cgutils.for_range(builder, builder.sdiv(length, _I64(lanes))) as loop:
                    term = emit.load(emit.at(u, (loop.index, lanes)))
                    for row, total in zip(rows, totals, strict=True):
                        other = emit.load(emit.at(row, (loop.index, lanes)))
                        builder.store(emit.fma(term, other, builder.load(total)), total)
                sums = emit.fold([builder.load(total) for total in totals])
                emit.store(sums, emit.at(out, (first, 1)))

            cover(builder, count, halves(most), some)
            return context.get_dummy_value()

        return types.void(*(types.intp,) * 6), generate

    @inner
    @named(dtype.name, lanes)
    def products(u, matrix, columns, count, out, length):
        emitted(u, matrix, columns, count, out, length)

    return products


@cache
def make_row_sum(dtype: np.dtype[Any], lanes: int, *, ordered: bool):
    """Compile ``row_sum(weights, numbers, count, A, out, width)``: a weighted sum of rows of A.

    ``numbers`` are addresses of int32 numbers, ``count`` each: of the rows, and if ``ordered`` of
    their weights, which are the first ones otherwise. ``A`` is the address of its first row and the
    length of all; of the rows ``width`` elements are taken, whole vectors, and go to ``out``.
    """
    most = 8

    @intrinsic
    def emitted(typing_context, weights, numbers, count, matrix, out, width):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            pointer = emit.scalar.as_pointer()
            weights, out = (builder.inttoptr(arguments[i], pointer) for i in (0, 4))
            rows, order = (
                builder.inttoptr(builder.extract_value(arguments[1], i), _I32.as_pointer())
                for i in range(2)
            )
            base, length = (builder.extract_value(arguments[3], i) for i in range(2))
            base, count, width = builder.inttoptr(base, pointer), arguments[2], arguments[5]

            def some(first, number):
                totals = emit.variables(number)
                here = emit.at(base, (first, lanes))
                with cgutils.for_range(builder, count) as loop:
                    which = _number(builder, order, loop.index) if ordered else loop.index
                    weight = emit.broadcast(emit.at(weights, (which, 1)))
                    row = emit.at(here, (_number(builder, rows, loop.index), length))
                    for v, total in enumerate(totals):
                        term = emit.load(row, v * lanes)
                        builder.store(emit.fma(term, weight, builder.load(total)), total)
                for v, total in enumerate(totals):
                    emit.store(builder.load(total), emit.at(out, (first, lanes)), v * lanes)

            cover(builder, builder.sdiv(width, _I64(lanes)), halves(most), some)
            return context.get_dummy_value()

        return types.void(weights, numbers, count, matrix, out, width), generate

    @inner
    @named(dtype.name, lanes, ordered)
    def row_sum(weights, numbers, count, matrix, out, width):
        emitted(weights, numbers, count, matrix, out, width)

    return row_sum
